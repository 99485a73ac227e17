"""Run a foreign program so that nothing of it outlives the process that asked for it: `supervised` makes the command.

A small process stands between: it starts the program in a process group of its own, forwards its exit status, and kills
everything that the program started when the program ends, when the process that asked dies (by kill -9 too), and on
SIGTERM. The group is not enough, because a daemon leaves it with `setsid`. On Linux the supervisor adopts what loses
its parent (subreaper), so all of it is found below the supervisor. macOS has no such thing: there the descendants are
noted every second by a walk through `ps`, and a daemon that detaches between two walks is missed.

It starts in some 20 ms: standard library only, and of the project nothing but `process_tree`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mlx_autoresearch.process_tree import Process, all_processes, descendants

POLL_SECONDS = 0.1

WALK_SECONDS = 1.0
"""Between two walks through the processes, where orphans are not adopted."""

KILL_SECONDS = 5.0
"""How long to go on killing; only a process stuck in the kernel lives that long."""

PR_SET_CHILD_SUBREAPER = 36

CAN_NOT_START = 127
"""Exit status when the program can't be started, as of a shell."""

START = "import sys; sys.path.append({!r}); from mlx_autoresearch.supervise import main; sys.exit(main())"
"""The supervisor's program; the project comes last, so nothing in it stands in for a module of Python's."""


def supervised(argv: list[str]) -> list[str]:
    """The command that runs `argv` under supervision on behalf of this process.

    Start it in a session of its own. It ends with the program's exit status (128 + n after signal n, 127 when the
    program can't be started); SIGTERM makes it kill everything and end. Everything is gone when it has ended.
    """
    start = START.format(str(Path(__file__).resolve().parent.parent))
    return [sys.executable, "-I", "-S", "-c", start, str(os.getpid()), "--", *argv]


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
            known = living_descendants(known)
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
        known = living_descendants(known)
        for number in known:
            _kill(os.kill, number)
        _, left = reap(child)
        time.sleep(0.01)


def _kill(kill: Callable[[int, int], None], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # gone already, or it took on another user's rights
        kill(number, signal.SIGKILL)


def living_descendants(known: dict[int, Process]) -> dict[int, Process]:
    """What descends from this process, or from one of `known`, the descendants of an earlier look, and still lives."""
    found = descendants(os.getpid(), all_processes(), known)
    return {number: process for number, process in found.items() if not process.dead}
