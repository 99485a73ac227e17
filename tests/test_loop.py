"""The loop: its decisions with a made-up laboratory, and the whole of it for real, killed in the middle."""

from __future__ import annotations

import io
import itertools
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from small_project import make_project, small_source
from waiting import wait_until

from mlx_autoresearch import briefings, conditions_meter, machine_watch
from mlx_autoresearch import loop as loop_module
from mlx_autoresearch.agents.briefing import Briefing
from mlx_autoresearch.agents.briefing_text import changing_text
from mlx_autoresearch.arguments import build_parser
from mlx_autoresearch.briefings import Briefer
from mlx_autoresearch.conditions import Conditions, ConditionsLog
from mlx_autoresearch.dataset import Dataset
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.fixed_files import FixedFiles
from mlx_autoresearch.history import Night, RunIdentity
from mlx_autoresearch.knobs import read_knobs, write_knobs
from mlx_autoresearch.loop import Limits, Loop
from mlx_autoresearch.machine_watch import MachineWatch
from mlx_autoresearch.night_clock import NightClock
from mlx_autoresearch.noise import Noise
from mlx_autoresearch.opening import choose_tag, dataset_of
from mlx_autoresearch.records import CRASH, DISCARD, INCONCLUSIVE, KEEP, STOPPED_EARLY, Proposal, RunResult
from mlx_autoresearch.report.terminal import Terminal
from mlx_autoresearch.thinking import DirectThinking, Researcher
from mlx_autoresearch.timeline import Timeline
from mlx_autoresearch.tokens.tokenizer import VOCAB_SIZES

IDENTITY = RunIdentity("simple", "f" * 64, 300.0, "a machine", "1", 256)


class MadeUpLaboratory:
    """Scores a file by its MATRIX_LR: 1 + |rate - 0.05|, plus a given sequence of noise; writes a model as well."""

    budget_seconds = 300.0

    def __init__(self, noise: Iterator[float] | None = None):
        self.noise = noise or iter(lambda: 0.0, 1)
        self.runs: list[tuple[str, int]] = []
        self.closer_look: Callable[[RunResult], RunResult] = lambda result: result

    def smoke(self, training_file: Path, folder: Path) -> RunResult | None:
        if "fails in smoke" in training_file.read_text():
            return RunResult(0, failure="python error", reason="ValueError: no")
        return None

    def run(self, training_file: Path, folder: Path, seed: int, splits: tuple[str, ...]) -> RunResult:
        self.runs.append((training_file.parent.name, seed))
        source = training_file.read_text()
        if "fails in training" in source:
            return RunResult(seed, failure="nan", reason="the loss is nan")
        if "interrupt" in source:
            raise KeyboardInterrupt
        (folder / "model.mlxfn").write_bytes(b"graph")
        (folder / "model.safetensors").write_bytes(b"weights")
        bpb = 1 + abs(read_knobs(source, 0)["MATRIX_LR"].value - 0.05) + next(self.noise)
        test_bpb = bpb + 0.01 if "test" in splits else None
        return RunResult(seed, val_bpb=bpb, test_bpb=test_bpb, tokens=10, steps=1, vocab_size=1024)

    def score(self, folder: Path, result: RunResult, splits: list[str], every_cut: bool) -> RunResult:
        assert splits == ["test"] and every_cut
        return self.closer_look(result)


class Script:
    """An agent that proposes what it is told, one edit of the incumbent's file after the other."""

    name = "script"
    thinks_ahead = False

    def __init__(self, edits: list[Callable[[str], str]]):
        self.edits = iter(edits)
        self.briefings: list[Briefing] = []

    def close(self) -> None:
        pass

    def propose(self, briefing: Briefing) -> Proposal:
        self.briefings.append(briefing)
        edit = next(self.edits, None)
        if edit is None:
            raise AutoresearchError("nothing left")
        return Proposal(
            edit(briefing.source), "an edit", agent=self.name, parent=briefing.incumbent, repairs=briefing.repair
        )


def rate(value: float) -> Callable[[str], str]:
    return lambda source: write_knobs(source, {"MATRIX_LR": value}, 0)


def mark(words: str) -> Callable[[str], str]:
    return lambda source: source.replace("import math\n", f"import math\n\nassert {words!r}\n")


