"""A model that is an exported graph: its next tokens for text of any length, and the interface that mlx-lm asks for.

`python -m mlx_autoresearch.export` puts a copy of this file into the folder that it makes, as the `model_file` of
config.json. So it needs mlx alone, and the text that `mlx_autoresearch.sample` writes comes from the same lines.

Notable: a graph takes rows of fixed lengths. A row is filled up on the right, which a causal model can't see. It keeps
no keys and values, so every token costs a whole row: the shortest that holds the text. Text beyond the longest row is
read through a window that moves on a quarter of a row at a time.
"""

# No `from __future__ import annotations`: mlx-lm runs this file without naming it in sys.modules, where dataclasses
# would look such annotations up.
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn

GRAPH_NAME = "graph.mlxfn"
"""The graph in an mlx-lm folder. Not called model, so that nobody takes it for weights."""


@dataclass(frozen=True)
class GraphReader:
    """Asks a graph about text of any length.

    Attributes:
        graph: function of int32 tokens (rows, context) to logits (rows, context, V); also of (1, each of `lengths`).
        rows, context: the shape that every graph takes.
        lengths: single rows that this one takes too; empty where there are none.
    """

    graph: Callable[[mx.array], mx.array]
    rows: int
    context: int
    lengths: Sequence[int] = ()

    def window_start(self, count: int) -> int:
        """The first token that the token after `count` tokens is predicted from."""
        step = self.context // 4
        return max(0, -(-(count - self.context) // step) * step)

    def next_logits(self, texts: Sequence[Sequence[int]]) -> mx.array:
        """Logits (N, V) of the token that follows each of N texts, which are token ids and not empty."""
        windows = [mx.array(text[self.window_start(len(text)) :], dtype=mx.int32) for text in texts]
        return mx.stack([logits[-1] for logits in self._read(windows)])

    def logits(self, tokens: mx.array, last: int) -> mx.array:
        """Logits (B, last, V) at the last positions of texts of one length, int32 (B, T)."""
        count, pieces = tokens.shape[1], []
        position = count - last
        while position < count:
            start = self.window_start(position + 1)
            stop = min(count, start + self.context)
            pieces.append(mx.stack(self._read(list(tokens[:, start:stop])))[:, position - start :])
            position = stop
        return mx.concatenate(pieces, axis=1)

    def _read(self, windows: Sequence[mx.array]) -> list[mx.array]:
        """Logits (T, V) of each window of T tokens."""
        if self.lengths:
            return [self._read_row(window) for window in windows]
        logits: list[mx.array] = []
        for start in range(0, len(windows), self.rows):
            batch = windows[start : start + self.rows]
            filled = [_filled(window, self.context) for window in batch]
            filled += [mx.zeros_like(filled[0])] * (self.rows - len(batch))
            answers = self.graph(mx.stack(filled))
            logits += [answers[row, : len(window)] for row, window in enumerate(batch)]
        return logits

    def _read_row(self, window: mx.array) -> mx.array:
        length = min(length for length in self.lengths if length >= len(window))
        return self.graph(_filled(window, length)[None])[0, : len(window)]


def _filled(window: mx.array, length: int) -> mx.array:
    """The tokens of a window, filled up on the right with id 0 to `length`."""
    return mx.pad(window, (0, length - len(window)))


@dataclass
class ModelArgs:
    """What config.json says; mlx-lm asks for this name.

    Attributes:
        rows, context, lengths: see `GraphReader`.
    """

    rows: int
    context: int
    lengths: list[int] = field(default_factory=list)

    @classmethod
    def from_dict(cls, config: dict) -> "ModelArgs":
        """The arguments in a config, which holds other things too."""
        return cls(**{name: config[name] for name in ("rows", "context", "lengths")})


class TokenCache:
    """What mlx-lm keeps of a text between two calls: here the tokens themselves, (B, T)."""

    def __init__(self) -> None:
        self.tokens: mx.array | None = None

    def add(self, tokens: mx.array) -> mx.array:
        """All tokens so far with the new ones, int32 (B, T)."""
        self.tokens = tokens if self.tokens is None else mx.concatenate([self.tokens, tokens], axis=1)
        return self.tokens

    @property
    def offset(self) -> int:
        """Tokens so far."""
        return 0 if self.tokens is None else self.tokens.shape[1]

    @property
    def state(self) -> list[mx.array]:
        """The arrays that mlx-lm evaluates and stores."""
        return [] if self.tokens is None else [self.tokens]

    @state.setter
    def state(self, arrays: list[mx.array]) -> None:
        self.tokens = arrays[0] if arrays else None

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return 0 if self.tokens is None else self.tokens.nbytes

    def size(self) -> int:
        """Tokens so far."""
        return self.offset

    def empty(self) -> bool:
        """Whether there is no token yet."""
        return self.tokens is None

    def is_trimmable(self) -> bool:
        """Whether the last tokens can be taken back: always."""
        return True

    def trim(self, count: int) -> int:
        """Take the last `count` tokens back; returns how many there were to take."""
        count = min(count, self.offset)
        self.tokens = self.tokens[:, : self.offset - count] if count < self.offset else None
        return count


class Model(nn.Module):
    """tokens (B, T) -> logits (B, T, V), as mlx-lm calls it; with a cache, the tokens continue what is cached."""

    def __init__(self, args: ModelArgs) -> None:
        super().__init__()
        self.args = args
        self.model_type = "mlx_autoresearch"
        imported = mx.import_function(str(Path(__file__).with_name(GRAPH_NAME)))
        self._reader = GraphReader(
            lambda tokens: imported(tokens)[0].astype(mx.float32), args.rows, args.context, args.lengths
        )

    def __call__(self, inputs: mx.array, cache: list[TokenCache] | None = None) -> mx.array:
        tokens = inputs.astype(mx.int32)
        return self._reader.logits(tokens if cache is None else cache[0].add(tokens), last=inputs.shape[1])

    @property
    def layers(self) -> list[None]:
        """One for each cache."""
        return [None]

    def make_cache(self) -> list[TokenCache]:
        """The cache of an empty text."""
        return [TokenCache()]

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        """No weights to load: the graph holds its own. model.safetensors is for people and other programs."""
        return {}
