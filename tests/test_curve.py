"""What a learning curve's file tells about the run's steps."""

from __future__ import annotations

import pytest

from mlx_autoresearch.curve import step_drift


def points(*step_seconds: float) -> list[dict]:
    """Points of a run whose steps took so long."""
    seconds, found = 0.0, []
    for step, took in enumerate(step_seconds, 1):
        seconds += took
        found.append({"step": step, "seconds": seconds})
    return found


def test_a_run_that_slows_down_drifts() -> None:
    assert step_drift(points(*[0.1] * 100)) == pytest.approx(1.0, abs=0.03)
    assert step_drift(points(*[0.1] * 60, *[0.2] * 60)) == pytest.approx(0.5, abs=0.03)
    assert step_drift(points(*[0.2] * 60, *[0.1] * 60)) == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    "few",
    [
        [],
        points(1.0),
        points(1.0, 1.0),
        [{"step": 1, "seconds": 2.0}] * 9,
        [{"step": 5, "seconds": s} for s in range(9)],
    ],
)
def test_too_few_points_say_nothing(few: list[dict]) -> None:
    assert step_drift(few) is None