def make_loop(
    root: Path, edits: list, laboratory: MadeUpLaboratory | None = None, experiments: int | None = None
) -> Loop:
    root.mkdir(exist_ok=True)
    (root / "tokenizer").write_text("{}")
    splits = {"train": {"text_bytes": 4, "tokens": {str(size): 1 for size in VOCAB_SIZES}}}
    dataset = SimpleNamespace(tokenizer_file=lambda vocab_size: root / "tokenizer", manifest={"splits": splits})
    night = Night.open(root, IDENTITY)
    terminal = Terminal(Console(file=io.StringIO(), width=200))
    agent, timeline = Script(edits), Timeline(root / "timeline.jsonl")
    return Loop(
        night=night,
        laboratory=laboratory or MadeUpLaboratory(),
        dataset=dataset,
        agent=agent,
        thinking=DirectThinking(Researcher(agent, terminal.say, timeline)),
        stand_in=Script([rate(0.3 + 0.01 * number) for number in range(20)]),
        branch=None,
        terminal=terminal,
        timeline=timeline,
        briefer=Briefer(night, dataset, "a machine", 0, 300.0),
        limits=Limits(len(edits) if experiments is None else experiments),
        machine_class=0,
        fixed_files=FixedFiles(root, {}, root, {}, ""),
        machine_watch=MachineWatch(ConditionsLog.open(root / "conditions.jsonl"), 300.0, terminal.say),
        clock=NightClock(0.0),
    )


@pytest.fixture(autouse=True)
def small_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "train_mlx.py").write_text(small_source())
    (project / "program.md").write_text("the program")
    monkeypatch.setattr(loop_module, "PROJECT", project)
    monkeypatch.setattr(briefings, "PROJECT", project)
    monkeypatch.setattr(machine_watch, "run_probe", lambda: None)
    monkeypatch.setattr(conditions_meter, "read_counters", lambda: None)  # other tests may keep the machine busy
    monkeypatch.setattr(loop_module, "update_report", lambda *_: None)  # it has tests of its own, and takes its time


def statuses(loop: Loop) -> list[str]:
    return [experiment.verdict.status for experiment in loop.night.experiments]


def shown(loop: Loop) -> str:
    return loop.terminal.console.file.getvalue()


def test_baseline_discard_inconclusive_and_crashes(tmp_path: Path) -> None:
    edits = [rate(0.3), rate(0.05), mark("fails in smoke"), mark("fails in training")]
    noise = iter([0.0, 0.0001, 0.0, -0.02, 0.05, *[0.0] * 100])  # the second edit is lucky once and then not
    laboratory = MadeUpLaboratory(noise)
    loop = make_loop(tmp_path / "night", edits, laboratory)
    loop.run()
    assert statuses(loop) == [KEEP, DISCARD, INCONCLUSIVE, CRASH, CRASH]
    sentences = [experiment.verdict.sentence for experiment in loop.night.experiments]
    assert "smoke" in sentences[3] and "the loss is nan" in sentences[4]
    assert loop.night.experiments[3].verdict.details == {"failure": "python error", "footprint_bytes": None}
    assert laboratory.runs[:3] == [("0000", 1), ("0000", 2), ("0001", 1)]
    table = (tmp_path / "night" / "results.tsv").read_text().splitlines()
    assert len(table) == 6 and "0.000000" not in (tmp_path / "night" / "results.tsv").read_text()
    assert [entry.status for entry in loop.agent.briefings[-1].history] == statuses(loop)[:-1]
    assert loop.agent.briefings[0].program == "the program" and "an edit" in shown(loop)


def test_a_run_that_was_stopped_early_is_a_discard(tmp_path: Path) -> None:
    loop = make_loop(tmp_path / "night", [mark("hopeless"), rate(0.9)])
    works = loop.laboratory.run
    loop.laboratory.run = lambda file, folder, seed, splits: (
        RunResult(seed, failure=STOPPED_EARLY, reason="at 20% of its time it lagged")
        if "hopeless" in file.read_text()
        else works(file, folder, seed, splits)
    )
    loop.run()
    assert statuses(loop) == [KEEP, DISCARD, DISCARD]
    assert loop.night.experiments[1].verdict.sentence == "Run 1 was stopped early: at 20% of its time it lagged."
    assert loop.agent.briefings[-1].repair is None and loop.agent.briefings[-1].history[1].val_bpb is None


