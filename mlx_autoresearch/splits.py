"""From documents to train, val and test: cleaning, exact duplicates, and a split that only the text itself decides.

Notable:
- A document's place follows from its hash. Held-out regions lie at the two ends of the hash range, so adding documents
  to a corpus never moves one from train into val or test, or from val to test.
- A source may say that only a part of a document decides (the features of a table's row, without the answer): what has
  the same part is on the same side.
- One pass over the corpus keeps 20 bytes a document (54 MB for the 2.7 million of TinyStories, several times that for a
  moment while they are sorted); the text itself is read again in a second pass and never held.
- Unicode is not altered, so that bits per byte mean the same for everybody's text.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from mlx_autoresearch.errors import AutoresearchError

SPLITS = ("train", "val", "test")

HELD_OUT_SHARES = (0.02, 0.05, 0.1, 0.2)
"""Share of the hash range that val and test get each: the first that gives both `HELD_OUT_BYTES`, else the last.

Only corpora below about 3 MB need more than 2 %. One that grows past that line gives held-out documents back to train.
"""

HELD_OUT_BYTES = 64_000
"""Text that val and test should have at least: some sixty rows of CONTEXT tokens."""

HELD_OUT_MOST_BYTES = 160_000
"""Text that val and test have at most; what lies beyond in their regions is not used.

