"""The clock of a night's runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlx_autoresearch import machine, night_clock
from mlx_autoresearch.history import Night, RunIdentity
from mlx_autoresearch.night_clock import NightClock
from mlx_autoresearch.records import Proposal, RunResult


def night_with_a_run(folder: Path, started: float | None) -> Night:
    night = Night.open(folder, RunIdentity("stories", "1", 60.0, "machine", "3", 256))
    experiment = night.add(Proposal("DEPTH = 1\n", "baseline"))
    experiment.record_result(
        experiment.new_run_folder(), RunResult(1, val_bpb=1.0, started=started, total_seconds=70.0)
    )
    return night


def test_it_begins_with_the_systems_clock_and_goes_on_whatever_that_does(tmp_path, monkeypatch) -> None:
    elapsed = [500.0]
    monkeypatch.setattr(machine, "elapsed_seconds", lambda: elapsed[0])
    monkeypatch.setattr(night_clock.time, "time", lambda: 2000.0)
    clock = NightClock.after(night_with_a_run(tmp_path, 1000.0))
    assert clock.now() == 2000.0
    monkeypatch.setattr(night_clock.time, "time", lambda: 7.0)
    elapsed[0] += 60.0
    assert clock.now() == 2060.0


@pytest.mark.parametrize(("started", "expected"), [(5000.0, 5070.0), (None, 2000.0)])
def test_it_never_shows_a_time_before_a_run_that_is_over(tmp_path, monkeypatch, started, expected) -> None:
    monkeypatch.setattr(night_clock.time, "time", lambda: 2000.0)
    assert NightClock.after(night_with_a_run(tmp_path, started)).now() == pytest.approx(expected, abs=1.0)
