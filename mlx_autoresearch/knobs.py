"""The knobs of train_mlx.py: its UPPERCASE constants, read from the syntax tree and edited in place.

    DEPTH     = (4, 4, 6, 8)[M]    # transformer blocks {2..12}
    MATRIX_LR = 0.04               # Muon step size {0.005..0.2 log}
    PATTERN   = "SSSL"             # attention windows {"L", "SL", "SSSL"}

A knob is a single assignment of a literal to an UPPERCASE name at module level, or of a row of literals from which
column M, the class of the machine, is picked. The braces that end its comment declare the range for a search.
Notable: an edit replaces the bytes of one literal and lets the padding behind it give way, so that columns stay
aligned; the other columns of a row, the comments and all code stay as they are. The file is never executed.
"""

from __future__ import annotations

import ast
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.syntax import parse

Value = bool | int | float | str

COLUMN = "M"
"""The name that picks the machine's column of a row; not a knob itself."""

_NAME = re.compile(r"[A-Z][A-Z0-9_]+")
_NUMBER = r"[-+]?\d[\d_]*(?:\.\d+)?(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})(?:\s+step\s+({_NUMBER})|\s+(log))?\s*")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_PADDING = re.compile(rb"(,|\)\[" + COLUMN.encode() + rb"\])?( +)(#)?")


@dataclass(frozen=True)
class IntRange:
    """Whole numbers low, low + step, ... up to at most high; `log` (step 1) when ratios matter, not differences."""

    low: int
    high: int
    step: int = 1
    log: bool = False


