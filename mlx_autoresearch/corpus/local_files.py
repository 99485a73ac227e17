"""A person's own text as a stream of documents: txt, md, jsonl, csv, tsv (each also as .gz), and parquet.

Whatever the size of a file, memory stays bounded: text, jsonl and csv are read line by line, parquet in small batches
of the one column that holds the text. Anything that can't be read as text ends in a sentence that names file and line.

Where a txt or md file is cut into documents (it has no columns to say so), the first of these that occurs in it:

1. `<|endoftext|>` anywhere: exactly there.
2. Lines that hold only `---` or `***`: there.
3. Two or more blank lines in a row: there.
4. Otherwise single blank lines only separate paragraphs, too short to learn from one by one: paragraphs are collected
   and a document ends at the first blank line after `PARAGRAPHS_CHARACTERS`.

In 2 and 3 a section longer than `SECTION_CHARACTERS` is cut at its next blank line as well, so that a novel with few
marks still gives enough documents for a split. Text without any blank line is cut at line ends, text without line ends
anywhere.
"""

from __future__ import annotations

import codecs
import csv
import glob
import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mlx_autoresearch.errors import AutoresearchError

if TYPE_CHECKING:
    import pyarrow.parquet

READER_VERSION = 1
"""Part of a dataset's identity; raised whenever the same files would give other documents than before."""

TEXT, JSONL, CSV, PARQUET = "text", "jsonl", "csv", "parquet"
FORMATS = {
    ".txt": TEXT,
    ".md": TEXT,
    ".jsonl": JSONL,
    ".ndjson": JSONL,
    ".csv": CSV,
    ".tsv": CSV,
    ".parquet": PARQUET,
}
COMPRESSED = ".gz"

END_OF_TEXT = "<|endoftext|>"
RULES = ("---", "***")
PARAGRAPHS_CHARACTERS = 2_000
SECTION_CHARACTERS = 16_000
LONGEST_PIECE_BYTES = 1 << 16
"""A line of a txt file longer than this is handled in pieces: there are corpora that are one single line."""

LONGEST_FIELD_CHARACTERS = 1 << 26
"""A csv field longer than this is taken for a quote that is never closed."""

USUAL_NAMES = ("text", "story", "content", "body", "review", "document", "article", "comment", "message", "sentence")
"""Names of text columns, most telling first."""

SAMPLE_ROWS = 100


