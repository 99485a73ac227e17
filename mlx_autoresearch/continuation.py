"""Continuing texts with a model: choosing tokens one by one, for the sample command and for the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np

from mlx_autoresearch.exported_model import GraphReader
from mlx_autoresearch.handin import ROW_LENGTHS, SCORE_ROWS
from mlx_autoresearch.scorer import Graph, import_graph
from mlx_autoresearch.settings import CONTEXT
from mlx_autoresearch.tokens.tokenizer import SEPARATOR_ID

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LOST_NATS = 1e-3
"""What the prediction of a single row may cost beside that of the scored shape, in nats a token (Kullback-Leibler
divergence, its mean over a row). bfloat16 alone makes less than that."""


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
    graph, vocab_size = import_graph(path)
    return GraphReader(graph, SCORE_ROWS, CONTEXT, usable_lengths(graph, vocab_size)), vocab_size


def usable_lengths(graph: Graph, vocab_size: int) -> tuple[int, ...]:
    """The lengths of single rows on which a graph says what it says in the shape that was scored."""
    rows = np.random.default_rng(0).integers(vocab_size, size=(SCORE_ROWS, CONTEXT), dtype=np.int32)
    scored = _log_probabilities(graph(mx.array(rows))[0])
    usable = []
    for length in ROW_LENGTHS:
        try:
            alone = graph(mx.array(rows[:1, :length]))
            mx.eval(alone)
        except (ValueError, RuntimeError):  # a graph that was exported for one shape only, or can't run this one
            continue
        if alone.shape == (1, length, vocab_size):
            known, said = scored[:length], _log_probabilities(alone[0])
            lost = (mx.exp(known) * (known - said)).sum(axis=-1).mean().item()
            usable += [length] if abs(lost) <= LOST_NATS else []  # NaN is no agreement
    return tuple(usable) if CONTEXT in usable else ()


def _log_probabilities(logits: mx.array) -> mx.array:
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