@dataclass(frozen=True)
class FloatRange:
    """Numbers from low to high, both included; `log` when ratios matter, not differences."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Choices:
    """A finite set of values of one type, in the order written."""

    values: tuple[Value, ...]


Range = IntRange | FloatRange | Choices


@dataclass(frozen=True)
class Knob:
    """One knob as it stands in the file.

    Attributes:
        name: the constant's name.
        value: its value; for a row the entry of this machine's column.
        range: what a search may try; None when the comment declares no range.
        comment: text of the comment behind it, without `#`; empty when there is none.
        line: line of its name, counted from 1.
        span: first and one-past-last byte of the literal in the UTF-8 text.
    """

    name: str
    value: Value
    range: Range | None
    comment: str
    line: int
    span: tuple[int, int]


def read_knobs(source: str, machine_class: int) -> dict[str, Knob]:
    """The knobs of a program in the order of the file; constants that are computed are not knobs.

    A name that is assigned twice at module level is left out: its value is not one literal. Whole numbers in a range
    of decimal ones are read as decimal ones, and the other way round.

    Args:
        source: text of train_mlx.py.
        machine_class: column of the rows, from 0.

    Raises:
        AutoresearchError: the text is not Python, a row has no such column, or a range is malformed (with its line).
    """
    assignments = list(_assignments(_parse(source)))
    text = source.encode("utf-8")
    starts = [0, *(end.end() for end in _LINE_END.finditer(text))]
    counts = Counter(name for name, _, _ in assignments)
    knobs = {}
    for name, statement, value in assignments:
        literal = _column_entry(name, value, machine_class)
        if counts[name] > 1 or name == COLUMN or not isinstance(_literal(literal), Value):
            continue
        comment = _comment_after(text, starts[statement.end_lineno - 1] + statement.end_col_offset)
        span = (
            starts[literal.lineno - 1] + literal.col_offset,
            starts[literal.end_lineno - 1] + literal.end_col_offset,
        )
        found, limits = _matched(_literal(literal), _parse_range(comment, statement.lineno), statement.lineno)
        knobs[name] = Knob(name, found, limits, comment, statement.lineno, span)
    return knobs


def write_knobs(source: str, values: Mapping[str, Value], machine_class: int) -> str:
    """The program with other values in its knobs: `read_knobs` of the result gives exactly `values` back.

    Of a row only this machine's entry changes. Decimal numbers are written as Python's shortest form that reads back
    the same, so round them (`short_float`) before they get here.

    Args:
        source: text of train_mlx.py.
        values: new values by name; knobs not named stay.
        machine_class: column of the rows, from 0.

    Raises:
        ValueError: no such knob, a value of another type than the knob's, not finite, or not among its choices.
        AutoresearchError: as `read_knobs`.
    """
    knobs = read_knobs(source, machine_class)
    for name, value in values.items():
        _check(knobs.get(name), name, value)
    text = source.encode("utf-8")
    for name in sorted(values, key=lambda name: knobs[name].span, reverse=True):  # from the end: spans stay valid
        if values[name] != knobs[name].value:
            text = _replaced(text, knobs[name].span, written(values[name]).encode("utf-8"))
    return text.decode("utf-8")


def unread_knobs(source: str) -> list[str]:
    """UPPERCASE constants at module level that no code reads, in the order of the file.

    Raises:
        AutoresearchError: the text is not Python.
    """
    tree = _parse(source)
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return [name for name in dict.fromkeys(name for name, _, _ in _assignments(tree)) if name not in read]


def without_values(source: str, knobs: Mapping[str, Knob]) -> bytes:
    """What is left of a program when its knobs' literals and all spaces are taken out.

    Two programs are the same when this and the values of their knobs are the same.
    """
    text = source.encode("utf-8")
    pieces, position = [], 0
    for start, stop in sorted(knob.span for knob in knobs.values()):
        pieces.append(text[position:start])
        position = stop
    return b"\0".join([*pieces, text[position:]]).replace(b" ", b"")


def short_float(value: float, digits: int = 3) -> float:
    """`value` rounded to so many significant digits: 0.031234 -> 0.0312."""
    return float(f"{value:.{digits}g}")


def written(value: Value) -> str:
    """A value as it stands in the file; text in double quotes where that needs no escape."""
    if isinstance(value, str) and repr(value) == f"'{value}'" and '"' not in value:
        return f'"{value}"'
    return repr(value)


def _parse(source: str) -> ast.Module:
    try:
        return parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f" (line {error.lineno})" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise AutoresearchError(f"train_mlx.py is not valid Python{line}: {reason}") from None


def _assignments(tree: ast.Module) -> Iterator[tuple[str, ast.Assign | ast.AnnAssign, ast.expr]]:
    """Name, statement and right-hand side of each assignment to one UPPERCASE name at module level."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            target = statement.target
        else:
            continue
        if isinstance(target, ast.Name) and _NAME.fullmatch(target.id):
            yield target.id, statement, statement.value


def _column_entry(name: str, value: ast.expr, machine_class: int) -> ast.expr:
    """The machine's entry of a row `(a, b, c, d)[M]`; anything else as it is."""
    if not (isinstance(value, ast.Subscript) and isinstance(value.value, ast.Tuple)):
        return value
    if not (isinstance(value.slice, ast.Name) and value.slice.id == COLUMN):
        return value
    entries = value.value.elts
    if not 0 <= machine_class < len(entries):
        raise AutoresearchError(
            f"train_mlx.py, line {value.lineno}: the row of {name} has {len(entries)} columns, "
            f"this machine needs column {machine_class + 1}; give it one value for each class of machine"
        )
    return entries[machine_class]


def _literal(node: ast.expr) -> object:
    """The value of a literal (a sign allowed), None for any other expression."""
    signed = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd)
    constant = node.operand if signed else node
    if not isinstance(constant, ast.Constant) or (signed and type(constant.value) not in (int, float)):
        return None
    return -constant.value if signed and isinstance(node.op, ast.USub) else constant.value


def _comment_after(text: bytes, position: int) -> str:
    """The comment that follows a finished statement on its line; nothing but spaces can stand between."""
    end = _LINE_END.search(text, position)
    rest = text[position : end.start() if end else len(text)].decode("utf-8").strip()
    return rest[1:].strip() if rest.startswith("#") else ""


