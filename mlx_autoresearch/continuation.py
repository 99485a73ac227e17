"""Continuing texts with a model: choosing tokens one by one, for the sample command and for the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np

from mlx_autoresearch.exported_model import CachedReader, GraphReader
from mlx_autoresearch.handin import PIECE_LENGTHS, ROW_LENGTHS, SCORE_ROWS
from mlx_autoresearch.scorer import Graph, check_graph, import_function
from mlx_autoresearch.settings import CONTEXT
from mlx_autoresearch.tokens.tokenizer import SEPARATOR_ID

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LOST_NATS = 1e-3
"""What the prediction of a single row, or with a cache, may cost beside that of the scored shape, in nats a token
(Kullback-Leibler divergence, its mean over a row). bfloat16 alone makes less than that."""

WRITTEN_TOKENS = 32
"""Tokens on which a cache is compared token by token."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        length: most tokens to add to a text.
        temperature: 0 takes the likeliest token, 1 samples from the model as it is.
        top_p: sample among the likeliest tokens whose probabilities reach this sum.
        seed: seed of the sampling; every text has draws of its own, so that others beside it change nothing.
    """

    length: int = 100
    temperature: float = 0.7
    top_p: float = 0.95
    seed: int = 0


def open_reader(path: Path) -> tuple[GraphReader, int]:
    """A reader of the exported graph at `path`, and its vocabulary size.

    Raises:
        RefusedError: the file holds no model that could be scored.
    """
    imported = import_function(path)
    graph, vocab_size = check_graph(imported)
    rows = np.random.default_rng(0).integers(vocab_size, size=(SCORE_ROWS, CONTEXT), dtype=np.int32)
    scored = log_probabilities(graph(mx.array(rows))[0])
    cached = CachedReader(imported, CONTEXT, PIECE_LENGTHS)
    if _cache_agrees(cached, rows[0].tolist(), scored):
        return GraphReader(graph, SCORE_ROWS, CONTEXT, (), cached), vocab_size
    return GraphReader(graph, SCORE_ROWS, CONTEXT, usable_lengths(graph, rows[:1], scored)), vocab_size


def _cache_agrees(reader: CachedReader, row: Sequence[int], scored: mx.array) -> bool:
    """Whether a graph has a cache, and says with it what it says in the shape that was scored.

    Half a row is read like a prompt, and what follows token by token, like what is written: each half must agree.
    """
    half = len(row) // 2
    try:
        prompt = reader.read(row[:half], 0)
        written = mx.concatenate([reader.read(row[: count + 1], count) for count in range(half, half + WRITTEN_TOKENS)])
    except (ValueError, RuntimeError, IndexError, TypeError):  # no cache, or one that can't be run
        return False
    if prompt.shape[1:] != scored.shape[1:]:
        return False
    return _agree(scored[:half], prompt) and _agree(scored[half : half + WRITTEN_TOKENS], written)


def usable_lengths(graph: Graph, row: np.ndarray, scored: mx.array) -> tuple[int, ...]:
    """The lengths of single rows on which a graph says what it says in the shape that was scored.

    Args:
        graph: the model.
        row: int32 (1, CONTEXT).
        scored: log-probabilities (CONTEXT, V) of that row.
    """
    usable = []
    for length in ROW_LENGTHS:
        try:
            alone = graph(mx.array(row[:, :length]))
            mx.eval(alone)
        except (ValueError, RuntimeError):  # a graph that was exported for one shape only, or can't run this one
            continue
        if alone.shape == (1, length, scored.shape[1]) and _agree(scored[:length], alone[0]):
            usable.append(length)
    return tuple(usable) if CONTEXT in usable else ()


def _agree(scored: mx.array, logits: mx.array) -> bool:
    lost = (mx.exp(scored) * (scored - log_probabilities(logits))).sum(axis=-1).mean().item()
    return abs(lost) <= LOST_NATS  # NaN is no agreement


def log_probabilities(logits: mx.array) -> mx.array:
    """Logits (..., V) as natural logarithms of probabilities."""
    return logits - mx.logsumexp(logits, axis=-1, keepdims=True)


def continue_texts(
    reader: GraphReader, tokenizer: Tokenizer, prompts: Sequence[str], sampling: Sampling
) -> Iterator[tuple[int, str]]:
    """Yield (index, piece) as texts grow, until the model has ended each of them or it has its length.

    A text is continued from a separator and its prompt; an empty prompt gives a text from its beginning.
    """
    texts = [[SEPARATOR_ID, *tokenizer.encode(prompt, add_special_tokens=False).ids] for prompt in prompts]
    shown = [tokenizer.decode(text[1:]) for text in texts]
    draws = [np.random.default_rng(sampling.seed) for _ in prompts]
    growing = list(range(len(prompts)))
    for _ in range(sampling.length):
        if not growing:
            return
        logits = np.array(reader.next_logits([texts[index] for index in growing]), dtype=np.float64)
        ended = []
        for row, index in enumerate(growing):
            token = choose_token(logits[row], sampling.temperature, sampling.top_p, draws[index])
            if token == SEPARATOR_ID:
                ended.append(index)
                continue
            texts[index].append(token)
            text = tokenizer.decode(texts[index][1:])
            if not text.endswith("\ufffd"):  # a character whose bytes are not complete yet waits for the next token
                piece, shown[index] = text[len(shown[index]) :], text
                yield index, piece
        growing = [index for index in growing if index not in ended]


def choose_token(logits: np.ndarray, temperature: float, top_p: float, rng: np.random.Generator) -> int:
    """One token id from float64 logits (V,) by temperature and nucleus sampling (Holtzman et al., 2020)."""
    if temperature <= 0:
        return int(logits.argmax())
    scaled = (logits - logits.max()) / temperature
    probabilities = np.exp(scaled)
    probabilities /= probabilities.sum()
    order = np.argsort(-probabilities)
    before = np.cumsum(probabilities[order]) - probabilities[order]
    nucleus = order[before < top_p]
    return int(rng.choice(nucleus, p=probabilities[nucleus] / probabilities[nucleus].sum()))