def test_an_incumbent_that_is_due_runs_before_the_next_edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    due = iter([False, True])
    monkeypatch.setattr(loop_module.verdict, "is_due", lambda runs, now: next(due))
    loop = make_loop(tmp_path / "night", [rate(0.9), rate(0.8)])
    loop.run()
    assert [name for name, _ in loop.laboratory.runs] == ["0000", "0000", "0001", "0000", "0002"]
    started = [run.started for experiment in loop.night.experiments for run in experiment.runs]
    assert all(abs(loop.clock.now() - when) < 60 for when in started)


def test_the_same_score_in_fewer_lines_is_kept_and_says_so(tmp_path: Path) -> None:
    baseline = loop_module.PROJECT / "train_mlx.py"
    baseline.write_text(mark("long-winded")(baseline.read_text()))
    laboratory = MadeUpLaboratory(itertools.cycle([0.0005, -0.0005]))
    laboratory.closer_look = lambda result: RunResult(**{**vars(result), "test_bpb": 2.0})
    shorter = [lambda source: source.replace("\nassert 'long-winded'\n", "\n")]
    loop = make_loop(tmp_path / "night", shorter, laboratory)
    loop.prior_noise = Noise(0.0005, 12)
    loop.run()
    assert statuses(loop) == [KEEP, KEEP] and "1 lines of code less" in loop.night.experiments[1].verdict.sentence


def test_duplicates_and_broken_files_cost_no_run_and_something_else_is_tried(tmp_path: Path) -> None:
    edits = [rate(0.9), rate(0.9), lambda source: "def :", lambda source: source + "unread = 1\n"]
    loop = make_loop(tmp_path / "night", edits, experiments=4)
    loop.run()
    assert statuses(loop) == [KEEP, DISCARD, DISCARD, DISCARD, DISCARD]
    agents = [experiment.proposal.agent for experiment in loop.night.experiments]
    assert agents == ["person", "script", "script", "script", "script"]
    words = shown(loop)
    assert "The same program was tried before, as experiment 1" in words and "not valid Python" in words
    assert "changes nothing that the program reads" in words
    # While nobody has a proposal the incumbent is measured again, and only then the stand-in proposes.
    assert len(loop.night.experiments[0].runs) == loop_module.IDLE_RUNS
    stand_in = [experiment.source for experiment in loop.night.experiments[2:]]
    assert stand_in[0] == rate(0.3)(loop.night.experiments[0].source)


def test_a_proposal_for_an_older_incumbent_is_carried_over_or_dropped(tmp_path: Path) -> None:
    baseline = loop_module.PROJECT / "train_mlx.py"
    baseline.write_text(rate(0.5)(baseline.read_text()))
    old = baseline.read_text()
    loop = make_loop(tmp_path / "night", [rate(0.05)])
    loop.laboratory.closer_look = lambda result: RunResult(**{**vars(result), "test_bpb": 2.0})
    loop.run()
    assert loop.night.incumbent().number == 1
    briefing = loop._briefing()
    elsewhere = Proposal(write_knobs(old, {"WARMDOWN": 0.3}, 0), "another knob", agent="script", parent=0)
    fitted = loop._fitted(elsewhere, briefing)
    assert fitted.parent == 1
    assert {name: read_knobs(fitted.source, 0)[name].value for name in ("MATRIX_LR", "WARMDOWN")} == {
        "MATRIX_LR": 0.05,
        "WARMDOWN": 0.3,
    }
    assert loop._fitted(Proposal(rate(0.07)(old), "the same knob", agent="script", parent=0), briefing) is None
    assert "does not fit the file of experiment 1" in shown(loop)


def test_a_crash_comes_back_to_its_author_for_at_most_two_repairs(tmp_path: Path) -> None:
    edits = [mark(f"fails in training {number}") for number in range(5)]
    loop = make_loop(tmp_path / "night", edits)
    loop.run()
    repairs = [briefing.repair for briefing in loop.agent.briefings]
    assert repairs == [None, 1, 2, None, 4]
    assert [experiment.proposal.repairs for experiment in loop.night.experiments[1:]] == repairs


