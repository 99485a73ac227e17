"""The processes that a child started, however deep: counted, measured and killed.

A process group is not enough, because anybody may leave his. macOS's half is not yet run on a Mac.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass

KILL_SECONDS = 10.0
"""How long `kill_tree` goes on killing what keeps appearing."""


@dataclass(frozen=True)
class Usage:
    """What a tree of processes holds: their number and their resident memory in bytes."""

    processes: int
    memory_bytes: int


@dataclass(frozen=True)
class Entry:
    """One process of the system: parent and resident memory in bytes; a dead one that was not collected has none."""

    parent: int
    memory_bytes: int
    dead: bool = False


def usage(pid: int) -> Usage:
    """What `pid` and all of its descendants hold now."""
    table = all_processes()
    alive = [member for member in [pid, *descendants(pid, table)] if member in table and not table[member].dead]
    return Usage(len(alive), sum(_footprint(member) or table[member].memory_bytes for member in alive))


def descendants(pid: int, table: dict[int, Entry]) -> list[int]:
    """Children of `pid`, their children, and so on, nearest first."""
    children: dict[int, list[int]] = {}
    for member, entry in table.items():
        children.setdefault(entry.parent, []).append(member)
    found, waiting = [], [pid]
    while waiting:
        nearest = children.get(waiting.pop(0), [])
        found += nearest
        waiting += nearest
    return found


def kill_tree(pid: int) -> None:
    """SIGKILL everything that `pid` started, again and again until nothing is left; `pid` itself stays.

    The nearest go first: the first process of a sandbox takes all of its own with it. `pid` must not be collected
    meanwhile (it is the caller's child).
    """
    end = time.monotonic() + KILL_SECONDS
    while time.monotonic() < end:
        table = all_processes()
        alive = [member for member in descendants(pid, table) if not table[member].dead]
        if not alive:
            return
        for member in alive:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(member, signal.SIGKILL)
        time.sleep(0.01)


def all_processes() -> dict[int, Entry]:
    """Every process of the system that can be seen, by its number."""
    return _from_proc() if sys.platform == "linux" else parse_ps(_ps())


def _from_proc() -> dict[int, Entry]:
    page = os.sysconf("SC_PAGE_SIZE")
    table = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with suppress(OSError, ValueError, IndexError):
                with open(f"/proc/{name}/stat", "rb") as file:
                    words = file.read().rpartition(b")")[2].split()
                table[int(name)] = Entry(int(words[1]), page * int(words[21]), dead=words[0] in b"ZX")
    return table


def _footprint(pid: int) -> int | None:
    """Memory of a process on macOS as it is charged for it, the GPU's included, which `ps` doesn't count."""
    if sys.platform != "darwin":
        return None
    answer = ctypes.create_string_buffer(512)
    try:
        failed = ctypes.CDLL("/usr/lib/libproc.dylib").proc_pid_rusage(pid, 0, answer)
    except (OSError, AttributeError):
        return None
    return None if failed else struct.unpack_from("Q", answer, 16 + 7 * 8)[0]  # ri_phys_footprint of rusage_info_v0


def _ps() -> str:
    try:
        columns = ["ps", "-axo", "pid=,ppid=,rss=,state="]
        return subprocess.run(columns, capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def parse_ps(text: str) -> dict[int, Entry]:
    """The table from the output of `ps -axo pid=,ppid=,rss=,state=`, whose memory is in KiB."""
    table = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 4 and all(word.isdecimal() for word in words[:3]):
            table[int(words[0])] = Entry(int(words[1]), 1024 * int(words[2]), dead=words[3].startswith("Z"))
    return table
