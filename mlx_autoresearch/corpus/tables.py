"""The rows of a person's own table (csv, tsv, jsonl, parquet) as a `Source`: one document a row, the target at its end.

The table is read to know its columns (`survey`) and then streamed, as text is; it is never held. How a row is
written is in rows.py. A row's features decide its split, so the same features are never both trained on and asked
about, whatever their targets are.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from mlx_autoresearch.corpus import Source, file_identity, folder_safe
from mlx_autoresearch.corpus.local_files import (
    CSV,
    JSONL,
    PARQUET,
    READER_VERSION,
    csv_table,
    format_of,
    jsonl_rows,
    list_files,
    listed,
    opened_parquet,
)
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.rows import (
    LABEL,
    LABEL_VALUES,
    NUMBER,
    TEXT,
    Column,
    Schema,
    as_number,
    features_of,
    tidy,
)
from mlx_autoresearch.splits import LONG_DOCUMENT

ROWS_VERSION = 1
"""Part of a dataset's identity; raised whenever the same table would give other documents than before."""

DEFAULT_MAX_CHARS = 2_000
"""Far more than a model sees at once; it keeps rows with whole books in them in one piece."""

UNNAMED = ("", "Unnamed: 0", "__index_level_0__")
"""Names that programs give to a column of row numbers that nobody named."""

LABEL_NUMBERS = 10
"""A target of whole numbers with at most so many different values is a label: 0 and 1, or one to five stars."""

LISTED_VALUES, LISTED_CHARACTERS = 30, 60
"""Values of a column are kept in the schema when there are at most so many, none longer than this."""


@dataclass(frozen=True)
class RowsOptions:
    """What a person may choose about rows.

    Attributes:
        columns: the columns to use, in this order; None for all of them, as in the file.
        target: the column to ask for; None for the last one.
        target_kind: NUMBER or LABEL; None to go by the values.
        max_chars: longer values keep their last characters, as many as this.
    """

    columns: tuple[str, ...] | None = None
    target: str | None = None
    target_kind: str | None = None
    max_chars: int = DEFAULT_MAX_CHARS


def open_table(path: str, options: RowsOptions) -> Source:
    """Open a table for training on its rows. Several files must have the same columns.

    Args:
        path: a file, a folder, or a glob pattern.
        options: which columns, and what is asked for.

    Raises:
        AutoresearchError: no table there, no such column, or nothing to learn from.
    """
    files = list_files(path)
    with Console(stderr=True).status(f"Reading {path} ..."):
        schema = survey(files, options)
        identity = {
            "kind": "rows",
            "files": [file_identity(file) for file in files],
            "rows": asdict(schema),
            "reader": [READER_VERSION, ROWS_VERSION],
        }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return Source(
        name=f"{folder_safe(path)}-rows-{digest[:8]}",
        identity=identity,
        documents=partial(row_documents, files, schema),
        text_bytes=None,
        split_key=features_of,
    )


def split_names(text: str) -> tuple[str, ...]:
    """Column names from `--columns`: apart by commas; a name with a comma in it stands in double quotes."""
    return tuple(name.strip() for name in next(csv.reader([text], skipinitialspace=True), []))


def row_documents(files: list[Path], schema: Schema) -> Iterator[str]:
    """One document for each row that has a target and at least one feature.

    Raises:
        AutoresearchError: a file can't be read, or a row is too long to stay in one piece.
    """
    names = [*(column.name for column in schema.columns), schema.target.name]
    for number, row in enumerate(_rows(files), 1):
        values = {name: value for name in names if (value := tidy(row.get(name, ""), schema.max_chars))}
        if _is_usable(values, schema.target.name):
            document = schema.document(values)
            if len(document) > LONG_DOCUMENT:
                raise AutoresearchError(
                    f"{listed(map(str, files))}, row {number} has {len(document):,} characters, more than "
                    f"{LONG_DOCUMENT:,}: choose fewer columns with --columns, or lower --max-chars."
                )
            yield document


