"""Bits per byte against numbers worked out by hand."""

from __future__ import annotations

import math

import mlx.core as mx
import numpy as np
import pytest

from mlx_autoresearch.metric import bits_per_byte, token_nats


def test_two_tokens_by_hand() -> None:
    logits = mx.array([[[0.0, math.log(3.0), 0.0, 0.0], [2.0, 0.0, 0.0, 0.0]]])
    nats = token_nats(logits, mx.array([[1, 3]]))
    expected = [math.log(6) - math.log(3), math.log(math.exp(2) + 3)]
    np.testing.assert_allclose(nats, [expected], rtol=1e-6)
    assert bits_per_byte(sum(expected), 5) == pytest.approx(sum(expected) / math.log(2) / 5, rel=1e-12)


@pytest.mark.parametrize("vocab_size", [256, 4096, 8192])
def test_uniform_model_costs_log2_of_its_vocabulary(vocab_size: int) -> None:
    nats = token_nats(mx.full((2, 8, vocab_size), 3.5), mx.zeros((2, 8), dtype=mx.int32))
    assert bits_per_byte(float(nats.sum(dtype=np.float64)), 16) == pytest.approx(math.log2(vocab_size), rel=1e-6)


def test_logits_are_normalised_here() -> None:
    """Adding a constant, or handing in 'probabilities' that sum to more than one, changes nothing."""
    logits = mx.random.normal((3, 5, 64), key=mx.random.key(0))
    targets = mx.random.randint(0, 64, (3, 5), key=mx.random.key(1))
    np.testing.assert_allclose(token_nats(logits + 40.0, targets), token_nats(logits, targets), rtol=1e-4, atol=1e-5)
    assert (token_nats(logits, targets) > 0).all()


def test_extreme_logits_stay_finite_and_bad_ones_show() -> None:
    logits = mx.array([[[1e4, -1e4], [float("nan"), 0.0]]])
    nats = token_nats(logits, mx.array([[1, 0]]))
    assert nats[0, 0] == pytest.approx(2e4) and not np.isfinite(nats[0, 1])


def test_half_precision_is_scored_in_float32() -> None:
    logits = mx.random.normal((1, 4, 512), key=mx.random.key(2)).astype(mx.bfloat16)
    targets = mx.array([[1, 2, 3, 4]])
    np.testing.assert_array_equal(token_nats(logits, targets), token_nats(logits.astype(mx.float32), targets))
    assert token_nats(logits, targets).dtype == np.float32
