"""The machine's state around a run, and whether a score that was measured in it may count.

A wall-clock budget makes the machine a part of the score: a hot chip, another program or a battery trains fewer steps.
So every run records its conditions (conditions_meter.py), and one outside the machine's usual state is invalid and
repeated.

The usual state is not a constant but the median of the last runs that counted. A fanless laptop settles where heat and
cooling balance, and what is compared is measured there: a run or two that were cooler or hotter are outliers, more in a
row that are like each other are a new state. The first runs of a night are as unfair as the hottest, so no direction is
favoured.

Scores of two states are not compared: each run that counts carries the number of its state, and the incumbent is run
again in a new one before anything is decided.

    runs/<tag>/conditions.jsonl      a line for every finished run: its conditions, and why it doesn't count, if so
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import takewhile
from pathlib import Path

from mlx_autoresearch.files import append_line
from mlx_autoresearch.speed_probe import Speed
from mlx_autoresearch.stored_records import field_types, fits

CONDITIONS_FILE = "conditions.jsonl"

JUDGED_BUDGET_SECONDS = 30.0
"""Below this budget a night is practice: the probe would take a good part of it, so nothing is probed or repeated."""

INVALID_IN_A_ROW = 3
"""After so many invalid runs one that is like most of them counts: the machine is in a new state, and these runs say
what is usual in it."""

MOST_INVALID_IN_A_ROW = 8
"""After so many the next one counts, whatever it is like: a machine that is never twice the same would measure nothing.
Where another program comes and goes, three unusual runs in a row are common, and no new state."""

OTHER_LOAD_SHARE = 0.1
"""Share of all cores that other programs (or, in a virtual machine, other machines) may use during a run beyond what
they usually do. A quarter is too much: on two cores such a run trained on 40 % less text and scored 0.16 bits worse."""

LEAST_SWAPPED_OUT_BYTES = 256 << 20
"""Memory written to swap during a run that spoils it: less is other programs' idle memory being put away."""

SLEPT_SECONDS = 5.0
"""Sleep of the machine during a run that spoils it: what was in flight starts again cold."""

SPEED_TOLERANCE = 0.10
"""How far the probe may lie from the usual speed."""

USUAL_RUNS = 5
"""The usual state is the median of so many runs: it follows a slow drift, and no single run."""

LEAST_USUAL_RUNS = 3
"""Before so many runs there is no usual state, and nothing to wait for."""

CRITICAL_PRESSURE = 4
"""macOS's highest level of memory pressure: it swaps and kills."""


@dataclass(frozen=True)
class Conditions:
    """The machine around one run. What is unknown is None.

    Attributes:
        products, copies: the probe before the run, see `speed_probe.Speed`.
        other_cores: cores that others used, on average over the run; in a virtual machine also what the host took.
        cores: cores that the system counts.
        thermal_level: the median of the samples, 0 to 4, see `machine.THERMAL_LEVELS`; hottest: the highest.
        memory_pressure: the highest sample, 1, 2 or 4.
        swapped_out_bytes: memory written to swap meanwhile.
        slept_seconds: how long the machine slept.
        on_ac_power: False if any sample said battery.
        low_power_mode: True if any sample said so.
        threads: how many threads of the BLAS the run was given; None where it chooses itself.
        step_drift: steps a second late in the run over those early in it, see `curve.step_drift`. Only recorded: an
            edit may change its steps on purpose.
    """

    products: float | None = None
    copies: float | None = None
    other_cores: float | None = None
    cores: int | None = None
    thermal_level: float | None = None
    hottest: int | None = None
    memory_pressure: int | None = None
    swapped_out_bytes: int | None = None
    slept_seconds: float = 0.0
    on_ac_power: bool | None = None
    low_power_mode: bool | None = None
    threads: int | None = None
    step_drift: float | None = None

    @property
    def worst_level(self) -> float | None:
        """The highest heat that is known."""
        return self.thermal_level if self.hottest is None else self.hottest

    @property
    def speed(self) -> Speed | None:
        """What the probe found."""
        return None if self.products is None or self.copies is None else Speed(self.products, self.copies)


@dataclass(frozen=True)
class Usual:
    """The state in which this machine measures: medians over the last runs that counted; None for what is unknown."""

    speed: Speed | None = None
    other_cores: float | None = None
    thermal_level: float | None = None
    memory_pressure: float | None = None
    swapped_out_bytes: float | None = None
    on_ac_power: bool | None = None
    low_power_mode: bool | None = None
    threads: int | None = None


def usual_state(history: Sequence[Conditions]) -> Usual:
    """The usual state after these runs, oldest first; unknown before LEAST_USUAL_RUNS."""
    lately = history[-USUAL_RUNS:]

    def median(values: list[float | None]) -> float | None:
        known = [float(value) for value in values if value is not None]
        return statistics.median(known) if len(known) >= LEAST_USUAL_RUNS else None

    threads = [c.threads for c in lately if c.threads is not None]
    products, copies = median([c.products for c in lately]), median([c.copies for c in lately])
    mains, saving = median([c.on_ac_power for c in lately]), median([c.low_power_mode for c in lately])
    return Usual(
        speed=None if products is None or copies is None else Speed(products, copies),
        other_cores=median([c.other_cores for c in lately]),
        thermal_level=median([c.thermal_level for c in lately]),
        memory_pressure=median([c.memory_pressure for c in lately]),
        swapped_out_bytes=median([c.swapped_out_bytes for c in lately]),
        on_ac_power=None if mains is None else mains > 0.5,
        low_power_mode=None if saving is None else saving > 0.5,
        threads=statistics.median_low(threads)
        if len(threads) >= LEAST_USUAL_RUNS
        else None,  # a number they were given
    )