def test_real_gain_is_kept_with_test_score_and_becomes_the_incumbent(tmp_path: Path) -> None:
    laboratory = MadeUpLaboratory()
    laboratory.closer_look = lambda result: RunResult(**{**vars(result), "test_bpb": 2.0})
    edits = [lambda s: rate(0.9)(s), rate(0.05), rate(0.2)]
    baseline = loop_module.PROJECT / "train_mlx.py"
    baseline.write_text(rate(0.5)(baseline.read_text()))
    loop = make_loop(tmp_path / "night", edits, laboratory)
    loop.run()
    assert statuses(loop) == [KEEP, DISCARD, KEEP, DISCARD]
    kept = loop.night.experiments[2]
    assert kept.test_bpb == 2.0 and loop.night.incumbent() is kept
    assert loop.agent.briefings[-1].source == kept.source and loop.agent.briefings[-1].incumbent == 2
    assert (tmp_path / "night" / "best" / "train_mlx.py").read_text() == kept.source
    assert not (loop.night.experiments[3].run_folder(1) / "model.mlxfn").exists()


def test_edits_build_on_a_promising_one_until_both_are_kept(tmp_path: Path) -> None:
    baseline = loop_module.PROJECT / "train_mlx.py"
    baseline.write_text(rate(0.058)(baseline.read_text()))
    laboratory = MadeUpLaboratory(itertools.repeat(0.0))
    laboratory.closer_look = lambda result: RunResult(**{**vars(result), "test_bpb": 2.0})
    loop = make_loop(tmp_path / "night", [rate(0.0555), rate(0.0565), rate(0.0515), rate(0.07)], laboratory)
    loop.prior_noise = Noise(0.002, 1000)
    loop.run()
    assert statuses(loop) == [KEEP, INCONCLUSIVE, DISCARD, KEEP, DISCARD]
    experiments = loop.night.experiments
    assert [experiment.proposal.parent for experiment in experiments] == [None, 0, 1, 1, 3]
    assert [experiment.verdict.incumbent for experiment in experiments] == [None, 0, 0, 0, 3]
    assert "holds what was promising in experiment 1" in experiments[3].verdict.sentence
    assert loop.agent.briefings[1].source == experiments[1].source
    assert "promising, but not kept yet" in changing_text(loop.agent.briefings[1])
    assert "The last keep is 0.00" in changing_text(loop.agent.briefings[3])
    assert (tmp_path / "night" / "best" / "train_mlx.py").read_text() == experiments[3].source


def test_refused_at_the_closer_look_is_no_keep(tmp_path: Path) -> None:
    laboratory = MadeUpLaboratory()
    laboratory.closer_look = lambda result: RunResult(**{**vars(result), "failure": "refused", "reason": "It peeks."})
    baseline = loop_module.PROJECT / "train_mlx.py"
    baseline.write_text(rate(0.5)(baseline.read_text()))
    loop = make_loop(tmp_path / "night", [rate(0.05)], laboratory)
    loop.run()
    assert statuses(loop) == [KEEP, CRASH] and "It peeks." in loop.night.experiments[1].verdict.sentence
    assert loop.night.incumbent().number == 0


def test_interrupted_experiment_is_taken_up_again(tmp_path: Path) -> None:
    laboratory = MadeUpLaboratory()
    loop = make_loop(tmp_path / "night", [mark("interrupt")], laboratory)
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    pending = loop.night.pending()
    assert pending.number == 1 and pending.runs == []
    (pending.folder / "train_mlx.py").read_text()
    again = make_loop(tmp_path / "night", [], MadeUpLaboratory(), experiments=1)
    again.laboratory.run = lambda file, folder, seed, splits: RunResult(seed, val_bpb=3.0)
    again.run()
    assert statuses(again) == [KEEP, DISCARD] and again.agent.briefings == []


def test_failed_run_whose_verdict_was_lost_is_decided_on_resume(tmp_path: Path) -> None:
    loop = make_loop(tmp_path / "night", [mark("fails in training")])
    loop.run()
    (loop.night.experiments[1].folder / "verdict.json").unlink()
    again = make_loop(tmp_path / "night", [], experiments=1)
    again.run()
    assert statuses(again) == [KEEP, CRASH] and again.laboratory.runs == []


def test_baseline_that_fails_ends_with_a_sentence(tmp_path: Path) -> None:
    baseline = loop_module.PROJECT / "train_mlx.py"
    baseline.write_text(mark("fails in training")(baseline.read_text()))
    for _ in range(2):  # also when started again
        with pytest.raises(AutoresearchError, match=r"baseline failed.*the loss is nan"):
            make_loop(tmp_path / "night", [rate(0.1)]).run()
    assert "crash" in (tmp_path / "night" / "results.tsv").read_text()


