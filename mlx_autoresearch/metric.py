"""Bits per byte, from logits and byte counts; nothing else.

    bpb = sum of nats over all text tokens / (ln 2 * sum of their UTF-8 bytes)

Bytes are the denominator, so models with different vocabularies compare on the same text. The separator between
documents has no bytes: it is neither scored nor counted.
"""

from __future__ import annotations

import math

import mlx.core as mx
import numpy as np


def token_nats(logits: mx.array, targets: mx.array) -> np.ndarray:
    """Cross-entropy of every target in nats, computed in float32 from the logits alone.

    The normaliser is computed here, so logits need not be (and cannot pretend to be) log-probabilities.

    Args:
        logits: (rows, tokens, vocabulary), any float dtype.
        targets: (rows, tokens) int32.

    Returns:
        float32 (rows, tokens); NaN or infinity where the logits are not finite.
    """
    logits = logits.astype(mx.float32)
    chosen = mx.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    if mx.default_device() == mx.cpu:
        return log_sum_exp(np.array(logits)) - np.array(chosen)
    return np.array(mx.logsumexp(logits, axis=-1) - chosen)


def log_sum_exp(logits: np.ndarray) -> np.ndarray:
    """log(sum(exp(logits))) over the last axis, by NumPy; overwrites `logits`.

    MLX's CPU backend takes about 20 ns for every exp, NumPy's vectorised one about 1 ns.
    """
    largest = logits.max(axis=-1, keepdims=True)
    np.subtract(logits, largest, out=logits)
    np.exp(logits, out=logits)
    return np.log(logits.sum(axis=-1)) + largest[..., 0]


def bits_per_byte(nats: float, text_bytes: int) -> float:
    """Nats over a text and the text's length in UTF-8 bytes to bits per byte."""
    return nats / (math.log(2) * text_bytes)
