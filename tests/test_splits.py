"""Cleaning and splitting: what is dropped, what is cut, and that only the text decides where it goes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mlx_autoresearch import splits
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.splits import Choice, choose_documents, clean_documents, copy_documents, survey_documents


def corpus(count: int, seed: int = 0) -> list[str]:
    """Different documents of about 500 bytes."""
    return [f"{index} of {seed}: " + "word " * 98 + "end" for index in range(count)]


def chosen(documents: list[str], most_train_bytes: float = 1e9) -> tuple[dict[str, list[str]], Choice]:
    cleaned = list(clean_documents(documents))
    choice = choose_documents(survey_documents(cleaned), most_train_bytes)
    return {split: [cleaned[index] for index in indices] for split, indices in choice.splits.items()}, choice


def test_cleaning() -> None:
    raw = ["  a\r\nb\rc \n", "", " \n\t", "nul\0l", "e\u0301 \ufb01", "half \ud800 pair"]
    assert list(clean_documents(raw)) == ["a\nb\nc", "null", "e\u0301 \ufb01", "half ? pair"]


def test_long_documents_are_cut_at_paragraphs_and_nothing_is_lost() -> None:
    paragraphs = [f"paragraph {number} " + "word " * 150 for number in range(100)]
    pieces = list(clean_documents(["\n\n".join(paragraphs)]))
    assert len(pieces) > 8 and all(len(piece) <= splits.PIECE_OF_LONG_DOCUMENT for piece in pieces)
    assert all(piece.startswith("paragraph") for piece in pieces)
    assert "".join(" ".join(pieces).split()) == "".join(" ".join(paragraphs).split())


def test_long_document_without_any_blank_is_cut_too() -> None:
    pieces = list(clean_documents(["x" * 100_001]))
    assert "".join(pieces) == "x" * 100_001 and max(map(len, pieces)) == splits.PIECE_OF_LONG_DOCUMENT


def test_splits_are_disjoint_and_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "HELD_OUT_MOST_BYTES", 2_000_000)  # the bound has a test of its own, below
    documents = corpus(20_000)
    found, choice = chosen(documents)
    assert choice.held_out_share == 0.02
    assert sorted(itertools.chain(*found.values())) == sorted(documents)
    for split in ("val", "test"):
        assert 0.015 < len(found[split]) / len(documents) < 0.025


def test_duplicates_are_dropped_before_the_split() -> None:
    documents = corpus(2000)
    found, choice = chosen(documents + [f" {document}\r\n" for document in documents[:700]])
    assert choice.duplicates == 700
    assert sorted(itertools.chain(*found.values())) == sorted(documents)


@pytest.mark.parametrize("count", [300, 1500, 5000])
def test_added_documents_never_move_others_into_held_out_text(count: int) -> None:
    before, choice = chosen(corpus(count))
    assert count > 4000 or choice.held_out_share > 0.02
    after, _ = chosen(corpus(20_000))
    assert set(corpus(count)) < set(corpus(20_000))
    held_out = set(after["val"] + after["test"])
    assert not held_out & set(before["train"])
    assert not set(before["val"]) & set(after["test"]) and not set(before["test"]) & set(after["val"])


def test_order_of_the_corpus_does_not_matter() -> None:
    documents = corpus(1000)
    found, _ = chosen(documents)
    turned, _ = chosen(documents[::-1])
    assert found == turned


def test_held_out_text_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "HELD_OUT_MOST_BYTES", 70_000)
    whole = corpus(20_000)
    found, _ = chosen(whole)
    for split in ("val", "test"):
        assert 68_000 < sum(len(document) for document in found[split]) <= 70_000
    assert len(found["train"]) > 0.95 * len(whole)


def test_train_is_bounded_evenly_over_the_corpus() -> None:
    documents = corpus(4000)
    found, _ = chosen(documents, 200_000)
    assert 198_000 < sum(len(document) for document in found["train"]) <= 200_000
    places = np.array([int(document.split()[0]) for document in found["train"]])
    assert 1700 < places.mean() < 2300 and places.std() > 1000


@pytest.mark.parametrize("documents", [[], ["one line"], ["same " * 100] * 5000, corpus(100)])
def test_too_little_text_is_a_sentence(documents: list[str]) -> None:
    with pytest.raises(AutoresearchError, match="at least 100 kB"):
        chosen(documents)


def test_tiny_train_is_a_sentence() -> None:
    with pytest.raises(AutoresearchError, match="train split"):
        chosen(corpus(1000), 1000)


def test_smallest_corpus_has_all_splits() -> None:
    for seed in range(10):
        found, _ = chosen(corpus(220, seed))
        assert all(len(documents) >= 8 for documents in found.values())


def test_a_corpus_that_changes_between_the_passes_is_noticed() -> None:
    documents = corpus(500)
    survey = survey_documents(documents)
    choice = choose_documents(survey, 1e9)
    seen: list[bytes] = []
    copy_documents(documents, survey, choice, lambda split, index, raw: seen.append(raw))
    assert len(seen) == 500
    for changed in (documents[:-1], [*documents, "more"], ["other", *documents[1:]]):
        with pytest.raises(AutoresearchError, match="changed"):
            copy_documents(changed, survey, choice, lambda split, index, raw: None)
