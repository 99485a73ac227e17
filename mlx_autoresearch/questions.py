"""What passes between the judge and a process that runs a hand-in's graph: files of plain numbers in a folder.

    rows-<V>.bin    uint16 (rows, CONTEXT + 1), for every vocabulary that the graph may turn out to have
    asked-<V>.bin   int32 (rows,), optional: the position of each row whose logits are wanted
    nats.bin        float32 (rows, CONTEXT): the answer, the cross-entropy of every next token
    logits.bin      float32 (rows, V): the answer to asked-<V>.bin

The answer was written beside code that nobody trusts, so it is read as numbers of the expected count or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlx_autoresearch.files import open_plain
from mlx_autoresearch.settings import CONTEXT

ROW_TYPE, ASKED_TYPE, ANSWER_TYPE = np.dtype("<u2"), np.dtype("<i4"), np.dtype("<f4")
NATS, LOGITS = "nats.bin", "logits.bin"


@dataclass(frozen=True)
class Question:
    """What a graph is asked, for every vocabulary that it may turn out to have.

    Attributes:
        rows: (N, CONTEXT + 1) tokens by vocabulary; N differs among vocabularies.
        asked: (N,) positions whose logits are wanted, by vocabulary; None where none are.
    """

    rows: Mapping[int, np.ndarray]
    asked: Mapping[int, np.ndarray] | None = None


@dataclass(frozen=True)
class Answer:
    """What a graph says about rows.

    Attributes:
        vocab_size: V, the size of its vocabulary.
        nats: float32 (rows, CONTEXT), cross-entropy of the token that follows each position.
        logits: float32 (rows, V) at the positions asked for; None where none were.
    """

    vocab_size: int
    nats: np.ndarray
    logits: np.ndarray | None = None


def write_question(folder: Path, question: Question) -> None:
    """Write a question into `folder`."""
    for vocab_size, tokens in question.rows.items():
        _rows_file(folder, vocab_size).write_bytes(tokens.astype(ROW_TYPE).tobytes())
    for vocab_size, positions in (question.asked or {}).items():
        _asked_file(folder, vocab_size).write_bytes(positions.astype(ASKED_TYPE).tobytes())


def read_question(folder: Path, vocab_size: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows of a vocabulary, int32 (rows, CONTEXT + 1), and the positions asked for, int32 (rows,) or None."""
    rows = np.fromfile(_rows_file(folder, vocab_size), ROW_TYPE).reshape(-1, CONTEXT + 1)
    asked = _asked_file(folder, vocab_size)
    return rows.astype(np.int32), np.fromfile(asked, ASKED_TYPE) if asked.exists() else None


def write_answer(folder: Path, answer: Answer) -> None:
    """Write what a graph said."""
    (folder / NATS).write_bytes(answer.nats.astype(ANSWER_TYPE).tobytes())
    if answer.logits is not None:
        (folder / LOGITS).write_bytes(answer.logits.astype(ANSWER_TYPE).tobytes())


def read_answer(folder: Path, rows: int, vocab_size: int, asked: bool) -> Answer:
    """What a graph said about `rows` rows.

    Raises:
        OSError: there is no such answer.
        ValueError: it holds more or fewer numbers than were asked for.
    """
    logits = _read_numbers(folder / LOGITS, rows, vocab_size) if asked else None
    return Answer(vocab_size, _read_numbers(folder / NATS, rows, CONTEXT), logits)


def _rows_file(folder: Path, vocab_size: int) -> Path:
    return folder / f"rows-{vocab_size}.bin"


def _asked_file(folder: Path, vocab_size: int) -> Path:
    return folder / f"asked-{vocab_size}.bin"


def _read_numbers(path: Path, rows: int, columns: int) -> np.ndarray:
    size = rows * columns * ANSWER_TYPE.itemsize
    with open_plain(path) as file:
        content = file.read(size + 1)
    if len(content) != size:
        raise ValueError(f"{path.name} does not hold {rows} x {columns} numbers")
    return np.frombuffer(content, ANSWER_TYPE).reshape(rows, columns)
