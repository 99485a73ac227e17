"""Levels of programs: neighbours in time count, edits teach about what they were made from, and beliefs come true."""

from __future__ import annotations

import random

import numpy as np
import pytest

from mlx_autoresearch.levels import Known, Level, follow
from mlx_autoresearch.noise import DRIFT_PER_HOUR, Noise
from mlx_autoresearch.records import Measurement
from mlx_autoresearch.verdict import compare, effects

NOISE = Noise(0.01, 30)


def at_once(*scores: float) -> list[Measurement]:
    return [Measurement(score, 0.0) for score in scores]


def test_at_one_time_the_gain_is_the_difference_of_the_means() -> None:
    pair = follow(Known(at_once(1.0, 1.02, 1.0, 1.02)), at_once(0.96, 0.98), NOISE)
    assert pair.measured == pytest.approx(0.04) and pair.error == pytest.approx(0.01 * (1 / 2 + 1 / 4) ** 0.5)


def test_drift_is_least_squares_over_a_random_walk() -> None:
    """The same as generalised least squares over all runs at once, whatever their order."""
    times = np.array([0.0, 900.0, 5000.0, 300.0, 7000.0])
    scores = np.array([1.0, 1.01, 1.03, 0.98, 0.99])
    hours = times / 3600
    programs = np.array([[1.0, 0.0]] * 3 + [[0.0, 1.0]] * 2)
    weights = np.linalg.inv(np.eye(5) + DRIFT_PER_HOUR * np.minimum.outer(hours, hours))
    variances = np.linalg.inv(programs.T @ weights @ programs)
    levels = variances @ programs.T @ weights @ scores
    runs = [Measurement(score, time) for score, time in zip(scores, times, strict=True)]
    pair = follow(Known(runs[:3]), runs[3:], NOISE)
    assert pair.measured == pytest.approx(levels[0] - levels[1])
    assert pair.error == pytest.approx(0.01 * (np.array([1, -1]) @ variances @ np.array([1, -1])) ** 0.5)


def test_a_level_may_hold_the_first_runs() -> None:
    runs = [Measurement(1.0, 0.0), Measurement(1.02, 4000.0), Measurement(0.99, 9000.0)]
    edit = [Measurement(0.97, 8000.0)]
    known = Known(runs).until(8000.0, NOISE)
    assert known.counted == 2 and known.level.when == 4000.0
    whole, later = follow(Known(runs), edit, NOISE), follow(known, edit, NOISE)
    assert (later.measured, later.error, later.slope) == pytest.approx((whole.measured, whole.error, whole.slope))


def test_neighbours_in_time_are_believed() -> None:
    """The machine lost 0.05 overnight: the incumbent's run of the evening hardly counts against that of the morning."""
    morning = 9 * 3600.0
    incumbent = Known([Measurement(1.0, 0.0), Measurement(1.05, morning)])
    assert 0.005 < follow(incumbent, [Measurement(1.03, morning + 300)], NOISE).measured <= 0.02


def test_steady_drift_cancels_in_a_b_b_a() -> None:
    a = Known([Measurement(1.0, 0.0), Measurement(1.03, 900.0)])
    b = [Measurement(1.01, 300.0), Measurement(1.02, 600.0)]
    assert follow(a, b, NOISE).measured == pytest.approx(0.0, abs=1e-9)


def test_what_scores_much_like_its_parent_teaches_more_than_what_does_not() -> None:
    incumbent = Known((), Level(1.0, 0.01**2, 0.0))
    like, unlike = (compare(at_once(score), incumbent, NOISE).program for score in (1.002, 1.3))
    assert like.variance < 0.85 * 0.01**2 and abs(like.mean - 1.0) < 0.002
    assert unlike.variance > 0.95 * 0.01**2 and unlike.mean == pytest.approx(1.0, abs=0.001)


def test_levels_are_as_sure_as_they_say_through_many_edits() -> None:
    """Where edits are worth what is believed of them, levels are off by as much as they say, and not biased."""
    draw, believed = random.Random(3), effects()
    errors = []
    for _ in range(60):
        truth, level = 1.0, Known([Measurement(draw.gauss(1.0, 0.005), 0.0)])
        for _ in range(12):
            gain = draw.choices(believed.gains.tolist(), believed.weights.tolist())[0]
            found = compare([Measurement(draw.gauss(truth - gain, 0.005), 0.0)], level, Noise(0.005, 1000))
            better = found.expected > 0
            truth, level = truth - gain * better, Known((), found.edit if better else found.program)
            errors.append((level.level.mean - truth) / level.level.variance**0.5)
    assert abs(np.mean(errors)) < 0.15 and np.std(errors) == pytest.approx(1.0, abs=0.15)


def test_what_a_level_learned_is_an_observation_that_would_have_taught_it() -> None:
    before, run = Level(1.0, 0.02**2, 0.0), Measurement(1.01, 0.0)
    mean, variance = before.seen(run, NOISE).learned_since(before)
    assert (mean, variance) == pytest.approx((1.01, 0.01**2))
    mean, variance = Level(1.005, 0.03**2, 0.0).learned_since(before)  # a mixture may leave it less sure
    share = before.variance / (before.variance + variance)
    assert before.mean + share * (mean - before.mean) == pytest.approx(1.005) and share == pytest.approx(0.01)
