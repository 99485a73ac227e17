"""The probe of the machine's speed."""

from __future__ import annotations

import time

import pytest

from mlx_autoresearch.speed_probe import measure, rate, run_probe


def test_probe_measures_this_machine() -> None:
    found = measure()
    assert found.products > 0
    assert found.copies > 0
    assert found.ratio(found) == pytest.approx(1.0)


def test_rate_is_a_median_that_short_interruptions_do_not_move() -> None:
    calls = []

    def work() -> None:
        calls.append(None)
        time.sleep(0.05 if len(calls) % 50 == 0 else 0.005)

    assert 100 < rate(work) < 220


def test_probe_in_a_process_of_its_own() -> None:
    assert run_probe().products > 0


def test_probe_that_fails_is_none(monkeypatch) -> None:
    monkeypatch.setattr("mlx_autoresearch.speed_probe.launch_command", lambda target: ["false"])
    assert run_probe() is None
