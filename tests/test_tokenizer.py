"""The tokenizer: fixed ids, exact bytes, nested sizes."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, pre_tokenizers

from mlx_autoresearch.tokens import tokenizer as tokenizer_module
from mlx_autoresearch.tokens.tokenizer import (
    SEPARATOR,
    SEPARATOR_ID,
    byte_alphabet,
    open_tokenizer,
    smaller_tokenizer,
    token_byte_lengths,
    token_bytes,
    train_tokenizer,
    undo_merges,
)

TEXT = "the little girl's dog don\u2019t ran over a 1234.50 $5 Übermut 日本語 naïve 🎉🎉 !!! (ok)"
WORDS = [*TEXT.split(), "\t", "", "\n\n", "end."]


def write_documents(count: int) -> list[str]:
    draw = random.Random(0)
    return [" ".join(draw.choices(WORDS, k=60)) + "x" * draw.randrange(8) for _ in range(count)]


@pytest.fixture(scope="module")
def documents() -> list[str]:
    return write_documents(400)


@pytest.fixture(scope="module")
def tokenizer(documents: list[str]) -> Tokenizer:
    return train_tokenizer(documents, 390)


STRANGE = [
    "",
    " ",
    "\n\n\n",
    "a\tb  c   d",
    f"before{SEPARATOR}after",
    "\x00\x01\x7f",
    "e\u0301 ﷽ \U0010ffff \ud7ff",
    "1234567890",
    "\u2028\u00a0\u0085",
]


def test_alphabet_is_the_library_s() -> None:
    assert sorted(byte_alphabet()) == sorted(pre_tokenizers.ByteLevel.alphabet())


def test_ids_are_fixed(tokenizer: Tokenizer) -> None:
    raw = token_bytes(tokenizer)
    assert tokenizer.token_to_id(SEPARATOR) == SEPARATOR_ID
    assert raw[:256] == [b"", *(bytes([byte]) for byte in range(255))]
    assert len(raw) == tokenizer.get_vocab_size() == 390
    assert all(len(token) >= 2 for token in raw[256:])
    assert len(set(raw)) == len(raw)


@pytest.mark.parametrize("vocab_size", [256, 300, 390])
def test_tokens_are_exactly_the_text(tokenizer: Tokenizer, documents: list[str], vocab_size: int) -> None:
    smaller = smaller_tokenizer(tokenizer, vocab_size)
    raw, lengths = token_bytes(smaller), token_byte_lengths(smaller, 512)
    assert lengths.dtype == np.int32 and lengths.shape == (512,)
    assert lengths[SEPARATOR_ID] == 0 and not lengths[vocab_size:].any()
    for text in documents[:20] + STRANGE:
        ids = smaller.encode(text, add_special_tokens=False).ids
        assert b"".join(raw[index] for index in ids) == text.encode()
        assert lengths[ids].sum() == len(text.encode())
        assert smaller.decode(ids) == text


def test_256_is_raw_bytes(tokenizer: Tokenizer) -> None:
    text = "Übermut 🎉"
    assert smaller_tokenizer(tokenizer, 256).encode(text).ids == [byte + 1 for byte in text.encode()]


def test_separator_in_a_document_is_ordinary_text(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(str(tmp_path / "t.json"))
    for each in (tokenizer, open_tokenizer(tmp_path / "t.json")):
        assert SEPARATOR_ID not in each.encode(SEPARATOR).ids


def test_training_is_deterministic(tokenizer: Tokenizer, documents: list[str]) -> None:
    assert train_tokenizer(iter(documents), 390).to_str() == tokenizer.to_str()


@pytest.mark.parametrize("vocab_size", [256, 257, 300, 380])
def test_smaller_is_the_same_as_trained_directly(tokenizer: Tokenizer, documents: list[str], vocab_size: int) -> None:
    assert smaller_tokenizer(tokenizer, vocab_size).to_str() == train_tokenizer(documents, vocab_size).to_str()


@pytest.mark.parametrize("vocab_size", [256, 257, 300, 380, 389])
def test_undoing_merges_is_the_same_as_encoding(tokenizer: Tokenizer, documents: list[str], vocab_size: int) -> None:
    smaller, parts = smaller_tokenizer(tokenizer, vocab_size), undo_merges(tokenizer, vocab_size)
    for text in write_documents(30) + STRANGE + ["xxxxxxxxxxx aaaaaaa 🎉🎉🎉🎉🎉"]:
        undone = [part for token in tokenizer.encode(text).ids for part in parts[token]]
        assert undone == smaller.encode(text).ids


def test_second_way_to_make_a_token_is_left_out() -> None:
    merges = [("a", "b"), ("b", "c"), ("ab", "c"), ("a", "bc"), ("abc", "d")]
    tokenizer = tokenizer_module._build(merges, 300)
    assert token_bytes(tokenizer)[256:] == [b"ab", b"bc", b"abc", b"abcd"]
    assert undo_merges(tokenizer, 258)[259] == [256, 100, 101]


def test_tiny_corpus_gives_fewer_ids() -> None:
    tokenizer = train_tokenizer(["abab"], 4096)
    assert token_bytes(tokenizer)[256:] == [b"ab"]
    assert token_byte_lengths(tokenizer, 4096).sum() == 255 + 2


def test_real_text(samples: Path) -> None:
    table = pytest.importorskip("pyarrow.parquet").read_table(samples / "tinystories_sample.parquet")
    stories = table["text"].to_pylist()
    tokenizer = train_tokenizer(stories[:300], 2048)
    smaller, parts = smaller_tokenizer(tokenizer, 1024), undo_merges(tokenizer, 1024)
    lengths = token_byte_lengths(tokenizer, 2048)
    for story in stories[300:500]:
        ids = tokenizer.encode(story).ids
        assert lengths[ids].sum() == len(story.encode())
        assert [part for token in ids for part in parts[token]] == smaller.encode(story).ids
