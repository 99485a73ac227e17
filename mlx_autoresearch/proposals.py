"""Proposals that wait for their turn, on disk: what an agent was paid for survives a kill.

runs/<tag>/queue/000003.json    one proposal; the lowest number is next
"""

from __future__ import annotations

import re
import threading
from dataclasses import asdict
from pathlib import Path

from mlx_autoresearch.files import write_json
from mlx_autoresearch.records import Proposal
from mlx_autoresearch.stored_records import DamagedFileError, build_record, read_object

QUEUE_FOLDER = "queue"

QUEUE_FILE = re.compile(r"-?[0-9]+\.json")


class ProposalQueue:
    """Proposals in the order in which they will be tried; repairs go first. Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        """`folder` is runs/<tag>/queue; it is made when missing, and what it holds is the queue.

        A file that can't be read is a proposal lost to damage from outside; it is removed and counted in `damaged`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._lock = folder, threading.Condition()
        self._waiting: dict[int, Proposal] = {}
        self.damaged = 0
        for path in sorted(folder.iterdir()):
            if QUEUE_FILE.fullmatch(path.name):
                try:
                    self._waiting[int(path.stem)] = build_record(Proposal, read_object(path), path)
                    continue
                except DamagedFileError:
                    self.damaged += 1
            path.unlink(missing_ok=True)

    def put(self, proposal: Proposal) -> None:
        """Add a proposal at the end, one that mends a failed experiment at the front."""
        with self._lock:
            numbers = self._waiting or {0: None}
            number = max(numbers) + 1 if proposal.repairs is None else min(numbers) - 1
            write_json(self._path(number), asdict(proposal))
            self._waiting[number] = proposal
            self._lock.notify_all()

    def first(self, seconds: float = 0.0) -> Proposal | None:
        """The next proposal, which stays in the queue until `remove`; None when none comes within `seconds`."""
        with self._lock:
            self._lock.wait_for(lambda: bool(self._waiting), seconds)
            return self._waiting[min(self._waiting)] if self._waiting else None

    def remove(self, proposal: Proposal) -> None:
        """Take a proposal out: it became an experiment, or was dropped."""
        with self._lock:
            for number, waiting in list(self._waiting.items()):
                if waiting is proposal:
                    self._path(number).unlink(missing_ok=True)
                    del self._waiting[number]
            self._lock.notify_all()

    def waiting(self) -> tuple[Proposal, ...]:
        """All of them, the next one first."""
        with self._lock:
            return tuple(self._waiting[number] for number in sorted(self._waiting))

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.json"
