"""The processes of this machine and who started them: counted, measured and killed.

A process group is not enough, because anybody may leave his. Processes are found by descent and known by number and
time of birth, never by name. This file imports the standard library only, because `supervise` starts without anything
else. macOS's half is not yet run on a Mac.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

KILL_SECONDS = 10.0
"""How long `kill_tree` goes on killing what keeps appearing."""

PS = ["ps", "-ax", "-o", "pid=", "-o", "ppid=", "-o", "rss=", "-o", "state=", "-o", "lstart="]
"""An -o each: what follows the first = in one is all heading to BSD's ps."""


@dataclass(frozen=True)
class Process:
    """One process of the system.

    Attributes:
        parent: number of its parent.
        birth: time of birth, as the system writes it: it tells a process from a later one of the same number.
        memory_bytes: resident memory.
        dead: whether it has ended and only waits to be collected.
    """

    parent: int
    birth: str
    memory_bytes: int
    dead: bool = False


@dataclass(frozen=True)
class Usage:
    """What a tree of processes holds: their number and their memory in bytes."""

    processes: int
    memory_bytes: int


def usage(pid: int) -> Usage:
    """What `pid` and all of its descendants hold now."""
    table = all_processes()
    members = [number for number in (pid, *descendants(pid, table)) if number in table and not table[number].dead]
    return Usage(len(members), sum(_footprint(number) or table[number].memory_bytes for number in members))


def descendants(
    root: int, table: Mapping[int, Process], known: Mapping[int, Process] | None = None
) -> dict[int, Process]:
    """All in `table` that descend from `root` or from one of `known` that is still there, and those; nearest first.

    Args:
        root: number of a process, which is not part of the result.
        table: the processes of the system.
        known: descendants of an earlier look; they count wherever they hang now.
    """
    known = known or {}
    found = {number: now for number, then in known.items() if (now := table.get(number)) and now.birth == then.birth}
    children: dict[int, list[int]] = {}
    for number, process in table.items():
        children.setdefault(process.parent, []).append(number)
    waiting = [root, *found]
    while waiting:
        for number in children.get(waiting.pop(0), []):
            if number not in found and number != root:
                found[number] = table[number]
                waiting.append(number)
    return found


def kill_tree(pid: int) -> None:
    """SIGKILL everything that `pid` started, again and again until nothing is left; `pid` itself stays.

    The nearest go first: the first process of a sandbox takes all of its own with it. `pid` must not be collected
    meanwhile (it is the caller's child).
    """
    end = time.monotonic() + KILL_SECONDS
    while time.monotonic() < end:
        alive = [number for number, process in descendants(pid, all_processes()).items() if not process.dead]
        if not alive:
            return
        for number in alive:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(number, signal.SIGKILL)
        time.sleep(0.01)


def all_processes() -> dict[int, Process]:
    """Every process of the system that can be seen, by its number."""
    return processes_of_proc() if sys.platform == "linux" else processes_of_ps()


def processes_of_proc() -> dict[int, Process]:
    """The processes as Linux tells them."""
    page = os.sysconf("SC_PAGE_SIZE")
    table = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with suppress(OSError, ValueError, IndexError):  # it ended meanwhile
                words = _words_of_stat(f"/proc/{name}/stat")
                dead = words[0] in "ZX"
                if dead and int(words[17]) > 1:  # only its first thread has ended, which tells no memory any more
                    dead, thread = False, max(os.listdir(f"/proc/{name}/task"), key=int)
                    words[21] = _words_of_stat(f"/proc/{name}/task/{thread}/stat")[21]
                table[int(name)] = Process(int(words[1]), words[19], page * int(words[21]), dead)
    return table


def _words_of_stat(path: str) -> list[str]:
    """The fields of a process or thread after its name, which may hold anything: state, parent, ..."""
    with open(path, "rb") as file:
        return file.read().decode("ascii", "replace").rpartition(")")[2].split()


def processes_of_ps() -> dict[int, Process]:
    """The processes as `ps` tells them, less that `ps` itself; none when it can't be run."""
    try:
        with subprocess.Popen(PS, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as ps:
            table = parse_ps(ps.communicate()[0])
    except OSError:
        return {}
    table.pop(ps.pid, None)
    return table


def parse_ps(text: str) -> dict[int, Process]:
    """The processes in the output of `PS`, whose memory is in KiB."""
    table = {}
    for line in text.splitlines():
        words = line.split(None, 4)
        if len(words) == 5 and all(word.isdecimal() for word in words[:3]):
            birth = words[4].strip()
            table[int(words[0])] = Process(int(words[1]), birth, 1024 * int(words[2]), words[3].startswith("Z"))
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
