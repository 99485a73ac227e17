"""A table's row as one line of text, and back: `column: value; column: value; target: value`.

Notable: a value can hold anything, because what would break the line is escaped (`ESCAPES`) and restored when read.
Numbers stand as they are in the file. A missing value is left out together with its column's name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NUMBER, LABEL, TEXT = "number", "label", "text"
"""Kinds of columns: every value is a number; few different values; anything else."""

LABEL_VALUES = 255
"""Most different values of a label."""

ESCAPES = {"\\": "\\\\", "\n": "\\n", ";": "\\,", ":": "\\."}
"""What is written for characters that have a meaning in a row; the colon has one in names only."""

MEANINGS = {written[1]: character for character, written in ESCAPES.items()}

PLAIN_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its name in the file.
        kind: NUMBER, LABEL or TEXT.
        missing: rows without a value.
        values: all its values, sorted, where they are few and short; else empty.
    """

    name: str
    kind: str
    missing: int = 0
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Schema:
    """How the rows of one table are written.

    Attributes:
        columns: what a row tells, in its order.
        target: what is asked for, at its end. Its kind, NUMBER or LABEL, says how answers are judged.
        rows: rows of the table.
        unusable: rows that were left out, because the target is missing or all the rest is.
        dropped: columns that were left out unasked, each with the reason.
        max_chars: longer values keep their last characters, as many as this.
        shortened: values that were longer.
    """

    columns: tuple[Column, ...]
    target: Column
    rows: int
    unusable: int
    dropped: dict[str, str]
    max_chars: int
    shortened: int

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Schema:
        """The schema whose `dataclasses.asdict` became this JSON."""
        columns = tuple(_column(each) for each in value["columns"])
        return cls(**{**value, "columns": columns, "target": _column(value["target"])})

    def question(self, values: Mapping[str, str]) -> str:
        """The row up to its target's name, which the model goes on from; columns without a value are left out."""
        return "; ".join([*self._features(values), f"{_escaped_name(self.target.name)}:"])

    def document(self, values: Mapping[str, str]) -> str:
        """The whole row."""
        return f"{self.question(values)} {escaped(values[self.target.name])}"

    def _features(self, values: Mapping[str, str]) -> list[str]:
        present = (column.name for column in self.columns if column.name in values)
        return [f"{_escaped_name(name)}: {escaped(values[name])}" for name in present]


def read_document(document: str) -> dict[str, str]:
    """The values of a row by column, from `Schema.document`."""
    fields = (field.split(": ", 1) for field in document.split("; "))
    return {restored(name): restored(value) for name, value in fields}


def features_of(document: str) -> str:
    """A row's text without its target: rows with the same features must be on the same side of a split."""
    return document.rpartition("; ")[0]


def read_answer(text: str) -> str:
    """The target's value from what a model wrote after `Schema.question`."""
    return restored(text.split(";")[0].strip())


def tidy(value: str, max_chars: int) -> str:
    """A value as rows hold it: no blanks at its ends, no NUL, line ends as \\n, only its last characters if longer."""
    value = value.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "").strip()
    return value if len(value) <= max_chars else "…" + value[-max_chars:].strip()


def escaped(value: str) -> str:
    """A value without line ends and semicolons."""
    return value.replace("\\", ESCAPES["\\"]).replace("\n", ESCAPES["\n"]).replace(";", ESCAPES[";"])


def restored(text: str) -> str:
    """The value that `escaped` made this from."""
    return re.sub(r"\\(.)", lambda match: MEANINGS.get(match[1], match[0]), text)


def as_number(text: str) -> float | None:
    """The number that a text is as a whole, None when it is none; "nan", "inf", "1e999" and "1_000" are none."""
    number = float(text) if PLAIN_NUMBER.fullmatch(text) else math.inf
    return number if math.isfinite(number) else None


def _escaped_name(name: str) -> str:
    return escaped(name).replace(":", ESCAPES[":"])


def _column(value: Mapping[str, Any]) -> Column:
    return Column(**{**value, "values": tuple(value["values"])})
