"""What a night has taught about its programs: the levels of incumbents, and of promising edits that others build on.

Every decided edit taught something about the program it was made from (levels.py), and about the noise: many edits do
little, and how far apart their scores lie is noise for the most part. All of it is worked out anew from the night's
records whenever it is needed, so a night that was cut off goes on as if it had not been.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from mlx_autoresearch.history import Experiment, Night
from mlx_autoresearch.levels import Known, Level
from mlx_autoresearch.noise import Noise, pooled_noise, spread
from mlx_autoresearch.records import KEEP, Measurement, Verdict
from mlx_autoresearch.verdict import Base, Effects, compare, effects

DEVIATIONS = np.geomspace(3e-4, 0.3, 93)
"""Standard deviations of a run, in bits per byte, among which the noise is looked for; each is 8 % above the last."""


@cache
def log_likelihood(measured: float, error: float) -> np.ndarray:
    """How likely the measured gain of an edit is for each of DEVIATIONS, whatever the edit may be worth.

    Args:
        measured: in bits per byte.
        error: its standard error, in units of the standard deviation of a run.

    Returns:
        Logarithms (K,).
    """
    errors, known = error * DEVIATIONS[:, None], effects()
    densities = np.exp(-0.5 * ((measured - known.gains) / errors) ** 2) / errors
    return np.log(densities @ known.weights + np.finfo(float).tiny)


def noise_seen(repeated: Noise, logarithms: np.ndarray) -> Noise:
    """The noise for all that repeated runs say (`repeated`), and what edits say: log-likelihoods of DEVIATIONS, (K,).

    The posterior over DEVIATIONS is taken for a scaled inverse chi-squared distribution with its mean and variance of
    the logarithm of sigma^2 (trigamma(x) is about 1 / x + 1 / (2 x^2), digamma(x) log x - 1 / (2 x) - 1 / (12 x^2)).
    """
    logarithms = logarithms - repeated.degrees * (np.log(DEVIATIONS) + 0.5 * (repeated.deviation / DEVIATIONS) ** 2)
    weights = np.exp(logarithms - logarithms.max())
    weights, values = weights / weights.sum(), 2 * np.log(DEVIATIONS)
    mean = float(weights @ values)
    variance = float(weights @ (values - mean) ** 2)
    half = (1 + math.sqrt(1 + 2 * variance)) / (2 * variance)  # of the degrees of freedom
    digamma = math.log(half) - 1 / (2 * half) - 1 / (12 * half**2)
    return Noise(math.exp(0.5 * (mean + digamma)) / math.sqrt(half), 2 * half)


@dataclass
class Beliefs:
    """Levels and gains, learned one decided edit after the other; programs are numbers of experiments.

    Attributes:
        about_noise: what the decided edits say about it, for `noise_seen`.
    """

    about_noise: np.ndarray = field(default_factory=lambda: np.zeros(len(DEVIATIONS)))
    _known: dict[int, Known] = field(default_factory=dict)
    _bases: dict[int, Base] = field(default_factory=dict)

    def incumbent(self, number: int, runs: Sequence[Measurement], until: float, noise: Noise) -> Known:
        """What is known of an incumbent when a candidate's first run begins, at `until` in seconds.

        Args:
            number: of the incumbent.
            runs: all its runs, those that came later too.
            until: its runs before that time are in its level.
            noise: of a run.
        """
        before = self._known.get(number, Known(()))
        return Known(runs, before.level, before.counted).until(until, noise)

    def base(self, parent: int | None, incumbent: int) -> Base | None:
        """What a candidate was made from, where that is a promising edit; None for the incumbent and what is older."""
        return None if parent is None or parent <= incumbent else self._bases.get(parent)

    def learn(
        self,
        number: int,
        runs: Sequence[Measurement],
        decided: Verdict,
        parent: int | None,
        incumbent: Known,
        noise: Noise,
    ) -> None:
        """Take in a decided edit.

        Args:
            number: of the edit.
            runs: its runs.
            decided: its verdict, which names the incumbent.
            parent: what it was made from: that incumbent, a promising edit, or any other program.
            incumbent: as `incumbent` gave it, with the runs that it had while the edit was tried.
            noise: of a run.
        """
        base = self.base(parent, decided.incumbent)
        over_incumbent = compare(runs, incumbent, noise, base and base.before)
        over_parent = over_incumbent if base is None else compare(runs, Known((), base.level), noise)
        if base is not None or parent == decided.incumbent:
            error = over_parent.error / noise.deviation
            self.about_noise = self.about_noise + log_likelihood(over_parent.measured, error)
            self._known[decided.incumbent] = Known(incumbent.runs, over_incumbent.program, len(incumbent.runs))
        if base is not None:
            belief = base.belief
            if incumbent.level is not None:
                belief = _revised(belief, base.level, over_parent.program, incumbent.level, noise)
            self._bases[parent] = Base(base.numbers, over_parent.program, belief)
        if decided.status == KEEP:
            self._known[number] = Known(runs, over_parent.edit, len(runs))
        elif decided.promising:
            numbers = (*(base.numbers if base else ()), number)
            self._bases[number] = Base(numbers, over_parent.edit, over_incumbent.belief)


def _revised(belief: Effects, before: Level, after: Level, incumbent: Level, noise: Noise) -> Effects:
    """What is believed of a promising edit's gain once its level is known better: it may have been luck.

    Args:
        belief: of the gain over the incumbent, until now.
        before, after: its level, until now and now.
        incumbent: the incumbent's level.
        noise: of a run.
    """
    mean, variance = after.learned_since(before.at(after.when, noise))
    known = incumbent.at(after.when, noise)
    squares = (known.mean - belief.gains - mean) ** 2 / (variance + known.variance)
    return belief.given(-0.5 * squares)


def before(experiment: Experiment, night: Night, noise: Noise) -> tuple[Known, Base | None]:
    """What is known of the incumbent, and of what `experiment` was made from, when it began; None for the incumbent.

    Args:
        experiment: with at least one scored run.
        night: has an incumbent.
        noise: of a run.
    """
    beliefs, incumbent = _taught_before(experiment.number, _began(experiment), night, noise), night.incumbent()
    known = beliefs.incumbent(incumbent.number, incumbent.measurements, _began(experiment), noise)
    return known, beliefs.base(experiment.proposal.parent, incumbent.number)


def noise_of(night: Night, prior: Noise) -> Noise:
    """The noise of a run, from the repeated runs of the night, its decided edits, and a prior."""
    repeated = pooled_noise([spread(experiment.measurements) for experiment in night.experiments], prior)
    last = max((experiment.number for experiment in night.experiments), default=0)
    return noise_seen(repeated, _taught_before(last + 1, math.inf, night, repeated).about_noise)


def _taught_before(number: int, began: float, night: Night, noise: Noise) -> Beliefs:
    """What the decided edits below `number` taught, which began at that time."""
    beliefs, programs = Beliefs(), {each.number: each for each in night.experiments}
    tried = [each for each in night.experiments if each.number < number and _taught(each, programs)]
    for each, ended in zip(tried, [*map(_began, tried), began][1:], strict=True):
        runs, decided = each.measurements, each.verdict
        all_runs = programs[decided.incumbent].measurements
        while_tried = [run for run in all_runs if run.when <= ended] or all_runs  # records may tell no times
        incumbent = beliefs.incumbent(decided.incumbent, while_tried, _began(each), noise)
        beliefs.learn(each.number, runs, decided, each.proposal.parent, incumbent, noise)
    return beliefs


def _taught(experiment: Experiment, programs: Mapping[int, Experiment]) -> bool:
    """Whether it was compared with an incumbent that can still be read."""
    decided = experiment.verdict
    return decided is not None and decided.incumbent in programs and bool(experiment.measurements)


def _began(experiment: Experiment) -> float:
    return experiment.measurements[0].when
