"""A model that is an exported graph: its next tokens for text of any length, and the interface that mlx-lm asks for.

`python -m mlx_autoresearch.export` puts a copy of this file into the folder that it makes, as the `model_file` of
config.json. So it needs mlx alone, and the text that `mlx_autoresearch.sample` writes comes from the same lines.

Notable: a graph takes rows of fixed lengths. A row is filled up on the right, which a causal model can't see. Where the
graph has a key-value cache, a token costs a token. Where it has none, it costs a whole row: the shortest that holds the
text. Text beyond the longest row is read through a window that moves on a quarter of a row at a time.
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

REMEMBERED_TEXTS = 8
"""Texts whose caches are kept, so that several can be written in turn."""


@dataclass(frozen=True, eq=False)
class Reading:
    """How far a text was read.

    Attributes:
        tokens: what was read.
        arrays: the cache after it.
    """

    tokens: list[int]
    arrays: list[mx.array]


@dataclass
class CachedReader:
    """Reads texts of at most `context` tokens on from where it was before, by a graph's key-value cache.

    Attributes:
        graph: the imported graph: of nothing, to the cache of an empty text; of int32 tokens (1, T), offset and cache,
            to logits (1, T, V) and the new cache.
        context: most tokens of a text.
        lengths: each T that it takes, 1 among them.
        readings: the last texts, the newest at the end.
    """

    graph: Callable[..., list[mx.array]]
    context: int
    lengths: Sequence[int]
    readings: list[Reading] = field(default_factory=list)

    def read(self, text: Sequence[int], first: int) -> mx.array:
        """Logits (T - first, V) at the positions of a text of T tokens from `first` on."""
        known, before = 0, None
        for reading in self.readings:
            common = min(_common_beginning(reading.tokens, text), first)
            if before is None or common >= known:
                known, before = common, reading
        arrays = self.graph() if before is None else before.arrays
        pieces, position = [], known
        while position < len(text):
            left = len(text) - position
            fitting = [length for length in self.lengths if position + length <= self.context]
            length = min((length for length in fitting if length >= left), default=max(fitting))
            piece = mx.array(text[position : position + length], dtype=mx.int32)
            logits, *arrays = self.graph(_filled(piece, length)[None], mx.array(position, dtype=mx.int32), *arrays)
            mx.eval(logits, arrays)
            pieces.append(logits[0, : len(piece)])
            position += length
        goes_on = before is not None and before.tokens == list(text[: len(before.tokens)])  # the same text, further
        others = [reading for reading in self.readings if not (goes_on and reading is before)]
        self.readings = [*others, Reading(list(text), arrays)][-REMEMBERED_TEXTS:]
        return mx.concatenate(pieces)[first - known :].astype(mx.float32)


def _common_beginning(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first tokens two texts share."""
    count = 0
    for mine, yours in zip(one, other):  # noqa: B905  the shorter one ends it
        if mine != yours:
            break
        count += 1
    return count


@dataclass(frozen=True)
class GraphReader:
    """Asks a graph about text of any length.

    Attributes:
        graph: function of int32 tokens (rows, context) to logits (rows, context, V); also of (1, each of `lengths`).
        rows, context: the shape that every graph takes.
        lengths: single rows that this one takes too; empty where there are none.
        cached: reads with its key-value cache; None where it has none.
    """

    graph: Callable[[mx.array], mx.array]
    rows: int
    context: int
    lengths: Sequence[int] = ()
    cached: CachedReader | None = None

    def window_start(self, count: int) -> int:
        """The first token that the token after `count` tokens is predicted from."""
        step = self.context // 4
        return max(0, -(-(count - self.context) // step) * step)

    def next_logits(self, texts: Sequence[Sequence[int]]) -> mx.array:
        """Logits (N, V) of the token that follows each of N texts, which are token ids and not empty."""
        windows = [text[self.window_start(len(text)) :] for text in texts]
        if self.cached is not None:
            return mx.stack([self.cached.read(window, len(window) - 1)[-1] for window in windows])
        return mx.stack([logits[-1] for logits in self._read(windows)])

    def logits(self, tokens: mx.array, last: int) -> mx.array:
        """Logits (B, last, V) at the last positions of texts of one length, int32 (B, T)."""
        count, texts, pieces = tokens.shape[1], tokens.tolist(), []
        position = count - last
        while position < count:
            start = self.window_start(position + 1)
            stop = min(count, start + self.context)
            windows, first = [text[start:stop] for text in texts], position - start
            if self.cached is not None:
                pieces.append(mx.stack([self.cached.read(window, first) for window in windows]))
            else:
                pieces.append(mx.stack(self._read(windows))[:, first:])
            position = stop
        return mx.concatenate(pieces, axis=1)

    def _read(self, windows: Sequence[Sequence[int]]) -> list[mx.array]:
        """Logits (T, V) of each window of T tokens, without a cache."""
        windows = [mx.array(window, dtype=mx.int32) for window in windows]
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
        cached_lengths: the lengths of `CachedReader`, empty where the graph has no cache.
    """

    rows: int
    context: int
    lengths: list[int] = field(default_factory=list)
    cached_lengths: list[int] = field(default_factory=list)

    @classmethod
    def from_dict(cls, config: dict) -> "ModelArgs":
        """The arguments in a config, which holds other things too."""
        return cls(**{name: config[name] for name in ("rows", "context", "lengths", "cached_lengths")})


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
            lambda tokens: imported(tokens)[0].astype(mx.float32),
            args.rows,
            args.context,
            args.lengths,
            CachedReader(imported, args.context, args.cached_lengths) if args.cached_lengths else None,
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
