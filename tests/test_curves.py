"""A night's curves: read from its folders, turned into where a gain came from and who has a chance left."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from small_project import small_source

from mlx_autoresearch.curves import Curves, vocabulary
from mlx_autoresearch.early_kill import LEAST_RUNS
from mlx_autoresearch.history import Experiment, Night, RunIdentity
from mlx_autoresearch.records import DISCARD, KEEP, Proposal, RunResult, Verdict

IDENTITY = RunIdentity("simple", "f" * 64, 100.0, "a machine", "2", 256)


def add(
    night: Night, tokens_per_second: float, bpb: float, parent: int | None, incumbent_bpb: float | None
) -> Experiment:
    experiment = night.add(Proposal(small_source(), "an edit", parent=parent))
    folder = experiment.new_run_folder()
    points = [
        {"step": s, "seconds": s, "tokens": tokens_per_second * s, "loss": (bpb + 1 / s) * 4 * math.log(2)}
        for s in range(1, 101)
    ]
    (folder / "curve.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points))
    experiment.record_result(folder, RunResult(1, val_bpb=bpb, vocab_size=1024))
    status = KEEP if parent is None else DISCARD
    experiment.record_verdict(Verdict(status, "", val_bpb=bpb, incumbent=parent, incumbent_bpb=incumbent_bpb))
    return experiment


@pytest.fixture
def night(tmp_path: Path) -> Night:
    night = Night.open(tmp_path, IDENTITY)
    add(night, 1000, 1.0, None, None)
    for number in range(LEAST_RUNS):
        add(night, 1100, 1.01 + 0.002 * number, 0, 1.0)
    return night


def curves(night: Night) -> Curves:
    return Curves(night, {1024: 4.0}, 0, 100.0)


def test_where_the_gain_came_from(night: Night) -> None:
    baseline, edit = night.experiments[:2]
    sources = curves(night).sources(edit.verdict, edit, baseline)
    assert sources.text_ratio == pytest.approx(1.1)
    assert sources.by_speed + sources.by_learning == pytest.approx(-0.01)
    assert curves(night).sources(baseline.verdict, baseline, baseline) is None  # compared with nothing
    (edit.run_folder(1) / "curve.jsonl").unlink()
    assert curves(night).sources(edit.verdict, edit, baseline) is None
    assert Curves(night, {}, 0, 100.0).of(baseline) == []  # bytes per token unknown


def test_finished_runs_are_those_of_decided_edits_with_curves(night: Night) -> None:
    finished = curves(night).finished()
    assert len(finished) == LEAST_RUNS and finished[0].gain == pytest.approx(-0.01)
    assert finished[0].lags == pytest.approx((0.01, 0.01), abs=0.001)


def test_watch_needs_enough_finished_runs_and_a_known_vocabulary(night: Night, tmp_path: Path) -> None:
    baseline = night.experiments[0]
    new = night.add(Proposal(small_source(), "new", parent=0))
    known = vocabulary(new.source, 0)
    watch = Curves(night, {1024: 4.0, known: 4.0}, 0, 100.0).watch(new, baseline, tmp_path / "curve.jsonl")
    assert watch is not None and len(watch.finished) == LEAST_RUNS
    night.experiments.pop(1)
    assert Curves(night, {1024: 4.0, known: 4.0}, 0, 100.0).watch(new, baseline, tmp_path / "curve.jsonl") is None
    assert vocabulary("def :", 0) is None and vocabulary("VOCAB_SIZE = len(x)\n", 0) is None
