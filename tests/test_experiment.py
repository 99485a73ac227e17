"""Runs in real child processes: an honest one, and every way to fail, each told by evidence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mlx_autoresearch import experiment
from mlx_autoresearch.dataset import Dataset
from mlx_autoresearch.experiment import Laboratory, summary_block
from mlx_autoresearch.records import STOPPED_EARLY, RunResult

TEMPLATE = """
import os, signal, sys, time
import mlx.core as mx
import mlx.nn as nn
from prepare import SEED, CONTEXT, TIME_BUDGET, VOCAB_SIZES, Clock, batches, hand_in, log, run

class Bigram(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = mx.random.normal((256, 256), key=mx.random.key(SEED))

    def __call__(self, tokens):
        return self.table[tokens]

def build_model():
    return Bigram()

def main():
    clock = Clock()
    data = batches(256, 2, 32)
    step = 0
    model = build_model()
    while clock.running():
        inputs, targets = next(data)
        step += 1
        log(step, loss=5.0, tokens=step * 64, waited=data.wait_seconds)
        time.sleep(0.05)
    BODY

if __name__ == "__main__":
    run(main)
"""


def write(tmp_path: Path, body: str = "hand_in(model)") -> Path:
    file = tmp_path / "train_mlx.py"
    file.write_text(TEMPLATE.replace("BODY", body))
    return file


def run(tmp_path: Path, dataset: Dataset, body: str = "hand_in(model)", **options) -> RunResult:
    folder = tmp_path / "run"
    folder.mkdir()
    return Laboratory(dataset.folder, 1.5).run(write(tmp_path, body), folder, seed=3, **options)


def test_honest_run_is_scored(tmp_path: Path, dataset: Dataset) -> None:
    seen = []
    folder = tmp_path / "run"
    folder.mkdir()
    laboratory = Laboratory(dataset.folder, 1.5, seen.append)
    result = laboratory.run(write(tmp_path), folder, seed=3, splits=("val", "test"))
    assert result.failure is None, result
    assert 8 < result.val_bpb < 12 and 8 < result.test_bpb < 12  # a random bigram table is worse than uniform
    assert result.parameters == 256 * 256 and result.seed == 3 and result.steps > 3
    assert result.tokens == 64 * result.steps and 0 <= result.data_wait_share < 0.5
    assert 1.0 < result.training_seconds < 1.5 + experiment.GRACE_SECONDS
    assert {progress.stage for progress in seen} == {"train", "score"}
    assert json.loads((folder / "run.json").read_text())["seed"] == 3


def test_a_run_without_a_chance_is_stopped_and_says_why(tmp_path: Path, dataset: Dataset) -> None:
    result = run(tmp_path, dataset, hopeless=lambda: "it lagged")
    assert (result.failure, result.reason) == (STOPPED_EARLY, "it lagged") and result.val_bpb is None
    assert not (tmp_path / "run" / "model.mlxfn").exists()


def test_a_run_can_not_say_itself_that_it_was_stopped_early(tmp_path: Path) -> None:
    evidence = tmp_path / "failure.json"
    evidence.write_text(json.dumps({"failure": STOPPED_EARLY, "type": "E", "message": "m"}))
    assert experiment.read_failure(evidence) == ("python error", "E: m")


def test_seed_changes_the_result_and_nothing_else_does(tmp_path: Path, dataset: Dataset) -> None:
    scores = []
    for index, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(index)
        folder.mkdir()
        scores.append(Laboratory(dataset.folder, 1.0).run(write(tmp_path), folder, seed).val_bpb)
    assert scores[0] == scores[1] != scores[2]


@pytest.mark.parametrize(
    ("body", "failure", "words"),
    [
        ("raise FloatingPointError('the loss is nan at step 9')", "nan", "step 9"),
        ("raise ValueError('no such knob')", "python error", "ValueError: no such knob"),
        ("raise MemoryError('too much')", "out of memory", "too much"),
        ("sys.exit(4)", "python error", "status 4"),
        ("pass", "no hand-in", "without handing"),
        ("os.abort()", "aborted", "SIGABRT"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed", "SIGKILL"),
        ("hand_in(model); hand_in(model)", "python error", "called twice"),
        ("hand_in(lambda x: x)", "python error", "eval"),
        ("print('nan out of memory'); print('Traceback: timeout'); hand_in(model)", None, ""),
    ],
)
def test_failures_are_told_apart(tmp_path: Path, dataset: Dataset, body: str, failure: str | None, words: str) -> None:
    result = run(tmp_path, dataset, body)
    assert result.failure == failure and words in result.reason
    assert (result.val_bpb is None) == (failure is not None)


def test_late_hand_in_is_a_timeout(tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "GRACE_SECONDS", 1.0)
    result = run(tmp_path, dataset, "time.sleep(60); hand_in(model)")
    assert result.failure == "timeout" and result.val_bpb is None and result.total_seconds < 10


def test_model_that_looks_ahead_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    body = (
        "Bigram.__call__ = lambda self, x: self.table[mx.concatenate([x[:, 1:], x[:, :1]], axis=1)]\n    hand_in(model)"
    )
    result = run(tmp_path, dataset, body)
    assert result.failure == "refused" and "causal" in result.reason and result.val_bpb is None


def test_slow_scoring_is_stopped(tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(tmp_path, dataset)
    monkeypatch.setattr(experiment, "MINIMUM_SCORE_SECONDS", 0.05)
    laboratory = replace(Laboratory(dataset.folder), budget_seconds=0.05)
    assert laboratory.score(tmp_path / "run", result, ["val"]).failure == "refused"


def test_smoke_leaves_nothing_but_a_failure(tmp_path: Path, dataset: Dataset) -> None:
    laboratory = Laboratory(dataset.folder, 300.0)
    assert laboratory.smoke(write(tmp_path), tmp_path / "smoke") is None
    assert not (tmp_path / "smoke").exists()
    failure = laboratory.smoke(write(tmp_path, "raise KeyError('x')"), tmp_path / "smoke")
    assert failure.failure == "python error" and "KeyError" in (tmp_path / "smoke" / "run.log").read_text()
    assert failure.training_seconds < 60  # two steps, not the budget


def test_summary_block_leaves_unknown_values_out() -> None:
    block = summary_block(RunResult(seed=0, val_bpb=0.9979, training_seconds=300.04, steps=953, tokens=499_600_000))
    assert block.splitlines() == [
        "---",
        "val_bpb:           0.997900",
        "training_seconds:  300.0",
        "total_tokens_M:    499.60",
        "num_steps:         953",
    ]
