"""The hand-in: what a training run leaves behind, an exported graph with its weights.

The graph is all that the scorer ever sees: it is run without any of the model's Python, on tokens that the training
process never had. It is exported for fixed shapes, because not every primitive can infer shapes: the one that is
scored, single rows of a few lengths, which let a model write without computing a whole batch for every token, and where
the model has a key-value cache, pieces of a row with it. All shapes share one copy of the weights in the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.files import write_json, written_atomically
from mlx_autoresearch.key_value_cache import CachedModel
from mlx_autoresearch.settings import CONTEXT, GRAPH_FILE, SUMMARY_FILE, WEIGHTS_FILE, RunSettings

SCORE_ROWS = 8
"""Rows in a scored batch: 8 x 256 tokens x 8192 logits are 64 MiB in float32, which fits an 8 GB machine."""

ROW_LENGTHS = (32, 64, 128, 256)
"""Lengths of the single rows that a graph also takes. They are not scored: who uses one compares it first (see
continuation.py)."""

PIECE_LENGTHS = (1, 32)
"""Lengths of the pieces that a graph with a cache takes: a token that is written, and the text before it."""


@dataclass(frozen=True)
class HandInSummary:
    """What the training process reports about itself; information for people, never part of a score.

    Attributes:
        parameters: number of trainable parameters.
        peak_memory_bytes: peak of MLX's allocator.
    """

    parameters: int
    peak_memory_bytes: int


def hand_in(model: nn.Module, settings: RunSettings) -> None:
    """Export `model` into the run's folder: `model.mlxfn`, `model.safetensors`, and last `handin.json`.

    `model(tokens)` is traced for int32 tokens of shape (SCORE_ROWS, CONTEXT), and where it can be for single rows and
    with a cache.

    Raises:
        AutoresearchError: a model was handed in before, or this one can't be traced.
    """
    folder = Path(settings.folder)
    if (folder / SUMMARY_FILE).exists():
        raise AutoresearchError("hand_in was called twice: hand in one model, once, at the end of training.")
    model.eval()
    parameters = tree_flatten(model.trainable_parameters())
    summary = HandInSummary(sum(p.size for _, p in parameters), mx.get_peak_memory())
    weights = dict(tree_flatten(model.parameters()))
    with written_atomically(folder / GRAPH_FILE) as path:
        export_graph(model, path)
    with written_atomically(folder / WEIGHTS_FILE) as path:
        mx.save_safetensors(str(path), weights)
    write_json(folder / SUMMARY_FILE, vars(summary))


def export_graph(model: Callable[[mx.array], mx.array], path: Path) -> None:
    """Write the graph of `model`, int32 tokens (B, T) to logits (B, T, V), for the shapes that a hand-in has.

    A graph with a cache also takes nothing, which gives the arrays of the cache of an empty text, and (tokens (1, T),
    offset, *arrays) with T of PIECE_LENGTHS, which gives logits and the new arrays (see key_value_cache.py).
    """
    rows = [(1, length) for length in ROW_LENGTHS]
    for shapes, with_cache in ((rows, True), (rows, False), ([], False)):
        try:
            _export_shapes(model, path, [(SCORE_ROWS, CONTEXT), *shapes], with_cache)
            return
        except Exception:  # whatever a model says that takes the scored shape alone: it is good, and slower to read
            if not shapes:
                raise


def _export_shapes(
    model: Callable[[mx.array], mx.array], path: Path, shapes: list[tuple[int, int]], with_cache: bool
) -> None:
    cached = CachedModel.of(model) if with_cache and isinstance(model, nn.Module) else None

    def function(*inputs: mx.array) -> mx.array | list[mx.array]:
        if len(inputs) == 1:
            return model(*inputs)
        return cached(*inputs) if inputs else cached.arrays()

    with mx.exporter(str(path), function) as exporter:
        for shape in shapes:
            exporter(mx.zeros(shape, dtype=mx.int32))
        if cached is not None:
            exporter()
            for length in PIECE_LENGTHS:
                exporter(mx.zeros((1, length), dtype=mx.int32), mx.array(0, dtype=mx.int32), *cached.arrays())