def _parse_range(comment: str, line: int) -> Range | None:
    """The range in the braces that end a comment, None when it ends otherwise."""
    if not comment.endswith("}"):
        return None
    inside = comment[comment.rfind("{") + 1 : -1] if "{" in comment else ""
    match = _RANGE.fullmatch(inside)
    if match is None:
        return _parse_choices(inside, line)
    low, high, step = (None if text is None else _number(text) for text in match.group(1, 2, 3))
    log = match.group(4) is not None
    if low >= high or math.isinf(high) or (log and low <= 0):
        raise _malformed(line, inside, "the low end must be below the high end" + " and above 0" * log)
    if isinstance(low, int) and isinstance(high, int):
        if step is not None and not (isinstance(step, int) and 0 < step <= high - low):
            raise _malformed(line, inside, "the step must be a whole number that fits into the range")
        return IntRange(low, high, step or 1, log)
    if step is not None:
        raise _malformed(line, inside, "a step needs whole numbers; list the values instead")
    return FloatRange(float(low), float(high), log)


def _parse_choices(inside: str, line: int) -> Choices:
    try:
        values = ast.literal_eval(parse(f"[{inside}]").body[0].value)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError, AttributeError, IndexError):
        values = []
    if not values or not all(isinstance(value, Value) for value in values):
        raise _malformed(line, inside, "write {2..12}, {64..1024 step 64}, {0.005..0.2 log} or {1, 2, 4}")
    return Choices(tuple(values))


def _number(text: str) -> int | float:
    return int(text) if re.fullmatch(r"[-+]?[\d_]+", text) else float(text)


def _matched(value: Value, limits: Range | None, line: int) -> tuple[Value, Range | None]:
    """Value and range with one type: decimal where either is decimal.

    Raises:
        AutoresearchError: they do not go together, or choices are of mixed types.
    """
    is_text = {bool: "a truth value", str: "text"}.get(type(value))
    if isinstance(limits, Choices):
        members = (value, *limits.values)
        kinds = {type(member) for member in members}
        if kinds == {int, float}:
            members, kinds = tuple(float(member) for member in members), {float}
        if len(kinds) > 1:
            raise _malformed(line, ", ".join(map(repr, limits.values)), f"all must be of the type of {value!r}")
        return members[0], Choices(tuple(dict.fromkeys(members[1:])))
    if limits is not None and is_text:
        raise _malformed(line, f"{limits.low}..{limits.high}", f"the value is {is_text}; list the values instead")
    if isinstance(limits, FloatRange):
        return float(value), limits
    if isinstance(limits, IntRange) and isinstance(value, float):
        if limits.step != 1:
            raise _malformed(line, f"{limits.low}..{limits.high} step {limits.step}", f"the value is {value!r}")
        return value, FloatRange(float(limits.low), float(limits.high), limits.log)
    return value, limits


def _malformed(line: int, inside: str, advice: str) -> AutoresearchError:
    return AutoresearchError(f"train_mlx.py, line {line}: the range {{{inside}}} can't be used: {advice}")


def _check(knob: Knob | None, name: str, value: Value) -> None:
    if knob is None:
        raise ValueError(f"{name} is not a knob of this program")
    if type(value) is not type(knob.value):
        raise ValueError(f"{name} is {type(knob.value).__name__}, not {type(value).__name__}: {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} must be finite, not {value!r}")
    if isinstance(knob.range, Choices) and value not in knob.range.values:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, knob.range.values))}, not {value!r}")


def _replaced(text: bytes, span: tuple[int, int], new: bytes) -> bytes:
    """`text` with other bytes at `span`; the spaces behind grow or shrink so that what follows keeps its column."""
    start, stop = span
    rest = text[stop:]
    padding = _PADDING.match(rest)
    if padding is not None and b"\n" not in text[start:stop]:
        spaces = len(padding.group(2))
        least = min(spaces, 2 if padding.group(3) else 1)
        wanted = max(least, spaces + len(text[start:stop].decode("utf-8")) - len(new.decode("utf-8")))
        rest = (padding.group(1) or b"") + b" " * wanted + rest[padding.end(2) :]
    return text[:start] + new + rest
