"""What a job uses up, watched from outside: memory, processes and disk of everything that it started.

Limits set on a process hold for that process; a job can start many, and macOS ignores some limits. So the parent looks
every half second and says when it is enough; killing is the caller's.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path

from mlx_autoresearch.memory import available_memory_bytes
from mlx_autoresearch.process_tree import usage
from mlx_autoresearch.sandbox.policy import Limits

LOOK_SECONDS = 0.5

LEAST_FREE_MEMORY = 128 << 20
LEAST_FREE_DISK = 256 << 20
"""Below these the job is stopped whatever it used itself: the machine has to stay alive."""

MOST_FILES = 20_000

GIB = 1 << 30


@dataclass
class Guard:
    """Watches one job. Call it often; it looks now and then.

    Attributes:
        limits: what the job may use up.
        folders: what it may write, whose content counts.
    """

    limits: Limits
    folders: tuple[Path, ...]
    _next_look: float = field(default=0.0, init=False)

    def __call__(self, pid: int) -> str | None:
        """Why the job that `pid` leads has to be stopped, None while all is well."""
        if time.monotonic() < self._next_look:
            return None
        reason = self.look(pid)
        self._next_look = time.monotonic() + LOOK_SECONDS
        return reason

    def look(self, pid: int) -> str | None:
        """The same, now."""
        used, free = usage(pid), available_memory_bytes()
        if used.memory_bytes > self.limits.memory_bytes:
            return (
                f"it used {used.memory_bytes / GIB:.1f} GiB of memory; {self.limits.memory_bytes / GIB:.1f} are allowed"
            )
        if free is not None and free < LEAST_FREE_MEMORY:
            return "the machine was about to run out of memory"
        if used.processes > self.limits.processes:
            return f"it had {used.processes} processes; {self.limits.processes} are allowed"
        return self._look_at_disk()

    def _look_at_disk(self) -> str | None:
        size, files = 0, 0
        for folder in self.folders:
            try:
                more_size, more_files = content_of(folder, MOST_FILES)
            except OSError:  # folders that can't be entered, or nested deeper than a path can be long
                return "it made folders that can't be looked into"
            size, files = size + more_size, files + more_files
            if shutil.disk_usage(folder).free < LEAST_FREE_DISK:
                return "the disk was about to be full"
        if size > self.limits.disk_bytes:
            return f"it wrote {size / GIB:.1f} GiB; {self.limits.disk_bytes / GIB:.1f} are allowed"
        return f"it made more than {MOST_FILES:,} files" if files > MOST_FILES else None


def content_of(folder: Path, most_files: int) -> tuple[int, int]:
    """Bytes on disk and number of entries below a folder, links not followed; stops counting after `most_files`.

    What vanishes meanwhile doesn't count.

    Raises:
        OSError: a folder in it can't be read.
    """
    size, files, waiting = 0, 0, [str(folder)]
    while waiting and files <= most_files:
        try:
            entries = os.scandir(waiting.pop())
        except FileNotFoundError:
            continue
        with entries:
            for entry in entries:
                try:
                    facts = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                files += 1
                size += 512 * facts.st_blocks
                if stat.S_ISDIR(facts.st_mode):
                    waiting.append(entry.path)
    return size, files
