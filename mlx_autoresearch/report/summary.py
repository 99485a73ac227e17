"""What a person wants to know first, worked out from a night's facts: gain, time, what worked, how sure we are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from mlx_autoresearch import verdict
from mlx_autoresearch.conditions import JUDGED_BUDGET_SECONDS
from mlx_autoresearch.noise import Noise
from mlx_autoresearch.records import CRASH, DISCARD, INCONCLUSIVE, KEEP
from mlx_autoresearch.report.gather import RUNNING, Estimate, NightFacts, Row, Span
from mlx_autoresearch.sandbox import NOTHING

STOPPED_SECONDS = 900.0
"""A gap in the timeline longer than this means that no loop was at work."""

WORDS = {KEEP: "kept", DISCARD: "worse", INCONCLUSIVE: "in doubt", CRASH: "no score", RUNNING: "running"}
"""Statuses in a person's words."""


@dataclass(frozen=True)
class Gain:
    """How many bits per byte the best is better than the baseline, with the half-width of the 95 % interval."""

    mean: float
    half_width: float
    baseline: float

    @property
    def percent(self) -> float:
        """The gain in percent of the baseline's score."""
        return 100 * self.mean / self.baseline

    @property
    def percent_half_width(self) -> float:
        """Its half-width in the same unit."""
        return 100 * self.half_width / self.baseline

    @property
    def is_certain(self) -> bool:
        """Whether the whole interval is above zero."""
        return self.mean > self.half_width


def gain(first: Estimate | None, best: Estimate | None, noise: Noise) -> Gain | None:
    """The measured gain from `first` to `best`; None where either is unknown."""
    if first is None or best is None:
        return None
    half_width = noise.margin(noise.deviation * math.sqrt(1 / first.runs + 1 / best.runs))
    return Gain(first.mean - best.mean, half_width, first.mean)


def headline(facts: NightFacts) -> str:
    """The night in one sentence."""
    first = facts.baseline
    if first is None or first.val is None:
        failed = [row for row in facts.rows if row.number == 0 and row.status == CRASH]
        return "The unchanged file failed." if failed else "The unchanged file is being measured."
    if not facts.keeps:
        return "Nothing is better than the unchanged file by more than this machine's noise so far."
    won = claimed(facts)
    changes = f"{len(facts.keeps)} kept change{'s' if len(facts.keeps) > 1 else ''}"
    if won is None:
        return f"After {changes} nobody can say how much better the model is: the verdicts don't tell what they claim."
    if won.mean <= 0:
        return f"After {changes} the model is no better than the unchanged file, once luck is taken off."
    doubt = "" if won.is_certain else " That may still be chance."
    return (
        f"After {changes} the model needs {won.percent:.1f} % ± {won.percent_half_width:.1f} fewer bits for the same "
        f"text, luck taken off.{doubt}"
    )


def claimed(facts: NightFacts) -> Gain | None:
    """What the keeps claim over the baseline; None where there is no keep, or a verdict doesn't tell its claim."""
    if facts.claim is None or facts.baseline is None or facts.baseline.val is None:
        return None
    return Gain(facts.claim.gain, facts.claim.half_width, facts.baseline.val.mean)


@dataclass(frozen=True)
class TimeShare:
    """Seconds that went into something, and their share of the time in which the loop was at work."""

    what: str
    seconds: float
    share: float


def at_work_and_stopped(facts: NightFacts) -> tuple[float, float] | None:
    """Seconds in which a loop was at work, and seconds between in which none was; None before anything happened."""
    if not facts.spans:
        return None
    reached, stopped = facts.spans[0].start, 0.0
    for span in facts.spans:
        if span.start - reached > STOPPED_SECONDS:
            stopped += span.start - reached
        reached = max(reached, span.end)
    return reached - facts.spans[0].start - stopped, stopped


def time_shares(facts: NightFacts) -> list[TimeShare]:
    """What the machine's time went into, the largest first; waiting is what nothing else accounts for."""
    times = at_work_and_stopped(facts)
    if times is None or times[0] <= 0:
        return []
    seconds: Counter[str] = Counter()
    for span in facts.spans:
        if span.what != "thinking":
            seconds[span.what] += span.end - span.start
    seconds["waiting, and the loop's own work"] = max(0.0, times[0] - sum(seconds.values()))
    return [TimeShare(what, spent, spent / times[0]) for what, spent in seconds.most_common()]


@dataclass(frozen=True)
class Outage:
    """A time in which the researcher gave no usable answer: seconds since 1970, what came instead, how often."""

    start: float
    end: float
    outcome: str
    attempts: int


def outages(facts: NightFacts) -> list[Outage]:
    """Times without a usable answer, from the first failure to the next proposal; "closed" is the loop's own end."""
    found: list[Outage] = []
    failing: list[Span] = []
    for span in [span for span in facts.spans if span.what == "thinking" and span.outcome != "closed"]:
        if span.outcome in ("proposal", ""):
            found += _outage(failing, span.start)
            failing = []
        else:
            failing.append(span)
    return found + _outage(failing, failing[-1].end if failing else 0.0)


