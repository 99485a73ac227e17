"""The judge: exact on models that can be worked out by hand, and closed to models that break a rule."""

from __future__ import annotations

import math
from collections.abc import Callable

import mlx.core as mx
import numpy as np
import pytest

from mlx_autoresearch.dataset import Dataset
from mlx_autoresearch.handin import SCORE_ROWS
from mlx_autoresearch.judge import Ask, ChangedRows, RefusedError, change_rows, compare, judge, rows_of_split
from mlx_autoresearch.questions import Answer
from mlx_autoresearch.scorer import answer
from mlx_autoresearch.settings import CONTEXT

V = 256

Function = Callable[[mx.array], mx.array]


def asking(function: Function, vocab_size: int = V) -> Ask:
    """What a process that runs `function` would answer."""
    return lambda questions: [
        answer(function, vocab_size, each.rows[vocab_size], None if each.asked is None else each.asked[vocab_size])
        for each in questions
    ]


def bigram_logits() -> mx.array:
    return mx.random.normal((V, V), key=mx.random.key(7)) * 2


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_uniform_model_scores_log2_v_over_bytes_per_token(dataset: Dataset) -> None:
    for vocab_size in (256, 1024):
        uniform = asking(lambda x, v=vocab_size: mx.zeros((*x.shape, v)), vocab_size)
        result = judge(dataset, ["val"], uniform, rng())["val"]
        tokens = int((np.asarray(dataset.tokens("val", vocab_size)) != 0).sum())
        assert result.text_tokens == tokens and result.text_bytes == dataset.text_bytes("val")
        assert result.bpb == pytest.approx(math.log2(vocab_size) * tokens / dataset.text_bytes("val"), rel=1e-6)


def test_bigram_model_matches_numpy_on_each_of_two_splits(dataset: Dataset) -> None:
    table = bigram_logits()
    scores = judge(dataset, ["val", "test"], asking(lambda x: table[x]), rng(), every_cut=True)
    logits = np.array(table, dtype=np.float64)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    for split in ("val", "test"):
        stream = np.asarray(dataset.tokens(split, V), dtype=np.int64)
        wanted = stream[1:] != 0
        nats = -log_probabilities[stream[:-1], stream[1:]][wanted].sum()
        assert scores[split].bpb == pytest.approx(nats / math.log(2) / dataset.text_bytes(split), abs=1e-6)


def test_rows_cover_every_text_token_once(dataset: Dataset) -> None:
    stream = np.asarray(dataset.tokens("val", 1024), dtype=np.int64)
    rows = rows_of_split(stream)
    assert rows.shape[1] == CONTEXT + 1 and len(rows) % SCORE_ROWS == 0
    np.testing.assert_array_equal(rows[:, 1:].ravel()[: len(stream) - 1], stream[1:])
    np.testing.assert_array_equal(rows[:, :-1].ravel()[: len(stream) - 1], stream[:-1])
    assert not rows[:, 1:].ravel()[len(stream) - 1 :].any()
    assert rows_of_split(stream, max_rows=3)[:, 1:].ravel()[3 * CONTEXT :].sum() == 0


def test_changed_rows_tell_nothing_behind_the_cut(dataset: Dataset) -> None:
    rows = rows_of_split(dataset.tokens("val", V))
    changed = change_rows(rows, rng(), every_cut=True)
    assert sorted(changed.index)[:1] == [0] and set(changed.index) == set(range(len(rows)))
    assert set(changed.cuts) == set(range(1, CONTEXT + 1)) and len(changed.rows) == len(rows) + CONTEXT
    for new, index, cut in zip(changed.rows, changed.index, changed.cuts, strict=True):
        np.testing.assert_array_equal(new, np.resize(rows[index, :cut], CONTEXT + 1))


def following(x: mx.array) -> mx.array:
    return mx.arange(V) == mx.concatenate([x[:, 1:], x[:, :1]], axis=1)[..., None]


def peeks_everywhere(x: mx.array) -> mx.array:
    return bigram_logits()[x] + 8 * following(x)


def peeks_at_one_position_in_sixteen(x: mx.array) -> mx.array:
    return bigram_logits()[x] + (mx.arange(CONTEXT) % 16 == 7)[None, :, None] * following(x)


def peeks_with_certainty(x: mx.array) -> mx.array:
    return mx.where(following(x), 0.0, -mx.inf)


def takes_the_mean_of_chunks(x: mx.array) -> mx.array:
    logits = bigram_logits()[x]
    means = logits.reshape(SCORE_ROWS, CONTEXT // 8, 8, V).mean(axis=2)
    return logits + 0.1 * mx.repeat(means, 8, axis=1)


def mixes_rows(x: mx.array) -> mx.array:
    logits = bigram_logits()[x]
    return logits + 0.1 * mx.roll(logits, 1, axis=0)


def knows_its_place_in_the_batch(x: mx.array) -> mx.array:
    return bigram_logits()[x] + mx.arange(SCORE_ROWS)[:, None, None] * mx.arange(V)


def gives_nan(x: mx.array) -> mx.array:
    return bigram_logits()[x] * float("nan")


@pytest.mark.parametrize(
    "cheat",
    [
        peeks_everywhere,
        peeks_at_one_position_in_sixteen,
        peeks_with_certainty,
        takes_the_mean_of_chunks,
        mixes_rows,
        knows_its_place_in_the_batch,
        gives_nan,
    ],
)
def test_cheats_are_refused(dataset: Dataset, cheat: Function) -> None:
    with pytest.raises(RefusedError):
        judge(dataset, ["val"], asking(cheat), rng())


def test_every_cut_finds_a_rare_peek_in_a_few_rows(dataset: Dataset) -> None:
    ask = asking(peeks_at_one_position_in_sixteen)
    for seed in range(3):
        with pytest.raises(RefusedError, match="position"):
            judge(dataset, ["val"], ask, np.random.default_rng(seed), max_rows=SCORE_ROWS, every_cut=True)


def test_liar_that_knows_the_text_is_found_by_one_that_can_not() -> None:
    """The first process claims a loss of nothing everywhere; the second answers honestly, or claims the same."""
    rows = np.random.default_rng(2).integers(1, V, (64, CONTEXT + 1))
    changed = change_rows(rows, rng())
    claimed = np.zeros((len(rows), CONTEXT), np.float32)
    knows_nothing = np.zeros((len(rows), V), np.float32)
    with pytest.raises(RefusedError, match="causal"):
        compare(rows, claimed, changed, Answer(V, np.zeros_like(claimed), knows_nothing))
    guess = np.full((len(rows), V), -50.0, np.float32)
    guess[np.arange(len(rows)), changed.rows[np.arange(len(rows)), changed.cuts]] = 50.0
    with pytest.raises(RefusedError, match="causal"):
        compare(rows, claimed, changed, Answer(V, np.zeros_like(claimed), guess))


def test_no_chance_for_the_right_token_is_refused_in_words() -> None:
    rows = np.zeros((SCORE_ROWS, CONTEXT + 1), np.int64)
    changed = ChangedRows(rows, np.arange(SCORE_ROWS), np.full(SCORE_ROWS, 5))
    logits = np.full((SCORE_ROWS, V), -np.inf, np.float32)
    with pytest.raises(RefusedError, match="not finite"):
        compare(rows, np.zeros((SCORE_ROWS, CONTEXT)), changed, Answer(V, np.zeros((SCORE_ROWS, CONTEXT)), logits))
