"""The key-value cache of a finished model: it writes a token without computing the whole text again.

A model takes part by saying which of its modules can remember: each has an attribute `cache` that is None while it
trains and is scored. While a text is read piece by piece, it is a `KeyValueCache`, which says how many tokens came
before and takes the place of the module's attention. Whoever uses such a graph compares it with the scored one first
(see continuation.py), so a model that does it wrong writes slowly, not wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import mlx.core as mx
import mlx.nn as nn

from mlx_autoresearch.settings import CONTEXT


@dataclass
class KeyValueCache:
    """What one module remembers of a text of one row.

    Attributes:
        offset: tokens before this piece, an int32 scalar: where RoPE goes on.
        earlier: keys and values, (1, heads, CONTEXT, K), of each call of `attention` in turn; empty for an empty text.
        later: the same with this piece in them.
    """

    offset: mx.array
    earlier: Sequence[mx.array] = ()
    later: list[mx.array] = field(default_factory=list)

    def attention(self, q: mx.array, k: mx.array, v: mx.array, window: int = CONTEXT) -> mx.array:
        """Causal attention of this piece over everything so far, scores scaled by K^-0.5; k and v are remembered.

        Args:
            q: (1, heads, T, K) of the piece.
            k, v: (1, key-value heads, T, K) of the piece.
            window: how many tokens back a token sees, itself included.

        Returns:
            (1, heads, T, K).
        """
        call = len(self.later)
        before = self.earlier[call : call + 2] or [_empty(k), _empty(v)]
        keys, values = (
            mx.slice_update(old, new, self.offset[None], axes=(2,)) for old, new in zip(before, (k, v), strict=True)
        )
        self.later += [keys, values]
        back = (self.offset + mx.arange(q.shape[2]))[:, None] - mx.arange(CONTEXT)[None, :]
        visible = (back >= 0) & (back < window)  # what lies beyond the piece is left from other texts, and not seen
        return mx.fast.scaled_dot_product_attention(q, keys, values, scale=q.shape[-1] ** -0.5, mask=visible)


def _empty(piece: mx.array) -> mx.array:
    rows, heads, _, channels = piece.shape
    return mx.zeros((rows, heads, CONTEXT, channels), piece.dtype)


@dataclass(frozen=True)
class CachedModel:
    """A model with modules that can remember.

    Attributes:
        model: tokens (1, T) to logits (1, T, V).
        shapes: shape and dtype of the arrays that each of them remembers.
    """

    model: nn.Module
    shapes: tuple[tuple[tuple[tuple[int, ...], mx.Dtype], ...], ...]

    @classmethod
    def of(cls, model: nn.Module) -> CachedModel | None:
        """`model` with its cache; None where no module has one, or none of them uses it."""
        with _caches(model, mx.array(0, dtype=mx.int32), ()) as caches:
            model(mx.zeros((1, 1), dtype=mx.int32))
        shapes = tuple(tuple((array.shape, array.dtype) for array in cache.later) for cache in caches)
        return cls(model, shapes) if any(shapes) else None

    def arrays(self) -> list[mx.array]:
        """The cache of an empty text, one array after the other."""
        return [mx.zeros(shape, dtype) for each in self.shapes for shape, dtype in each]

    def __call__(self, tokens: mx.array, offset: mx.array, *arrays: mx.array) -> list[mx.array]:
        """Logits (1, T, V) of tokens (1, T) that follow `offset` others, and the arrays of the cache after them."""
        remaining, earlier = iter(arrays), []
        for each in self.shapes:
            earlier.append([next(remaining) for _ in each])
        with _caches(self.model, offset, earlier) as caches:
            logits = self.model(tokens)
        return [logits, *(array for cache in caches for array in cache.later)]


@contextmanager
def _caches(model: nn.Module, offset: mx.array, earlier: Sequence[Sequence[mx.array]]) -> Iterator[list[KeyValueCache]]:
    """The caches of all modules that can remember, which have them while the block runs."""
    modules = [module for module in model.modules() if getattr(module, "cache", model) is None]
    caches = [KeyValueCache(offset, arrays) for arrays in earlier] or [KeyValueCache(offset) for _ in modules]
    for module, cache in zip(modules, caches, strict=True):
        module.cache = cache
    try:
        yield caches
    finally:
        for module in modules:
            module.cache = None