def why_invalid(run: Conditions, usual: Usual) -> str | None:
    """Why a run in these conditions can't be compared with the others; None when it can."""
    if run.other_cores is not None and run.cores:
        usually = usual.other_cores or 0.0
        if run.other_cores > usually + OTHER_LOAD_SHARE * run.cores:
            return f"other programs used {run.other_cores:.1f} of {run.cores} cores (usually {usually:.1f})"
    swapped = (run.swapped_out_bytes or 0) - (usual.swapped_out_bytes or 0)
    if run.swapped_out_bytes is not None and swapped > LEAST_SWAPPED_OUT_BYTES:
        return f"the machine wrote {run.swapped_out_bytes / (1 << 20):,.0f} MiB to swap"
    if (run.memory_pressure or 0) >= CRITICAL_PRESSURE > (usual.memory_pressure or 0):
        return "memory was critically short"
    if usual.thermal_level is not None and run.thermal_level is not None and run.thermal_level > usual.thermal_level:
        return f"the chip was hotter than usual (level {run.thermal_level:g}, usually {usual.thermal_level:g})"
    if usual.on_ac_power and run.on_ac_power is False:
        return "the machine was on battery; it is usually on mains power in this night"
    if usual.low_power_mode is False and run.low_power_mode:
        return "low-power mode was on; it is usually off in this night"
    if usual.threads is not None and run.threads is not None and run.threads != usual.threads:
        return f"it was given {run.threads} threads, {usual.threads:g} are usual: others came or went when it started"
    return why_not_ready(run.speed, usual)


def are_alike(one: Conditions, other: Conditions) -> bool:
    """Whether each of two runs would count where the other one is usual."""
    pairs = ((one, other), (other, one))
    return all(why_invalid(run, usual_state([usual] * LEAST_USUAL_RUNS)) is None for run, usual in pairs)


def why_not_ready(speed: Speed | None, usual: Usual) -> str | None:
    """What a probe says against starting a run now; None when the machine is as usual, or nobody knows."""
    if speed is None or usual.speed is None:
        return None
    ratio = speed.ratio(usual.speed)
    if abs(ratio - 1) <= SPEED_TOLERANCE:
        return None
    return f"the machine computes at {ratio:.0%} of its usual speed"


@dataclass(frozen=True)
class Entry:
    """A finished run in the log.

    Attributes:
        experiment, run: its numbers.
        conditions: the machine around it.
        invalid: why it doesn't count; None when it does.
        is_new_state: it counts although it was unusual, since runs before it were unusual in the same way.
    """

    experiment: int
    run: int
    conditions: Conditions
    invalid: str | None = None
    is_new_state: bool = False


@dataclass
class ConditionsLog:
    """The conditions of a night's runs in the order of time, on disk."""

    path: Path
    entries: list[Entry] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path) -> ConditionsLog:
        """The log at `path`, empty where it can't be read; lines that are torn or no entries are passed over."""
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        return cls(path, [entry for line in lines if (entry := _parse(line)) is not None])

    def usual(self) -> Usual:
        """The machine's usual state by now."""
        began = max((place for place, entry in enumerate(self.entries) if entry.is_new_state), default=0)
        led_to_it = self.entries[max(0, began - INVALID_IN_A_ROW) : began]
        counted = [entry for entry in self.entries[began:] if entry.invalid is None]
        return usual_state([entry.conditions for entry in (*led_to_it, *counted)])

    def judge(self, experiment: int, run: int, conditions: Conditions, excusable: bool) -> str | None:
        """Record a finished run; says why it doesn't count, None when it does.

        Args:
            experiment, run: its numbers.
            conditions: the machine around it.
            excusable: whether anything but sleep can excuse what came of it.
        """
        reason, is_new_state = why_invalid(conditions, self.usual()) if excusable else None, False
        if conditions.slept_seconds > SLEPT_SECONDS:
            reason = f"the machine slept for {conditions.slept_seconds:.0f} s"
        elif reason is not None and self._is_new_state(conditions):
            reason, is_new_state = None, True
        entry = Entry(experiment, run, conditions, reason, is_new_state)
        append_line(self.path, json.dumps(asdict(entry)))
        self.entries.append(entry)
        return reason

    @property
    def state(self) -> int:
        """Number of the state that the machine is in, from 0."""
        return sum(entry.is_new_state for entry in self.entries)

    @property
    def is_unsettled(self) -> bool:
        """Whether the last run did not count: the machine may be changing."""
        return bool(self.entries) and self.entries[-1].invalid is not None

    def _is_new_state(self, conditions: Conditions) -> bool:
        """Whether an unusual run is no exception any more."""
        invalid = list(takewhile(lambda entry: entry.invalid is not None, reversed(self.entries)))
        lately = [entry.conditions for entry in invalid[:INVALID_IN_A_ROW]]
        if len(lately) < INVALID_IN_A_ROW:
            return False
        alike = sum(are_alike(conditions, each) for each in lately)
        return alike > INVALID_IN_A_ROW // 2 or len(invalid) >= MOST_INVALID_IN_A_ROW


def _parse(line: str) -> Entry | None:
    """The entry of a line, None where it is none; what is not of the type that is written down for it is unknown."""
    try:
        entry, types = json.loads(line), field_types(Conditions)
        measured = {name: value for name, value in entry["conditions"].items() if fits(value, types.get(name))}
        invalid = None if entry["invalid"] is None else str(entry["invalid"])
        is_new_state = entry.get("is_new_state") is True
        return Entry(int(entry["experiment"]), int(entry["run"]), Conditions(**measured), invalid, is_new_state)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
