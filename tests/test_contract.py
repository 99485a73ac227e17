"""The names that train_mlx.py imports: clock, log, data and settings, with and without a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

import prepare
from mlx_autoresearch import contract
from mlx_autoresearch.corpus import Source
from mlx_autoresearch.dataset import prepare_dataset
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.machine import awake_seconds
from mlx_autoresearch.settings import SETTINGS_VARIABLE, SMOKE_STEPS, RunSettings


class FakeTime:
    """A clock that stands still until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture()
def fake_time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    clock = FakeTime()
    monkeypatch.setattr(contract, "awake_seconds", clock)
    return clock


def begin_run(monkeypatch: pytest.MonkeyPatch, folder: Path, **changes: object) -> RunSettings:
    values = {"dataset": "", "folder": str(folder), "budget_seconds": 10.0, "seed": 7, "started": 1000.0, **changes}
    settings = RunSettings(**values)
    settings.save(folder / "run.json")
    monkeypatch.setenv(SETTINGS_VARIABLE, str(folder / "run.json"))
    return settings


def steps_until_stop(clock: prepare.Clock, fake_time: FakeTime, durations: list[float]) -> int:
    steps = 0
    while clock.running():
        fake_time.now += durations[min(steps, len(durations) - 1)]
        steps += 1
    return steps


def test_constants_follow_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert (prepare.TIME_BUDGET, prepare.SEED) == (300.0, 0)
    begin_run(monkeypatch, tmp_path)
    assert (prepare.TIME_BUDGET, prepare.SEED) == (10.0, 7)


def test_unreadable_settings_are_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    monkeypatch.setenv(SETTINGS_VARIABLE, str(tmp_path / "run.json"))
    with pytest.raises(AutoresearchError, match=r"run\.json"):
        _ = prepare.SEED


def test_unknown_name_is_an_ordinary_error() -> None:
    with pytest.raises(AttributeError, match="SEEDS"):
        _ = prepare.SEEDS


def test_clock_never_overruns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fake_time: FakeTime) -> None:
    begin_run(monkeypatch, tmp_path)
    clock = prepare.Clock()
    assert steps_until_stop(clock, fake_time, [0.3]) == 32  # one less than fit: see the next test
    assert clock.elapsed() <= 10 and clock.progress() == pytest.approx(0.96)


def test_slow_steps_that_are_read_one_late_don_t_overrun(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fake_time: FakeTime
) -> None:
    """As train_mlx.py does it: asked before step k, step k - 1 has only just begun."""
    begin_run(monkeypatch, tmp_path, budget_seconds=300.0)
    clock, steps = prepare.Clock(), 0
    while clock.running():
        steps += 1
        fake_time.now = 1000.0 + 45 * (steps - 1)
    assert steps == 6 and 45 * steps <= 300


def test_slow_first_step_does_not_end_a_run_early(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fake_time: FakeTime
) -> None:
    begin_run(monkeypatch, tmp_path)
    assert steps_until_stop(prepare.Clock(), fake_time, [8.0, 0.25]) == 8


def test_budget_counts_from_the_start_of_the_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fake_time: FakeTime
) -> None:
    begin_run(monkeypatch, tmp_path, started=990.5)
    clock = prepare.Clock()
    assert clock.elapsed() == 9.5 and clock.progress() == 0.95 and clock.running()
    fake_time.now += 1
    assert not clock.running() and clock.progress() == 1.0


def test_smoke_run_is_two_steps_whatever_the_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fake_time: FakeTime
) -> None:
    begin_run(monkeypatch, tmp_path, smoke=True, started=0.0)
    clock, progress = prepare.Clock(), []
    while clock.running():
        progress.append(clock.progress())
    assert progress == [0.0, 0.5] and clock.progress() == 1.0 and len(progress) == SMOKE_STEPS


def test_clock_without_a_run_starts_now() -> None:
    clock = prepare.Clock()
    assert 0 <= clock.elapsed() < 1 and clock.running()


def test_log_writes_a_curve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    begin_run(monkeypatch, tmp_path, started=awake_seconds() - 5)
    prepare.log(1, loss=mx.array(2.5), tokens=1024)
    prepare.log(2, loss=float("nan"), rate=np.float32("inf"))
    first, second = map(json.loads, (tmp_path / "curve.jsonl").read_text().splitlines())
    assert 5 <= first.pop("seconds") < 7
    assert first == {"step": 1, "loss": 2.5, "tokens": 1024}
    assert second["loss"] is None and second["rate"] is None


def test_log_without_a_run_prints(capsys: pytest.CaptureFixture) -> None:
    prepare.log(3, loss=1.25)
    assert capsys.readouterr().out == "step 3  loss 1.25\n"


def test_only_the_first_process_logs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    begin_run(monkeypatch, tmp_path)
    monkeypatch.setattr(contract, "_rank_and_size", lambda: (1, 2))
    prepare.log(1, loss=1.0)
    assert not (tmp_path / "curve.jsonl").exists()


def test_other_processes_follow_the_first_one_s_clock(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fake_time: FakeTime
) -> None:
    begin_run(monkeypatch, tmp_path)
    monkeypatch.setattr(contract, "_rank_and_size", lambda: (1, 2))
    monkeypatch.setattr(mx.distributed, "all_sum", lambda mine: mine + mx.array([1.0, 0.25]))
    clock = prepare.Clock()
    fake_time.now += 100  # this process thinks that it is late
    assert clock.running() and clock.progress() == 0.25


def test_data_of_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    documents = [f"{index} " + "some words of text " * 20 for index in range(500)]
    dataset = prepare_dataset(Source("mine", {}, lambda: iter(documents), None))
    inputs, targets = next(prepare.batches(1024, 4, 32))
    assert inputs.shape == (4, 32) and mx.array_equal(inputs[:, 1:], targets[:, :-1]).item()
    assert prepare.load_tokenizer(256).encode("A").ids == [66]
    begin_run(monkeypatch, tmp_path, dataset=str(dataset.folder))
    other_seed, _ = next(prepare.batches(1024, 4, 32))
    assert not mx.array_equal(inputs, other_seed).item()
    with pytest.raises(AutoresearchError, match="no vocabulary of 1000"):
        prepare.batches(1000, 4, 32)


def test_run_calls_main_under_the_harness(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    begin_run(monkeypatch, tmp_path)
    called = []
    prepare.run(lambda: called.append(True))
    assert called == [True]


def test_run_by_hand_goes_through_the_experiment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    experiment = pytest.importorskip("mlx_autoresearch.experiment")
    started = []
    monkeypatch.setattr(experiment, "run_by_hand", started.append)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "train_mlx.py")])
    with pytest.raises(SystemExit) as end:
        prepare.run(lambda: pytest.fail("main must not run in this process"))
    assert end.value.code == 0 and started == [tmp_path / "train_mlx.py"]


def test_hand_in_without_a_run_is_a_sentence() -> None:
    with pytest.raises(AutoresearchError, match="no run"):
        prepare.hand_in(None)
