"""The judge: owns the held-out text, asks two processes about it, believes neither, and adds up the score.

A graph is run by MLX, whose kernels don't check indices: a hand-in that is made for it can read all memory of the
process that runs it, and perhaps more than read. So that process never holds what it must not know (see scorer.py):

- the first one gets the rows as they are and tells the nats of every next token: their sum is the score;
- the second one, which starts from nothing, gets the rows in another order, each with its end replaced after a random
  cut, and tells the nats before the cut and the logits at the last position before it. What really follows there is
  known to the judge alone.

Both must agree, and neither sees what the other is asked. So every row of the first answer is checked at a position
where the second could not know the truth, and causality, independence of the rows and of the order of calls all follow.
Random cuts can miss a model that looks ahead at a few positions only: before a keep every cut is tried as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mlx_autoresearch.dataset import Dataset
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.handin import SCORE_ROWS
from mlx_autoresearch.metric import bits_per_byte, log_sum_exp
from mlx_autoresearch.questions import Answer, Question
from mlx_autoresearch.records import REFUSED
from mlx_autoresearch.settings import CONTEXT
from mlx_autoresearch.tokens.tokenizer import SEPARATOR_ID, VOCAB_SIZES, token_byte_lengths

TOLERANCE = 1e-3
"""Largest difference of a token's loss between both answers, in nats: what it could win is below 0.0004 bits a byte."""

WHOLE_ROWS = 16
"""How much more often than another cut the last one is drawn, which leaves a row whole: only then its last position is
asked about, where a look at the next row would tell."""

Ask = Callable[[Sequence[Question]], Sequence[Answer]]
"""Runs the graph for every question, each in a process of its own that sees nothing of the other questions. It raises
RefusedError where the graph can't be used."""


class RefusedError(Exception):
    """The hand-in breaks a rule; the message is the sentence for the ledger, `failure` the class (see `records`)."""

    def __init__(self, sentence: str, failure: str = REFUSED) -> None:
        super().__init__(sentence)
        self.failure = failure


@dataclass(frozen=True)
class Score:
    """A score over one split.

    Attributes:
        bpb: bits per byte.
        nats: summed cross-entropy of the text tokens.
        text_bytes: UTF-8 bytes of the scored text.
        text_tokens: tokens scored (separators are not).
        vocab_size: vocabulary of the model.
    """

    bpb: float
    nats: float
    text_bytes: int
    text_tokens: int
    vocab_size: int


@dataclass(frozen=True)
class ChangedRows:
    """Rows with another end.

    Attributes:
        rows: (N, CONTEXT + 1) tokens.
        index: (N,), which of the original rows each was made from.
        cuts: (N,), from 1 to CONTEXT: the tokens from this place on are not the original's.
    """

    rows: np.ndarray
    index: np.ndarray
    cuts: np.ndarray


def judge(
    dataset: Dataset,
    splits: Sequence[str],
    ask: Ask,
    rng: np.random.Generator,
    max_rows: int | None = None,
    every_cut: bool = False,
) -> dict[str, Score]:
    """Scores on `splits` (of their first `max_rows` rows if given) of the model that `ask` runs.

    Raises:
        RefusedError: the model can't be run, gives no finite numbers, or its two answers differ.
        AutoresearchError: the dataset is damaged.
    """
    rows = {size: [rows_of_split(dataset.tokens(split, size), max_rows) for split in splits] for size in VOCAB_SIZES}
    together = {size: np.concatenate(of_splits) for size, of_splits in rows.items()}
    changed = {size: change_rows(tokens, rng, every_cut) for size, tokens in together.items()}
    with_other_ends = {size: each.rows for size, each in changed.items()}
    before_cuts = {size: each.cuts - 1 for size, each in changed.items()}
    first, second = ask([Question(together), Question(with_other_ends, before_cuts)])
    size = first.vocab_size
    if second.vocab_size != size:
        raise RefusedError(f"the model came with a vocabulary of {size} first, of {second.vocab_size} then")
    check_finite(first.nats)
    compare(together[size], first.nats, changed[size], second)
    of_splits = rows[size]
    ends = np.cumsum([len(each) for each in of_splits])[:-1]
    each_nats = np.split(first.nats, ends)
    return {
        split: _score(dataset, split, size, *each, whole=max_rows is None)
        for split, *each in zip(splits, of_splits, each_nats, strict=True)
    }


