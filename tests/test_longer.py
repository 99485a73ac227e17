"""Training longer: the same runs as the night's, finished ones are not repeated, and one sentence says what holds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from trained_night import TINY_TRAIN, identity_of

from mlx_autoresearch import experiment, longer
from mlx_autoresearch.chosen_model import choose_model
from mlx_autoresearch.curve import CURVE_FILE, read_points
from mlx_autoresearch.dataset import Dataset
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.experiment import Laboratory, Progress
from mlx_autoresearch.export import export_model
from mlx_autoresearch.fixed_files import FixedFiles
from mlx_autoresearch.history import Experiment, Night
from mlx_autoresearch.longer import LongerTraining, open_dataset_of, outcome, summary, trained_longer
from mlx_autoresearch.night_lock import NightLock
from mlx_autoresearch.paths import PROJECT
from mlx_autoresearch.records import KEEP, Proposal, RunResult, Verdict
from mlx_autoresearch.report.terminal import Terminal
from mlx_autoresearch.sandbox import NO_SANDBOX
from mlx_autoresearch.sandbox.choice import choose
from mlx_autoresearch.settings import CHECKPOINT_FILE

BASELINE, BEST = (1.31, 1.32), (1.28, 1.29)


def add(night: Night, source: str, scores: tuple[float, ...], description: str = "an edit") -> Experiment:
    experiment = night.add(Proposal(source, description))
    for seed, score in enumerate(scores, 1):
        result = RunResult(seed, val_bpb=score, test_bpb=score - 0.02, vocab_size=256, steps=1000, started=1e9 + seed)
        experiment.record_result(experiment.new_run_folder(), result)
    return experiment


@pytest.fixture
def night(dataset: Dataset, tmp_path: Path) -> Night:
    """A night whose best file gained 0.03, of which 0.025 is claimed."""
    night = Night.open(tmp_path / "nov25", identity_of(dataset, 300.0))
    add(night, "# a\n", BASELINE, "baseline").record_verdict(Verdict(KEEP, "first", 1.315, 0.01))
    kept = Verdict(KEEP, "better", 1.285, 0.01, incumbent=0, expected_gain=0.025, gain_error=0.01)
    add(night, "# b\n", BEST, "more | depth").record_verdict(kept)
    return night


def record_of(night: Night, best: tuple[float, ...], baseline: tuple[float, ...] = ()) -> Night:
    record = Night.open(night.root / "longer" / "3600s", replace(night.identity, budget_seconds=3600.0))
    add(record, "# b\n", best)
    if baseline:
        add(record, "# a\n", baseline)
    return record


@pytest.mark.parametrize(
    ("best", "baseline", "words"),
    [
        ((1.10, 1.11), (1.20, 1.21), "The gain holds."),
        ((1.20, 1.21), (1.10, 1.11), "The gain does not hold."),
        ((1.20,), (1.203,), "Whether the gain holds can't be told"),
        ((1.19,), (1.203,), "Whether the gain holds can't be told"),
        ((1.20,), (), "only the baseline trained as long can tell: --compare"),
    ],
)
def test_one_sentence_says_whether_the_gain_holds(
    night: Night, best: tuple[float, ...], baseline: tuple[float, ...], words: str
) -> None:
    said = outcome(night, record_of(night, best, baseline))
    assert words in said and f"val_bpb {sum(best) / len(best):.4f}" in said
    if baseline:
        gain = sum(baseline) / len(baseline) - sum(best) / len(best)
        assert "claims +0.0250 after 300 s" in said and f"{gain:+.4f} on test text" in said


def test_a_best_that_is_the_baseline_has_no_gain(dataset: Dataset, tmp_path: Path) -> None:
    night = Night.open(tmp_path / "nov25", identity_of(dataset))
    add(night, "# b\n", BASELINE).record_verdict(Verdict(KEEP, "first", 1.315, 0.01))
    assert "nothing was kept" in outcome(night, record_of(night, (1.2,)))


def test_the_summary_has_a_row_for_each_file(night: Night) -> None:
    record = record_of(night, (1.10, 1.12), (1.20,))
    rows = [line for line in summary(night, record) if line.startswith(("| 0", "| 1"))]
    assert rows == [
        "| 0: baseline | 1.3150 | 1.2950 | 1.2000 | 1.1800 | 1: 1,000 |",
        "| 1: more \\| depth | 1.2850 | 1.2650 | 1.1100 | 1.0900 | 2: 1,000, 1,000 |",
    ]


def test_scores_that_do_not_compare_are_refused(
    night: Night, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLX_AUTORESEARCH_DATA", str(dataset.folder.parent))
    assert open_dataset_of(night).name == dataset.name
    night.identity = replace(night.identity, harness="0")
    with pytest.raises(AutoresearchError, match="version 0 of the contract"):
        open_dataset_of(night)
    night.identity = replace(night.identity, dataset_fingerprint="other")
    with pytest.raises(AutoresearchError, match="prepared anew"):
        open_dataset_of(night)


@pytest.fixture
def own_night(dataset: Dataset, tmp_path: Path) -> Night:
    """A night whose files train within a second."""
    night = Night.open(tmp_path / "runs" / "nov24", identity_of(dataset))
    source = TINY_TRAIN.read_text(encoding="utf-8")
    add(night, source, (1.1,)).record_verdict(Verdict(KEEP, "first", 1.1, 0.01))
    source = source.replace("LEARNING_RATE = 0.5", "LEARNING_RATE = 0.4")
    add(night, source, (1.0,)).record_verdict(Verdict(KEEP, "better", 1.0, 0.01))
    return night


def run(night: Night, dataset: Dataset, *arguments: str) -> subprocess.CompletedProcess:
    variables = {"MLX_AUTORESEARCH_RUNS": str(night.root.parent), "MLX_AUTORESEARCH_DATA": str(dataset.folder.parent)}
    command = [sys.executable, "-m", "mlx_autoresearch.longer", "--tag", night.root.name, *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, env=os.environ | variables)


def test_finished_runs_are_kept_and_an_interrupted_one_begins_anew(
    own_night: Night, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(own_night, dataset, "--budget", "4", "--no-sandbox")
    assert done.returncode == 0, done.stderr
    assert "Training: run 1, 4 s" in done.stdout and "--compare" in done.stdout
    root = own_night.root / "longer" / "4s"
    first = Night.read(root).experiments[0].runs[0]
    assert first.val_bpb and first.test_bpb and first.sandbox == "none"
    interrupted = root / "experiments" / "0000" / "runs" / "2"
    interrupted.mkdir()
    (interrupted / "model.mlxfn").write_text("half")
    again = run(own_night, dataset, "--budget", "4", "--no-sandbox", "--compare")
    assert again.returncode == 0, again.stderr
    record = Night.read(root)
    assert again.stdout.count("Training: run 1") == 1 and [len(each.runs) for each in record.experiments] == [1, 1]
    assert record.experiments[0].runs[0] == first
    text = (root / "summary.md").read_text()
    assert outcome(own_night, record) in text and outcome(own_night, record) in again.stdout
    assert trained_longer(record, own_night.experiments[0]).number == 1
    monkeypatch.setenv("MLX_AUTORESEARCH_DATA", str(dataset.folder.parent))
    chosen = choose_model(own_night.root, "longer")
    assert chosen.sentence().startswith("best, trained 4 s: a longer training of night nov24")
    card = (export_model(chosen, tmp_path / "stories") / "README.md").read_text()
    assert "trained from scratch for 4 seconds, longer than the night's runs" in card and "after 4 s" in card


@pytest.mark.parametrize("confined", [False, True])
def test_a_run_that_was_cut_off_goes_on_from_its_checkpoint(
    confined: bool, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = NO_SANDBOX
    if confined:
        choice = choose()
        if not choice.works:
            pytest.skip("; ".join(choice.problems))
        sandbox = choice.sandbox
        monkeypatch.setattr(experiment, "file_to_share", lambda: None)  # compiling the own file takes a minute
    monkeypatch.setattr(longer, "CHECKPOINT_SECONDS", 0.5)
    night = Night.open(tmp_path / "nov24", identity_of(dataset))
    source = TINY_TRAIN.read_text(encoding="utf-8").replace("STEPS = 15", "STEPS = 1_000_000")
    source = source.replace("    step = 0\n", "    step = clock.resume(data, model)\n")
    add(night, source, (1.1,)).record_verdict(Verdict(KEEP, "first", 1.1, 0.01))
    record = Night.open(night.root / "longer" / "6s", replace(night.identity, budget_seconds=6.0))
    seen: list[dict] = []

    def stop_after(seconds: float) -> Callable[[Progress], None]:
        def look(progress: Progress) -> None:
            seen.append(progress.point)
            if progress.stage == "train" and progress.point.get("seconds", 0.0) > seconds:
                raise KeyboardInterrupt

        return look

    def training(on_progress: Callable[[Progress], None]) -> LongerTraining:
        laboratory = Laboratory(dataset.folder, 6.0, on_progress, sandbox)
        return LongerTraining(night, record, laboratory, FixedFiles.of(dataset), Terminal(plain=True))

    with pytest.raises(KeyboardInterrupt):
        training(stop_after(3.0)).train(night.experiments, 1)
    before = seen[-1]
    training(stop_after(100.0)).train(night.experiments, 1)
    run = record.experiments[0].runs[0]
    assert run.failure is None and 1.0 < run.resumed_seconds < before["seconds"] + 0.5
    points = read_points(record.experiments[0].run_folder(1) / CURVE_FILE)
    steps = [point["step"] for point in points]
    assert steps == sorted(steps) and points[0]["seconds"] < 2 and points[-1]["seconds"] > 4
    after = next(point for point in points if point["seconds"] > run.resumed_seconds + 0.5)
    assert after["step"] > 20 and after["loss"] < points[0]["loss"] - 0.3  # it did not learn from nothing again
    assert 5 < run.training_seconds < 8 and not (record.experiments[0].run_folder(1) / CHECKPOINT_FILE).exists()
    assert "(1 resumed)" in "\n".join(summary(night, record))


def test_what_can_not_be_done_is_said(own_night: Night, dataset: Dataset) -> None:
    with NightLock(own_night.root):
        busy = run(own_night, dataset, "--budget", "4", "--no-sandbox")
    own_night.root = own_night.root.with_name("none")
    lost = run(own_night, dataset, "--budget", "4")
    for done, words in ((busy, "is working on this tag"), (lost, "there is no run in")):
        assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr
    assert not own_night.root.exists()
