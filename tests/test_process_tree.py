"""Trees of processes: found however they hide from their group, measured, and killed."""

from __future__ import annotations

import subprocess
import sys
import time

from waiting import wait_until

from mlx_autoresearch.process_tree import Entry, all_processes, descendants, kill_tree, parse_ps, usage

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


def test_descendants_come_nearest_first() -> None:
    table = {1: Entry(0, 0), 2: Entry(1, 0), 3: Entry(2, 0), 4: Entry(1, 0), 5: Entry(9, 0)}
    assert descendants(1, table) == [2, 4, 3] and descendants(7, table) == []


def test_ps_of_macos() -> None:
    text = "    1     0  14320 Ss\n  523     1   2048 Z+\nnonsense line\n  9 x 1 S\n"
    assert parse_ps(text) == {1: Entry(0, 14320 * 1024), 523: Entry(1, 2048 * 1024, dead=True)}
    assert parse_ps("") == {}
