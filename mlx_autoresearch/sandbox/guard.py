"""What a job uses up, watched from outside: memory, processes and disk of everything that it started.

Limits set on a process hold for that process; a job can start many, and macOS ignores some limits. So the parent looks
every half second, at the job and at the machine, and says when it is enough; killing is the caller's. It watches jobs
without a sandbox too: memory that runs away takes the whole machine along.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path

from mlx_autoresearch.machine import GIB, main_memory_bytes, memory_pressure
from mlx_autoresearch.memory import WARNING, kernel_kills, shortage
from mlx_autoresearch.process import EXCESS, MEMORY, Stop
from mlx_autoresearch.process_tree import usage
from mlx_autoresearch.sandbox.policy import Limits

LOOK_SECONDS = 0.5

LEAST_FREE_DISK = 256 << 20
"""Below this, as when the machine runs out of memory, the job is stopped whatever it used: the machine has to live."""

OWN_FAULT_SHARE = 0.25
"""A job that holds less of the machine's memory than this is not to blame for its shortage."""

MOST_FILES = 20_000


@dataclass
class Guard:
    """Watches one job. Call it often; it looks now and then.

    Attributes:
        limits: what the job may use up.
        folders: what it may write, whose content counts.
        most_memory: the most bytes that the job was seen to hold; None before the first look.
    """

    limits: Limits
    folders: tuple[Path, ...] = ()
    most_memory: int | None = field(default=None, init=False)
    _next_look: float = field(default=0.0, init=False)
    _kernel_kills: int | None = field(default_factory=kernel_kills, init=False)

    def __call__(self, pid: int) -> Stop | None:
        """Why the job that `pid` leads has to be stopped, None while all is well."""
        if time.monotonic() < self._next_look:
            return None
        stop = self.look(pid)
        self._next_look = time.monotonic() + LOOK_SECONDS
        return stop

    def look(self, pid: int) -> Stop | None:
        """The same, now."""
        used = usage(pid)
        self.most_memory = max(self.most_memory or 0, used.memory_bytes)
        held, allowed = f"{used.memory_bytes / GIB:.1f} GiB of memory", self.limits.memory_bytes
        if used.memory_bytes > allowed:
            return Stop(MEMORY, f"it held {held}; {allowed / GIB:.1f} are allowed on this machine")
        if (short := shortage()) is not None:
            if used.memory_bytes >= OWN_FAULT_SHARE * (main_memory_bytes() or 0):
                return Stop(MEMORY, f"{short} while it held {held}")
            return Stop(EXCESS, f"{short}; it held only {held}, so other programs took the rest")
        if used.processes > self.limits.processes:
            return Stop(EXCESS, f"it had {used.processes} processes; {self.limits.processes} are allowed")
        disk = self._look_at_disk()
        return None if disk is None else Stop(EXCESS, disk)

    def killed_by_system(self) -> Stop | None:
        """Whether the system has killed for memory, to be asked when the job ended by SIGKILL and nobody here sent it.

        Linux counts such kills. macOS (jetsam) tells nobody: there, memory pressure right afterwards is the evidence.
        """
        held = f"it held {(self.most_memory or 0) / GIB:.1f} GiB when it was last looked at"
        kills = kernel_kills()
        if kills is not None and self._kernel_kills is not None and kills > self._kernel_kills:
            return Stop(MEMORY, f"the kernel killed it because memory ran out; {held}")
        if (memory_pressure() or 0) >= WARNING:
            return Stop(MEMORY, f"macOS killed it while memory was short; {held}")
        return None

    def _look_at_disk(self) -> str | None:
        size, files = 0, 0
        for folder in self.folders:
            try:
                more_size, more_files = content_of(folder, MOST_FILES)
                free = shutil.disk_usage(folder).free
            except OSError:  # folders that can't be entered, or nested deeper than a path can be long
                return "it made folders that can't be looked into"
            size, files = size + more_size, files + more_files
            if free < LEAST_FREE_DISK:
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
