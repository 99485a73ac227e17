"""Learning curves: one JSON object a line, written by `prepare.log` while a run trains.

The run may write anything there, or put something else in the file's place; here it becomes numbers or nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlx_autoresearch.files import open_plain, write_text

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


def write_points(path: Path, points: Sequence[Mapping[str, float | None]]) -> None:
    """Write a curve anew."""
    write_text(path, "".join(json.dumps(dict(point)) + "\n" for point in points))


def last_point(path: Path) -> dict:
    """The newest whole line of a curve, read from its end; empty when there is none."""
    try:
        with open_plain(path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            lines = file.read(4096).decode("utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return next((point for line in reversed(lines) if (point := _parse(line)) is not None), {})


def step_drift(points: Sequence[Mapping[str, float]]) -> float | None:
    """Steps a second in the last third of a run over those in its first third; below 1 it became slower.

    An edit may mean that (longer rows later in the run), or the chip became warm. None where there are too few points.
    """
    if not points:
        return None
    start, third = points[0]["seconds"], (points[-1]["seconds"] - points[0]["seconds"]) / 3
    first = [point for point in points if point["seconds"] <= start + third]
    last = [point for point in points if point["seconds"] >= start + 2 * third]
    before, after = _steps_per_second(first), _steps_per_second(last)
    return None if not before or after is None else round(after / before, 3)


def _steps_per_second(points: Sequence[Mapping[str, float]]) -> float | None:
    if not points or points[-1]["seconds"] <= points[0]["seconds"]:
        return None
    return (points[-1]["step"] - points[0]["step"]) / (points[-1]["seconds"] - points[0]["seconds"])


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
