"""What is known of a program's level: what it scores on this machine now, without the luck of a run.

A program's level and the machine's together walk in time, and a run observes them with the noise of its seed: the local
level model, followed run by run (Kalman filter; Harvey, Forecasting, Structural Time Series Models and the Kalman
Filter, 1989, section 2.3). So neighbours in time count, and an old run counts as little as it deserves.

A run of an edit says something about the program that it was made from, too: most edits lose, many do nothing, and
what scores much like its parent shows what the parent scores now. Both are followed together here, for every gain of
the edit at once (`Pair`). When the edit is decided, what is believed of its gain leaves one level for each of them: a
mixture taken for a normal distribution with its mean and variance (assumed density filtering; Minka, A Family of
Algorithms for Approximate Bayesian Inference, 2001, chapter 3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlx_autoresearch.noise import DRIFT_PER_HOUR, Noise
from mlx_autoresearch.records import Measurement

MOST_OF_THE_VARIANCE = 0.99
"""See `Level.learned_since`."""


@dataclass(frozen=True)
class Level:
    """What a program would score at a time, in bits per byte: mean and variance; `when` is in seconds."""

    mean: float
    variance: float
    when: float

    def seen(self, run: Measurement, noise: Noise) -> Level:
        """The same after another run of the program."""
        variance = self.at(run.when, noise).variance
        share = variance / (variance + noise.deviation**2)
        return Level(self.mean + share * (run.bpb - self.mean), (1 - share) * variance, run.when)

    def at(self, when: float, noise: Noise) -> Level:
        """The same at another time."""
        return Level(self.mean, self.variance + drift(self.when, when, noise), when)

    def learned_since(self, before: Level) -> tuple[float, float]:
        """Mean and variance of a single observation that would have made this level out of `before`.

        Where a mixture left the level no surer than it was, the observation is one that hardly makes it surer and moves
        it as far.
        """
        surer = self.variance < MOST_OF_THE_VARIANCE * before.variance
        after = self.variance if surer else MOST_OF_THE_VARIANCE * before.variance
        variance = 1 / (1 / after - 1 / before.variance)
        return before.mean + (self.mean - before.mean) * (before.variance + variance) / before.variance, variance


@dataclass(frozen=True)
class Known:
    """A program and what is known of it.

    Attributes:
        runs: all its runs in order of time.
        level: what everything until the first `counted` of them says; None where the runs are all that is known.
        counted: how many of the runs are in `level` already.
    """

    runs: Sequence[Measurement]
    level: Level | None = None
    counted: int = 0

    def until(self, when: float, noise: Noise) -> Known:
        """The same with the runs before `when` in the level."""
        level, counted = self.level, self.counted
        while counted < len(self.runs) and self.runs[counted].when < when:
            run = self.runs[counted]
            level = _first(run, noise) if level is None else level.seen(run, noise)
            counted += 1
        return Known(self.runs, level, counted)

    def with_run(self, when: float) -> Known:
        """The same with another run whose score is not known: enough to ask how sharp a comparison would be."""
        return replace(self, runs=[*self.runs, Measurement(0.0, when)])


@dataclass(frozen=True)
class Pair:
    """What runs of a program and of an edit of it say, as functions of the edit's gain in bits per byte.

    Attributes:
        offset, slope: the program's level is offset + slope * gain, the edit's that less the gain.
        variance: of both, once the gain is known.
        when: the newest run's time.
        measured, error: the gain that fits the runs best, and its standard error.
    """

    offset: float
    slope: float
    variance: float
    when: float
    measured: float
    error: float

    def program(self, gain: float, variance: float) -> Level:
        """The program's level, where the gain is believed to have that mean and variance."""
        return Level(self.offset + self.slope * gain, self.variance + self.slope**2 * variance, self.when)

    def edit(self, gain: float, variance: float) -> Level:
        """The edit's level."""
        slope = self.slope - 1
        return Level(self.offset + slope * gain, self.variance + slope**2 * variance, self.when)


def follow(program: Known, edit: Sequence[Measurement], noise: Noise) -> Pair:
    """Follow a program and an edit of it through their runs.

    Args:
        program: with a level, or at least one run.
        edit: the edit's runs, at least one.
        noise: of a run.
    """
    first = 1 if program.level is None else program.counted
    start = program.level or _first(program.runs[0], noise)
    offset, slope, variance, when = start.mean, 0.0, start.variance, start.when
    information = score = 0.0
    events = [(run.when, 0.0, run.bpb) for run in program.runs[first:]] + [(run.when, 1.0, run.bpb) for run in edit]
    for time, is_edit, bpb in sorted(events, key=lambda event: event[:2]):
        variance += drift(when, time, noise)
        spread, sensitivity, surprise = variance + noise.deviation**2, slope - is_edit, bpb - offset
        information += sensitivity**2 / spread
        score += sensitivity * surprise / spread
        share = variance / spread
        offset, slope = offset + share * surprise, slope - share * sensitivity
        variance, when = (1 - share) * variance, max(when, time)
    return Pair(offset, slope, variance, when, score / information, 1 / math.sqrt(information))


def drift(before: float, after: float, noise: Noise) -> float:
    """Variance that a level gains between two times."""
    return DRIFT_PER_HOUR * noise.deviation**2 * abs(after - before) / 3600


def _first(run: Measurement, noise: Noise) -> Level:
    return Level(run.bpb, noise.deviation**2, run.when)