All models are scored on the same text, so only the sampling error of their difference matters. With a standard
deviation of 0.3 nats between two models' losses on a token, 40,000 tokens leave 0.0005 bits per byte, far below the
noise between seeds; and scoring takes 10 seconds even on two slow cores.
"""

SMALLEST_CORPUS_BYTES = 100_000
SMALLEST_SPLIT_BYTES = 4_000
"""Below these, a score says more about the few rows that happened to be held out than about a model."""

LONG_DOCUMENT = 32_000
PIECE_OF_LONG_DOCUMENT = 4_000
"""Characters. A longer document (a book in one field) is cut at paragraphs: else no split by document could be even."""

PIECE_ENDS = ("\n\n", "\n", " ")
"""Where a long document may be cut, best first."""


@dataclass(frozen=True)
class Survey:
    """What one pass over the cleaned documents (N) found.

    Attributes:
        hashes: BLAKE2b of the UTF-8 text, 128 bits as two uint64, (N, 2).
        lengths: UTF-8 bytes, uint32 (N,).
        places: where in the hash range each lies, which decides its split: uint64 (N,).
    """

    hashes: np.ndarray
    lengths: np.ndarray
    places: np.ndarray


@dataclass(frozen=True)
class Choice:
    """Which documents are used for what, as indices into the survey.

    Attributes:
        splits: for each split the documents' indices in the order of their hashes: any beginning is a fair sample.
        held_out_share: the one of HELD_OUT_SHARES that was taken.
        duplicates: documents dropped because the same text came before.
        same_key: documents that are not dropped and whose split key came before; they are on the side of the first.
    """

    splits: dict[str, np.ndarray]
    held_out_share: float
    duplicates: int
    same_key: int


def clean_documents(documents: Iterable[str]) -> Iterator[str]:
    """Documents with line ends as \\n, no NUL and no blanks at the ends; empty ones dropped, long ones cut.

    Half a surrogate pair, which is no character and has no UTF-8, becomes "?".
    """
    for text in documents:
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        text = text.replace("\0", "").encode("utf-8", "replace").decode().strip()
        if len(text) > LONG_DOCUMENT:
            yield from cut_document(text)
        elif text:
            yield text


def cut_document(text: str) -> Iterator[str]:
    """Pieces of at most `PIECE_OF_LONG_DOCUMENT` characters, each ending at the best place in its second half."""
    start = 0
    while start < len(text):
        stop = start + PIECE_OF_LONG_DOCUMENT
        if stop < len(text):
            half = start + PIECE_OF_LONG_DOCUMENT // 2
            places = (text.rfind(end, half, stop) for end in PIECE_ENDS)
            stop = next((place for place in places if place > 0), stop)
        piece = text[start:stop].strip()
        if piece:
            yield piece
        start = stop


def text_hash(raw: bytes) -> bytes:
    """The 16 bytes that stand for a document: equal for equal text, evenly spread."""
    return blake2b(raw, digest_size=16).digest()


def survey_documents(documents: Iterable[str], split_key: Callable[[str], str] | None = None) -> Survey:
    """Hash and measure every cleaned document; `split_key` as in `corpus.Source`."""
    hashes, keys, lengths = bytearray(), bytearray(), array("I")
    for text in documents:
        raw = text.encode()
        hashes += text_hash(raw)
        lengths.append(len(raw))
        if split_key is not None:
            keys += text_hash(split_key(text).encode())[:8]
    pairs = np.frombuffer(hashes, "<u8").reshape(-1, 2)
    places = pairs[:, 0] if split_key is None else np.frombuffer(keys, "<u8")
    return Survey(pairs, np.frombuffer(lengths, np.uint32), places)


def choose_documents(survey: Survey, most_train_bytes: float) -> Choice:
    """Drop duplicates, hold out val and test, and take at most `most_train_bytes` of the rest, all by hash.

    Raises:
        AutoresearchError: too little text for three splits that mean something.
    """
    fresh = _first_occurrences(survey.hashes)
    duplicates = len(fresh) - int(fresh.sum())
    total = int(survey.lengths[fresh].sum(dtype=np.int64))
    found = f"{total:,} bytes of text in {len(fresh) - duplicates:,} different documents"
    found += f" ({duplicates:,} duplicates dropped)" if duplicates else ""
    if total < SMALLEST_CORPUS_BYTES:
        raise AutoresearchError(
            f"the corpus holds {found}; training and scoring need at least {SMALLEST_CORPUS_BYTES / 1000:.0f} kB: "
            "add text, or try `python prepare.py --dataset stories`"
        )
    position, order = survey.places, survey.hashes[:, 1]
    for share in HELD_OUT_SHARES:
        border = np.uint64(share * 2**64)
        regions = {"val": fresh & (position < border), "test": fresh & (~position < border)}
        if min(survey.lengths[region].sum(dtype=np.int64) for region in regions.values()) >= HELD_OUT_BYTES:
            break
    train = fresh & ~regions["val"] & ~regions["test"]
    splits = {
        "train": _lowest(order, train, survey.lengths, most_train_bytes),
        "val": _lowest(position, regions["val"], survey.lengths, HELD_OUT_MOST_BYTES),
        "test": _lowest(~position, regions["test"], survey.lengths, HELD_OUT_MOST_BYTES),
    }
    for split, indices in splits.items():
        size = int(survey.lengths[indices].sum(dtype=np.int64))
        if size < SMALLEST_SPLIT_BYTES:
            raise AutoresearchError(
                f"the {split} split would hold {size:,} bytes of text, too few to mean something: the corpus holds "
                f"{found}; add text, cut it into more documents, or raise --max-train-mb if it is tiny"
            )
    same_key = int(fresh.sum()) - len(np.unique(position[fresh]))
    return Choice(splits, share, duplicates, same_key)


def first_bytes(indices: np.ndarray, lengths: np.ndarray, most_bytes: float) -> np.ndarray:
    """As many of `indices`, from the first on, as have at most `most_bytes` together."""
    return indices[: np.searchsorted(np.cumsum(lengths[indices], dtype=np.int64), most_bytes, side="right")]


def copy_documents(
    documents: Iterable[str], survey: Survey, choice: Choice, sink: Callable[[str, int, bytes], None]
) -> None:
    """Second pass: hand `sink(split, index, UTF-8 text)` every chosen document, in the order of the corpus.

    Raises:
        AutoresearchError: the corpus is not the one that was surveyed.
    """
    split_of = np.full(len(survey.lengths), len(SPLITS), np.uint8)
    for number, split in enumerate(SPLITS):
        split_of[choice.splits[split]] = number
    seen = 0
    for index, text in enumerate(documents):
        seen = index + 1
        if index >= len(split_of):
            break
        if split_of[index] < len(SPLITS):
            raw = text.encode()
            if text_hash(raw) != survey.hashes[index].tobytes():
                break
            sink(SPLITS[split_of[index]], index, raw)
    else:
        if seen == len(split_of):
            return
    raise AutoresearchError("the text changed while it was being read: leave the files alone and run prepare.py again")


def _first_occurrences(hashes: np.ndarray) -> np.ndarray:
    """bool (N,): True for the first of equal rows."""
    order = np.lexsort((hashes[:, 0], hashes[:, 1]))  # stable: equal rows stay in the order of the corpus
    ordered = hashes[order]
    first = np.ones(len(hashes), bool)
    first[order[1:]] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return first


def _lowest(keys: np.ndarray, candidates: np.ndarray, lengths: np.ndarray, most_bytes: float) -> np.ndarray:
    """Indices of the candidates with the lowest keys, in that order, up to `most_bytes` of text."""
    indices = np.flatnonzero(candidates)
    return first_bytes(indices[np.argsort(keys[indices], kind="stable")], lengths, most_bytes)
