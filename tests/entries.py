"""Entries of a history for tests of agents."""

from __future__ import annotations

from typing import Any

from mlx_autoresearch.agents.briefing import HistoryEntry
from mlx_autoresearch.program_texts import SharedText


def entry_of(number: int, parent: int | None, source: str, *rest: Any, **more: Any) -> HistoryEntry:
    """A `HistoryEntry` with the text `source`; what follows as there."""
    return HistoryEntry(number, parent, SharedText.of(source), *rest, **more)