def test_endless_failures_end_the_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "CRASHES_IN_A_ROW", 3)
    edits = [mark(f"fails in smoke {number}") for number in range(9)]
    loop = make_loop(tmp_path / "night", edits)
    works = loop.laboratory.run
    loop.laboratory.run = lambda file, folder, seed, splits: (
        works(file, folder, seed, splits) if seed < 3 else RunResult(seed, failure="killed", reason="no room")
    )
    with pytest.raises(AutoresearchError, match=r"last 3 experiments all failed.*incumbent fails too"):
        loop.run()


def test_endless_failures_of_the_edits_alone_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "CRASHES_IN_A_ROW", 3)
    loop = make_loop(tmp_path / "night", [mark(f"fails in smoke {number}") for number in range(7)])
    loop.run()
    assert statuses(loop) == [KEEP, *[CRASH] * 7]
    assert len(loop.night.experiments[0].runs) == 2 + 2 and "The last 6 experiments all failed" in shown(loop)


def test_a_stand_in_that_has_nothing_left_does_not_end_a_night_that_waits(tmp_path: Path) -> None:
    loop = make_loop(tmp_path / "night", [rate(0.9), lambda source: source, rate(0.8)], experiments=2)
    loop.stand_in = Script([])
    loop.run()
    assert statuses(loop) == [KEEP, DISCARD, DISCARD]
    again = make_loop(tmp_path / "night", [], experiments=3)
    again.stand_in = Script([])
    again.thinking._researcher.retired = "the key expired"
    with pytest.raises(AutoresearchError, match="Nobody has anything left to propose"):
        again.run()


def test_a_program_too_deep_to_compare_is_refused_and_the_tag_stays_usable(tmp_path: Path) -> None:
    deep = mark("x" * 3)
    loop = make_loop(
        tmp_path / "night", [lambda s: deep(s).replace("'xxx'", " + ".join(["1"] * 600)), rate(0.9)], experiments=1
    )
    loop.run()
    assert statuses(loop) == [KEEP, DISCARD] and "nested too deeply" in shown(loop)


