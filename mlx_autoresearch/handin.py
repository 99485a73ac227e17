"""The hand-in: what a training run leaves behind, an exported graph with its weights.

The graph is all that the scorer ever sees: it is run without any of the model's Python, on tokens that the training
process never had. It is exported for one fixed shape, because not every primitive can infer shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.files import write_json, written_atomically
from mlx_autoresearch.settings import CONTEXT, GRAPH_FILE, SUMMARY_FILE, WEIGHTS_FILE, RunSettings

SCORE_ROWS = 8
"""Rows in a scored batch: 8 x 256 tokens x 8192 logits are 64 MiB in float32, which fits an 8 GB machine."""


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

    `model(tokens)` is traced for int32 tokens of shape (SCORE_ROWS, CONTEXT).

    Raises:
        AutoresearchError: a model was handed in before, or this one can't be traced.
    """
    folder = Path(settings.folder)
    if (folder / SUMMARY_FILE).exists():
        raise AutoresearchError("hand_in was called twice: hand in one model, once, at the end of training.")
    model.eval()
    parameters = tree_flatten(model.trainable_parameters())
    summary = HandInSummary(sum(p.size for _, p in parameters), mx.get_peak_memory())
    example = mx.zeros((SCORE_ROWS, CONTEXT), dtype=mx.int32)
    with written_atomically(folder / GRAPH_FILE) as path:
        mx.export_function(str(path), lambda tokens: model(tokens), example)
    with written_atomically(folder / WEIGHTS_FILE) as path:
        mx.save_safetensors(str(path), dict(tree_flatten(model.parameters())))
    write_json(folder / SUMMARY_FILE, vars(summary))
