"""Learning curves: one JSON object a line, written by `prepare.log` while a run trains.

The run may write anything there, or put something else in the file's place; here it becomes numbers or nothing.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from mlx_autoresearch.files import open_plain

CURVE_FILE = "curve.jsonl"

MOST_BYTES = 64 << 20
"""A curve that is longer is read up to here: no honest one comes near it."""

LARGEST_NUMBER = 1e18


def read_points(path: Path) -> list[dict]:
    """All whole lines of a curve; a torn last line (the process was killed while writing) is left out."""
    try:
        with open_plain(path) as file:
            lines = file.read(MOST_BYTES).decode("utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [point for line in lines if (point := _parse(line)) is not None]


def last_point(path: Path) -> dict:
    """The newest whole line of a curve, read from its end; empty when there is none."""
    try:
        with open_plain(path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            lines = file.read(4096).decode("utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return next((point for line in reversed(lines) if (point := _parse(line)) is not None), {})


def _parse(line: str) -> dict | None:
    """A point: names with finite numbers, or None where one was not finite. It has a step and its seconds at least."""
    try:
        point = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(point, dict) or not _is_number(point.get("seconds")):
        return None
    if not isinstance(point.get("step"), int) or not _is_number(point["step"]):
        return None
    return {name: value for name, value in point.items() if value is None or _is_number(value)}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST_NUMBER