def test_run_that_slept_is_void(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept = iter([0.0, 30.0, 0.0, 0.0])
    monkeypatch.setattr(conditions_meter.machine.SleepMeter, "slept_seconds", lambda self: next(slept))
    loop = make_loop(tmp_path / "night", [rate(0.5)])
    loop.run()
    assert [len(experiment.runs) for experiment in loop.night.experiments] == [2, 1] and "slept for 30 s" in shown(loop)


def test_a_run_on_a_busy_machine_is_repeated_and_the_reason_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = iter([0.1, 0.1, 3.0, 0.2])
    monkeypatch.setattr(conditions_meter, "summary", lambda *_: Conditions(other_cores=next(busy), cores=4))
    loop = make_loop(tmp_path / "night", [rate(0.5)])
    loop.run()
    assert [len(experiment.runs) for experiment in loop.night.experiments] == [2, 1]
    assert "doesn't count and will be repeated: other programs used 3.0 of 4 cores" in shown(loop)
    entries = ConditionsLog.open(tmp_path / "night" / "conditions.jsonl").entries
    assert [entry.invalid is None for entry in entries] == [True, True, False, True]


def test_a_machine_that_slows_down_for_good_costs_no_good_edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it scores afterwards is worse by more than the edit gains: only the incumbent, run anew, shows the gain."""
    baseline = loop_module.PROJECT / "train_mlx.py"
    baseline.write_text(rate(0.5)(baseline.read_text()))
    loop = make_loop(tmp_path / "night", [rate(0.9), rate(0.05), rate(0.7)])
    loop.laboratory.closer_look = lambda result: replace(result, test_bpb=2.0)
    works, loads = loop.laboratory.run, []

    def run(*arguments: object, **named: object) -> RunResult:
        loads.append(2.0 if len(loads) > 2 else 0.0)
        result = works(*arguments, **named)
        return replace(result, val_bpb=result.val_bpb + 0.3 * loads[-1])

    loop.laboratory.run = run
    monkeypatch.setattr(conditions_meter, "summary", lambda *_: Conditions(other_cores=loads[-1], cores=4))
    loop.run()
    assert statuses(loop) == [KEEP, DISCARD, KEEP, DISCARD] and "The machine has changed" in shown(loop)
    baseline_runs, lucky_runs = loop.night.experiments[0].runs, loop.night.experiments[2].runs
    assert [run.state for run in baseline_runs][:3] == [0, 0, 1] and {run.state for run in lucky_runs} == {1}
    assert 0.3 < loop.night.experiments[2].verdict.expected_gain < 0.46


def test_a_failure_of_the_edits_own_is_not_excused_by_a_busy_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = iter([0.1, 0.1, 3.0])
    monkeypatch.setattr(conditions_meter, "summary", lambda *_: Conditions(other_cores=next(busy), cores=4))
    loop = make_loop(tmp_path / "night", [mark("fails in training")])
    loop.run()
    assert statuses(loop) == [KEEP, CRASH]


def test_a_full_disk_is_no_edits_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills while the candidate runs, which then fails: nothing is recorded, and later it is run again."""
    free = iter([9, 9, 9, 9, 9, 0])
    disk = SimpleNamespace(disk_usage=lambda path: SimpleNamespace(free=next(free) << 30))
    loop = make_loop(tmp_path / "night", [mark("fails in training")])
    with monkeypatch.context() as patch:
        patch.setattr(loop_module, "shutil", disk)
        with pytest.raises(OSError, match=r"only 0 MiB of the disk are left"):
            loop.run()
    assert loop.night.pending().number == 1 and loop.night.pending().results == {}
    again = make_loop(tmp_path / "night", [], experiments=1)
    again.run()
    assert statuses(again) == [KEEP, CRASH]


def test_a_keep_that_git_refused_is_committed_before_the_next(tmp_path: Path) -> None:
    baseline = loop_module.PROJECT / "train_mlx.py"
    baseline.write_text(rate(0.9)(baseline.read_text()))
    loop = make_loop(tmp_path / "night", [rate(0.5), rate(0.3), rate(0.05)])
    loop.laboratory.closer_look = lambda result: RunResult(**{**vars(result), "test_bpb": 2.0})
    committed, refusals = [], iter([False, True, True])

    def commit(source: str, subject: str, body: str, number: int) -> str:
        if next(refusals, False):
            raise AutoresearchError("git refuses")
        committed.append(number)
        return "c" * 40

    loop.branch = SimpleNamespace(commit=commit)
    loop.run()
    assert statuses(loop) == [KEEP] * 4 and committed == [0, 1, 2, 3]
    assert shown(loop).count("git refuses") == 2


def test_hostile_description_formats_nothing(tmp_path: Path) -> None:
    loop = make_loop(tmp_path / "night", [rate(0.5)])
    loop.terminal.log_to(tmp_path / "loop.log")
    loop.agent.propose = lambda briefing: Proposal(rate(0.5)(briefing.source), "[bold]x[/] \x1b[31mred", parent=0)
    loop.run()
    assert "[bold]x[/]" in shown(loop) and "\x1b" not in shown(loop)
    line = (tmp_path / "loop.log").read_text().splitlines()[-1]
    assert re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d  0001 discard", line) and "\x1b" not in line
    assert "[bold]x[/]" in line and "Not better" in line


def test_a_closed_terminal_ends_no_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class ClosedWindow(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

        def flush(self) -> None:
            raise OSError(5, "Input/output error")

    loop = make_loop(tmp_path / "night", [rate(0.9)])
    monkeypatch.setattr(sys, "stdout", ClosedWindow())
    loop.terminal = Terminal()
    loop.terminal.log_to(tmp_path / "loop.log")
    loop.run()
    loop.terminal.table(loop.night)
    assert statuses(loop) == [KEEP, DISCARD] and "0001 discard" in (tmp_path / "loop.log").read_text()


def test_tag_is_the_newest_that_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLX_AUTORESEARCH_RUNS", str(tmp_path))
    terminal = Terminal(Console(file=io.StringIO()))
    today = choose_tag(None, IDENTITY, terminal)
    assert re.fullmatch(r"[a-z]{3}\d\d", today) and choose_tag("mine", IDENTITY, terminal) == "mine"
    Night.open(tmp_path / "older", IDENTITY)
    Night.open(tmp_path / "other", RunIdentity("simple", "0" * 64, 300.0, "a machine", "1", 256))
    assert choose_tag(None, IDENTITY, terminal) == "older"
    with pytest.raises(AutoresearchError, match="can't name a branch"):
        choose_tag("a b", IDENTITY, terminal)


def test_a_night_goes_on_with_its_own_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where another one was prepared since."""
    monkeypatch.setenv("MLX_AUTORESEARCH_RUNS", str(tmp_path))
    Night.open(tmp_path / "older", IDENTITY)
    assert dataset_of("older") == IDENTITY.dataset
    assert dataset_of("new") is None and dataset_of(None) is None
    with pytest.raises(AutoresearchError, match="can't name a branch"):
        dataset_of("../older")


def test_what_differs_between_nights_is_said_shortly(tmp_path: Path) -> None:
    Night.open(tmp_path / "night", IDENTITY)
    other = replace(IDENTITY, dataset_fingerprint="ab" * 32)
    with pytest.raises(AutoresearchError, match=r"dataset fingerprint .* there, abababababab\.\.\. now"):
        Night.open(tmp_path / "night", other)


@pytest.mark.parametrize(
    "arguments", [["--experiments", "0"], ["--budget", "nan"], ["--hours", "-1"], ["--budget", "x"]]
)
def test_bad_numbers_get_a_sentence(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(arguments)
    assert "is not a number above zero" in capsys.readouterr().err


UNCOMPILED = {"MLX_DISABLE_COMPILE": "1"}
"""Small models train well enough without compiled kernels, and every new program would call g++ for half a minute."""


def run_real_loop(project: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "mlx_autoresearch.loop", "--agent", "search", "--tag", "t", "--budget", "3"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(project), **UNCOMPILED}
    return subprocess.Popen(
        [*command, *arguments],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_real_loop_ends_cleanly_when_asked_to(tmp_path: Path, dataset: Dataset, number: signal.Signals) -> None:
    project = make_project(tmp_path / "clone", dataset)
    loop = run_real_loop(project)
    log = project / "runs" / "t" / "experiments" / "0000" / "smoke" / "run.log"
    assert wait_until(lambda: log.exists() or loop.poll() is not None, 60)
    loop.send_signal(number)
    output = loop.communicate(timeout=20)[0]
    assert loop.returncode == 0 and "Stopped." in output and "Traceback" not in output
    assert subprocess.run(["pgrep", "-f", str(project)], capture_output=True, text=True).stdout == ""


def test_real_loop_survives_kill_9_in_training(tmp_path: Path, dataset: Dataset) -> None:
    """Takes about 40 s: killed in the first experiment's training, started again, and it goes on without a loss."""
    project = make_project(tmp_path / "clone", dataset)
    experiments = project / "runs" / "t" / "experiments"
    first = run_real_loop(project, "--experiments", "1")
    try:
        curve = experiments / "0001" / "runs" / "1" / "curve.jsonl"
        assert wait_until(lambda: curve.exists() or first.poll() is not None, 120)
        trainer = subprocess.run(["pgrep", "-f", str(experiments)], capture_output=True, text=True).stdout.split()
        refused = run_real_loop(project, "--experiments", "1")
        assert "another loop" in refused.communicate()[0] and refused.returncode == 1
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    assert trainer and wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in trainer), 5)
    before = [(experiments / "0000" / "runs" / k / "result.json").read_text() for k in ("1", "2")]
    proposal = (experiments / "0001" / "proposal.json").read_text()
    time.sleep(0.1)
    second = run_real_loop(project, "--experiments", "1")
    output = second.communicate(timeout=300)[0]
    assert second.returncode == 0, output
    assert [(experiments / "0000" / "runs" / k / "result.json").read_text() for k in ("1", "2")] == before
    assert (experiments / "0001" / "proposal.json").read_text() == proposal
    night = Night.read(project / "runs" / "t")
    assert [experiment.number for experiment in night.experiments] == [0, 1]
    assert all(experiment.verdict is not None for experiment in night.experiments)
    assert night.experiments[0].commit is not None
    assert len((project / "runs" / "t" / "results.tsv").read_text().splitlines()) == 3
    page = (project / "runs" / "t" / "report.html").read_text()
    assert 'data-running="no"' in page and "Before and after" in page and "Note: the report" not in output
    assert (project / "runs" / "t" / "samples.json").exists() and "no new samples" not in output
    log = ["git", "-C", str(project), "log", "--format=%s", "autoresearch/t"]
    keeps = sum(experiment.kept for experiment in night.experiments[1:])
    assert len(subprocess.run(log, capture_output=True, text=True).stdout.splitlines()) == 1 + keeps
    assert subprocess.run(["git", "-C", str(project), "status", "--short"], capture_output=True, text=True).stdout == ""
