"""History: what is on disk after every step, after every kill, and after damage."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.history import (
    UNKNOWN_DESCRIPTION,
    Experiment,
    Night,
    RunIdentity,
    change_patch,
)
from mlx_autoresearch.night_lock import NightLock
from mlx_autoresearch.records import CRASH, DISCARD, INCONCLUSIVE, KEEP, Proposal, RunResult, Verdict
from mlx_autoresearch.results_table import RESULTS_COLUMNS

PROJECT = Path(__file__).resolve().parent.parent
IDENTITY = RunIdentity("stories", "f00d", 300.0, "M4, 16 GB", "1", 256)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "night"


def proposal(text: str = "DEPTH = 4\n", parent: int | None = None, **more: object) -> Proposal:
    return Proposal(text, more.pop("description", "an edit"), parent=parent, **more)


def score(bpb: float, seed: int = 1) -> RunResult:
    return RunResult(
        seed, val_bpb=bpb, steps=100, tokens=2_500_000, parameters=1_250_000, peak_memory_bytes=3 * 2**30,
        training_seconds=299.0, total_seconds=310.4,
    )  # fmt: skip


def run(experiment: Experiment, bpb: float, model: bool = True, seed: int = 1) -> Path:
    folder = experiment.new_run_folder()
    if model:
        (folder / "model.mlxfn").write_text(f"graph {experiment.number} {folder.name}")
        (folder / "model.safetensors").write_text(f"weights {experiment.number} {folder.name}")
    experiment.record_result(folder, score(bpb, seed))
    return folder


def finished(night: Night, status: str, bpb: float, **more: object) -> Experiment:
    experiment = night.add(proposal(f"# {len(night.experiments)}\n", **more))
    run(experiment, bpb)
    experiment.record_verdict(Verdict(status, "because", bpb, 0.01))
    return experiment


def started(root: Path) -> Night:
    """A night with a baseline, a discard and a keep."""
    night = Night.open(root, IDENTITY)
    finished(night, KEEP, 1.5)
    finished(night, DISCARD, 1.6, parent=0)
    finished(night, KEEP, 1.4, parent=0)
    return night


def results(root: Path) -> list[dict[str, str]]:
    with (root / "results.tsv").open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


# --- resume -----------------------------------------------------------------------------------------------------------


def test_reopening_gives_back_everything(root: Path) -> None:
    night = started(root)
    night.experiments[2].record_commit("a" * 40)
    again = Night.open(root, IDENTITY)
    assert again.experiments == night.experiments
    assert [experiment.folder.name for experiment in again.experiments] == ["0000", "0001", "0002"]
    assert again.damage == [] and again.skipped == {}
    assert again.incumbent().number == 2 and again.pending() is None


def test_source_keeps_every_byte(root: Path) -> None:
    source = "A = 1\r\nB = 'é\u2028'\x0c\n\n# no line end"
    Night.open(root, IDENTITY).add(proposal(source))
    assert Night.open(root, IDENTITY).experiments[0].source == source


def test_source_that_is_no_text_is_refused_and_leaves_nothing(root: Path) -> None:
    night = Night.open(root, IDENTITY)
    with pytest.raises(AutoresearchError, match="UTF-8"):
        night.add(proposal("x = '\ud800'"))
    assert list((root / "experiments").iterdir()) == [] and night.experiments == []


def test_another_identity_is_refused_and_says_what_differs(root: Path) -> None:
    Night.open(root, IDENTITY)
    with pytest.raises(AutoresearchError, match=r"budget seconds 300\.0 there, 60\.0 now") as caught:
        Night.open(root, replace(IDENTITY, budget_seconds=60.0))
    assert "--tag" in str(caught.value) and "dataset" not in str(caught.value)
    assert Night.open(root, replace(IDENTITY, budget_seconds=300)).identity.budget_seconds == 300


@pytest.mark.parametrize("text", ["", "{", "[]", '{"dataset": "stories"}', '{"dataset": 3}', "\x00\xff"])
def test_damaged_identity_is_a_sentence(root: Path, text: str) -> None:
    started(root)
    (root / "identity.json").write_text(text)
    for attempt in (lambda: Night.open(root, IDENTITY), lambda: Night.read(root)):
        with pytest.raises(AutoresearchError, match=r"identity\.json is damaged"):
            attempt()


def test_missing_identity_is_a_sentence_unless_nothing_was_done(root: Path) -> None:
    root.mkdir(parents=True)
    (root / "lock").touch()
    (root / "identity.json.partial").write_text("{")
    started(root)
    (root / "identity.json").unlink()
    with pytest.raises(AutoresearchError, match=r"identity\.json is missing"):
        Night.open(root, IDENTITY)


def test_a_run_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AutoresearchError, match="can't be written"):
        Night.open(tmp_path / "file" / "night", IDENTITY)


def test_read_changes_nothing(root: Path) -> None:
    night = started(root)
    (root / "experiments" / "0003.partial").mkdir()
    (root / "best.partial").mkdir()
    assert Night.read(root).experiments == night.experiments
    assert (root / "experiments" / "0003.partial").exists() and (root / "best.partial").exists()
    with pytest.raises(AutoresearchError, match="no run"):
        Night.read(root.parent / "other")


def test_half_made_experiment_is_removed_and_its_number_given_again(root: Path) -> None:
    night = started(root)
    half = root / "experiments" / "0003.partial"
    half.mkdir()
    (half / "proposal.json").write_text("{}")
    night = Night.open(root, IDENTITY)
    assert not half.exists()
    assert night.add(proposal(parent=2)).number == 3


def test_numbers_go_on_after_a_gap_and_other_files_are_ignored(root: Path) -> None:
    night = started(root)
    shutil.rmtree(night.experiments[1].folder)
    (root / "experiments" / ".DS_Store").touch()
    (root / "experiments" / "notes").mkdir()
    night = Night.open(root, IDENTITY)
    assert [experiment.number for experiment in night.experiments] == [0, 2]
    assert night.add(proposal()).folder.name == "0003"


# --- runs -------------------------------------------------------------------------------------------------------------


def test_interrupted_run_is_emptied_and_used_again(root: Path) -> None:
    night = Night.open(root, IDENTITY)
    experiment = night.add(proposal())
    run(experiment, 1.5)
    interrupted = experiment.new_run_folder()
    (interrupted / "model.mlxfn").write_text("half")
    (interrupted / "result.json.partial").write_text("{")
    (interrupted / "locked").mkdir()
    (interrupted / "locked" / "file").touch()
    (interrupted / "locked").chmod(0o000)
    experiment = Night.open(root, IDENTITY).pending()
    assert experiment.scores == [1.5]
    folder = experiment.new_run_folder()
    assert folder == interrupted and list(folder.iterdir()) == []
    experiment.record_result(folder, score(1.7))
    assert experiment.new_run_folder().name == "3"
    assert experiment.scores == [1.5, 1.7] and experiment.mean_bpb == pytest.approx(1.6)


def test_failures_have_no_score(root: Path) -> None:
    night = Night.open(root, IDENTITY)
    experiment = night.add(proposal())
    assert experiment.mean_bpb is None
    experiment.record_result(experiment.new_run_folder(), RunResult(1, "nan", "loss is nan", float("nan"), steps=3))
    night = Night.open(root, IDENTITY)
    assert night.experiments[0].runs == [RunResult(1, "nan", "loss is nan", None, steps=3)]
    assert night.experiments[0].scores == [] and night.experiments[0].mean_bpb is None


def test_verdict_without_finite_noise_is_unknown(root: Path) -> None:
    experiment = Night.open(root, IDENTITY).add(proposal())
    experiment.record_verdict(Verdict(DISCARD, "s", 1.0, noise=float("inf"), details={"draws": [float("nan"), 1]}))
    verdict = Night.open(root, IDENTITY).experiments[0].verdict
    assert verdict == experiment.verdict
    assert verdict.noise is None and verdict.details == {"draws": [None, 1]}


# --- incumbent, pending, failures -------------------------------------------------------------------------------------


def test_incumbent_pending_failures(root: Path) -> None:
    night = Night.open(root, IDENTITY)
    assert night.incumbent() is None and night.pending() is None
    baseline = night.add(proposal())
    assert night.incumbent() is None and night.pending() is baseline
    run(baseline, 1.5)
    baseline.record_verdict(Verdict(INCONCLUSIVE, "the baseline", 1.5))
    assert night.incumbent() is baseline and night.pending() is None
    statuses = [CRASH, KEEP, CRASH, INCONCLUSIVE, CRASH, DISCARD]
    for status in statuses:
        finished(night, status, 1.4)
    assert night.incumbent().number == 2
    assert [experiment.number for experiment in night.failures(2)] == [3, 5]
    assert len(night.failures(9)) == 3 and night.failures(0) == []


def test_a_crashed_baseline_is_no_incumbent(root: Path) -> None:
    night = Night.open(root, IDENTITY)
    night.add(proposal()).record_verdict(Verdict(CRASH, "did not start"))
    assert night.incumbent() is None


# --- damage -----------------------------------------------------------------------------------------------------------

TORN = ["", "{", "[]", "null", '{"status": "keep"', '{"a": NaN}', "\x00" * 40, "[" * 100_000]


@pytest.mark.parametrize("text", [*TORN, '{"seed": 1, "val_bpb": "low"}', '{"seed": 1, "val_bpb": NaN}', "{}"])
def test_damaged_result_means_the_run_is_repeated(root: Path, text: str) -> None:
    night = started(root)
    folder = run(night.experiments[2], 1.39)
    (folder.parent / "1" / "result.json").write_text(text)
    night = Night.open(root, IDENTITY)
    assert len(night.damage) == 1 and "0002" in night.damage[0] and "result.json is damaged" in night.damage[0]
    assert night.experiments[2].scores == [1.39]
    assert night.experiments[2].new_run_folder().name == "1"


@pytest.mark.parametrize("text", [*TORN, '{"status": "great", "sentence": ""}', '{"status": "keep"}'])
def test_damaged_verdict_means_pending(root: Path, text: str) -> None:
    started(root).experiments[2].folder.joinpath("verdict.json").write_text(text)
    night = Night.open(root, IDENTITY)
    assert len(night.damage) == 1 and "verdict.json is damaged" in night.damage[0]
    assert night.pending().number == 2 and night.incumbent().number == 0
    assert night.pending().scores == [1.4]


@pytest.mark.parametrize("text", [*TORN, '{"description": 3}'])
def test_damaged_proposal_still_counts_as_what_was_measured(root: Path, text: str) -> None:
    started(root).experiments[2].folder.joinpath("proposal.json").write_text(text)
    night = Night.open(root, IDENTITY)
    assert len(night.damage) == 1 and "proposal.json is damaged" in night.damage[0]
    assert night.incumbent().number == 2 and night.incumbent().source == "# 2\n"
    assert night.incumbent().proposal.description == UNKNOWN_DESCRIPTION


def test_missing_proposal_counts_as_damaged(root: Path) -> None:
    started(root).experiments[2].folder.joinpath("proposal.json").unlink()
    assert "proposal.json" in Night.open(root, IDENTITY).damage[0]


@pytest.mark.parametrize("damage", ["gone", "edited", "no text", "empty folder"])
def test_lost_source_skips_the_experiment_but_not_its_number(root: Path, damage: str) -> None:
    night = started(root)
    source = night.experiments[2].folder / "train_mlx.py"
    if damage == "empty folder":
        shutil.rmtree(source.parent)
        source.parent.mkdir()
    elif damage == "gone":
        source.unlink()
    else:
        source.write_bytes(b"DEPTH = 9\n" if damage == "edited" else b"\xff\xfe")
    night = Night.open(root, IDENTITY)
    assert [experiment.number for experiment in night.experiments] == [0, 1] and list(night.skipped) == [2]
    assert night.incumbent().number == 0
    night.write_results()
    assert [row["status"] for row in results(root)] == [KEEP, DISCARD, "damaged"]
    assert night.add(proposal()).number == 3


@pytest.mark.parametrize("gone", ["train_mlx.py", ""])
def test_a_lost_baseline_ends_the_tag(root: Path, gone: str) -> None:
    baseline = started(root).experiments[0].folder
    shutil.rmtree(baseline) if not gone else (baseline / gone).unlink()
    with pytest.raises(AutoresearchError, match=r"baseline is lost.*--tag"):
        Night.open(root, IDENTITY)


# --- change.patch -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("A = 1\nB = 2\n", "A = 1\nB = 3\n"),
        ("A = 1", "A = 2"),
        ("A = 1\n", "A = 1"),
        ("A = '\x0c\u2028'\nB = 1\n", "A = '\x0c\u2028'\nB = 2\nC = 1"),
    ],
)
def test_patch_applies_with_git(tmp_path: Path, before: str, after: str) -> None:
    (tmp_path / "train_mlx.py").write_bytes(before.encode())
    (tmp_path / "change.patch").write_bytes(change_patch(before, after).encode())
    subprocess.run(["git", "apply", "--unidiff-zero", "change.patch"], cwd=tmp_path, check=True)
    assert (tmp_path / "train_mlx.py").read_bytes() == after.encode()


def test_patch_is_against_the_parent(root: Path) -> None:
    night = Night.open(root, IDENTITY)
    baseline, other = night.add(proposal("A = 1\n")), night.add(proposal("A = 2\n", parent=0))
    assert not (baseline.folder / "change.patch").exists()
    assert "-A = 1\n+A = 2\n" in (other.folder / "change.patch").read_text()


# --- results.tsv ------------------------------------------------------------------------------------------------------


def test_results_rows(root: Path) -> None:
    night = started(root)
    night.experiments[2].record_commit("0123456789" * 4)
    run(night.experiments[2], 1.3)
    crash = night.add(proposal("# c\n", description='tab\there\nand "there\x00\ud800', agent="search"))
    crash.record_result(crash.new_run_folder(), RunResult(1, "out of memory", "no room", total_seconds=12.2))
    crash.record_verdict(Verdict(CRASH, "no room"))
    night.add(proposal("# pending\n"))
    night.write_results()
    lines = (root / "results.tsv").read_text().splitlines()
    assert lines[0].split("\t") == list(RESULTS_COLUMNS) and len(lines) == 5
    assert RESULTS_COLUMNS[:5] == ("commit", "val_bpb", "memory_gb", "status", "description")
    baseline, _, kept, crashed = results(root)
    assert baseline["commit"] == "" and baseline["experiment"] == "0000"
    assert kept == {
        "commit": "0123456", "val_bpb": "1.400000", "memory_gb": "3.0", "status": "keep", "description": "an edit",
        "experiment": "0002", "test_bpb": "", "interval": "0.010000", "runs": "2", "steps": "100",
        "tokens_M": "2.50", "parameters_M": "1.25", "seconds": "621", "agent": "",
        "llm_tokens": "0", "usd": "0.0000",
    }  # fmt: skip
    assert crashed == dict.fromkeys(RESULTS_COLUMNS, "") | {
        "status": "crash", "description": "tab here and 'there", "experiment": "0003", "runs": "0", "seconds": "12",
        "agent": "search", "llm_tokens": "0", "usd": "0.0000",
    }  # fmt: skip
    assert "0.000000" not in (root / "results.tsv").read_text()


def test_edits_start_from_the_newest_promising_one_since_the_last_keep(root: Path) -> None:
    night = started(root)
    assert night.base() is night.incumbent()
    promising = finished(night, INCONCLUSIVE, 1.39, parent=2)
    promising.record_verdict(Verdict(INCONCLUSIVE, "so", 1.39, promising=True))
    finished(night, DISCARD, 1.5, parent=promising.number)
    assert Night.read(root).base().number == promising.number and night.incumbent().number == 2
    kept = finished(night, KEEP, 1.3, parent=promising.number)
    assert night.base() is night.incumbent() is kept


# --- best/ and models -------------------------------------------------------------------------------------------------


def test_best_is_the_incumbents_copy(root: Path, tmp_path: Path) -> None:
    night = started(root)
    tokenizer = tmp_path / "1024.json"
    tokenizer.write_text("{}")
    night.update_best(night.experiments[0], tokenizer)
    night.update_best(night.incumbent(), tokenizer)
    best = root / "best"
    assert sorted(path.name for path in best.iterdir()) == [
        *("model.mlxfn", "model.safetensors", "score.json", "tokenizer.json", "train_mlx.py")
    ]
    assert (best / "model.safetensors").read_text() == "weights 2 1"
    assert (best / "train_mlx.py").read_text() == "# 2\n"
    told = json.loads((best / "score.json").read_text())
    assert (told["experiment"], told["val_bpb"], told["runs"], told["dataset"]) == (2, 1.4, 1, "stories")
    assert told["claimed_gain"] is told["claimed_gain_half_width"] is None  # its verdict doesn't tell
    claims = Verdict(KEEP, "because", 1.4, 0.01, incumbent=0, expected_gain=0.08, gain_error=0.01)
    night.incumbent().record_verdict(claims)
    night.update_best(night.incumbent(), tokenizer)
    told = json.loads((best / "score.json").read_text())
    assert (told["claimed_gain"], told["claimed_gain_half_width"]) == (0.08, pytest.approx(0.0196))
    assert sorted(path.name for path in root.iterdir()) == ["best", "experiments", "identity.json"]


def test_best_survives_the_loss_of_its_run(root: Path) -> None:
    night = started(root)
    kept = night.incumbent()
    night.update_best(kept)
    (kept.run_folder(1) / "model.safetensors").unlink()
    night.update_best(kept)
    assert (root / "best" / "model.safetensors").read_text() == "weights 2 1"
    (night.experiments[0].run_folder(1) / "model.mlxfn").unlink()
    with pytest.raises(AutoresearchError, match="holds model"):
        night.update_best(night.experiments[0])


def test_best_takes_no_link_and_no_failed_run(root: Path, tmp_path: Path) -> None:
    night = Night.open(root, IDENTITY)
    experiment = night.add(proposal())
    for index in range(3):
        folder = run(experiment, 1.5, seed=index)
    (experiment.run_folder(1) / "model.mlxfn").unlink()
    (experiment.run_folder(1) / "model.mlxfn").symlink_to(tmp_path)
    experiment.record_result(experiment.run_folder(2), RunResult(2, "timeout"))
    night.update_best(experiment)
    assert folder.name == "3" and (root / "best" / "model.mlxfn").read_text() == "graph 0 3"


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"best": "old", "best.partial": "torn"}, "old"),
        ({"best.old": "old", "best.partial": "new"}, "new"),
        ({"best": "new", "best.old": "old"}, "new"),
        ({"best.old": "old"}, "old"),
        ({"best.partial": "torn"}, None),
        ({}, None),
    ],
)
def test_swap_cut_short_is_put_right(root: Path, state: dict[str, str], expected: str | None) -> None:
    Night.open(root, IDENTITY)
    for name, content in state.items():
        (root / name).mkdir()
        (root / name / "model.mlxfn").write_text(content)
    Night.open(root, IDENTITY)
    best = root / "best" / "model.mlxfn"
    assert (best.read_text() if best.exists() else None) == expected
    assert not (root / "best.old").exists() and not (root / "best.partial").exists()


def test_models_of_baseline_and_keeps_only(root: Path) -> None:
    night = started(root)
    run(night.experiments[2], 1.41)
    interrupted = night.experiments[2].new_run_folder()
    (interrupted / "model.mlxfn").touch()
    (night.experiments[1].new_run_folder() / "model.mlxfn").mkdir()
    pending = night.add(proposal("# pending\n"))
    run(pending, 1.2)
    night.drop_models()
    left = sorted(str(path.relative_to(root / "experiments")) for path in root.glob("experiments/*/runs/*/model.*"))
    assert left == [
        *("0000/runs/1/model.mlxfn", "0000/runs/1/model.safetensors"),
        *("0002/runs/1/model.mlxfn", "0002/runs/1/model.safetensors"),
        *("0003/runs/1/model.mlxfn", "0003/runs/1/model.safetensors"),
    ]
    assert not interrupted.exists(), "a run that was cut short and is not wanted any more"


# --- lock -------------------------------------------------------------------------------------------------------------

HOLDER = "import sys, time; from pathlib import Path; from mlx_autoresearch.night_lock import NightLock\n"


def test_second_loop_is_told_the_process_and_a_kill_frees_the_lock(root: Path) -> None:
    code = HOLDER + "lock = NightLock(Path(sys.argv[1])); lock.__enter__(); print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code, root], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(AutoresearchError, match=rf"another loop \(process {holder.pid}.*--tag"), NightLock(root):
            pass
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with NightLock(root):
        assert json.loads((root / "lock").read_text())["pid"] == os.getpid()
        with pytest.raises(AutoresearchError, match="another loop"), NightLock(root):
            pass
    with NightLock(root):
        pass


# --- kill -9 ----------------------------------------------------------------------------------------------------------

WORK = textwrap.dedent(
    '''
    import os, sys
    from pathlib import Path
    from mlx_autoresearch.history import Night, RunIdentity
    from mlx_autoresearch.night_lock import NightLock
    from mlx_autoresearch.records import DISCARD, KEEP, Proposal, RunResult, Verdict

    IDENTITY = RunIdentity("stories", "f00d", 300.0, "M4, 16 GB", "1", 256)

    def work(root, said, rounds):
        """A small loop: resumes what is pending, then adds; says each thing once it is recorded."""
        night = Night.open(root, IDENTITY)
        assert night.damage == []
        for _ in range(rounds):
            number = len(night.experiments)
            experiment = night.pending() or night.add(Proposal(f"# {number}\\n", "edit", parent=number - 1 or None))
            said("added", experiment.number)
            while len(experiment.runs) < 2:
                folder = experiment.new_run_folder()
                for name in ("model.mlxfn", "model.safetensors"):
                    (folder / name).write_text(f"{experiment.number}")
                value = 2.0 - experiment.number / 1000 + int(folder.name) / 10000
                experiment.record_result(folder, RunResult(1, val_bpb=value))
                said("result", experiment.number, folder.name, value)
            status = DISCARD if experiment.number % 3 else KEEP
            experiment.record_verdict(Verdict(status, "so", experiment.mean_bpb))
            said("verdict", experiment.number, status)
            if experiment.kept:
                experiment.record_commit("c" * 40)
                night.update_best(experiment)
                said("best", experiment.number)
            night.drop_models()
            night.write_results()
    '''
)


def assert_consistent(root: Path, said: list[list[str]]) -> None:
    """Everything that was said is on disk, nothing is damaged, and nothing half made is left after opening."""
    night = Night.open(root, IDENTITY)
    assert night.damage == [] and night.skipped == {}
    assert [experiment.number for experiment in night.experiments] == list(range(len(night.experiments)))
    assert [e.number for e in night.experiments if e.verdict is None] in ([], [len(night.experiments) - 1])
    assert not [path for path in root.rglob("*.partial") if path.is_dir()] and not (root / "best.old").exists()
    for kind, number, *more in said:
        experiment = night.experiments[int(number)]
        assert experiment.source == f"# {number}\n"
        if kind == "result":
            assert experiment.results[int(more[0])].val_bpb == float(more[1])
        elif kind == "verdict":
            assert experiment.verdict.status == more[0]
        elif kind == "best":
            least = int(number)
            assert int((root / "best" / "model.mlxfn").read_text()) >= least
            assert experiment.model_run() == 1 and experiment.commit
    if (root / "best").exists():
        number = json.loads((root / "best" / "score.json").read_text())["experiment"]
        for name in ("model.mlxfn", "model.safetensors"):
            assert (root / "best" / name).read_text() == str(number)
    night.write_results()
    assert len(results(root)) == sum(experiment.verdict is not None for experiment in night.experiments)


def test_kill_at_random_instants_loses_nothing_recorded(tmp_path: Path, root: Path) -> None:
    """20 times SIGKILL to a real process at a random instant (about 6 s)."""
    code = WORK + textwrap.dedent(
        """
        log = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        with NightLock(Path(sys.argv[1])):
            os.write(1, b"started\\n")
            work(Path(sys.argv[1]), lambda *words: os.write(log, (" ".join(map(str, words)) + "\\n").encode()), 10**6)
        """
    )
    said = tmp_path / "said"
    chance = random.Random(0)
    for _ in range(20):
        child = subprocess.Popen(
            [sys.executable, "-c", code, root, said], cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        child.stdout.readline()
        time.sleep(chance.uniform(0, 0.12))
        child.kill()
        _, complaints = child.communicate()
        assert child.returncode == -signal.SIGKILL, complaints.decode()
        assert_consistent(root, [line.split() for line in said.read_text().splitlines()] if said.exists() else [])
    assert len(Night.read(root).experiments) > 1


def test_kill_at_every_file_operation(tmp_path: Path) -> None:
    """Four experiments, ended at the first file operation, the second, and so on to the last (about 3 s)."""
    scope: dict[str, object] = {}
    exec(WORK, scope)
    events = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}
    for last in range(1, 1000, 3):
        root, log = tmp_path / str(last), tmp_path / f"{last}.said"
        log.touch()
        child = os.fork()
        if child == 0:
            _work_until(last, events, scope["work"], root, log)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert ended in (0, 9)
        assert_consistent(root, [line.split() for line in log.read_text().splitlines()])
        if ended == 0:
            break
        shutil.rmtree(root)
    assert last > 100


def _work_until(last: int, events: set[str], work: object, root: Path, log: Path) -> None:
    """In the forked child: work, and be gone without any clean-up just before file operation `last`."""
    seen = 0

    def watch(event: str, _: object) -> None:
        nonlocal seen
        if event in events:
            seen += 1
            if seen == last:
                os._exit(9)

    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
        sys.addaudithook(watch)
        work(root, lambda *words: os.write(descriptor, (" ".join(map(str, words)) + "\n").encode()), 4)
        os._exit(0)
    except BaseException:
        os._exit(1)
