"""Measures the machine's conditions around a run.

The readings of macOS are not yet run on a Mac.
"""

from __future__ import annotations

import os
import resource
import statistics
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import psutil

from mlx_autoresearch import machine
from mlx_autoresearch.conditions import Conditions
from mlx_autoresearch.speed_probe import Speed

SAMPLE_SECONDS = 15.0
"""Between two looks at heat, power and memory during a run: on macOS they start small programs."""

LOOK_SECONDS = 2.0
"""Between two looks at what the run's processes have computed: at most so much of each is taken for others' work."""


@dataclass(frozen=True)
class Sample:
    """Levels at one moment; None for what the system doesn't say."""

    thermal_level: int | None
    memory_pressure: int | None
    on_ac_power: bool | None
    low_power_mode: bool | None


@dataclass(frozen=True)
class Counters:
    """Counters that only grow, whose differences describe a run; seconds, bytes.

    Attributes:
        seconds: time awake.
        busy_core_seconds: what all cores have computed for anybody.
        own_core_seconds: what this process has computed.
        collected_core_seconds: what its children have, and theirs, as far as everybody collected his own in the end.
        swapped_out_bytes: memory written to swap.
    """

    seconds: float
    busy_core_seconds: float
    own_core_seconds: float
    collected_core_seconds: float
    swapped_out_bytes: int


def take_sample() -> Sample:
    """Ask the system now."""
    return Sample(machine.thermal_level(), machine.memory_pressure(), machine.on_ac_power(), machine.low_power_mode())


def read_counters() -> Counters | None:
    """Read them now; None where the system doesn't tell."""
    with suppress(OSError, RuntimeError, AttributeError):
        times, swap = psutil.cpu_times(), psutil.swap_memory()
        busy = sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq", "steal"))
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        own, collected = (usage.ru_utime + usage.ru_stime for usage in usages)
        return Counters(machine.awake_seconds(), busy, own, collected, swap.sout)
    return None


class Descendants:
    """What all processes below this one have computed, those that nobody collected too: bubblewrap leaves its own."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, float], float] = {}
        self.look()
        self._before = sum(self._seen.values())

    def look(self) -> None:
        """Note how far they are. What a process computes after the last look at it is missed."""
        with suppress(psutil.Error, OSError):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    times = process.cpu_times()
                    self._seen[process.pid, process.create_time()] = times.user + times.system

    @property
    def core_seconds(self) -> float:
        """What they have computed since this was made, until the last looks."""
        return sum(self._seen.values()) - self._before


class ConditionsMeter:
    """Measures the conditions of what happens in its `with` block; `conditions` holds them afterwards."""

    def __init__(self, speed: Speed | None) -> None:
        """`speed` is what the probe before it found."""
        self.conditions, self._speed = Conditions(), speed
        self._samples: list[Sample] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="conditions", daemon=True)

    def __enter__(self) -> ConditionsMeter:
        """Itself, measuring."""
        self._sleep, self._before, self._descendants = machine.SleepMeter(), read_counters(), Descendants()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop measuring and put the conditions together."""
        self._over.set()
        self._thread.join()
        self.conditions = replace(
            summary(self._samples, self._before, read_counters(), self._descendants.core_seconds),
            products=None if self._speed is None else round(self._speed.products, 3),
            copies=None if self._speed is None else round(self._speed.copies, 3),
            slept_seconds=round(self._sleep.slept_seconds(), 1),
        )

    def _watch(self) -> None:
        next_sample = 0.0
        while True:
            if time.monotonic() >= next_sample:
                self._samples.append(take_sample())
                next_sample = time.monotonic() + SAMPLE_SECONDS
            self._descendants.look()
            if self._over.wait(min(LOOK_SECONDS, SAMPLE_SECONDS)):
                return


def summary(
    samples: Sequence[Sample], before: Counters | None, after: Counters | None, seen_core_seconds: float = 0.0
) -> Conditions:
    """The conditions of a time in which these samples were taken, between two readings of the counters.

    `seen_core_seconds` is what descendants were seen to compute meanwhile.
    """
    heat = [sample.thermal_level for sample in samples if sample.thermal_level is not None]
    pressure = [sample.memory_pressure for sample in samples if sample.memory_pressure is not None]
    power = [sample.on_ac_power for sample in samples if sample.on_ac_power is not None]
    saving = [sample.low_power_mode for sample in samples if sample.low_power_mode is not None]
    others, swapped = None, None
    if before is not None and after is not None and after.seconds > before.seconds:
        busy = after.busy_core_seconds - before.busy_core_seconds
        own = after.own_core_seconds - before.own_core_seconds
        children = max(after.collected_core_seconds - before.collected_core_seconds, seen_core_seconds)
        others = round(max(0.0, busy - own - children) / (after.seconds - before.seconds), 3)
        swapped = after.swapped_out_bytes - before.swapped_out_bytes
    return Conditions(
        other_cores=others,
        cores=os.cpu_count(),
        thermal_level=statistics.median(heat) if heat else None,
        hottest=max(heat, default=None),
        memory_pressure=max(pressure, default=None),
        swapped_out_bytes=swapped,
        on_ac_power=all(power) if power else None,
        low_power_mode=any(saving) if saving else None,
    )
