"""The key-value cache: the same words as without it, for every edit of the catalogue; wrong caches are not used."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten, tree_unflatten

from benchmarks.training_file import load_training_file
from mlx_autoresearch.agents.structure import CATALOGUE
from mlx_autoresearch.continuation import open_reader
from mlx_autoresearch.exported_model import REMEMBERED_TEXTS, CachedReader, GraphReader
from mlx_autoresearch.handin import PIECE_LENGTHS, SCORE_ROWS, export_graph
from mlx_autoresearch.key_value_cache import CachedModel, KeyValueCache
from mlx_autoresearch.settings import CONTEXT

SMALL = {"DEPTH": 3, "WIDTH": 64, "HEAD_DIM": 32, "KV_HEADS": 2, "VOCAB_SIZE": 1024, "SEQUENCE_LENGTH": 64}
OF_THE_MODEL = CATALOGUE[: [each.name for each in CATALOGUE].index("key offset") + 1]
"""The edits of the model come first; the others are about its training."""

WITHOUT = ("smear", "key offset")
"""Edits by which a token's keys or embedding also come from the token before, which no key-value cache remembers."""


def awake_model(edits: list[tuple[str, str]] = (), **knobs: object) -> nn.Module:
    """A model of train_mlx.py none of whose weights are zero, so that every part shows in the logits."""
    mx.random.seed(3)
    model = load_training_file({**SMALL, **knobs}, edits=edits).build_model()
    weights = [
        (name, weight if mx.any(weight != 0).item() else mx.random.normal(weight.shape, key=mx.random.key(n)) * 0.1)
        for n, (name, weight) in enumerate(tree_flatten(model.parameters()))
    ]
    model.update(tree_unflatten([(name, weight * (300 if name.startswith("head") else 1)) for name, weight in weights]))
    model.eval()
    return model


def tokens_of(count: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(1, 256, size=count).tolist()


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"QUERIES_PER_KV": 2, "KV_HEADS": 1},
        {"WINDOW_PATTERN": "L", "VALUE_EMBEDDINGS": False},
        {"CHECKPOINT": True},
    ],
)
def test_pieces_say_what_the_whole_says(knobs: dict) -> None:
    model = awake_model(**knobs)
    tokens = mx.array([tokens_of(200)])
    cached = CachedModel.of(model)
    arrays, pieces, position = cached.arrays(), [], 0
    for length in (1, 64, 5, 1, 1, 100, 28):
        piece = tokens[:, position : position + length]
        logits, *arrays = cached(piece, mx.array(position, dtype=mx.int32), *arrays)
        pieces.append(logits)
        position += length
    expected = model(tokens)
    assert mx.abs(expected).max().item() > 0.5
    np.testing.assert_allclose(mx.concatenate(pieces, axis=1), expected, atol=1e-4)


@pytest.mark.parametrize("edit", OF_THE_MODEL, ids=lambda edit: edit.name)
def test_an_edit_keeps_the_cache_or_it_is_not_used(edit, tmp_path: Path) -> None:
    model = awake_model([*edit.replacements])
    export_graph(model, tmp_path / "model.mlxfn")
    reader, _ = open_reader(tmp_path / "model.mlxfn")
    assert (reader.cached is None) == (edit.name in WITHOUT)
    texts = [tokens_of(40, seed=1)]
    expected = GraphReader(reader.graph, SCORE_ROWS, CONTEXT).next_logits(texts)
    np.testing.assert_allclose(reader.next_logits(texts), expected, atol=1e-4)


