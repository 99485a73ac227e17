"""Learning curves: one JSON object a line, written by `prepare.log` while a run trains."""

from __future__ import annotations

import json
from pathlib import Path


def read_points(path: Path) -> list[dict]:
    """All whole lines of a curve; a torn last line (the process was killed while writing) is left out."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [point for line in lines if (point := _parse(line)) is not None]


def last_point(path: Path) -> dict:
    """The newest whole line of a curve, read from its end; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return next((point for line in reversed(lines) if (point := _parse(line)) is not None), {})


def _parse(line: str) -> dict | None:
    try:
        point = json.loads(line)
    except ValueError:
        return None
    return point if isinstance(point, dict) else None
