"""Token streams on disk: separators, document starts, narrower vocabularies, nothing half-written."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from mlx_autoresearch.tokens import shards
from mlx_autoresearch.tokens.tokenizer import SEPARATOR, smaller_tokenizer, train_tokenizer


@pytest.fixture(scope="module")
def documents() -> list[str]:
    draw = random.Random(1)
    words = ["sun", "moon", "Ünder", "🎉", "12.50", SEPARATOR, "the the", "x\n\ny"]
    return [" ".join(draw.choices(words, k=draw.randrange(1, 80))) for _ in range(200)]


@pytest.fixture(scope="module")
def tokenizer(documents: list[str]) -> Tokenizer:
    return train_tokenizer(documents, 300)


def expected(documents: list[str], tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    tokens: list[int] = []
    starts = []
    for document in documents:
        starts.append(len(tokens))
        tokens += [0, *tokenizer.encode(document).ids]
    return tokens, starts


def test_encoded_stream(
    documents: list[str], tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "PIECE_BYTES", 1000)  # many pieces
    done: list[int] = []
    count = shards.write_encoded(iter(documents), tokenizer, tmp_path, 300, done.append)
    tokens, starts = expected(documents, tokenizer)
    stream = shards.open_tokens(tmp_path, 300)
    assert stream.dtype == np.uint16 and stream.tolist() == tokens and count == len(tokens)
    opened = shards.open_document_starts(tmp_path, 300)
    assert opened.dtype == np.int64 and opened.tolist() == starts
    assert len(done) > 5 and sum(done) == sum(len(document.encode()) for document in documents)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["documents-300.npy", "tokens-300.bin"]


@pytest.mark.parametrize("narrower", [256, 280])
def test_narrower_stream_is_the_encoded_one(
    documents: list[str], tokenizer: Tokenizer, tmp_path: Path, narrower: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "PIECE_TOKENS", 777)
    shards.write_encoded(documents, tokenizer, tmp_path, 300, lambda _: None)
    count = shards.write_narrower(tokenizer, tmp_path, 300, narrower, lambda _: None)
    tokens, starts = expected(documents, smaller_tokenizer(tokenizer, narrower))
    assert shards.open_tokens(tmp_path, narrower).tolist() == tokens and count == len(tokens)
    assert shards.open_document_starts(tmp_path, narrower).tolist() == starts


def test_interrupted_writing_leaves_nothing(documents: list[str], tokenizer: Tokenizer, tmp_path: Path) -> None:
    def interrupted() -> Iterator[str]:
        yield from documents
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shards.write_encoded(interrupted(), tokenizer, tmp_path, 300, lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_counting_is_exact_and_notices_foreign_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "PIECE_TOKENS", 3)
    counts = shards.count_tokens(np.array([0, 5, 5, 1, 9, 0, 5], np.uint16), 6)
    assert counts.tolist() == [2, 1, 0, 0, 0, 3, 0, 0, 0, 1]
