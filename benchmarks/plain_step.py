"""The training step of train_mlx.py as a competent person writes it who hasn't looked for what is slow in MLX.

Same architecture, weights, optimizer, and one compiled step with captured state. What is plain: the loss is MLX's own
cross-entropy on all soft-capped logits at once, and attention is one fused call for the whole row with an array mask.
RMS norm, RoPE and the optimizer are the same on both sides, and so is what `launch` sets up for every process (BLAS,
kernels compiled for this processor, memory limits): none of it is part of any difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType

import mlx.core as mx
import mlx.nn as nn

Step = Callable[..., tuple[mx.array, mx.array]]
"""step(micro_batches, rate) -> (loss, norms), as `make_step` of train_mlx.py returns it."""


def plain_attention(module: ModuleType) -> Callable[[mx.array, mx.array, mx.array, int], mx.array]:
    """Attention of q (B, H, T, K) to k and v (B, KV_HEADS, T, K) in one call with a (T, T) mask."""

    def attention(q: mx.array, k: mx.array, v: mx.array, window: int) -> mx.array:
        position = mx.arange(q.shape[2])
        back = position[:, None] - position[None, :]
        mask = (back >= 0) & (back < window)
        return mx.fast.scaled_dot_product_attention(q, k, v, scale=module.HEAD_DIM**-0.5, mask=mask)

    return attention


def plain_loss(model: nn.Module, inputs: mx.array, targets: mx.array) -> mx.array:
    """Mean cross-entropy in nats per token of (B, T) int32 tokens, from float32 logits (B, T, V)."""
    return nn.losses.cross_entropy(model(inputs), targets, reduction="mean")


PIECES: dict[str, Callable[[ModuleType], dict[str, Callable]]] = {
    "attention": lambda module: {"attention": plain_attention(module)},
    "loss": lambda module: {"loss_function": plain_loss},
}
"""What can be made plain by itself: which names of train_mlx.py each piece replaces, and by what."""


def make_plain(module: ModuleType, pieces: Iterable[str] = tuple(PIECES)) -> None:
    """Replace pieces of a loaded train_mlx.py (see `training_file.load_training_file`) by plain ones, for good.

    Its functions look these names up when they are traced, so this comes before the first step.

    Raises:
        KeyError: there is no such piece.
        AttributeError: train_mlx.py no longer has the name that a piece replaces.
    """
    for piece in pieces:
        for name, replacement in PIECES[piece](module).items():
            getattr(module, name)  # a replacement that nothing calls would go unnoticed
            setattr(module, name, replacement)


def make_plain_step(module: ModuleType, model: nn.Module, optimizer: object) -> Step:
    """As `module.make_step`, with every piece plain.

    `module` is changed; load another one for the step of train_mlx.py itself.
    """
    make_plain(module)
    return module.make_step(model, optimizer)
