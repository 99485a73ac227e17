"""Trees of processes: found however they hide from their group, measured, and killed."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from waiting import wait_until

from mlx_autoresearch.process_tree import (
    Process,
    all_processes,
    descendants,
    kill_tree,
    parse_ps,
    processes_of_proc,
    processes_of_ps,
    usage,
)

FAMILY = """
import os, signal, time
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
kept = b"x" * (20 << 20)
time.sleep(60)
"""


def test_family_of_eight_is_measured_and_killed() -> None:
    child = subprocess.Popen([sys.executable, "-c", FAMILY])
    try:
        assert wait_until(lambda: usage(child.pid).memory_bytes > 8 * (20 << 20), 10)
        assert usage(child.pid).processes == 8
        family = descendants(child.pid, all_processes())
        assert len(family) == 7
        kill_tree(child.pid)
        table = all_processes()
        assert child.poll() is None and all(pid not in table or table[pid].dead for pid in family)
    finally:
        child.kill()
        child.wait()


def test_nothing_to_kill_takes_no_time() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    started = time.monotonic()
    kill_tree(child.pid)
    assert time.monotonic() - started < 1
    child.kill()
    child.wait()
    assert usage(child.pid).processes == 0


EXIT = {"x86_64": 60, "aarch64": 93}
"""Number of the system call that ends a single thread."""

HEADLESS = f"""
import ctypes, threading, time
kept = b"x" * (20 << 20)
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).syscall({EXIT.get(platform.machine())}, 0)
"""


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() not in EXIT, reason="a matter of Linux")
def test_a_process_whose_first_thread_has_ended_is_measured_and_killed() -> None:
    """It has the state of a zombie, but lives."""
    parent = subprocess.Popen(["sh", "-c", f"'{sys.executable}' -c '{HEADLESS}' & wait"])
    try:
        assert wait_until(lambda: b") Z " in b"".join(stats_of_children(parent.pid)), 10)
        assert usage(parent.pid).processes == 2 and usage(parent.pid).memory_bytes > 20 << 20
        kill_tree(parent.pid)
        assert wait_until(lambda: usage(parent.pid).processes <= 1, 5)
    finally:
        kill_tree(parent.pid)
        parent.kill()
        parent.wait()


def stats_of_children(pid: int) -> list[bytes]:
    return [Path(f"/proc/{number}/stat").read_bytes() for number in descendants(pid, all_processes())]


def processes(*rows: tuple[int, int, str]) -> dict[int, Process]:
    return {number: Process(parent, birth, 0) for number, parent, birth in rows}


def test_descendants_come_nearest_first() -> None:
    table = processes((1, 0, "a"), (2, 1, "b"), (3, 2, "c"), (4, 1, "d"), (5, 9, "e"))
    assert list(descendants(1, table)) == [2, 4, 3] and descendants(7, table) == {}


def test_descendants_by_parent_and_from_earlier_looks() -> None:
    table = processes(
        (1, 0, "a"), (10, 1, "b"), (11, 10, "c"), (12, 11, "d"), (20, 1, "e"), (21, 20, "f"), (30, 1, "g")
    )
    known = processes((20, 10, "e"), (30, 10, "another birth"), (40, 10, "gone"))
    assert set(descendants(10, table)) == {11, 12}
    assert set(descendants(10, table, known)) == {11, 12, 20, 21}
    assert descendants(10, {}, known) == {}


def test_lines_of_ps() -> None:
    text = (
        "    1     0  14320 Ss   Tue Nov 24 18:01:12 2026    \n"
        "  612     1   2048 Z+   Tue Nov 24 18:03:40 2026\n"
        "broken\n  9 x 1 S Tue Nov 24 18:03:40 2026\n  9 8 1 S\n"
    )
    assert parse_ps(text) == {
        1: Process(0, "Tue Nov 24 18:01:12 2026", 14320 * 1024),
        612: Process(1, "Tue Nov 24 18:03:40 2026", 2048 * 1024, dead=True),
    }
    assert parse_ps("") == {}


@pytest.mark.parametrize(
    "list_them",
    [
        pytest.param(processes_of_proc, marks=pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")),
        pytest.param(processes_of_ps, marks=pytest.mark.skipif(not shutil.which("ps"), reason="there is no ps")),
    ],
)
def test_this_machines_processes(list_them: Callable[[], dict[int, Process]]) -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        first, second = list_them()[child.pid], list_them()[child.pid]
        assert first.parent == os.getpid() and first.birth == second.birth and not first.dead
        assert list_them()[os.getpid()].parent == os.getppid() and list_them()[os.getpid()].memory_bytes > 1 << 20
        child.kill()
        assert wait_until(lambda: list_them()[child.pid].dead, 5)
