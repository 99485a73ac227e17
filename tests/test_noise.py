"""The noise: pooled from what was measured, drift between runs explained, earlier nights as a prior."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from mlx_autoresearch.history import Night, RunIdentity
from mlx_autoresearch.noise import (
    DRIFT_PER_HOUR,
    EARLIER_RUNS,
    PRIOR_NOISE,
    Noise,
    Spread,
    as_prior,
    covariance,
    earlier_noise,
    pooled_noise,
    spread,
)
from mlx_autoresearch.records import Measurement, Proposal, RunResult

IDENTITY = RunIdentity("simple", "f" * 64, 300.0, "a machine", "2", 256)


def at_once(*scores: float) -> list[Measurement]:
    return [Measurement(score, 0.0) for score in scores]


def test_prior_stands_alone_and_gives_way() -> None:
    assert pooled_noise([spread(at_once(1.0)), spread([])]) == PRIOR_NOISE
    draw = random.Random(0)
    groups = [at_once(*(draw.gauss(level, 0.05) for _ in range(3))) for level in range(200)]
    noise = pooled_noise([spread(group) for group in groups])
    assert noise.deviation == pytest.approx(0.05, rel=0.1) and noise.degrees == PRIOR_NOISE.degrees + 400


def test_pooled_noise_by_hand() -> None:
    noise = pooled_noise([spread(at_once(1.0, 1.2)), spread(at_once(3.0, 3.0, 3.3))], Noise(0.1, 2))
    assert noise.deviation**2 == pytest.approx((2 * 0.01 + 0.02 + 0.06) / 5) and noise.degrees == 5


def test_half_width_is_the_t_interval() -> None:
    assert Noise(0.01, 10).half_width(4) == pytest.approx(stats.t.ppf(0.975, 10) * 0.005)


def test_covariance_is_that_of_a_random_walk() -> None:
    hours = [Measurement(1.0, 3600.0 * hour) for hour in (5, 6, 8)]
    assert covariance(hours) == pytest.approx(np.eye(3) + DRIFT_PER_HOUR * np.array([[0, 0, 0], [0, 1, 1], [0, 1, 3]]))
    assert covariance([Measurement(1.0), Measurement(2.0)]) == pytest.approx(np.eye(2))


def test_drift_does_not_pass_for_noise() -> None:
    close = [Measurement(1.0, 0.0), Measurement(1.02, 300.0)]
    apart = [Measurement(1.0, 0.0), Measurement(1.02, 36000.0)]
    assert spread(apart).squares < 0.6 * spread(close).squares


def test_earlier_nights_are_discounted_and_capped() -> None:
    assert as_prior([]) == as_prior([Spread(0.1, 1)]) == PRIOR_NOISE
    some = as_prior([Spread(0.0004, 4), Spread(0.0004, 4)])
    assert some.degrees == 4 and some.deviation == pytest.approx(0.01)
    assert as_prior([Spread(0.05, 500)]) == Noise(0.01, EARLIER_RUNS)


def night_with_scores(root: Path, identity: RunIdentity, *scores: float) -> None:
    experiment = Night.open(root, identity).add(Proposal("pass\n", "baseline"))
    for index, score in enumerate(scores):
        result = RunResult(index + 1, val_bpb=score, started=1000.0 + index)
        experiment.record_result(experiment.new_run_folder(), result)


def test_earlier_nights_of_the_same_machine_are_the_prior(tmp_path: Path) -> None:
    assert earlier_noise(tmp_path, IDENTITY, tmp_path / "tonight") == PRIOR_NOISE
    night_with_scores(tmp_path / "monday", IDENTITY, *[1.0, 1.1] * 5)
    night_with_scores(tmp_path / "elsewhere", replace(IDENTITY, machine="another"), 5.0, 9.0)
    night_with_scores(tmp_path / "tonight", IDENTITY, 5.0, 9.0)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "identity.json").write_text("{")
    prior = earlier_noise(tmp_path, IDENTITY, tmp_path / "tonight")
    assert prior.degrees == 4.5 and prior.deviation == pytest.approx((10 * 0.05**2 / 9) ** 0.5, rel=0.01)
