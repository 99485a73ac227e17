"""When what happened in a night: spans of thinking (with its outcome), smoke runs and runs, a JSON line each.

    runs/<tag>/timeline.jsonl    {"what": "run", "start": 1764061234.5, "end": 1764061543.2, "experiment": 7, ...}

Times are seconds since 1970 on the machine's clock, for people and pictures; nothing is decided by them. A span is
written when it ends; one that a kill cut off is missing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlx_autoresearch.files import append_line

TIMELINE_FILE = "timeline.jsonl"


class Timeline:
    """Writes spans to `path`. Several threads may write: a line is appended in one piece."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def span(self, what: str, **facts: Any) -> Iterator[dict[str, Any]]:
        """Record how long the block takes; the dictionary that it gets may be filled with more facts meanwhile."""
        started = time.time()
        try:
            yield facts
        finally:
            entry = {"what": what, "start": round(started, 3), "end": round(time.time(), 3), **facts}
            append_line(self.path, json.dumps(entry))


def read_spans(path: Path) -> list[dict[str, Any]]:
    """All spans in the order of their ends; lines that are torn or no spans are passed over."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    spans = []
    for line in lines:
        try:
            entry = json.loads(line)
            spans.append({**entry, "start": float(entry["start"]), "end": float(entry["end"])})
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
    return spans
