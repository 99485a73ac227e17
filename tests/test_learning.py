"""Learning curves as numbers: what a stranger wrote becomes a curve or nothing; better learned or faster run."""

from __future__ import annotations

import math

import pytest

from mlx_autoresearch.learning import LearningCurve, Sources, learning_curve, where_from

DOUBLING = 0.2
"""What the made-up curves lose while the text doubles."""


def points(tokens_per_second: float, level: float = 2.0, budget: int = 100) -> list[dict]:
    """A run whose loss falls by DOUBLING bits per byte with each doubling of its text, 4 bytes a token."""
    return [
        {
            "step": second,
            "seconds": float(second),
            "tokens": tokens_per_second * second,
            "loss": (level - DOUBLING * math.log2(tokens_per_second * second / 1000)) * 4 * math.log(2),
        }
        for second in range(1, budget + 1)
    ]


def curve(tokens_per_second: float, level: float = 2.0) -> LearningCurve:
    return learning_curve(points(tokens_per_second, level), 4.0)


def test_curve_in_bits_per_byte_of_text() -> None:
    run = curve(1000)
    assert run.text_bytes[-1] == 400_000 and run.bpb[0] == pytest.approx(2.0)
    assert run.at_time(50.0) == pytest.approx(2.0 - DOUBLING * math.log2(50))
    assert run.at_time(0.5) is None and run.at_time(101.0) is None
    assert run.worth_of_doubling() == pytest.approx(DOUBLING)


def test_nonsense_is_left_out() -> None:
    honest = points(1000)
    nonsense = [
        {"step": 1, "seconds": 1e9, "tokens": None, "loss": 1.0},
        {"step": 1, "seconds": 0.5, "loss": -1.0, "tokens": 5},
        {"step": 1, "seconds": 0.1},
    ]
    assert learning_curve([*nonsense, *honest], 4.0).seconds.tolist() == curve(1000).seconds.tolist()
    back = [*honest, {"step": 1, "seconds": 3.0, "tokens": 1e9, "loss": 0.001}]
    assert learning_curve(back, 4.0).bpb[-1] == curve(1000).bpb[-1]
    assert learning_curve(honest[:3], 4.0) is None and learning_curve([], 4.0) is None


def test_faster_and_better_are_told_apart() -> None:
    faster = where_from(0.01, [curve(1140)], [curve(1000)])
    by_speed = DOUBLING * math.log2(1.14)
    assert faster.by_speed == pytest.approx(by_speed) and faster.by_learning == pytest.approx(0.01 - by_speed)
    assert "about 0.0278 worse" in faster.sentence() and "14% more text: it ran faster (an" in faster.sentence()
    better = where_from(0.01, [curve(800)], [curve(1000), curve(1000)])
    assert "better" in better.sentence() and "20% less text: it learned better" in better.sentence()
    assert "it learned worse" in where_from(-0.01, [curve(1000)], [curve(1001)]).sentence()
    assert "ran slower and learned worse" in Sources(0.9, -0.03, -0.01).sentence()
    assert "ran faster and learned better" in Sources(1.1, 0.03, 0.01).sentence()


def test_unknown_stays_unknown() -> None:
    assert where_from(0.01, [], [curve(1000)]) is None and where_from(0.01, [curve(1000)], []) is None


def test_other_vocabularies_compare_by_text() -> None:
    """The same text in half as many tokens, each with twice the nats: the same curve."""
    halved = [point | {"tokens": point["tokens"] / 2, "loss": 2 * point["loss"]} for point in points(1000)]
    sources = where_from(0.0, [learning_curve(halved, 8.0)], [curve(1000)])
    assert sources.text_ratio == pytest.approx(1.0) and sources.by_speed == pytest.approx(0.0)