def survey(files: list[Path], options: RowsOptions) -> Schema:
    """Read the whole table and settle its columns, their kinds, and the target.

    Raises:
        AutoresearchError: see `open_table`.
    """
    if options.max_chars < 1:
        raise AutoresearchError(f"--max-chars must be 1 or more, not {options.max_chars}.")
    names = column_names(files)
    found = {name: _Values() for name in names}
    for row in _rows(files):
        for name, values in found.items():
            values.add(row.get(name), options.max_chars)
    rows = next(iter(found.values())).rows
    dropped = {} if options.columns else _row_numbers(found, options.target)
    chosen = _chosen(names, dropped, options, files)
    target = options.target or chosen[-1]
    features = [name for name in chosen if name != target]
    where = listed(map(str, files))
    if not features:
        raise AutoresearchError(
            f"{where} has one column to use, {target!r}; rows need a target and at least one more. "
            "For text alone leave out --rows."
        )
    unusable = sum(not _is_usable(row, target, features) for row in _rows(files))
    if rows == unusable:
        raise AutoresearchError(f"{where} has no row with a value in {target!r} and in another column.")
    return Schema(
        columns=tuple(found[name].column(name) for name in features),
        target=_target(target, found[target], options.target_kind),
        rows=rows,
        unusable=unusable,
        dropped=dropped,
        max_chars=options.max_chars,
        shortened=sum(found[name].shortened for name in chosen),
    )


def column_names(files: list[Path]) -> list[str]:
    """The columns of all `files` in the order of the first; blanks around a name are dropped.

    Raises:
        AutoresearchError: a file is no table, has a name twice, or has other columns than the first.
    """
    first: list[str] = []
    for file in files:
        names = _names_of(file)
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise AutoresearchError(
                f"{file} has several columns named {listed(sorted(map(repr, twice)))}. Rename them."
            )
        if first and set(names) != set(first):
            odd = listed(sorted(map(repr, set(names) ^ set(first))))
            raise AutoresearchError(
                f"{file} and {files[0]} differ in the columns {odd}. Prepare files with different columns separately."
            )
        first = first or names
    if not first:
        raise AutoresearchError(f"{listed(map(str, files))}: there are no columns.")
    return first


@dataclass
class _Values:
    """What is learned of a column while the table streams by."""

    rows: int = 0
    missing: int = 0
    shortened: int = 0
    longest: int = 0
    are_numbers: bool = True
    are_whole: bool = True
    step_by_one: bool = True
    different: set[str] = field(default_factory=set)
    previous: float | None = None

    def add(self, raw: str | None, max_chars: int) -> None:
        self.rows += 1
        if raw is None:
            self.missing += 1
            self.step_by_one = False
            return
        value = tidy(raw, max_chars)
        self.shortened += len(raw) > max_chars and len(tidy(raw, len(raw))) > max_chars
        if len(self.different) <= LABEL_VALUES:
            self.longest = max(self.longest, len(value))
            self.different.add(value)
        if not self.are_numbers:
            return
        number = as_number(value)
        self.are_numbers = number is not None
        self.are_whole = self.are_whole and number is not None and number.is_integer()
        self.step_by_one = self.step_by_one and number is not None and self.previous in (None, number - 1)
        self.previous = number

    @property
    def count_rows(self) -> bool:
        return self.are_numbers and self.step_by_one and self.rows > 1

    def column(self, name: str) -> Column:
        kind = NUMBER if self.are_numbers else LABEL if len(self.different) <= LABEL_VALUES else TEXT
        few = len(self.different) <= LISTED_VALUES and self.longest <= LISTED_CHARACTERS
        return Column(name, kind, self.missing, tuple(sorted(self.different)) if few else ())


def _target(name: str, values: _Values, wanted: str | None) -> Column:
    """The target as a NUMBER, where an error can be small, or a LABEL, which is right or wrong."""
    column = values.column(name)
    if wanted == NUMBER and not values.are_numbers:
        raise AutoresearchError(f"--target-kind number: not all values of {name!r} are numbers.")
    few = values.are_whole and len(values.different) <= LABEL_NUMBERS
    kind = wanted or (NUMBER if values.are_numbers and not few else LABEL)
    return Column(name, kind, column.missing, column.values)


