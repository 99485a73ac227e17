"""Keep, discard, or measure again: a keep is better than the incumbent by more than this machine's noise.

One run is noisy: the same file with another seed moves by about 0.01 bits per byte, on a warm laptop by more. So all
replicates of all experiments feed one pooled estimate of the noise, started by a prior, and a candidate's chance of
being better follows Student's t distribution (the posterior of a difference of two normal means with a common unknown
variance and a scaled-inverse-chi-squared prior on it: Gelman et al., Bayesian Data Analysis, section 3.2):

    gain / (s * sqrt(1/n + 1/m))  ~  t(nu),   s^2 = (nu0 * s0^2 + sum of squares within experiments) / nu

A candidate that loses its first comparison is discarded. One that wins is run again, and so is the incumbent, until
its chance of being better passes KEEP_PROBABILITY or RUN_LIMIT is reached (inconclusive, discarded).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlx_autoresearch.records import DISCARD, INCONCLUSIVE, KEEP, Verdict

PRIOR_NOISE = 0.01
"""Standard deviation of val_bpb between seeds that is believed before anything is measured: what was measured on
several machines for runs of 60 to 300 seconds."""

PRIOR_RUNS = 3
"""Degrees of freedom that the prior is worth: a few, so that a machine's own runs soon outweigh it."""

BASELINE_RUNS = 2
"""Runs of the unchanged file before the first edit: the least that says anything about noise."""

KEEP_PROBABILITY = 0.97
"""Chance of being better that a candidate with replicates needs. It is looked at after every run, so this is not the
error rate: simulated, an edit without any effect is kept in 5 of 100 cases, one worth three times the noise in 96."""

KEEP_AT_ONCE_PROBABILITY = 0.998
"""Chance that is enough after a single run: a gain far beyond the noise."""

RUN_LIMIT = 3
"""Runs of one candidate; still in doubt after them means the gain is too small to be worth more of the night."""


@dataclass(frozen=True)
class Noise:
    """Pooled standard deviation of val_bpb between runs of one file, with its degrees of freedom (prior included)."""

    deviation: float
    degrees: float

    def half_width(self, runs: int, confidence: float = 0.95) -> float:
        """Half-width of the confidence interval of a mean over `runs` runs."""
        from scipy.stats import t  # half a second to import: not for every start

        return float(t.ppf(0.5 + confidence / 2, self.degrees)) * self.deviation / math.sqrt(runs)


def pooled_noise(groups: Sequence[Sequence[float]]) -> Noise:
    """Noise from the val_bpb of every experiment's runs, one group per experiment, with the prior."""
    squares = PRIOR_RUNS * PRIOR_NOISE**2
    degrees = float(PRIOR_RUNS)
    for group in groups:
        if len(group) > 1:
            squares += float(np.var(group) * len(group))
            degrees += len(group) - 1
    return Noise(math.sqrt(squares / degrees), degrees)


def probability_better(candidate: Sequence[float], incumbent: Sequence[float], noise: Noise) -> float:
    """Probability that the candidate's true val_bpb is below the incumbent's; both need at least one run."""
    from scipy.stats import t

    gain = float(np.mean(incumbent) - np.mean(candidate))
    scale = noise.deviation * math.sqrt(1 / len(candidate) + 1 / len(incumbent))
    return float(t.cdf(gain / scale, noise.degrees))


@dataclass(frozen=True)
class RunAgain:
    """No verdict yet: run this one ("candidate" or "incumbent") again."""

    which: str


def decide(
    candidate: Sequence[float], incumbent: Sequence[float], noise: Noise, incumbent_number: int
) -> Verdict | RunAgain:
    """The verdict on a candidate, or what to run next.

    Args:
        candidate: val_bpb of its runs, at least one.
        incumbent: val_bpb of the incumbent's runs, at least one.
        noise: the pooled noise.
        incumbent_number: experiment number of the incumbent, for the sentence.
    """
    mean, incumbent_mean = float(np.mean(candidate)), float(np.mean(incumbent))
    gain = incumbent_mean - mean
    chance = probability_better(candidate, incumbent, noise)
    runs = len(candidate)

    def verdict(status: str, words: str) -> Verdict:
        interval = noise.half_width(runs)
        sentence = (
            f"{words}: {mean:.4f} ± {interval:.4f} against {incumbent_mean:.4f} of experiment {incumbent_number} "
            f"({gain:+.4f} better, noise {noise.deviation:.4f}, {runs} run{'s' if runs > 1 else ''} against "
            f"{len(incumbent)}, chance of being better {chance:.1%})."
        )
        return Verdict(status, sentence, mean, interval, incumbent_number, incumbent_mean, chance, noise.deviation)

    if gain <= 0:
        return verdict(DISCARD, "Not better")
    if runs == 1 and chance >= KEEP_AT_ONCE_PROBABILITY:
        return verdict(KEEP, "Kept at once, far beyond the noise")
    if runs > 1 and chance >= KEEP_PROBABILITY:
        return verdict(KEEP, "Kept, better again with other seeds")
    if runs >= RUN_LIMIT:
        return verdict(INCONCLUSIVE, "Discarded as inconclusive, the gain is within the noise")
    return RunAgain("incumbent" if len(incumbent) <= runs else "candidate")


def baseline_verdict(scores: Sequence[float], noise: Noise) -> Verdict:
    """The baseline is the first incumbent whatever it scores."""
    mean, interval = float(np.mean(scores)), noise.half_width(len(scores))
    sentence = f"The unchanged file: {mean:.4f} ± {interval:.4f} over {len(scores)} runs, noise {noise.deviation:.4f}."
    return Verdict(KEEP, sentence, mean, interval, noise=noise.deviation)