def _outage(failing: list[Span], end: float) -> list[Outage]:
    if not failing:
        return []
    outcomes = ", ".join(dict.fromkeys(span.outcome for span in failing))
    return [Outage(failing[0].start, max(end, failing[-1].end), outcomes, len(failing))]


@dataclass(frozen=True)
class AreaResult:
    """What came of the edits of one area: numbers of edits by outcome, and the edit that gained most."""

    area: str
    tried: int
    kept: int
    in_doubt: int
    worse: int
    without_score: int
    best: Row | None


def results_by_area(rows: list[Row]) -> list[AreaResult]:
    """Decided edits by area, the most tried first; one that touches two areas counts in both."""
    edits = [row for row in rows if row.number > 0 and row.status != RUNNING]
    areas = Counter(area for row in edits for area in row.areas)
    return [_area_result(area, [row for row in edits if area in row.areas]) for area, _ in areas.most_common()]


def _area_result(area: str, rows: list[Row]) -> AreaResult:
    counts = Counter(row.status for row in rows)
    compared = [row for row in rows if row.gain is not None and row.gain > 0]
    best = max(compared, key=lambda row: (row.kept, row.gain), default=None)
    outcomes = (counts[KEEP], counts[INCONCLUSIVE], counts[DISCARD], counts[CRASH])
    return AreaResult(area, len(rows), *outcomes, best)


def how_sure(facts: NightFacts) -> Iterator[tuple[str, str]]:
    """Terms and sentences about what the numbers rest on."""
    decided = [row for row in facts.rows if row.status != RUNNING and row.val is not None]
    repeated = [row for row in decided if row.val.runs > 1]
    yield (
        "Noise",
        f"Runs of one file with different seeds scatter by {facts.noise.deviation:.4f} bits per byte (standard "
        f"deviation, pooled over all repeated runs, {facts.noise.degrees:g} degrees of freedom). "
        "Every ± on this page is a 95 % interval that follows from it.",
    )
    yield "Repeats", f"Run more than once: {len(repeated)} of {len(decided)} scored experiments{_best_runs(facts)}."
    yield (
        "Rule",
        f"A change is kept when its chance of being better is at least {verdict.KEEP_PROBABILITY:.0%}. Among many "
        "tries the best one is partly luck: that is what the test text is for, which decides nothing.",
    )
    tested = [row for row in facts.keeps if row.test is not None]
    yield (
        "Checks",
        "Every score was checked for models that look ahead, at other rows, or answer differently when asked again. "
        f"Kept models also checked at every position and scored on test text: {len(tested)} of {len(facts.keeps)}.",
    )
    yield "Sandbox", _sandbox(facts)
    yield "Conditions", _conditions(facts)
    if facts.damage:
        yield "Damage", " ".join(f"{sentence}." for sentence in facts.damage)


def _best_runs(facts: NightFacts) -> str:
    if facts.baseline is None or facts.baseline.val is None or facts.best.val is None:
        return ""
    return f"; the baseline has {facts.baseline.val.runs} runs, the best {facts.best.val.runs}"


def _sandbox(facts: NightFacts) -> str:
    names = Counter(run.sandbox for run in facts.runs)
    if not names:
        return "Unknown: no run is finished."
    parts = [
        f"{count} run{'s' if count > 1 else ''} "
        + ("with no record of it" if name is None else "WITHOUT a sandbox" if name == NOTHING else f"in {name}")
        for name, count in names.most_common()
    ]
    return ", ".join(parts) + "."


def _conditions(facts: NightFacts) -> str:
    if not facts.conditions:
        return "Heat, power and other programs were not measured."
    told = [entry.conditions for entry in facts.conditions]
    reasons = Counter(entry.invalid for entry in facts.conditions if entry.invalid is not None)
    if reasons:
        why = "; ".join(f"{count} times {reason}" for reason, count in reasons.most_common(5))
        parts = [f"{reasons.total()} of {len(told)} measured runs did not count ({why})"]
    else:
        parts = [f"All {len(told)} measured runs count"]
    if facts.identity.budget_seconds < JUDGED_BUDGET_SECONDS:
        parts.append(f"below {JUDGED_BUDGET_SECONDS:g} s a run, which is practice, only sleep is judged")
    for count, words in (
        (sum((run.worst_level or 0) > 0 for run in told), "were hot"),
        (sum(run.on_ac_power is False for run in told), "ran on battery"),
        (sum(run.low_power_mode is True for run in told), "in low-power mode"),
        (sum(bool(run.swapped_out_bytes) for run in told), "with memory swapped out"),
    ):
        parts += [f"{count} {words}"] if count else []
    if changes := sum(entry.is_new_state for entry in facts.conditions):
        times = "once" if changes == 1 else f"{changes} times"
        parts.append(f"the machine changed {times}, and scores from before and after are not compared")
    busy = [run.other_cores for run in told if run.other_cores is not None]
    parts += [f"other programs used {max(busy):.1f} cores at most"] if busy else []
    return ", ".join(parts) + "."
