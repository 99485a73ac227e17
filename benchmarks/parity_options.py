"""Which set-ups of train_mlx.py the parity benchmark compares. Data only: nothing here imports MLX or PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlx_autoresearch.knobs import Value

Edits = Sequence[tuple[str, str]]
"""(before, after) pieces of the text of train_mlx.py, each `before` once in it."""

SMALL: dict[str, Value] = {
    "DEPTH": 3,
    "WIDTH": 64,
    "HEAD_DIM": 32,
    "KV_HEADS": 2,
    "QUERIES_PER_KV": 1,
    "VOCAB_SIZE": 1024,
    "SEQUENCE_LENGTH": 64,
    "BATCH_SIZE": 8,
    "ACCUMULATION": 1,
}
"""Sizes at which 100 steps take seconds. Text is encoded as single bytes, which needs no tokenizer and no data."""


@dataclass(frozen=True)
class Option:
    """One way to set up train_mlx.py.

    Attributes:
        name: for the table.
        knobs: in place of those in `SMALL`.
        steps: optimizer steps; parameters are compared after 1, 10 and 100 of them.
        compiled: False runs MLX's operations one by one. Most options do: on the CPU backend, g++ takes up to a minute
            for each program that it has not seen.
    """

    name: str
    knobs: Mapping[str, Value] = field(default_factory=dict)
    steps: int = 100
    compiled: bool = False

    def all_knobs(self) -> dict[str, Value]:
        """The knobs of `SMALL` with this option's own."""
        return {**SMALL, **self.knobs}


LONG_ROWS: dict[str, Value] = {"SEQUENCE_LENGTH": 512, "BATCH_SIZE": 1, "SHORT_WINDOW": 0.125, "WINDOW_PATTERN": "SL"}
"""Rows longer than a block of queries, short windows that begin inside a block before it."""

OPTIMIZER_KNOBS: dict[str, Value] = {
    "MATRIX_LR": 0.02,
    "EMBEDDING_LR": 0.3,
    "HEAD_LR": 0.02,
    "SCALAR_LR": 0.03,
    "ADAM_BETA1": 0.9,
    "ADAM_BETA2": 0.98,
    "MOMENTUM": 0.9,
    "WEIGHT_DECAY": 0.1,
}

ALL_TOGETHER: dict[str, Value] = {
    **OPTIMIZER_KNOBS,
    "SEQUENCE_LENGTH": 512,
    "BATCH_SIZE": 1,
    "WIDTH": 96,
    "MLP_RATIO": 3,
    "KV_HEADS": 2,
    "QUERIES_PER_KV": 2,
    "WINDOW_PATTERN": "SL",
    "SHORT_WINDOW": 0.25,
    "ACTIVATION": "gelu",
    "SOFTCAP": 10.0,
    "ROPE_BASE": 2000.0,
    "LOSS_CHUNK": 200,
}

SIMPLEST_PARTS: dict[str, Value] = {
    "TIED_HEAD": True,
    "VALUE_EMBEDDINGS": False,
    "ACTIVATION": "silu",
    "BATCH_SIZE": 4,
    "ACCUMULATION": 2,
    "WINDOW_PATTERN": "L",
}


def options(quick: bool) -> list[Option]:
    """The set-ups to compare in float32. The quick ones take fewer steps and are not compiled."""
    if quick:
        return [
            Option("default", steps=10),
            Option("all together", ALL_TOGETHER, steps=3),
            Option("simplest parts", SIMPLEST_PARTS, steps=3),
        ]
    return [
        Option("default", compiled=True),
        Option("default, uncompiled", steps=10),
        Option("four queries share a key", {"KV_HEADS": 1, "QUERIES_PER_KV": 4}, steps=10),
        Option("grouped queries", {"QUERIES_PER_KV": 2}, steps=10),
        Option("long rows in blocks", LONG_ROWS, steps=20),
        Option("every block sees the row", {"WINDOW_PATTERN": "L"}, steps=10),
        Option("windows SL, an eighth", {"WINDOW_PATTERN": "SL", "SHORT_WINDOW": 0.125, "DEPTH": 4}, steps=10),
        Option("no value embeddings", {"VALUE_EMBEDDINGS": False}, steps=10),
        Option("soft cap 8", {"SOFTCAP": 8.0}, steps=10),
        Option("soft cap 30", {"SOFTCAP": 30.0}, steps=10),
        Option("tied head", {"TIED_HEAD": True}, steps=10),
        Option("silu", {"ACTIVATION": "silu"}, steps=10),
        Option("gelu", {"ACTIVATION": "gelu"}, steps=10),
        Option("two micro-batches", {"BATCH_SIZE": 4, "ACCUMULATION": 2}, steps=10, compiled=True),
        Option("loss in uneven chunks", {"LOSS_CHUNK": 200}, steps=10),
        Option("wide, not square", {"WIDTH": 160, "MLP_RATIO": 3, "KV_HEADS": 3}, steps=10),
        Option("another rotary base", {"ROPE_BASE": 500.0, "HEAD_DIM": 64}, steps=10),
        Option("other optimizer knobs", OPTIMIZER_KNOBS),
        Option("all together", ALL_TOGETHER, compiled=True),
        Option("simplest parts", SIMPLEST_PARTS, steps=10),
        Option("blocks computed again", {"CHECKPOINT": True}, steps=10, compiled=True),
    ]


def half_options(quick: bool) -> list[Option]:
    """The set-ups to compare in bfloat16: few steps, because rounding soon leads the two sides apart."""
    chosen = [Option("default", steps=2 if quick else 10)]
    if not quick:
        chosen += [
            Option("all together", ALL_TOGETHER, steps=10),
            Option("simplest parts", SIMPLEST_PARTS, steps=3),
        ]
    return chosen
