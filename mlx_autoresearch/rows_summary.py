"""What a person should know about a table that was prepared as rows, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mlx_autoresearch.dataset import Dataset
from mlx_autoresearch.rows import NUMBER, Schema
from mlx_autoresearch.settings import CONTEXT
from mlx_autoresearch.splits import SPLITS
from mlx_autoresearch.tokens.tokenizer import VOCAB_SIZES

BYTES = min(VOCAB_SIZES)
"""The vocabulary whose tokens are bytes: id 0 is the separator, id n the byte n - 1."""


def schema_of(manifest: dict) -> Schema | None:
    """The schema in a dataset's manifest, None when the dataset was not made of rows."""
    rows = manifest["source"].get("rows")
    return None if rows is None else Schema.from_json(rows)


def documents_of(dataset: Dataset, split: str) -> Iterator[str]:
    """The documents of "train", "val" or "test" as text, in their order."""
    tokens, starts = dataset.tokens(split, BYTES), dataset.document_starts(split, BYTES)
    for start, end in zip(starts, [*starts[1:], len(tokens)], strict=True):
        yield (tokens[start + 1 : end] - 1).astype(np.uint8).tobytes().decode()


def rows_summary(dataset: Dataset) -> list[str]:
    """What rows are made of, what was left out, and what may surprise.

    Raises:
        ValueError: the dataset was not made of rows.
    """
    schema = schema_of(dataset.manifest)
    if schema is None:
        raise ValueError(f"{dataset.name} was not made of rows")
    target = schema.target
    names = [column.name for column in schema.columns]
    judged = "a number, judged by its error" if target.kind == NUMBER else "a label, right or wrong"
    lines = [
        f"{schema.rows:,} rows, each with {_named(names)}; then the target {target.name!r}: {judged}.",
        "Values stand as in the table; numbers are not rewritten.",
    ]
    lines += [f"Column {name!r} is left out: {reason}." for name, reason in schema.dropped.items()]
    if schema.unusable:
        lines.append(f"{schema.unusable:,} rows without {target.name!r}, or with nothing else, are left out.")
    missing = {column.name: column.missing for column in schema.columns if column.missing}
    if missing:
        told = _named(f"{name} {count:,}" for name, count in missing.items())
        lines.append(f"Missing values are left out of their rows: {told}.")
    if schema.shortened:
        lines.append(f"{schema.shortened:,} values keep only their last {schema.max_chars:,} characters.")
    if same := dataset.manifest["corpus"]["same_key"]:
        lines.append(
            f"{same:,} rows have the same features as an earlier row and another {target.name!r}: "
            "no model can tell both. Rows with the same features are on the same side of the split."
        )
    return [*lines, _too_long(dataset)]


def _too_long(dataset: Dataset) -> str:
    """How many rows a model sees whole, by vocabulary."""
    shares = {}
    for size in VOCAB_SIZES:
        lengths = np.concatenate([_token_counts(dataset, split, size) for split in SPLITS])
        shares[size] = float((lengths > CONTEXT).mean())
    if not any(shares.values()):
        return f"Every row fits into the {CONTEXT} tokens that a model sees, with every vocabulary."
    told = ", ".join(f"{100 * share:.1f} % with a vocabulary of {size:,}" for size, share in shares.items() if share)
    return (
        f"Rows longer than the {CONTEXT} tokens that a model sees lose their beginning: {told}"
        f"{'' if all(shares.values()) else ', none with larger ones'}. --max-chars and --columns make rows shorter."
    )


def _token_counts(dataset: Dataset, split: str, size: int) -> np.ndarray:
    """Tokens of each document, its separator counted."""
    return np.diff(dataset.document_starts(split, size), append=len(dataset.tokens(split, size)))


def _named(names: Iterator[str] | Sequence[str], most: int = 20) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
