"""Runs in real child processes: an honest one, and every way to fail, each told by evidence."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from broken_sandbox import fake_bubblewrap

from mlx_autoresearch import experiment, memory
from mlx_autoresearch.dataset import Dataset
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.experiment import Laboratory, summary_block, with_overtime
from mlx_autoresearch.failures import read_failure
from mlx_autoresearch.records import KILLED, LATE, NOT_PERMITTED, OUT_OF_MEMORY, PYTHON_ERROR, STOPPED_EARLY, RunResult
from mlx_autoresearch.sandbox import guard, warden
from mlx_autoresearch.sandbox.choice import choose
from mlx_autoresearch.sandbox.policy import Limits

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
    assert result.parameters == 256 * 256 and result.seed == 3 and result.steps >= 1
    assert result.tokens == 64 * result.steps and 0 <= result.data_wait_share < 0.5
    assert 1.0 < result.training_seconds < 1.5 + experiment.LATE_SECONDS
    assert result.overtime_seconds == pytest.approx(max(0.0, result.training_seconds - 1.5), abs=0.02)
    assert {progress.stage for progress in seen} == {"train", "score"}
    assert json.loads((folder / "run.json").read_text())["seed"] == 3


def test_a_run_without_a_chance_is_stopped_and_says_why(tmp_path: Path, dataset: Dataset) -> None:
    result = run(tmp_path, dataset, hopeless=lambda: "it lagged")
    assert (result.failure, result.reason) == (STOPPED_EARLY, "it lagged") and result.val_bpb is None
    assert not (tmp_path / "run" / "model.mlxfn").exists()


def test_a_run_can_not_say_itself_that_it_was_stopped_early(tmp_path: Path) -> None:
    evidence = tmp_path / "failure.json"
    evidence.write_text(json.dumps({"failure": STOPPED_EARLY, "type": "E", "message": "m"}))
    assert read_failure(evidence) == (PYTHON_ERROR, "E: m.")


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
        ("raise RuntimeError('[metal::malloc] Resource limit (499000) exceeded.')", "out of memory", "499000"),
        ("raise PermissionError(13, 'Permission denied', '/home')", "not permitted", "and use no network"),
        ("sys.exit(4)", "python error", "status 4"),
        ("pass", "no hand-in", "without handing"),
        ("sys.exit(125)", "python error", "status 125"),
        ("os.abort()", "aborted", "It held up to 0."),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed", "SIGKILL"),
        ("os.kill(os.getpid(), 40)", "killed", "by signal 40."),
        ("hand_in(model); hand_in(model)", "python error", "called twice"),
        ("hand_in(lambda x: x)", "python error", "eval"),
        ("print('nan out of memory'); print('Traceback: timeout'); hand_in(model)", None, ""),
    ],
)
def test_failures_are_told_apart(tmp_path: Path, dataset: Dataset, body: str, failure: str | None, words: str) -> None:
    result = run(tmp_path, dataset, body)
    assert result.failure == failure and words in result.reason
    assert (result.val_bpb is None) == (failure is not None)


def failure_in(folder: Path, dataset: Dataset, source: str, **options: object) -> RunResult:
    """The failure of a file that trains nothing, in a smoke run."""
    file = folder / "train_mlx.py"
    file.write_text(source)
    return Laboratory(dataset.folder, 300.0, **options).smoke(file, folder / "smoke")


GREEDY = "import time\nkept = b'x' * (1 << 30)\ntime.sleep(60)"

ALLOWED = Limits(memory_bytes=700 << 20)


def test_memory_is_watched_without_a_sandbox_too(tmp_path: Path, dataset: Dataset) -> None:
    result = failure_in(tmp_path, dataset, GREEDY, limits=ALLOWED)
    assert result.failure == OUT_OF_MEMORY and result.training_seconds < 30
    assert re.fullmatch(
        r"It was stopped: it held \d\.\d GiB of memory; 0\.7 are allowed on this machine\.", result.reason
    )
    assert ALLOWED.memory_bytes < result.footprint_bytes < 4 << 30


@pytest.mark.skipif(sys.platform != "linux", reason="the machine's state is read from /proc")
def test_a_machine_about_to_run_out_of_memory_stops_the_run(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text("MemAvailable:   100000 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    result = failure_in(tmp_path, dataset, "import time\ntime.sleep(60)")
    assert result.failure == KILLED and "were left; it held only" in result.reason
    monkeypatch.setattr(guard, "OWN_FAULT_SHARE", 0.0)
    assert failure_in(tmp_path, dataset, "import time\ntime.sleep(60)").failure == OUT_OF_MEMORY


def test_the_kernels_out_of_memory_killer_is_told_from_another_kill(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = tmp_path / "vmstat"
    count.write_text("oom_kill 3\n")
    monkeypatch.setattr(memory, "VMSTAT", count)
    kill = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    assert failure_in(tmp_path, dataset, kill).failure == KILLED
    result = failure_in(tmp_path, dataset, f"open({str(count)!r}, 'w').write('oom_kill 4\\n')\n{kill}")
    assert result.failure == OUT_OF_MEMORY and "the kernel killed it" in result.reason


def test_what_the_sandbox_refuses_has_a_class_of_its_own(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = choose()
    if not choice.works:
        pytest.skip("; ".join(choice.problems))
    monkeypatch.setattr(experiment, "file_to_share", lambda: None)  # compiling the person's own file takes a minute
    for source in ("import socket\nsocket.socket()", "open('/usr/planted', 'w')"):
        result = failure_in(tmp_path, dataset, source, sandbox=choice.sandbox)
        assert result.failure == NOT_PERMITTED and "use no network" in result.reason
    assert failure_in(tmp_path, dataset, "import sys\nsys.exit(125)", sandbox=choice.sandbox).failure == PYTHON_ERROR


def test_a_sandbox_that_can_not_be_made_is_no_crash_of_the_edit(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "file_to_share", lambda: None)
    sandbox = fake_bubblewrap(tmp_path, warden.CANNOT_CONFINE)
    with pytest.raises(AutoresearchError, match="can't be made any more"):
        failure_in(tmp_path, dataset, "pass", sandbox=sandbox)


def test_a_record_of_failure_that_makes_no_sense(tmp_path: Path) -> None:
    record = tmp_path / "failure.json"
    for text in ("[", "[]", '{"failure": "nan"}', '{"failure": ["nan"], "type": 1, "message": 2}'):
        record.write_text(text)
        assert read_failure(record)[0] == PYTHON_ERROR
    record.write_text('{"failure": "killed", "type": "ValueError", "message": "' + 9000 * "x" + '"}')
    failure, reason = read_failure(record)
    assert failure == PYTHON_ERROR and len(reason) < 2500


def test_late_hand_in_is_a_timeout(tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "GRACE_SECONDS", 1.0)
    result = run(tmp_path, dataset, "time.sleep(60); hand_in(model)")
    assert result.failure == "timeout" and result.val_bpb is None and result.total_seconds < 10


def test_run_that_ends_late_is_a_failure_with_its_numbers(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "LATE_SECONDS", 2.0)
    result = run(tmp_path, dataset, "time.sleep(2.5); hand_in(model)")
    assert result.failure == LATE and result.val_bpb is None and 2.0 < result.overtime_seconds < 15
    assert f"{result.overtime_seconds:.1f} s after its 1.5 s" in result.reason and "2 s are allowed" in result.reason
    assert "Clock.running()" in result.reason and "busy" in result.reason


def test_overtime_of_what_failed_anyway_is_told_and_changes_nothing() -> None:
    failed = RunResult(1, failure="nan", reason="the loss is nan")
    assert with_overtime(failed, 310.0, 300.0) == replace(failed, overtime_seconds=10.0)
    assert with_overtime(RunResult(1), 304.9, 300.0) == RunResult(1, overtime_seconds=4.9)
    assert with_overtime(RunResult(1), 299.0, 300.0).overtime_seconds == 0.0


def test_smoke_run_sees_noise_and_a_run_the_text(tmp_path: Path, dataset: Dataset) -> None:
    body = "print('LETTERS', sum((next(data)[0] == 33 + 1).sum().item() for _ in range(40))); hand_in(model)"
    laboratory = Laboratory(dataset.folder, 1.5)
    (tmp_path / "run").mkdir()
    assert laboratory.run(write(tmp_path, body), tmp_path / "run", seed=1).failure is None
    assert laboratory.smoke(write(tmp_path, body + "; sys.exit(9)"), tmp_path / "smoke").failure == "python error"
    counts = [
        int((tmp_path / name / "run.log").read_text().partition("LETTERS ")[2].split()[0]) for name in ("run", "smoke")
    ]
    assert counts[0] == 0 and counts[1] > 0  # the text has no exclamation mark, the noise has every byte


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
