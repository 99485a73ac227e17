"""Run a foreign program so that nothing of it outlives the process that asked for it.

    python supervise.py PARENT -- program arguments...    what `supervised` makes

A small process stands between: it starts the program in a process group of its own, forwards its exit status, and kills
everything that the program started when the program ends, when PARENT dies (by kill -9 too), and on SIGTERM. The group
is not enough, because a daemon leaves it with `setsid`. On Linux the supervisor adopts what loses its parent
(subreaper), so all of it is found below the supervisor. macOS has no such thing: there the descendants are noted every
second by a walk through `ps`, and a daemon that detaches between two walks is missed. Processes are found by descent
and killed by number and time of birth, never by name.

Standard library only, and run as a file: it starts in some 20 ms and imports nothing of the project.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.1

WALK_SECONDS = 1.0
"""Between two walks through the processes, where orphans are not adopted."""

KILL_SECONDS = 5.0
"""How long to go on killing; only a process stuck in the kernel lives that long."""

PR_SET_CHILD_SUBREAPER = 36

CAN_NOT_START = 127
"""Exit status when the program can't be started, as of a shell."""


@dataclass(frozen=True)
class Process:
    """One living process: its parent, and its time of birth, which tells it from a later one of the same number."""

    parent: int
    birth: str


def supervised(argv: list[str]) -> list[str]:
    """The command that runs `argv` under supervision on behalf of this process.

    Start it in a session of its own. It ends with the program's exit status (128 + n after signal n, 127 when the
    program can't be started); SIGTERM makes it kill everything and end. Everything is gone when it has ended.
    """
    return [sys.executable, "-I", "-S", str(Path(__file__).resolve()), str(os.getpid()), "--", *argv]


def main() -> int:
    """Start the program, watch it, kill what is left of it; returns the exit status."""
    parent, argv = int(sys.argv[1]), sys.argv[3:]
    told_to_stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _: told_to_stop.append(received))
    adopts = adopt_orphans()
    try:
        child = os.posix_spawnp(
            argv[0], argv, os.environ, setpgroup=0, setsigmask=(), setsigdef=(signal.SIGPIPE, signal.SIGXFSZ)
        )
    except OSError as error:
        print(f"{argv[0]} can't be started: {error.strerror}", file=sys.stderr)
        return CAN_NOT_START
    known: dict[int, Process] = {}
    status, next_walk = None, time.monotonic()
    while status is None and not told_to_stop and os.getppid() == parent:
        if not adopts and time.monotonic() >= next_walk:
            known = descendants(os.getpid(), known, living_processes())
            next_walk = time.monotonic() + WALK_SECONDS
        time.sleep(POLL_SECONDS)
        status, _ = reap(child)
    end_all(child, known)
    if status is None:
        return 128 + (told_to_stop or [signal.SIGTERM])[0]
    return status if status >= 0 else 128 - status


def adopt_orphans() -> bool:
    """Make this process the new parent of all its descendants that lose theirs. Linux only; returns whether it is."""
    if sys.platform != "linux":
        return False
    with suppress(ImportError, OSError, AttributeError):
        import ctypes

        return ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    return False


def reap(child: int) -> tuple[int | None, bool]:
    """Collect all children that have ended.

    Returns:
        The exit status of `child` (negative: a signal) if it was one of them, and whether there are any left.
    """
    status = None
    try:
        while True:
            number, how = os.waitpid(-1, os.WNOHANG)
            if number == 0:
                return status, True
            if number == child:
                status = os.waitstatus_to_exitcode(how)
    except ChildProcessError:
        return status, False


def end_all(child: int, known: dict[int, Process]) -> None:
    """SIGKILL the group of `child` and all descendants of this process, new ones too, until none is left.

    A walk alone can't tell that none is left: it misses what forks and ends while it goes on. But its orphans are
    this process's children then (where they are adopted), and children are counted by the system.
    """
    _kill(os.killpg, child)
    deadline, left = time.monotonic() + KILL_SECONDS, True
    while (known or left) and time.monotonic() < deadline:
        known = descendants(os.getpid(), known, living_processes())
        for number in known:
            _kill(os.kill, number)
        _, left = reap(child)
        time.sleep(0.01)


def _kill(kill: Callable[[int, int], None], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # gone already, or it took on another user's rights
        kill(number, signal.SIGKILL)


def descendants(root: int, known: dict[int, Process], table: dict[int, Process]) -> dict[int, Process]:
    """All in `table` that descend from `root` or from one of `known` that still lives, and those themselves.

    Args:
        root: number of a process, which is not part of the result.
        known: descendants of earlier walks; they count wherever they hang now.
        table: all living processes.
    """
    found = {number: now for number, then in known.items() if (now := table.get(number)) and now.birth == then.birth}
    children: dict[int, list[int]] = {}
    for number, process in table.items():
        children.setdefault(process.parent, []).append(number)
    to_visit = [root, *found]
    while to_visit:
        for number in children.get(to_visit.pop(), []):
            if number not in found and number != root:
                found[number] = table[number]
                to_visit.append(number)
    return found


def living_processes() -> dict[int, Process]:
    """All processes of the machine but those that have ended and wait to be collected."""
    return processes_of_proc(Path("/proc")) if sys.platform == "linux" else processes_of_ps()


def processes_of_proc(proc: Path) -> dict[int, Process]:
    """The living processes as Linux tells them."""
    table = {}
    for entry in os.listdir(proc):
        if entry.isdigit():
            with suppress(OSError):  # it ended meanwhile
                fields = (proc / entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                if fields[0] not in "ZX":
                    table[int(entry)] = Process(int(fields[1]), fields[19])
    return table


def processes_of_ps() -> dict[int, Process]:
    """The living processes as `ps` tells them, less that `ps` itself; none when it can't be run."""
    command = ["ps", "-axo", "pid=,ppid=,stat=,lstart="]
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as ps:
            table = parse_ps(ps.communicate()[0].splitlines())
    except OSError:
        return {}
    table.pop(ps.pid, None)
    return table


def parse_ps(lines: Iterable[str]) -> dict[int, Process]:
    """The living processes from lines of "pid ppid state time-of-birth"."""
    rows = [line.split(None, 3) for line in lines]
    return {int(row[0]): Process(int(row[1]), row[3]) for row in rows if len(row) == 4 and row[2][0] != "Z"}


if __name__ == "__main__":
    sys.exit(main())
