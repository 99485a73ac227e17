"""Measuring the machine around a run, and waiting for it before one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mlx_autoresearch import conditions_meter
from mlx_autoresearch.conditions import Usual
from mlx_autoresearch.conditions_meter import (
    ConditionsMeter,
    Counters,
    Sample,
    read_counters,
    summary,
    wait_until_usual,
)
from mlx_autoresearch.speed_probe import Speed, measure, rate

COOL, HOT = Sample(0, 1, True, False), Sample(2, 2, False, True)
USUAL = Usual(speed=Speed(10.0, 10.0))

SPIN = "import time\nwhile time.process_time() < 0.6: pass\nprint(flush=True); input()"
"""A program that computes, says so, and waits."""


def test_summary_takes_the_median_heat_the_worst_of_the_rest_and_what_others_used() -> None:
    before, after = Counters(100.0, 1000.0, 50.0, 4096), Counters(200.0, 1250.0, 200.0, 8192)
    found = summary([COOL, COOL, HOT], before, after)
    assert (found.thermal_level, found.hottest, found.memory_pressure) == (0, 2, 2)
    assert (found.on_ac_power, found.low_power_mode) == (False, True)
    assert found.other_cores == 1.0
    assert found.swapped_out_bytes == 4096


def test_what_the_system_does_not_say_stays_unknown() -> None:
    found = summary([Sample(None, None, None, None)], None, None)
    assert (found.thermal_level, found.memory_pressure, found.on_ac_power, found.other_cores) == (None,) * 4


def test_meter_takes_samples_while_the_block_runs(monkeypatch) -> None:
    monkeypatch.setattr(conditions_meter, "SAMPLE_SECONDS", 0.01)
    samples = iter([COOL, HOT, HOT])
    done = conditions_meter.threading.Event()

    def sample() -> Sample:
        try:
            return next(samples)
        except StopIteration:
            done.set()
            return HOT

    with ConditionsMeter(Speed(2.0, 3.0), sample, lambda: None) as meter:
        assert done.wait(10)
    assert meter.conditions.speed == Speed(2.0, 3.0)
    assert meter.conditions.thermal_level == 2


def test_work_of_own_children_is_not_others_work() -> None:
    before = read_counters()
    subprocess.run([sys.executable, "-c", SPIN], input=b"\n", check=True, stdout=subprocess.DEVNULL)
    after = read_counters()
    assert after.own_core_seconds - before.own_core_seconds > 0.5
    assert after.busy_core_seconds - before.busy_core_seconds > 0.5


def test_work_of_others_is_seen() -> None:
    before = read_counters()
    other = subprocess.Popen([sys.executable, "-c", SPIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    other.stdout.readline()
    after = read_counters()  # not collected yet, so it is nobody's child in the counters
    other.communicate(b"\n")
    assert after.busy_core_seconds - before.busy_core_seconds > 0.5
    assert after.own_core_seconds - before.own_core_seconds < 0.3


def test_waits_for_a_slow_machine_with_rests_and_says_so_once() -> None:
    probes, said, rests = iter([Speed(5, 5), Speed(7, 7), Speed(9.5, 9.5)]), [], []
    found = wait_until_usual(USUAL, 600.0, said.append, lambda: next(probes), rests.append)
    assert found == Speed(9.5, 9.5)
    assert rests == [conditions_meter.LOOK_AGAIN_SECONDS] * 2
    assert said == ["Waiting, at most 10 min, for the machine to be as usual: the machine computes at 50% of its usual speed."]  # fmt: skip  # noqa: E501


def test_warms_a_machine_up_that_is_faster_than_usual_without_rests() -> None:
    probes, rests = iter([Speed(15, 15), Speed(12, 12), Speed(10.5, 10.5)]), []
    assert wait_until_usual(USUAL, 600.0, lambda _: None, lambda: next(probes), rests.append) == Speed(10.5, 10.5)
    assert rests == []


def test_waiting_has_an_end(monkeypatch) -> None:
    clock = iter(range(0, 10000, 100))
    monkeypatch.setattr(conditions_meter.machine, "awake_seconds", lambda: float(next(clock)))
    rests = []
    assert wait_until_usual(USUAL, 300.0, lambda _: None, lambda: Speed(5, 5), rests.append) == Speed(5, 5)
    assert len(rests) == 3


@pytest.mark.parametrize("usual", [USUAL, Usual()])
def test_a_probe_that_fails_keeps_nobody_waiting(usual: Usual) -> None:
    assert wait_until_usual(usual, 600.0, lambda _: None, lambda: None) is None


def test_probe_measures_this_machine() -> None:
    found = measure()
    assert found.products > 0
    assert found.copies > 0
    assert found.ratio(found) == pytest.approx(1.0)


def test_rate_is_a_median_that_short_interruptions_do_not_move() -> None:
    calls = []

    def work() -> None:
        calls.append(None)
        conditions_meter.time.sleep(0.05 if len(calls) % 50 == 0 else 0.005)

    assert 100 < rate(work) < 220
