"""Token streams on disk: one flat file of uint16 per vocabulary, and the index at which each document starts.

Notable: a stream is written piece by piece and read through a memory map, so memory doesn't grow with it. Only the
stream of the largest vocabulary is encoded from text; `write_narrower` turns it into the others by table look-up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from tokenizers import Tokenizer

from mlx_autoresearch.files import written_atomically
from mlx_autoresearch.tokens.tokenizer import SEPARATOR_ID, undo_merges

TOKEN_TYPE = np.dtype("<u2")

PIECE_BYTES = 1 << 20
"""Text encoded at a time: enough documents to keep every core busy, small enough to report progress twice a second."""

PIECE_TOKENS = 1 << 20
"""Tokens converted or counted at a time (8 MB for each int64 array that this takes)."""


def tokens_path(folder: Path, vocab_size: int) -> Path:
    """The token file of a split's folder."""
    return folder / f"tokens-{vocab_size}.bin"


def documents_path(folder: Path, vocab_size: int) -> Path:
    """The file of document starts of a split's folder."""
    return folder / f"documents-{vocab_size}.npy"


class StreamWriter:
    """Appends tokens to an open file and keeps where documents start. `tokens` counts what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._starts = [np.empty(0, np.int64)]
        self.tokens = 0

    def append(self, tokens: np.ndarray) -> None:
        """Append uint16 `tokens` (N,). A document starts at every separator, and nowhere else."""
        self._starts.append(np.flatnonzero(tokens == SEPARATOR_ID) + self.tokens)
        self._file.write(tokens.astype(TOKEN_TYPE, copy=False).tobytes())
        self.tokens += len(tokens)

    def document_starts(self) -> np.ndarray:
        """Index of each separator so far, int64 (documents,)."""
        return np.concatenate(self._starts).astype(np.int64)


@contextmanager
def stream_written(folder: Path, vocab_size: int) -> Iterator[StreamWriter]:
    """Yield a writer; when the block ends well its stream and document starts are in `folder`, otherwise nothing is."""
    with written_atomically(tokens_path(folder, vocab_size)) as temporary, temporary.open("wb") as file:
        stream = StreamWriter(file)
        yield stream
    with written_atomically(documents_path(folder, vocab_size)) as temporary, temporary.open("wb") as file:
        np.save(file, stream.document_starts())


def write_encoded(
    documents: Iterable[str], tokenizer: Tokenizer, folder: Path, vocab_size: int, advance: Callable[[int], object]
) -> int:
    """Encode `documents`, each after a separator, into `folder`'s stream of `vocab_size`.

    `advance` is told the UTF-8 bytes done after every piece. Returns the number of tokens.
    """
    with stream_written(folder, vocab_size) as stream:
        for texts, size in _pieces(documents):
            tokens: list[int] = []
            for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
                tokens.append(SEPARATOR_ID)
                tokens += encoding.ids
            stream.append(np.array(tokens, TOKEN_TYPE))
            advance(size)
    return stream.tokens


def write_narrower(
    tokenizer: Tokenizer, folder: Path, vocab_size: int, narrower: int, advance: Callable[[int], object]
) -> int:
    """Turn `folder`'s stream of `tokenizer` and `vocab_size` into the one of a `narrower` vocabulary, without text.

    `advance` is told the tokens read after every piece. Returns the number of tokens written.
    """
    parts = undo_merges(tokenizer, narrower)
    lengths = np.array([len(part) for part in parts])
    offsets = np.cumsum(lengths) - lengths
    flat = np.concatenate(parts).astype(TOKEN_TYPE)
    with stream_written(folder, narrower) as stream:
        for tokens in in_pieces(open_tokens(folder, vocab_size)):
            length = lengths[tokens]
            end = np.cumsum(length)
            # Position i of the result reads flat[offset of its token + (i - where that token's parts begin)].
            stream.append(flat[np.repeat(offsets[tokens] - (end - length), length) + np.arange(end[-1])])
            advance(len(tokens))
    return stream.tokens


def open_tokens(folder: Path, vocab_size: int) -> np.memmap:
    """The token stream as a read-only memory map, uint16 (N,)."""
    return np.memmap(tokens_path(folder, vocab_size), TOKEN_TYPE, mode="r")


def open_document_starts(folder: Path, vocab_size: int) -> np.ndarray:
    """Index of each document's separator in the stream, int64 (documents,), ascending."""
    return np.load(documents_path(folder, vocab_size))


def in_pieces(tokens: np.ndarray) -> Iterator[np.ndarray]:
    """Consecutive pieces of at most `PIECE_TOKENS`."""
    for start in range(0, len(tokens), PIECE_TOKENS):
        yield tokens[start : start + PIECE_TOKENS]


def count_tokens(tokens: np.ndarray, vocab_size: int) -> np.ndarray:
    """How often each id occurs: int64 (vocab_size,); longer if the stream holds an id outside of the vocabulary."""
    counts = np.zeros(vocab_size, np.int64)
    for piece in in_pieces(tokens):
        found = np.bincount(piece, minlength=vocab_size)
        if len(found) > len(counts):
            counts = np.pad(counts, (0, len(found) - len(counts)))
        counts[: len(found)] += found
    return counts


def _pieces(documents: Iterable[str]) -> Iterator[tuple[list[str], int]]:
    """Group documents to about `PIECE_BYTES`, with their UTF-8 bytes."""
    texts, size = [], 0
    for text in documents:
        texts.append(text)
        size += len(text.encode())
        if size >= PIECE_BYTES:
            yield texts, size
            texts, size = [], 0
    if texts:
        yield texts, size