def rows_of_split(stream: np.ndarray, max_rows: int | None = None) -> np.ndarray:
    """Rows over the concatenated documents of a split, int32 (rows, CONTEXT + 1), each beginning with the last's end.

    The stream begins with a separator, so that every text token is the next token of one position. The last row is
    filled up with separators, which do not count; rows are a multiple of SCORE_ROWS in number.
    """
    stream = np.asarray(stream, dtype=np.int32)
    count = -(-(len(stream) - 1) // CONTEXT)
    count = count if max_rows is None else min(count, max_rows)
    used = min(count * CONTEXT + 1, len(stream))
    tokens = np.full(-(-count // SCORE_ROWS) * SCORE_ROWS * CONTEXT + 1, SEPARATOR_ID, np.int32)
    tokens[:used] = stream[:used]
    return np.concatenate([tokens[:-1].reshape(-1, CONTEXT), tokens[CONTEXT::CONTEXT, None]], axis=1)


def change_rows(rows: np.ndarray, rng: np.random.Generator, every_cut: bool = False) -> ChangedRows:
    """Every row once, in random order, its end replaced from a random cut on; with `every_cut` CONTEXT rows more, one
    for each cut.

    The new end repeats the row's own beginning, so that nothing is told that was not told before.

    Args:
        rows: (N, CONTEXT + 1) tokens.
        rng: draws order and cuts.
    """
    index, cuts = np.arange(len(rows)), rng.integers(1, CONTEXT + WHOLE_ROWS, len(rows))
    cuts = np.minimum(cuts, CONTEXT)
    if every_cut:
        index = np.concatenate([index, rng.integers(len(rows), size=CONTEXT)])
        cuts = np.concatenate([cuts, np.arange(1, CONTEXT + 1)])
    order = rng.permutation(len(index))
    index, cuts = index[order], cuts[order]
    place = np.arange(CONTEXT + 1)[None, :]
    own = np.where(place < cuts[:, None], place, place % cuts[:, None])
    return ChangedRows(np.take_along_axis(rows[index], own, axis=1), index, cuts)


def compare(rows: np.ndarray, nats: np.ndarray, changed: ChangedRows, again: Answer) -> None:
    """Compare the answer about `rows` with that about the changed ones.

    Args:
        rows: (N, CONTEXT + 1) original tokens.
        nats: (N, CONTEXT), the first answer.
        changed: what was asked then.
        again: the second answer, with the logits at the last position before each cut.

    Raises:
        RefusedError: a loss differs, or is no finite number.
    """
    each = np.arange(len(changed.cuts))
    follows = rows[changed.index, changed.cuts]
    with np.errstate(invalid="ignore", over="ignore"):
        at_cut = log_sum_exp(again.logits.copy()) - again.logits[each, follows]
    check_finite(at_cut)
    said = np.where(np.arange(CONTEXT)[None, :] < changed.cuts[:, None] - 1, again.nats, nats[changed.index])
    said[each, changed.cuts - 1] = at_cut
    check_finite(said)
    moved = np.abs(said - nats[changed.index])
    if not moved.max() <= TOLERANCE:
        row, position = np.unravel_index(moved.argmax(), moved.shape)
        raise RefusedError(
            f"a loss at position {position} moved by {moved[row, position]:.3g} nats when only later tokens, other "
            "rows and their order changed: the model must be causal, treat rows independently and give the same answer "
            "twice"
        )


def check_finite(numbers: np.ndarray) -> None:
    """Refuse what is no number.

    Raises:
        RefusedError: some are not finite.
    """
    if not np.isfinite(numbers).all():
        raise RefusedError("the model gives logits that are not finite numbers, or no chance at all to the right token")


def _score(dataset: Dataset, split: str, vocab_size: int, rows: np.ndarray, nats: np.ndarray, whole: bool) -> Score:
    byte_lengths = token_byte_lengths(dataset.tokenizer(vocab_size), vocab_size)[rows[:, 1:]]
    scored_bytes, counted = int(byte_lengths.sum()), byte_lengths > 0
    if whole and scored_bytes != dataset.text_bytes(split):
        raise AutoresearchError(
            f"the {split} split in {dataset.folder} holds {scored_bytes} bytes, its text {dataset.text_bytes(split)}: "
            "delete that folder and prepare the dataset again"
        )
    total = float(nats[counted].sum(dtype=np.float64))
    return Score(bits_per_byte(total, scored_bytes), total, scored_bytes, int(counted.sum()), vocab_size)
