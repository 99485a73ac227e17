"""Measuring the machine around a run."""

from __future__ import annotations

import subprocess
import sys
import time

from mlx_autoresearch import conditions_meter
from mlx_autoresearch.conditions_meter import (
    ConditionsMeter,
    Counters,
    Descendants,
    Sample,
    read_counters,
    summary,
)
from mlx_autoresearch.speed_probe import Speed

COOL, HOT = Sample(0, 1, True, False), Sample(2, 2, False, True)

SPIN = "import time\nwhile time.process_time() < 0.6: pass\nprint(flush=True); input()"
"""A program that computes, says so, and waits."""


def test_summary_takes_the_median_heat_the_worst_of_the_rest_and_what_others_used() -> None:
    before, after = Counters(100.0, 1000.0, 10.0, 40.0, 4096), Counters(200.0, 1250.0, 20.0, 180.0, 8192)
    found = summary([COOL, COOL, HOT], before, after)
    assert (found.thermal_level, found.hottest, found.memory_pressure) == (0, 2, 2)
    assert (found.on_ac_power, found.low_power_mode) == (False, True)
    assert found.other_cores == 1.0
    assert found.swapped_out_bytes == 4096


def test_what_the_system_does_not_say_stays_unknown() -> None:
    found = summary([Sample(None, None, None, None)], None, None)
    assert (found.thermal_level, found.memory_pressure, found.on_ac_power, found.other_cores) == (None,) * 4


def test_meter_takes_samples_while_the_block_runs(monkeypatch) -> None:
    samples, done = iter([COOL, HOT, HOT]), conditions_meter.threading.Event()

    def sample() -> Sample:
        try:
            return next(samples)
        except StopIteration:
            done.set()
            return HOT

    monkeypatch.setattr(conditions_meter, "SAMPLE_SECONDS", 0.01)
    monkeypatch.setattr(conditions_meter, "take_sample", sample)
    with ConditionsMeter(Speed(2.0, 3.0)) as meter:
        assert done.wait(10)
    assert meter.conditions.speed == Speed(2.0, 3.0)
    assert meter.conditions.thermal_level == 2


ORPHAN = f"""import os, subprocess, sys
if os.fork() == 0:
    subprocess.run([sys.executable, "-c", {SPIN!r}], stdin=subprocess.DEVNULL)
    os._exit(0)
"""
"""A program that leaves one behind which computes, collected by nobody here: as another program's, or a sandbox's."""

KEEPER = """import subprocess, sys, time
done = subprocess.Popen([sys.executable, "-c", "import time\\nwhile time.process_time() < 1.0: pass\\ntime.sleep(1)"])
time.sleep(3)
done.kill()
import os
os._exit(0)
"""
"""A program that ends without collecting its child, as bubblewrap does."""


def test_what_was_seen_counts_where_nobody_collected() -> None:
    before, after = Counters(0.0, 0.0, 0.0, 0.0, 0), Counters(10.0, 20.0, 1.0, 2.0, 0)
    assert summary([], before, after, 0.0).other_cores == 1.7
    assert summary([], before, after, 1.5).other_cores == 1.7
    assert summary([], before, after, 17.0).other_cores == 0.2
    assert summary([], before, after, 99.0).other_cores == 0.0


def test_work_of_own_children_is_not_others_work() -> None:
    before = read_counters()
    subprocess.run([sys.executable, "-c", SPIN], input=b"\n", check=True, stdout=subprocess.DEVNULL)
    after = read_counters()
    assert after.collected_core_seconds - before.collected_core_seconds > 0.5
    assert after.busy_core_seconds - before.busy_core_seconds > 0.5


def test_work_of_grandchildren_that_nobody_collects_is_seen(monkeypatch) -> None:
    monkeypatch.setattr(conditions_meter, "LOOK_SECONDS", 0.1)
    descendants = Descendants()
    keeper = subprocess.Popen([sys.executable, "-c", KEEPER])
    while keeper.poll() is None:
        descendants.look()
        time.sleep(0.1)
    assert descendants.core_seconds > 0.8
    assert Descendants().core_seconds == 0.0


def test_work_of_others_is_seen() -> None:
    before, descendants = read_counters(), Descendants()
    subprocess.run([sys.executable, "-c", ORPHAN], check=True, stdout=subprocess.DEVNULL)
    time.sleep(2)
    descendants.look()
    after = read_counters()
    assert after.busy_core_seconds - before.busy_core_seconds > 0.5
    assert after.own_core_seconds - before.own_core_seconds < 0.3 and descendants.core_seconds < 0.3
    assert after.collected_core_seconds - before.collected_core_seconds < 0.3
