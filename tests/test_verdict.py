"""Verdicts: what is kept, what is discarded, what is run again, and how often chance fools the rule."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scipy import stats

from mlx_autoresearch.records import DISCARD, INCONCLUSIVE, KEEP, Verdict
from mlx_autoresearch.verdict import (
    PRIOR_NOISE,
    PRIOR_RUNS,
    RUN_LIMIT,
    Noise,
    RunAgain,
    decide,
    pooled_noise,
    probability_better,
)


def test_prior_stands_alone_and_gives_way() -> None:
    assert pooled_noise([[1.0], [2.0]]) == Noise(PRIOR_NOISE, PRIOR_RUNS)
    draw = random.Random(0)
    groups = [[draw.gauss(level, 0.05) for _ in range(3)] for level in range(200)]
    assert pooled_noise(groups).deviation == pytest.approx(0.05, rel=0.1)
    assert pooled_noise(groups).degrees == PRIOR_RUNS + 400


def test_pooled_noise_by_hand() -> None:
    noise = pooled_noise([[1.0, 1.2], [3.0, 3.0, 3.3]])
    assert noise.deviation**2 == pytest.approx((PRIOR_RUNS * PRIOR_NOISE**2 + 0.02 + 0.06) / (PRIOR_RUNS + 3))


def test_probability_is_students() -> None:
    noise = Noise(0.02, 7)
    gain = 0.03 / (0.02 * (1 / 2 + 1 / 4) ** 0.5)
    expected = stats.t.cdf(gain, 7)
    assert probability_better([0.96, 0.98], [1.0, 1.0, 1.0, 1.0], noise) == pytest.approx(expected)
    assert probability_better([1.0], [1.0], noise) == pytest.approx(0.5)


def test_half_width_is_the_t_interval() -> None:
    assert Noise(0.01, 10).half_width(4) == pytest.approx(stats.t.ppf(0.975, 10) * 0.005)


def test_loser_is_discarded_after_one_run() -> None:
    verdict = decide([1.01], [1.0, 1.0], Noise(0.01, 5), 3)
    assert isinstance(verdict, Verdict) and verdict.status == DISCARD
    assert "experiment 3" in verdict.sentence and verdict.incumbent == 3 and verdict.probability_better < 0.5


def test_far_beyond_the_noise_is_kept_at_once() -> None:
    verdict = decide([0.8], [1.0, 1.0], Noise(0.01, 5), 0)
    assert isinstance(verdict, Verdict) and verdict.status == KEEP


def test_promising_is_run_again_in_turn_with_the_incumbent() -> None:
    noise = Noise(0.01, 5)
    assert decide([0.99], [1.0, 1.0], noise, 0) == RunAgain("candidate")
    assert decide([0.99, 0.99], [1.0, 1.0], noise, 0) == RunAgain("incumbent")
    assert decide([0.99, 0.99], [1.0, 1.0, 1.0], noise, 0) == RunAgain("candidate")
    assert decide([0.99] * RUN_LIMIT, [1.0] * 3, noise, 0).status == INCONCLUSIVE
    assert decide([0.975, 0.975], [1.0, 1.0], noise, 0).status == KEEP
    assert decide([0.99, 1.02], [1.0, 1.0], noise, 0).status == DISCARD


def follow_the_rule(true_gain: float, draw: random.Random, deviation: float) -> str:
    """One candidate against an incumbent with two runs, on a machine whose noise is known well."""
    incumbent = [draw.gauss(1.0, deviation) for _ in range(2)]
    candidate = [draw.gauss(1.0 - true_gain, deviation)]
    noise = Noise(deviation, 60)
    while isinstance(decision := decide(candidate, incumbent, noise, 0), RunAgain):
        group, level = (candidate, 1.0 - true_gain) if decision.which == "candidate" else (incumbent, 1.0)
        group.append(draw.gauss(level, deviation))
    return decision.status


def test_chance_rarely_makes_a_keep_and_real_gains_are_found() -> None:
    draw = random.Random(1)
    nothing = [follow_the_rule(0.0, draw, 0.01) for _ in range(3000)]
    large = [follow_the_rule(0.03, draw, 0.01) for _ in range(1000)]
    assert np.mean([status == KEEP for status in nothing]) < 0.065
    assert np.mean([status == KEEP for status in large]) > 0.9
