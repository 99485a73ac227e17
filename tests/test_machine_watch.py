"""Waiting for the machine before a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlx_autoresearch import machine_watch
from mlx_autoresearch.conditions import Conditions, ConditionsLog, Entry
from mlx_autoresearch.machine_watch import LOOK_AGAIN_SECONDS, MachineWatch
from mlx_autoresearch.records import NAN, TIMED_OUT, RunResult
from mlx_autoresearch.speed_probe import Speed

USUAL = [Entry(0, run, Conditions(products=10.0, copies=10.0)) for run in range(3)]

BUSY = Conditions(other_cores=2.0, cores=2)


@pytest.fixture
def rests(monkeypatch) -> list[float]:
    """How long it rested, in place of resting."""
    seconds: list[float] = []
    monkeypatch.setattr(machine_watch.time, "sleep", seconds.append)
    return seconds


def watch(folder: Path, entries: list[Entry], budget: float = 300.0) -> tuple[MachineWatch, list[str]]:
    """A watch after these runs, and what it says."""
    said: list[str] = []
    return MachineWatch(ConditionsLog(folder / "conditions.jsonl", list(entries)), budget, said.append), said


def probes(monkeypatch, *speeds: float) -> None:
    """What the probe will find."""
    left: Iterator[float] = iter(speeds)
    monkeypatch.setattr(machine_watch, "run_probe", lambda: Speed(*[next(left)] * 2))


def test_waits_for_a_slow_machine_with_rests_and_says_so_once(tmp_path, monkeypatch, rests) -> None:
    probes(monkeypatch, 5, 7, 9.5)
    watching, said = watch(tmp_path, USUAL)
    assert watching.wait() == Speed(9.5, 9.5)
    assert rests == [LOOK_AGAIN_SECONDS] * 2
    assert len(said) == 1
    assert "the machine computes at 50% of its usual speed" in said[0]


def test_warms_a_machine_up_that_is_faster_than_usual_without_rests(tmp_path, monkeypatch, rests) -> None:
    probes(monkeypatch, 15, 12, 10.5)
    assert watch(tmp_path, USUAL)[0].wait() == Speed(10.5, 10.5)
    assert rests == []


def test_waiting_has_an_end(tmp_path, monkeypatch, rests) -> None:
    clock = iter(range(0, 10000, 100))
    monkeypatch.setattr(machine_watch.machine, "awake_seconds", lambda: float(next(clock)))
    probes(monkeypatch, *[5] * 9)
    assert watch(tmp_path, USUAL)[0].wait() == Speed(5, 5)
    assert len(rests) == 3


@pytest.mark.parametrize("entries", [USUAL, []])
def test_a_probe_that_fails_keeps_nobody_waiting(tmp_path, monkeypatch, entries: list[Entry]) -> None:
    monkeypatch.setattr(machine_watch, "run_probe", lambda: None)
    assert watch(tmp_path, entries)[0].wait() is None


def test_only_what_a_slow_machine_can_cause_is_excused_by_it(tmp_path) -> None:
    watching, _ = watch(tmp_path, [])
    assert watching.why_invalid(1, 1, BUSY, RunResult(1, failure=NAN)) is None
    assert "of 2 cores" in watching.why_invalid(1, 1, BUSY, RunResult(1, failure=TIMED_OUT))
    assert "of 2 cores" in watching.why_invalid(1, 1, BUSY, RunResult(1, val_bpb=1.0))


def test_practice_is_not_judged(tmp_path) -> None:
    watching, _ = watch(tmp_path, [], budget=10.0)
    assert not watching.judges
    assert watching.why_invalid(1, 1, BUSY, RunResult(1, val_bpb=1.0)) is None


def test_threads_of_the_run_are_part_of_its_conditions(tmp_path) -> None:
    watching, _ = watch(tmp_path, [])
    for number in range(3):
        assert watching.why_invalid(number, 1, Conditions(), RunResult(1, val_bpb=1.0, threads=2)) is None
    assert "1 threads, 2 are usual" in watching.why_invalid(3, 1, Conditions(), RunResult(1, val_bpb=1.0, threads=1))
