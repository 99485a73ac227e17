"""Many short answers from a model's exported graph at once: SCORE_ROWS questions go on together, token by token.

A question that is answered makes room for the next one, so that no row of a call is empty before the end. Each question
has a row of its own: what is answered doesn't depend on which questions stand beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import mlx.core as mx
import numpy as np
from tokenizers import Tokenizer

from mlx_autoresearch.continuation import choose_token
from mlx_autoresearch.exported_model import GraphReader
from mlx_autoresearch.handin import SCORE_ROWS
from mlx_autoresearch.metric import token_nats
from mlx_autoresearch.scorer import Graph
from mlx_autoresearch.settings import CONTEXT
from mlx_autoresearch.tokens.tokenizer import SEPARATOR_ID, token_bytes

ANSWER_TOKENS = 64
"""Longest answer: more than any number or label takes. Models end an answer themselves."""

ANSWER_END = b";"
"""No value holds one (see rows.py): a model that writes it goes on with another column."""


@dataclass
class _Question:
    """A text that is being continued: where its answer goes, its tokens, and the new ones."""

    index: int
    tokens: list[int]
    new: list[int] = field(default_factory=list)


def complete(
    reader: GraphReader,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    temperature: float = 0.0,
    seed: int = 0,
    on_done: Callable[[], None] = lambda: None,
) -> list[str]:
    """What the model adds to each text until it ends it or writes ANSWER_END, at most ANSWER_TOKENS tokens.

    Args:
        reader: the model, as `continuation.open_reader` opens it.
        tokenizer: the model's tokenizer.
        texts: any number of beginnings; of one longer than the context its end is seen.
        temperature: 0 takes the likeliest token, 1 samples from the model as it is.
        seed: seed of the sampling.
        on_done: called after each answer.
    """
    rng, raw = np.random.default_rng(seed), token_bytes(tokenizer)
    encoded = tokenizer.encode_batch(list(texts), add_special_tokens=False)
    waiting = [_Question(index, [SEPARATOR_ID, *text.ids]) for index, text in enumerate(encoded)][::-1]
    asked: list[_Question] = []
    answers = [""] * len(texts)
    while waiting or asked:
        while waiting and len(asked) < SCORE_ROWS:
            asked.append(waiting.pop())
        following = reader.next_logits([[*question.tokens, *question.new] for question in asked])
        for question, logits in zip(asked, np.array(following, dtype=np.float64), strict=True):
            question.new.append(choose_token(logits, temperature, 1.0, rng))
        for question in [each for each in asked if _is_answered(each, raw)]:
            asked.remove(question)
            answers[question.index] = b"".join(raw[token] for token in question.new).decode(errors="replace")
            on_done()
    return answers


def mean_bits(graph: Graph, tokenizer: Tokenizer, texts: Sequence[str], answers: Sequence[str]) -> tuple[float, float]:
    """What true texts cost the model, in bits: the mean of whole texts, and the mean of what their answers take of it.

    Args:
        graph: function of int32 tokens (SCORE_ROWS, CONTEXT) to logits (SCORE_ROWS, CONTEXT, V).
        tokenizer: the model's tokenizer.
        texts: beginnings; of a text longer than the context its end is counted.
        answers: what truly follows each.
    """
    whole = answer = 0.0
    for start in range(0, len(texts), SCORE_ROWS):
        batch = slice(start, start + SCORE_ROWS)
        rows = np.full((SCORE_ROWS, CONTEXT + 1), SEPARATOR_ID, dtype=np.int32)
        kinds = np.zeros((2, SCORE_ROWS, CONTEXT), bool)
        for row, (text, following) in enumerate(zip(texts[batch], answers[batch], strict=True)):
            tokens = tokenizer.encode(text + following, add_special_tokens=False).ids
            new = len(tokens) - len(tokenizer.encode(text, add_special_tokens=False).ids)
            ids = [SEPARATOR_ID, *tokens][-CONTEXT - 1 :]
            end = len(ids) - 1
            rows[row, : len(ids)] = ids
            kinds[0, row, :end], kinds[1, row, max(0, end - new) : end] = True, True
        nats = token_nats(graph(mx.array(rows[:, :-1])), mx.array(rows[:, 1:]))
        whole, answer = whole + float(nats[kinds[0]].sum()), answer + float(nats[kinds[1]].sum())
    return whole / len(texts) / math.log(2), answer / len(texts) / math.log(2)


def _is_answered(question: _Question, raw: Sequence[bytes]) -> bool:
    newest = question.new[-1]
    return newest == SEPARATOR_ID or ANSWER_END in raw[newest] or len(question.new) == ANSWER_TOKENS