def list_files(path: str | Path) -> list[Path]:
    """The files behind a path: a file, all supported files below a folder, or what a glob pattern matches; sorted.

    Hidden and empty files are left out of folders and patterns.

    Raises:
        AutoresearchError: nothing there, nothing supported there, or a named file that is empty or not supported.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        files = [file for file in _files_below(path) if _format_or_none(file) is not None]
        return _not_empty(files, f"{path} has no files that can be read. Readable are {_readable_suffixes()}.")
    if path.is_file():
        format_of(path)
        return _not_empty([path], f"{path} is empty. Name a file that holds text.")
    if path.exists():
        raise AutoresearchError(f"{path} is neither a file nor a folder.")
    matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True) if os.path.isfile(match))
    if not matches:
        raise AutoresearchError(
            f"There is no file or folder {path}, and no file matches it as a pattern. "
            "Without a path there are tinystories and stories."
        )
    for match in matches:
        format_of(match)
    return _not_empty(matches, f"All files that match {path} are empty.")


def format_of(path: Path) -> str:
    """TEXT, JSONL, CSV or PARQUET, by the file's name.

    Raises:
        AutoresearchError: none of them.
    """
    found = _format_or_none(path)
    if found is None:
        raise AutoresearchError(f"{path} can't be read: its name must end in one of {_readable_suffixes()}.")
    return found


def resolve_column(files: list[Path], wanted: str | None) -> str | None:
    """Name of the column that holds the text in all `files`; None when none of them has columns.

    Without `wanted`: the only column of strings, else the first of `USUAL_NAMES` that there is.

    Raises:
        AutoresearchError: no such column, or no way to choose one; the sentence lists the columns.
    """
    tables = {file: columns for file in files if (columns := columns_of(file)) is not None}
    if not tables:
        if wanted is not None:
            raise AutoresearchError(f"{files[0]} has no columns: leave out --text-column.")
        return None
    chosen = wanted or _choose_column(*next(iter(tables.items())))
    for file, columns in tables.items():
        if chosen not in columns:
            raise AutoresearchError(
                f"{file} has no column {chosen!r}, only {listed(columns)}. Name another with --text-column, or "
                "prepare files with different columns separately."
            )
        if format_of(file) == PARQUET and not columns[chosen]:
            raise AutoresearchError(f"Column {chosen!r} of {file} holds no strings. {_advice(columns)}")
    return chosen


def read_documents(files: list[Path], text_column: str | None = None) -> Iterator[str]:
    """The documents of `files`, one after the other, each a non-blank string; blank ones and nulls are skipped.

    Args:
        files: as from `list_files`.
        text_column: name of the column with the text; None to let `resolve_column` choose.

    Raises:
        AutoresearchError: a file can't be read, or there is no text at all.
    """
    column = resolve_column(files, text_column)
    empty = True
    for file in files:
        for document in _readers()[format_of(file)](file, column):
            if document and not document.isspace():
                empty = False
                yield document
    if empty:
        raise AutoresearchError(f"There is no text in {listed(map(str, files))}.")


def text_bytes(files: list[Path], text_column: str | None) -> int | None:
    """About how many bytes of text `files` hold, from their sizes; None when compression leaves no good guess."""
    if any(file.suffix.lower() == COMPRESSED for file in files):
        return None
    return sum(
        _parquet_column_bytes(file, text_column) if format_of(file) == PARQUET else file.stat().st_size
        for file in files
    )


def columns_of(path: Path) -> dict[str, bool] | None:
    """Columns of a table in their order, each with whether it holds text; None for a file without columns.

    csv and jsonl are judged by their first rows: a csv column that holds only numbers there holds no text.
    """
    kind = format_of(path)
    if kind == PARQUET:
        with opened_parquet(path) as file:
            return {field.name: _is_text(field.type) for field in file.schema_arrow}
    if kind == CSV:
        header, rows = csv_table(path)
        sample = list(islice(rows, SAMPLE_ROWS))
        return {name: any(_is_prose(row[index]) for row in sample) for index, name in enumerate(header)}
    if kind == JSONL:
        columns: dict[str, bool] = {}
        for _, row in islice(jsonl_rows(path), SAMPLE_ROWS):
            for name, value in row.items() if isinstance(row, dict) else ():
                columns[name] = columns.get(name, False) or isinstance(value, str)
        return columns or None
    return None


# ---------------------------------------------------------------------------------------------- files and columns


def _files_below(folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(found)


def _not_empty(files: list[Path], otherwise: str) -> list[Path]:
    filled = [file for file in files if file.stat().st_size > 0]
    if not filled:
        raise AutoresearchError(otherwise)
    return filled


def _format_or_none(path: Path) -> str | None:
    if path.suffix.lower() != COMPRESSED:
        return FORMATS.get(path.suffix.lower())
    inner = FORMATS.get(Path(path.stem).suffix.lower())
    return None if inner == PARQUET else inner


def _readable_suffixes() -> str:
    return f"{', '.join(FORMATS)} (all but parquet also with {COMPRESSED})"


def _choose_column(path: Path, columns: dict[str, bool]) -> str:
    texts = [name for name, is_text in columns.items() if is_text]
    if len(texts) == 1:
        return texts[0]
    for usual in USUAL_NAMES:
        for name in texts:
            if name.lower() == usual:
                return name
    found = "several columns that may hold the text" if texts else "no column of text"
    raise AutoresearchError(f"{path} has {found}. {_advice(columns)}")


def _advice(columns: Iterable[str]) -> str:
    return f"Name the column with --text-column; there are {listed(columns)}."


def listed(names: Iterable[str]) -> str:
    names = list(names)
    shown = ", ".join(names[:20])
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"


# ---------------------------------------------------------------------------------------------- bytes and lines


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, unpacking .gz; whatever goes wrong while it is read becomes a sentence."""
    try:
        with gzip.open(path, "rb") if path.suffix.lower() == COMPRESSED else path.open("rb") as file:
            yield file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise AutoresearchError(f"{path} is not whole gzip data ({error}). Get or pack it again.") from None
    except OSError as error:
        raise AutoresearchError(f"{path} can't be read: {error.strerror or error}.") from None