def _row_numbers(found: Mapping[str, _Values], target: str | None) -> dict[str, str]:
    """Columns that only number the rows: in a sorted table they would tell the answer, elsewhere nothing."""
    names = list(found)
    reasons = {name: "it counts the rows" for name, values in found.items() if values.count_rows}
    if names[0] in UNNAMED:
        reasons[names[0]] = "it has no name, so it numbers the rows"
    return {name: reason for name, reason in reasons.items() if name != (target or names[-1])}


def _chosen(names: list[str], dropped: Mapping[str, str], options: RowsOptions, files: list[Path]) -> list[str]:
    """The columns in use, the target among them."""
    target = () if options.target is None else (options.target,)
    for option, asked in (("--columns", options.columns or ()), ("--target", target)):
        unknown = [name for name in asked if name not in names]
        if unknown:
            raise AutoresearchError(
                f"{option}: {listed(map(str, files))} has no column {listed(map(repr, unknown))}. "
                f"There are {listed(filter(None, names))}."
            )
    chosen = list(dict.fromkeys(options.columns or [name for name in names if name not in dropped]))
    return chosen if options.target is None or options.target in chosen else [*chosen, options.target]


def _is_usable(row: Mapping[str, str], target: str, features: Iterable[str] | None = None) -> bool:
    return target in row and any(name in row for name in (row if features is None else features) if name != target)


# ---------------------------------------------------------------------------------------------- reading


def _rows(files: list[Path]) -> Iterator[dict[str, str]]:
    """Every row as its values by column name, without the missing ones: empty, blank, null and not-a-number."""
    for file in files:
        for row in _readers()[format_of(file)](file):
            yield {name.strip(): value for name, value in row if value is not None and not value.isspace() and value}


def _names_of(file: Path) -> list[str]:
    kind = format_of(file)
    if kind == CSV:
        names: Iterable[str] = csv_table(file)[0]
    elif kind == PARQUET:
        with opened_parquet(file) as parquet:
            names = parquet.schema_arrow.names
    elif kind == JSONL:
        names = dict.fromkeys(name for row in _json_rows(file) for name, _ in row)
    else:
        raise AutoresearchError(f"{file} has no columns; --rows needs a csv, tsv, jsonl or parquet file.")
    return [name.strip() for name in names]


def _csv_rows(path: Path) -> Iterator[Iterable[tuple[str, str]]]:
    header, rows = csv_table(path)
    return (zip(header, row, strict=True) for row in rows)


def _json_rows(path: Path) -> Iterator[Iterable[tuple[str, str | None]]]:
    """Numbers stay as they are written."""
    parse = partial(json.loads, parse_int=str, parse_float=str, parse_constant=lambda _: None)
    for number, row in jsonl_rows(path, parse):
        if not isinstance(row, dict):
            raise AutoresearchError(f"{path}, line {number}: --rows needs an object with named fields on every line.")
        yield [(name, _json_text(value)) for name, value in row.items()]


def _json_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _parquet_rows(path: Path) -> Iterator[Iterable[tuple[str, str | None]]]:
    with opened_parquet(path) as file:
        for batch in file.iter_batches(batch_size=1024):
            texts = [_arrow_texts(column) for column in batch.columns]
            yield from ([*zip(batch.schema.names, row, strict=True)] for row in zip(*texts, strict=True))


def _arrow_texts(column: Any) -> list[str | None]:
    import pyarrow

    try:
        texts = column.cast(pyarrow.string()).to_pylist()
    except (pyarrow.ArrowNotImplementedError, pyarrow.ArrowTypeError):  # lists and structs have no text of their own
        return [None if value is None else json.dumps(value, default=str) for value in column.to_pylist()]
    is_float = pyarrow.types.is_floating(column.type)
    return [None if is_float and text == "nan" else text for text in texts]


def _readers() -> dict[str, Callable[[Path], Iterator[Iterable[tuple[str, str | None]]]]]:
    return {CSV: _csv_rows, JSONL: _json_rows, PARQUET: _parquet_rows}