class Counting:
    """A graph of pieces whose logits tell the sum of all tokens so far, and how often it was asked."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def __call__(self, *inputs: mx.array) -> list[mx.array]:
        if not inputs:
            return [mx.zeros((CONTEXT,), mx.int32)]
        tokens, offset, seen = inputs
        self.lengths.append(tokens.shape[1])
        seen = mx.slice_update(seen, tokens[0], offset[None], axes=(0,))
        sums = mx.cumsum(seen)[offset.item() : offset.item() + tokens.shape[1]]
        return [sums[None, :, None] * mx.ones((1, 1, 4)), seen]


def test_every_token_is_read_once() -> None:
    graph = Counting()
    reader = CachedReader(graph, CONTEXT, PIECE_LENGTHS)
    text = tokens_of(CONTEXT)
    assert reader.read(text[:40], 39)[0, 0].item() == sum(text[:40])
    assert graph.lengths == [32, 32]
    for count in range(41, CONTEXT + 1):
        assert reader.read(text[:count], count - 1)[0, 0].item() == sum(text[:count])
    assert graph.lengths == [32, 32] + [1] * (CONTEXT - 40)
    assert reader.read(text, CONTEXT - 1)[0, 0].item() == sum(text)  # asked again
    assert len(reader.readings) == 1


def test_texts_in_turn_share_their_beginning_and_do_not_disturb_each_other() -> None:
    graph = Counting()
    reader = CachedReader(graph, CONTEXT, PIECE_LENGTHS)
    common = tokens_of(60)
    texts = [[*common, *tokens_of(30, seed=seed)] for seed in range(1, REMEMBERED_TEXTS + 1)]
    for count in range(61, 91):
        for text in texts:
            assert reader.read(text[:count], count - 1)[0, 0].item() == sum(text[:count])
    assert sum(graph.lengths) < 64 + len(texts) * 30 + 32
    first, every = texts[0], reader.read(texts[0], 20)
    np.testing.assert_array_equal(every[:, 0], np.cumsum(first)[20:])
    for seed in range(20):
        reader.read(tokens_of(10, seed=100 + seed), 9)
    assert len(reader.readings) == REMEMBERED_TEXTS


def test_answers_that_are_drawn_to_one_question_may_be_the_same() -> None:
    """Then readings of equal tokens lie beside each other."""
    reader = CachedReader(Counting(), CONTEXT, PIECE_LENGTHS)
    question, rng = tokens_of(40), np.random.default_rng(0)
    texts = [list(question) for _ in range(20)]
    for _ in range(12):
        for text in texts:
            assert reader.read(text, len(text) - 1)[0, 0].item() == sum(text)
            text.append(int(rng.integers(1, 3)))
    assert len(reader.readings) == REMEMBERED_TEXTS


class Remembering(nn.Module):
    """A model with one attention that is called twice, as in a looped transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = None
        self.table = mx.random.normal((256, 32), key=mx.random.key(0))

    def attend(self, x: mx.array) -> mx.array:
        heads = x[:, None]
        if self.cache is not None:
            return self.cache.attention(heads, heads, heads)[:, 0]
        return mx.fast.scaled_dot_product_attention(heads, heads, heads, scale=32**-0.5, mask="causal")[:, 0]

    def __call__(self, tokens: mx.array) -> mx.array:
        x = self.table[tokens]
        return (x + self.attend(self.attend(x))) @ self.table.T


def reader_of(model: nn.Module, folder: Path) -> GraphReader:
    export_graph(model, folder / "model.mlxfn")
    return open_reader(folder / "model.mlxfn")[0]


def test_a_module_that_attends_twice_remembers_both(tmp_path: Path) -> None:
    model = Remembering()
    reader = reader_of(model, tmp_path)
    assert reader.cached is not None and len(reader.cached.graph()) == 4
    assert model.cache is None  # only while it was traced


def test_what_is_called_cache_and_is_something_else_is_left_alone(tmp_path: Path) -> None:
    class OwnCache(Remembering):
        def __init__(self) -> None:
            super().__init__()
            self.cache = {"mine": mx.ones((256,))}

        def attend(self, x: mx.array) -> mx.array:
            return x

        def __call__(self, tokens: mx.array) -> mx.array:
            return super().__call__(tokens) * self.cache["mine"]

    class Ignoring(Remembering):
        def attend(self, x: mx.array) -> mx.array:
            return mx.cumsum(x, axis=1)

    for model in (OwnCache(), Ignoring()):
        reader = reader_of(model, tmp_path)
        assert reader.cached is None and reader.lengths


def test_a_cache_that_is_wrong_or_breaks_is_not_used(tmp_path: Path) -> None:
    class Wrong(Remembering):
        def attend(self, x: mx.array) -> mx.array:
            return super().attend(x if self.cache is None else 2 * x)

    class Breaking(Remembering):
        def attend(self, x: mx.array) -> mx.array:
            if self.cache is not None and x.shape[1] > 1:
                raise RuntimeError("only one")
            return super().attend(x)

    for model in (Wrong(), Breaking()):
        reader = reader_of(model, tmp_path)
        assert reader.cached is None and reader.lengths
        logits = reader.next_logits([tokens_of(50)])[0]
        np.testing.assert_allclose(logits, model(mx.array([tokens_of(50)]))[0, -1], atol=1e-4)


def test_the_cache_hides_what_comes_later_and_what_is_too_far_back() -> None:
    heads = mx.random.normal((1, 2, 100, 8), key=mx.random.key(1))
    back = mx.arange(100)[:, None] - mx.arange(100)[None, :]
    for window in (CONTEXT, 10):
        expected = mx.fast.scaled_dot_product_attention(
            heads, heads, heads, scale=8**-0.5, mask=(back >= 0) & (back < window)
        )
        first = KeyValueCache(mx.array(0))
        first.attention(*[heads[:, :, :99]] * 3, window)
        dirty = [mx.where(mx.arange(CONTEXT)[:, None] > 98, 1e3, array) for array in first.later]
        second = KeyValueCache(mx.array(99), dirty)
        np.testing.assert_allclose(second.attention(*[heads[:, :, 99:]] * 3, window), expected[:, :, 99:], atol=1e-5)
