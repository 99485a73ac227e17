"""Supervised programs: their exit status comes through, and nothing of them lives on, however it ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from waiting import alive, wait_until

from mlx_autoresearch import supervise
from mlx_autoresearch.supervise import supervised

PROJECT = Path(__file__).resolve().parent.parent

DAEMON = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()                      # out of the group
    if os.fork() == 0:               # and no parent any more
        open("part", "w").write(str(os.getpid()))
        os.rename("part", "daemon")
        time.sleep(60)
    os._exit(0)
os.wait()
while not os.path.exists("daemon"):
    time.sleep(0.01)
"""
"""A program with a daemon; its own process goes on after these lines."""

GOES_ON = "open('part', 'w').write(str(os.getpid())); os.rename('part', 'pid'); time.sleep(60)"


def start(folder: Path, code: str) -> subprocess.Popen:
    command = supervised([sys.executable, "-c", code])
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, start_new_session=True)


def status_of(folder: Path, code: str) -> int:
    with start(folder, code) as running:
        return running.wait(20)


def written_pid(path: Path) -> int:
    assert wait_until(path.exists, 10)
    return int(path.read_text())


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("pass", 0),
        ("raise SystemExit(3)", 3),
        ("import os; os.kill(os.getpid(), 9)", 137),
        ("import os; os.abort()", 134),
    ],
)
def test_the_exit_status_comes_through(tmp_path: Path, code: str, status: int) -> None:
    assert status_of(tmp_path, code) == status


def test_input_output_and_folder_are_the_programs_own(tmp_path: Path) -> None:
    code = "import os, sys; print(sys.stdin.read() + os.getcwd())"
    done = subprocess.run(
        supervised([sys.executable, "-c", code]), input="in ", cwd=tmp_path, capture_output=True, text=True, timeout=20
    )
    assert done.stdout == f"in {tmp_path.resolve()}\n" and done.stderr == ""


def test_a_program_that_does_not_exist(tmp_path: Path) -> None:
    done = subprocess.run(supervised([str(tmp_path / "nothing")]), capture_output=True, text=True, timeout=20)
    assert done.returncode == supervise.CAN_NOT_START
    assert done.stderr == f"{tmp_path / 'nothing'} can't be started: No such file or directory\n"


def test_a_child_in_the_background_ends_with_the_program(tmp_path: Path) -> None:
    code = "import subprocess; open('pid', 'w').write(str(subprocess.Popen(['sleep', '60']).pid))"
    assert status_of(tmp_path, code) == 0
    assert not alive(int((tmp_path / "pid").read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux adopts orphans")
def test_a_daemon_ends_with_the_program(tmp_path: Path) -> None:
    assert status_of(tmp_path, DAEMON) == 0
    assert not alive(int((tmp_path / "daemon").read_text()))


@pytest.mark.skipif(shutil.which("ps") is None, reason="there is no ps")
def test_without_adoption_a_daemon_is_known_from_a_walk_before(tmp_path: Path) -> None:
    """As on macOS: `ps` tells the processes, and orphans go elsewhere."""
    program = DAEMON.replace("    os._exit(0)", "    time.sleep(0.8); os._exit(0)")
    as_on_macos = f"""
        import sys
        sys.path.insert(0, {str(PROJECT)!r})
        from mlx_autoresearch import process_tree, supervise
        supervise.adopt_orphans = lambda: False
        supervise.all_processes = process_tree.processes_of_ps
        supervise.WALK_SECONDS = 0.1
        sys.exit(supervise.main())
    """
    start_it = [sys.executable, "-c", textwrap.dedent(as_on_macos), str(os.getpid()), "--"]
    start_it += [sys.executable, "-c", program]
    assert subprocess.run(start_it, cwd=tmp_path, timeout=20).returncode == 0
    assert not alive(int((tmp_path / "daemon").read_text()))


def test_sigterm_kills_everything(tmp_path: Path) -> None:
    with start(tmp_path, DAEMON + GOES_ON) as running:
        pids = [written_pid(tmp_path / "pid"), written_pid(tmp_path / "daemon")]
        started = time.monotonic()
        running.terminate()
        assert running.wait(10) == 128 + signal.SIGTERM and time.monotonic() - started < 3
    assert not alive(pids[0]) and (sys.platform != "linux" or not alive(pids[1]))


def test_kill_9_of_the_parent_leaves_nothing(tmp_path: Path) -> None:
    program = DAEMON + GOES_ON
    parent_code = (
        f"import subprocess, sys; sys.path.insert(0, {str(PROJECT)!r})\n"
        "from mlx_autoresearch.supervise import supervised\n"
        f"running = subprocess.Popen(supervised([sys.executable, '-c', {program!r}]), start_new_session=True)\n"
        "open('supervisor', 'w').write(str(running.pid)); running.wait()"
    )
    parent = subprocess.Popen([sys.executable, "-c", parent_code], cwd=tmp_path)
    pids = [written_pid(tmp_path / name) for name in ("pid", "daemon", "supervisor")]
    parent.kill()
    parent.wait()
    gone = pids if sys.platform == "linux" else [pids[0], pids[2]]
    assert wait_until(lambda: not any(alive(pid) for pid in gone), 5)


def test_processes_that_keep_forking_are_killed_too(tmp_path: Path) -> None:
    code = (
        "import os, time\n"
        "for _ in range(5):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        while True:\n"
        "            if os.fork():\n"
        "                os._exit(0)\n"  # the child goes on under a new number
        "            open(f'mark-{os.getpid()}', 'w')\n"
        "            time.sleep(0.02)\n"
        "time.sleep(0.3)"
    )
    assert status_of(tmp_path, code) == 0
    marks = len(list(tmp_path.glob("mark-*")))
    time.sleep(0.3)
    assert marks > 5 and (sys.platform != "linux" or len(list(tmp_path.glob("mark-*"))) == marks)
