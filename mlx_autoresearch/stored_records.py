"""Records in JSON files that may be damaged from outside: read as what was written, or not at all."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from mlx_autoresearch.files import read_json

Record = TypeVar("Record")


class DamagedFileError(Exception):
    """A JSON file that is there but doesn't hold what was written."""


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        DamagedFileError: it can't be read, or holds something else.
    """
    try:
        value = read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path} is damaged ({error})") from None
    if not isinstance(value, dict):
        raise DamagedFileError(f"{path} is damaged (no JSON object)")
    return value


def build_record(kind: type[Record], value: dict[str, Any], path: Path) -> Record:
    """A record of the data class `kind` from its JSON, with every field of its type and every number finite.

    Raises:
        DamagedFileError: a field is unknown, missing, or holds something else; `path` is named.
    """
    hints = field_types(kind)
    for name, entry in value.items():
        if not fits(entry, hints.get(name)) or entry != without_non_finite(entry):
            raise DamagedFileError(f"{path} is damaged (field {name!r} holds {entry!r})")
    try:
        return kind(**value)
    except TypeError as error:
        raise DamagedFileError(f"{path} is damaged ({error})") from None


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a field's type, None for a field that there is not; a whole number is good for a float."""
    return hint is not None and (isinstance(value, hint) or (type(value) is int and isinstance(1.0, hint)))


@cache
def field_types(kind: type) -> dict[str, Any]:
    """The types of a data class's fields by name."""
    return get_type_hints(kind)  # slow, and asked for every file of a night


def without_non_finite(value: Any) -> Any:
    """`value` with null for NaN and infinity, which JSON doesn't have."""
    if isinstance(value, dict):
        return {key: without_non_finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_non_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
