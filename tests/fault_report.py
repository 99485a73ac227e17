"""What was done to nights and what was found, stage by stage, as a table."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass
class Row:
    """One stage of the table."""

    faults_made: int = 0
    lives: int = 0
    faults_found: int = 0


@dataclass
class Report:
    """What was done and found, by stage."""

    rows: dict[str, Row] = field(default_factory=lambda: defaultdict(Row))

    def add(self, stage: str, made: int, lives: int, found: list[str]) -> None:
        """Count for a stage, and print what was found at once."""
        row = self.rows[stage]
        row.faults_made += made
        row.lives += lives
        row.faults_found += len(found)
        for sentence in found:
            print(f"FAULT  {stage}: {sentence}", flush=True)

    @property
    def found(self) -> int:
        """All faults together."""
        return sum(row.faults_found for row in self.rows.values())

    def show(self, title: str, made: str) -> None:
        """Print the table, if there is anything in it."""
        if not self.rows:
            return
        print(f"\n{title}\n{'':36} {made:>8} {'lives':>8} {'faults':>8}")
        for stage, row in self.rows.items():
            print(f"{stage:36} {row.faults_made:8} {row.lives:8} {row.faults_found:8}")
        total = [sum(getattr(row, name) for row in self.rows.values()) for name in ("faults_made", "lives")]
        print(f"{'together':36} {total[0]:8} {total[1]:8} {self.found:8}", flush=True)
