"""The noise of scores: how far val_bpb moves between runs of one file, and how runs at different times compare.

Two things move the score of an unchanged file. The seed does, by about 0.01 bits per byte, independently from run to
run. The machine does, slowly: it gets warm, something else runs, and with a budget in seconds fewer steps are a worse
score. So a score is its program's level plus the machine's level plus the seed's noise, where the machine's level is a
random walk in time: the local level model (Harvey, Forecasting, Structural Time Series Models and the Kalman Filter,
1989, section 2.3). Here the noise is estimated, by generalised least squares; levels.py estimates the levels.
Everything is a pure function but `earlier_noise`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.history import Night, RunIdentity
from mlx_autoresearch.records import Measurement

DRIFT_PER_HOUR = 0.25
"""Variance that the machine's level gains in an hour, as a share of the variance between seeds: half a standard
deviation an hour. Where that is wrong little is lost: see the nights without drift and with twice as much in
benchmarks/verdict.py."""

EARLIER_LEAST, EARLIER_SHARE, EARLIER_RUNS = 6, 0.5, 12.0
"""Degrees of freedom that earlier nights must have to say anything, what one of them is worth tonight, and the most
that all of them are: the room is warmer or cooler than then, and the files differ."""


@dataclass(frozen=True)
class Noise:
    """Standard deviation of val_bpb between runs of one file in bits per byte, with its degrees of freedom."""

    deviation: float
    degrees: float

    def half_width(self, runs: int) -> float:
        """Half-width of the 95 % confidence interval of a mean over `runs` runs."""
        return self.margin(self.deviation / math.sqrt(runs))

    def margin(self, error: float) -> float:
        """Half-width of the 95 % confidence interval of what has the standard error `error` by this noise."""
        from scipy.special import stdtrit  # slow to import: not for every start

        return float(stdtrit(self.degrees, 0.975)) * error


PRIOR_NOISE = Noise(0.01, 1)
"""What is believed before anything is measured: about what was seen on several machines in runs of 60 to 300 seconds.
It counts for one degree of freedom, so that a machine's own runs soon outweigh it."""


@dataclass(frozen=True)
class Spread:
    """Sum of squares of runs about their own level, in units of the seed's variance, and its degrees of freedom."""

    squares: float
    degrees: int


def spread(runs: Sequence[Measurement]) -> Spread:
    """How far runs of one file lie apart, less what the drift between them explains."""
    if len(runs) < 2:
        return Spread(0.0, 0)
    scores = np.array([run.bpb for run in runs])
    weights = np.linalg.inv(covariance(runs))
    level = weights.sum(axis=0) @ scores / weights.sum()
    return Spread(float((scores - level) @ weights @ (scores - level)), len(runs) - 1)


def pooled_noise(spreads: Sequence[Spread], prior: Noise = PRIOR_NOISE) -> Noise:
    """Noise from the spreads of all experiments and a prior: the mean of a scaled inverse chi-squared posterior."""
    squares = prior.degrees * prior.deviation**2 + math.fsum(entry.squares for entry in spreads)
    degrees = prior.degrees + sum(entry.degrees for entry in spreads)
    return Noise(math.sqrt(squares / degrees), degrees)


def covariance(runs: Sequence[Measurement]) -> np.ndarray:
    """Covariance of runs, (N, N), in units of the seed's variance: the drift until the earlier of two is common."""
    times = np.array([run.when for run in runs])
    hours = (times - times.min(initial=np.inf)) / 3600
    return np.eye(len(runs)) + DRIFT_PER_HOUR * np.minimum.outer(hours, hours)


def earlier_noise(root: Path, identity: RunIdentity, without: Path) -> Noise:
    """What nights under `root` with the same dataset, budget and machine say, as a prior; `without` is tonight's.

    PRIOR_NOISE where there are none.
    """
    spreads = []
    for path in sorted(root.glob("*/identity.json")):
        try:
            night = Night.read(path.parent) if path.parent != without else None
        except AutoresearchError:
            continue  # somebody else's trouble: it is reported when that tag is asked for
        if night is not None and night.identity == identity:
            spreads += [spread(experiment.measurements) for experiment in night.experiments]
    return as_prior(spreads)


def as_prior(earlier: Sequence[Spread]) -> Noise:
    """Tonight's prior from earlier nights: degrees of freedom discounted and capped; PRIOR_NOISE where they are few."""
    degrees = sum(entry.degrees for entry in earlier)
    if degrees < EARLIER_LEAST:
        return PRIOR_NOISE
    deviation = math.sqrt(math.fsum(entry.squares for entry in earlier) / degrees)
    return Noise(deviation, min(EARLIER_SHARE * degrees, EARLIER_RUNS))