def _lines(path: Path, longest: int = -1) -> Iterator[str]:
    """Lines with their ends, decoded from UTF-8 without byte order mark; longer ones in pieces of `longest` bytes."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    number, offset = 1, 0
    with _opened(path) as file:
        while True:
            piece = file.readline(longest)
            if offset == 0:
                _refuse_other_encodings(path, piece)
                piece = piece.removeprefix(codecs.BOM_UTF8)
            try:
                text = decoder.decode(piece, final=not piece)
            except UnicodeDecodeError:
                raise AutoresearchError(
                    f"{path}, line {number} (bytes {offset} to {offset + len(piece)}): not valid UTF-8. Convert the "
                    f"file, for instance with `iconv -f WINDOWS-1252 -t UTF-8`, or remove the line."
                ) from None
            if not piece:
                return
            yield text
            offset += len(piece)
            number += piece.endswith(b"\n")


def _refuse_other_encodings(path: Path, start: bytes) -> None:
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise AutoresearchError(f"{path} is UTF-16. Convert it with `iconv -f UTF-16 -t UTF-8 {path.name} > new-file`.")
    if b"\0" in start[:8192]:
        raise AutoresearchError(f"{path} is binary data, not text. Name a text file, or give it the suffix it needs.")


# ---------------------------------------------------------------------------------------------- txt and md


def _text_documents(path: Path, _: str | None) -> Iterator[str]:
    separator = _separator(path)
    lines = (line.replace("\r\n", "\n") for line in _lines(path, LONGEST_PIECE_BYTES))
    pieces = _between_tokens(lines) if separator == END_OF_TEXT else _between_lines(lines, separator)
    return (piece.strip() for piece in pieces)


def _separator(path: Path) -> str:
    """What separates the documents of a file: END_OF_TEXT, "rule", "blank lines", or "paragraphs"; reads it once."""
    rule = blank_lines = text_before = False
    blanks = 0
    for line in _lines(path, LONGEST_PIECE_BYTES):
        if END_OF_TEXT in line:
            return END_OF_TEXT
        if line.isspace():
            blanks += 1
            continue
        rule = rule or line.strip() in RULES
        blank_lines = blank_lines or (text_before and blanks >= 2)
        text_before, blanks = True, 0
    return "rule" if rule else "blank lines" if blank_lines else "paragraphs"


def _between_tokens(lines: Iterable[str]) -> Iterator[str]:
    document: list[str] = []
    for line in lines:
        first, *others = line.split(END_OF_TEXT)
        document.append(first)
        for other in others:
            yield "".join(document)
            document = [other]
    yield "".join(document)


def _between_lines(lines: Iterable[str], separator: str) -> Iterator[str]:
    enough = PARAGRAPHS_CHARACTERS if separator == "paragraphs" else SECTION_CHARACTERS
    document: list[str] = []
    characters = blanks = 0
    for line in lines:
        blank = line.isspace()
        blanks = blanks + 1 if blank else 0
        is_rule = separator == "rule" and line.strip() in RULES
        ends = is_rule or (separator == "blank lines" and blanks == 2)
        if ends or (characters >= enough and (blank or characters >= 8 * enough)):
            yield "".join(document)
            document, characters = [], 0
        if not is_rule:
            document.append(line)
            characters += len(line)
    yield "".join(document)


# ---------------------------------------------------------------------------------------------- jsonl


def _jsonl_documents(path: Path, column: str | None) -> Iterator[str]:
    """One document per line: the line itself if it is a string, else the field `column` of the object."""
    for number, row in jsonl_rows(path):
        value = row
        if isinstance(row, dict):
            if column not in row:
                raise AutoresearchError(
                    f"{path}, line {number}: no field {column!r}, only {listed(row)}. Every line needs the field "
                    "that --text-column names."
                )
            value = row[column]
        if value is None:
            continue
        if not isinstance(value, str):
            raise AutoresearchError(
                f"{path}, line {number}: the text must be a string, not {type(value).__name__}. Name the field that "
                "holds it with --text-column; an array of objects becomes lines with `jq -c '.[]' file.json`."
            )
        try:
            value.encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(value[error.start]):04x}"
            raise AutoresearchError(
                f"{path}, line {number}: {half} is half a character. Remove or repair it."
            ) from None
        yield value


def jsonl_rows(path: Path, parse: Callable[[str], Any] = json.loads) -> Iterator[tuple[int, Any]]:
    """Line number and value of each line that is not blank."""
    for number, line in enumerate(_lines(path), 1):
        if line.isspace():
            continue
        try:
            yield number, parse(line)
        except (ValueError, RecursionError) as error:
            raise AutoresearchError(
                f"{path}, line {number}: not JSON ({error}). Each line must be one JSON object or string; "
                "`jq -c '.[]' file.json` makes such lines of an array."
            ) from None


# ---------------------------------------------------------------------------------------------- csv and tsv


def _csv_documents(path: Path, column: str | None) -> Iterator[str]:
    header, rows = csv_table(path)
    if column not in header:
        raise AutoresearchError(f"{path} has no column {column!r}. {_advice(header)}")
    index = header.index(column)
    return (row[index] for row in rows)


def csv_table(path: Path) -> tuple[list[str], Iterator[list[str]]]:
    """Header and rows; blank lines are skipped, rows of another length than the header refused."""
    rows = _csv_rows(path)
    _, header = next(rows, (0, []))
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise AutoresearchError(f"{path} has no commas in its first line. Save it with commas, or with tabs as .tsv.")

    def checked() -> Iterator[list[str]]:
        for number, row in rows:
            if len(row) != len(header):
                raise AutoresearchError(
                    f"{path}, row that ends in line {number}: {len(row)} fields where the header has {len(header)}. "
                    "Put fields that contain separators, quotes or line ends in double quotes."
                )
            yield row

    return header, checked()


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Each row with the number of its last line."""
    csv.field_size_limit(LONGEST_FIELD_CHARACTERS)  # the csv module has this limit for the process only
    delimiter = "\t" if ".tsv" in path.suffixes[-2:] else ","
    reader = csv.reader(_lines(path), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise AutoresearchError(
            f"{path}, line {reader.line_num}: {error}. Look for a double quote that is not closed or not doubled, "
            "in this line or above."
        ) from None


def _is_prose(value: str) -> bool:
    """Whether a csv field is neither empty nor a number."""
    try:
        float(value or 0)
    except ValueError:
        return True
    return False


# ---------------------------------------------------------------------------------------------- parquet


def _parquet_documents(path: Path, column: str | None) -> Iterator[str]:
    row = 0
    with opened_parquet(path) as file:
        for batch in file.iter_batches(batch_size=1024, columns=[column]):
            try:
                values = batch.column(0).to_pylist()
            except UnicodeDecodeError:
                raise AutoresearchError(
                    f"{path}, rows {row + 1} to {row + len(batch)}: column {column!r} is not valid UTF-8. "
                    "Write the file again from its source."
                ) from None
            yield from (value for value in values if value is not None)
            row += len(batch)


@contextmanager
def opened_parquet(path: Path) -> Iterator[pyarrow.parquet.ParquetFile]:
    import pyarrow.parquet  # takes long to import, and most programs that import this package read no parquet

    try:
        # buffer_size: read a column chunk page by page; without it a row group's whole chunk is in memory at once
        with pyarrow.parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
            yield file
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AutoresearchError(f"{path} is no whole parquet file ({reason}). Get or write it again.") from None


def _is_text(kind: Any) -> bool:
    import pyarrow

    if pyarrow.types.is_dictionary(kind):
        kind = kind.value_type
    return kind in (pyarrow.string(), pyarrow.large_string(), pyarrow.string_view())


def _parquet_column_bytes(path: Path, column: str | None) -> int:
    with opened_parquet(path) as file:
        groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
        chunks = [group.column(index) for group in groups for index in range(group.num_columns)]
        return sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema == column)


def _readers() -> dict[str, Callable[[Path, str | None], Iterator[str]]]:
    return {TEXT: _text_documents, JSONL: _jsonl_documents, CSV: _csv_documents, PARQUET: _parquet_documents}
