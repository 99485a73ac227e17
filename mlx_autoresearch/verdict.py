"""Keep, discard, or measure again: a keep is better than the incumbent by more than this machine's noise.

A candidate is compared with what is known of the incumbent's level at the time (levels.py). How much better it really
is follows Bayes' rule: what edits are worth in published results tables, times Student's t likelihood of the measured
difference (Gelman et al., Bayesian Data Analysis, 3rd edition, section 3.2). The posterior says all that is needed:

- the chance of being better decides. Looking again after every run does not wear it out: the odds of an edit without
  effect ever pass a bound b with probability 1 / b at most (Robbins, Annals of Mathematical Statistics 41, 1970);
- the expected gain is what may be claimed. It is less than the measured one, because what is kept was lucky more often
  than not, and by how much is known (the winner's curse: Efron, Tweedie's formula and selection bias, 2011);
- the hope, what is gained on average by keeping it if it is better, says whether another run is worth its minutes.

So: a loser is discarded after one run; one that may be better is run again, and the incumbent too, whichever makes the
comparison sharper; a gain far beyond the noise is kept at once. What is not kept, but expected to be better, is
promising: the next edits build on it and are judged with what they hold, until all of it together is surely better.

What the thresholds cost and find was measured over many simulated nights: `python -m benchmarks.verdict`,
docs/verdict.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from mlx_autoresearch.levels import Known, Level, follow
from mlx_autoresearch.noise import Noise
from mlx_autoresearch.records import DISCARD, INCONCLUSIVE, KEEP, STATE_SECONDS, Measurement, Verdict

BASELINE_RUNS = 2
"""Runs of the unchanged file before the first edit: the least that says anything about noise."""

KEEP_PROBABILITY = 0.87
"""Chance of being better that is enough for a keep. Most keeps are far surer: fewer than 5 in 100 are false in
simulated nights. With 0.8 it is 5 to 7 in 100, and a thirtieth more is found on noisy machines (250 nights)."""

RIVALS = 2.0
"""New ideas that a candidate must outdo in hope for another run: it takes about two runs, one of each side, to decide.
See `worth_a_run`."""

RUN_LIMIT = 24
"""Runs of one candidate, two hours of five-minute runs. Hope decides long before, except where the noise is large: with
0.03 a limit of 16 finds a tenth less, one of 8 half as much."""

PRACTICE_RUN_LIMIT = 3
"""The same where the budget is so short that it is for practice: such runs are mostly noise, and somebody waits."""

FRESH_SECONDS = 2 * 3600.0
"""A candidate is kept only if the incumbent was run within this time of its newest run, and the incumbent is run anew
when its last run is older than this."""

EQUAL_LOSS = 0.001
"""A shorter program is kept as equal when what it is expected to lose is less than this, in bits per byte."""

EQUAL_IN_REACH = 0.002
"""It is run again while its expected loss is below this: a few more runs may bring it under EQUAL_LOSS."""

NEGLIGIBLE = 1e-5
"""Gains less likely than this are left out where two changes are added up: less than a hundredth of them in sum."""

BETTER, NOTHING = 0.16, 0.24
"""Shares of edits that are better and that change nothing; the rest is worse. Of 246 edits in six published results
tables (named in benchmarks/nights.py) 13 % were better by clearly more than the noise; 17 % moved next to nothing."""

GAIN, LOSS, FACTOR = 0.004, 0.012, 4.0
"""Medians of gains and of losses in those tables in bits per byte, and the factor of one standard deviation of their
logarithms."""


@dataclass(frozen=True)
class Effects:
    """Possible gains in bits per byte, (K,), and how likely each is for all that is known, (K,), 1 in sum."""

    gains: np.ndarray
    weights: np.ndarray

    @property
    def mean(self) -> float:
        """The gain on average."""
        return float(self.weights @ self.gains)

    @property
    def variance(self) -> float:
        """The square of its standard deviation."""
        return float(self.weights @ (self.gains - self.mean) ** 2)

    def given(self, logarithms: np.ndarray) -> Effects:
        """The same after an observation with these log-likelihoods of each gain (Bayes' rule)."""
        weights = self.weights * np.exp(logarithms - logarithms.max())
        return Effects(self.gains, weights / weights.sum())

    def likely(self) -> tuple[np.ndarray, np.ndarray]:
        """Gains and weights without what is NEGLIGIBLE."""
        chosen = self.weights > NEGLIGIBLE
        return self.gains[chosen], self.weights[chosen]


@cache
def effects() -> Effects:
    """What an edit is worth before it is measured: log-normal losses, nothing at all, log-normal gains.

    Up to 65 bits per byte, far beyond what anybody has seen: a gain that has no place here could never be believed.
    """
    deviations = np.linspace(-3.5, 7.0, 421)
    density = np.exp(-0.5 * deviations**2)
    density /= density.sum()
    sizes = FACTOR**deviations
    return Effects(
        np.concatenate([-LOSS * sizes[::-1], [0.0], GAIN * sizes]),
        np.concatenate([(1 - BETTER - NOTHING) * density[::-1], [NOTHING], BETTER * density]),
    )


def together(first: Effects, second: Effects) -> Effects:
    """What two independent changes gain in sum, on the grid of `effects`."""
    grid = effects().gains
    (gains, weights), (others, their_weights) = first.likely(), second.likely()
    places = np.searchsorted((grid[1:] + grid[:-1]) / 2, np.add.outer(gains, others).ravel())
    added = np.bincount(places, np.outer(weights, their_weights).ravel(), len(grid))
    return Effects(grid, added / added.sum())


@dataclass(frozen=True)
class Base:
    """The program that a candidate was made from, where that is not the incumbent but a promising one.

    Attributes:
        numbers: the promising experiments whose changes it holds, the oldest first.
        level: what is known of its level.
        belief: what it gains over the incumbent, for all that is known.
    """

    numbers: tuple[int, ...]
    level: Level
    belief: Effects

    @cached_property
    def before(self) -> Effects:
        """What an edit of it gains over the incumbent, before it is measured."""
        return together(self.belief, effects())


@dataclass(frozen=True)
class Comparison:
    """What is known about a candidate's gain over the incumbent, in bits per byte.

    Attributes:
        measured: the gain as measured.
        error: standard error of `measured`.
        expected: mean of the posterior: what may be claimed.
        chance: posterior probability of being better.
        hope: mean of the gain where it is one and 0 where it is a loss.
        loss: mean of the loss where it is one and 0 where it is a gain.
        deviation: standard deviation of the posterior.
        belief: the posterior.
        program, edit: the levels of the incumbent and of the candidate, for all that is known now.
    """

    measured: float
    error: float
    expected: float
    chance: float
    hope: float
    loss: float
    deviation: float
    belief: Effects
    program: Level
    edit: Level


def compare(
    candidate: Sequence[Measurement], incumbent: Known, noise: Noise, before: Effects | None = None
) -> Comparison:
    """Compare runs of a candidate, one at least, with what is known of the incumbent.

    `before` is what is believed of its gain beforehand: None for what is believed of any edit.
    """
    pair = follow(incumbent, candidate, noise)
    known = before or effects()
    squares = ((pair.measured - known.gains) / pair.error) ** 2
    belief = known.given(-0.5 * (noise.degrees + 1) * np.log1p(squares / noise.degrees))
    weights = belief.weights
    # Levels take the noise for known: with Student's tails an edit far off would unsettle what it was made from.
    normal = known.given(-0.5 * squares)
    return Comparison(
        measured=pair.measured,
        error=pair.error,
        expected=belief.mean,
        chance=float(weights[known.gains > 0].sum()),
        hope=float(weights @ np.maximum(known.gains, 0)),
        loss=float(weights @ np.maximum(-known.gains, 0)),
        deviation=math.sqrt(belief.variance),
        belief=belief,
        program=pair.program(normal.mean, normal.variance),
        edit=pair.edit(normal.mean, normal.variance),
    )


@dataclass(frozen=True)
class RunAgain:
    """No verdict yet: run this one ("candidate" or "incumbent") again."""

    which: str


def decide(
    candidate: Sequence[Measurement],
    incumbent: Known,
    noise: Noise,
    incumbent_number: int,
    lines_saved: int = 0,
    run_limit: int = RUN_LIMIT,
    base: Base | None = None,
) -> Verdict | RunAgain:
    """The verdict on a candidate, or what to run next.

    Args:
        candidate: its runs, at least one, in order of time.
        incumbent: what is known of the incumbent, with all its runs.
        noise: the pooled noise.
        incumbent_number: experiment number of the incumbent, for the sentence.
        lines_saved: lines of code that the candidate is shorter than the incumbent; negative when it is longer.
        run_limit: most runs of the candidate.
        base: what it was made from, where that is not the incumbent.
    """
    runs = len(candidate)
    if runs <= run_limit and not in_one_state(candidate, incumbent.runs):
        return RunAgain("incumbent")
    found = compare(candidate, incumbent, noise, base and base.before)
    over_base = found if base is None else compare(candidate, Known((), base.level), noise)
    promising = found.expected > 0 and over_base.expected > 0
    words = _Words(found, candidate, incumbent, noise, incumbent_number, base, promising)
    fresh = is_fresh(candidate, incumbent.runs)
    equal = lines_saved > 0 and found.loss <= EQUAL_LOSS
    sure = found.chance >= KEEP_PROBABILITY
    if fresh and sure:
        at_once = "Kept at once, far beyond the noise" if base is None else "Kept with what it builds on"
        return words.verdict(KEEP, at_once if runs == 1 else "Kept, better again")
    if fresh and equal:
        return words.verdict(KEEP, f"Kept for {lines_saved} lines of code less, equal within the noise")
    shorter_in_reach = lines_saved > 0 and found.loss <= EQUAL_IN_REACH
    if found.hope < worth_a_run(noise) and not shorter_in_reach:
        if promising:
            return words.verdict(INCONCLUSIVE, "In doubt")
        if runs == 1:
            return words.verdict(DISCARD, "Not better" if found.measured <= 0 else "Too little to be told from nothing")
        return words.verdict(INCONCLUSIVE, "Discarded, too little is left of the gain")
    if runs > run_limit or (fresh and runs == run_limit):
        return words.verdict(INCONCLUSIVE, "Inconclusive, the gain is within the noise")
    if not fresh and (runs == run_limit or equal or sure):
        return RunAgain("incumbent")
    return RunAgain(sharper(candidate, incumbent, noise))


def worth_a_run(noise: Noise) -> float:
    """Hope in bits per byte that a candidate needs for another run.

    A run of a new idea can show what it gains beyond the noise: that is the promise to outdo. So with noise 0.002 it is
    0.0032, with 0.01 0.0026, with 0.03, where new ideas show little, 0.0016.
    """
    known = effects()
    beyond = known.gains > noise.deviation
    return RIVALS * float(known.weights[beyond] @ known.gains[beyond])


def is_fresh(candidate: Sequence[Measurement], incumbent: Sequence[Measurement]) -> bool:
    """Whether the incumbent was run near the candidate's newest run."""
    return any(abs(candidate[-1].when - run.when) <= FRESH_SECONDS for run in incumbent)


def in_one_state(candidate: Sequence[Measurement], incumbent: Sequence[Measurement]) -> bool:
    """Whether the incumbent was run in the machine's state of the candidate's newest run."""
    return any(abs(candidate[-1].when - run.when) < STATE_SECONDS / 2 for run in incumbent)


def is_due(incumbent: Sequence[Measurement], now: float) -> bool:
    """Whether the incumbent should be run again before the next candidate, at `now` (seconds since 1970)."""
    return not incumbent or now - incumbent[-1].when > FRESH_SECONDS


def sharper(candidate: Sequence[Measurement], incumbent: Known, noise: Noise) -> str:
    """Which of the two to run next: the one after which the difference has the smaller error."""
    now = max(run.when for run in (*candidate, *incumbent.runs))
    with_candidate = follow(incumbent, [*candidate, Measurement(0.0, now)], noise).error
    with_incumbent = follow(incumbent.with_run(now), candidate, noise).error
    return "candidate" if with_candidate < with_incumbent else "incumbent"


@dataclass(frozen=True)
class _Words:
    """Everything that a verdict's sentence tells."""

    found: Comparison
    candidate: Sequence[Measurement]
    incumbent: Known
    noise: Noise
    incumbent_number: int
    base: Base | None
    promising: bool

    def verdict(self, status: str, words: str) -> Verdict:
        found, runs = self.found, len(self.candidate)
        mean = float(np.mean([run.bpb for run in self.candidate]))
        interval, margin = self.noise.half_width(runs), self.noise.margin(found.error)
        claim = f", of which {found.expected:+.4f} may be claimed" if status == KEEP else ""
        sentence = (
            f"{words}: {mean:.4f} ± {interval:.4f}, {abs(found.measured):.4f} ± {margin:.4f} "
            f"{'better' if found.measured > 0 else 'worse'} than experiment {self.incumbent_number} at about the same "
            f"time{claim} ({runs} run{'s' if runs > 1 else ''} against {len(self.incumbent.runs)}, noise "
            f"{self.noise.deviation:.4f}, chance of being better {found.chance:.1%})."
        )
        if self.base is not None:
            sentence += f" It holds what was promising in experiment {', '.join(map(str, self.base.numbers))}."
        promising = self.promising and status != KEEP
        if promising:
            sentence += f" Promising, {found.expected:+.4f} is expected: the next edits build on it."
        return Verdict(
            status,
            sentence,
            val_bpb=mean,
            interval=interval,
            incumbent=self.incumbent_number,
            incumbent_bpb=mean + found.measured,
            probability_better=found.chance,
            noise=self.noise.deviation,
            expected_gain=found.expected,
            gain_error=found.deviation,
            runs=runs,
            promising=promising,
        )


def baseline_verdict(scores: Sequence[float], noise: Noise) -> Verdict:
    """The baseline is the first incumbent whatever it scores."""
    mean, interval = float(np.mean(scores)), noise.half_width(len(scores))
    sentence = f"The unchanged file: {mean:.4f} ± {interval:.4f} over {len(scores)} runs, noise {noise.deviation:.4f}."
    return Verdict(KEEP, sentence, mean, interval, noise=noise.deviation)
