"""Stop a run early when it has hardly a chance of winning: its minutes are worth more elsewhere.

At some shares of the budget a run's training loss is compared with the incumbent's at the same second. How runs of this
night went on from there is known: the final gain over the incumbent, plus how far a run lagged behind at that time, is
what it recovered. If a recovery as large as the present lag has a chance below KILL_CHANCE, by Student's predictive
distribution of a normal sample (Gelman et al., Bayesian Data Analysis, section 3.2), the run is stopped. Until
LEAST_RUNS recoveries are known nothing is.

The curve is written by the training file itself. A liar can only escape being stopped; it wins nothing by that, since
the score is the scorer's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mlx_autoresearch.curve import last_point, read_points
from mlx_autoresearch.learning import LearningCurve, learning_curve

SHARES = (0.2, 0.4)
"""Shares of the budget at which a run is looked at. Earlier its start is still wild; later little is left to save."""

KILL_CHANCE = 0.02
"""Chance of winning below which a run is stopped."""

LEAST_RUNS = 20
"""Finished runs of this night that must be known at a share before anything is stopped there: many, while no recorded
night has shown yet how often a winner is stopped."""


@dataclass(frozen=True)
class Finished:
    """A run that went on to its end.

    Attributes:
        lags: how far its training loss was above the incumbent's at each of SHARES, in bits per byte; None if unknown.
        gain: how much better than the incumbent it scored.
    """

    lags: tuple[float | None, ...]
    gain: float


def lag_at(share: float, budget: float, candidate: LearningCurve, incumbent: Sequence[LearningCurve]) -> float | None:
    """How far the candidate's training loss is above the mean of the incumbent's, in bits per byte."""
    there = [loss for curve in incumbent if (loss := curve.at_time(share * budget)) is not None]
    here = candidate.at_time(share * budget)
    return None if here is None or not there else here - float(np.mean(there))


def lags(budget: float, candidate: LearningCurve, incumbent: Sequence[LearningCurve]) -> tuple[float | None, ...]:
    """The lag at each of SHARES."""
    return tuple(lag_at(share, budget, candidate, incumbent) for share in SHARES)


def chance_of_winning(lag: float, index: int, finished: Sequence[Finished]) -> float | None:
    """Chance that a run with this lag at SHARES[index] still scores better than the incumbent; None while unknown."""
    from scipy.special import stdtr

    recoveries = [run.gain + run.lags[index] for run in finished if run.lags[index] is not None]
    count = len(recoveries)
    if count < LEAST_RUNS:
        return None
    scale = float(np.std(recoveries, ddof=1)) * math.sqrt(1 + 1 / count)
    if scale == 0.0:
        return None
    return float(stdtr(count - 1, (float(np.mean(recoveries)) - lag) / scale))


@dataclass
class Watch:
    """Watches one run as it trains: `hopeless` of `Laboratory.run`.

    Attributes:
        curve_file: what the run writes.
        bytes_per_token: of its vocabulary.
        budget: seconds of training.
        incumbent: curves of the incumbent.
        finished: earlier runs of the night.
    """

    curve_file: Path
    bytes_per_token: float
    budget: float
    incumbent: Sequence[LearningCurve]
    finished: Sequence[Finished]
    _looks: int = field(default=0, init=False)

    def __call__(self) -> str | None:
        """Why the run has no chance left, None while it has one."""
        if self._looks == len(SHARES):
            return None
        share = SHARES[self._looks]
        if last_point(self.curve_file).get("seconds", 0.0) < share * self.budget:
            return None
        index, self._looks = self._looks, self._looks + 1
        curve = learning_curve(read_points(self.curve_file), self.bytes_per_token)
        lag = None if curve is None else lag_at(share, self.budget, curve, self.incumbent)
        chance = None if lag is None else chance_of_winning(lag, index, self.finished)
        if chance is None or chance >= KILL_CHANCE:
            return None
        return (
            f"at {share:.0%} of its time the training loss was {lag:.4f} bits per byte above the incumbent's; by how "
            f"{len(self.finished)} finished runs went on from there, its chance of winning was {chance:.1%}"
        )
