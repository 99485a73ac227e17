"""The live view of the real loop on a real terminal, and `--watch` beside it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from recorded_night import make_night
from small_project import PROJECT, make_project
from waiting import wait_until

from mlx_autoresearch.dataset import Dataset
from mlx_autoresearch.status import BY_HAND, read_status

HIDE_CURSOR, SHOW_CURSOR, OTHER_SCREEN, BACK = "\x1b[?25l", "\x1b[?25h", "\x1b[?1049h", "\x1b[?1049l"


@dataclass
class Session:
    """A program on a pseudo-terminal of its own; `text` is all that it wrote."""

    process: subprocess.Popen
    controller: int
    text: str = ""
    _reader: threading.Thread | None = field(default=None)

    def read(self) -> None:
        with suppress(OSError):  # how Linux says that nobody writes any more
            while self.process.poll() is None or select.select([self.controller], [], [], 0)[0]:
                if select.select([self.controller], [], [], 0.1)[0]:
                    self.text += os.read(self.controller, 65536).decode(errors="replace")

    def shows(self, pattern: str, seconds: float = 60) -> bool:
        return wait_until(lambda: re.search(pattern, self.text) is not None or self.process.poll() is not None, seconds)

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self.controller, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def press_ctrl_c(self) -> int:
        os.write(self.controller, b"\x03")
        status = self.process.wait(timeout=30)
        self._reader.join(5)
        return status


@contextmanager
def on_a_terminal(folder: Path, *arguments: str, columns: int = 100, **variables: str) -> Iterator[Session]:
    controller, terminal = pty.openpty()
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "MLX_DISABLE_COMPILE": "1", "TERM": "xterm-256color"}
    environment |= {"LANG": "C.UTF-8", "PYTHONPATH": str(folder), **variables}
    process = subprocess.Popen(
        [sys.executable, "-m", "mlx_autoresearch.loop", *arguments],
        cwd=folder,
        env=environment,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that ^C is a signal
    )
    os.close(terminal)
    session = Session(process, controller)
    session.resize(columns)
    session._reader = threading.Thread(target=session.read, daemon=True)
    session._reader.start()
    try:
        yield session
    finally:
        process.kill()
        process.wait()
        session._reader.join(5)
        os.close(controller)


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(PROJECT), **variables}
    command = [sys.executable, "-m", "mlx_autoresearch.loop", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def files_of(root: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in [root, *root.rglob("*")]}


def endless_source() -> str:
    """tests/tiny_train.py, but it trains until its time is over."""
    return (PROJECT / "tests" / "tiny_train.py").read_text().replace("step < STEPS", "STEPS")


def test_a_night_on_a_terminal_watched_from_two_others(tmp_path: Path, dataset: Dataset) -> None:
    """Takes about 20 s: the loop is watched while it trains, its window gets narrow, and Ctrl-C ends it."""
    project = make_project(tmp_path / "clone", dataset, endless_source())
    root = project / "runs" / "t"
    night = ("--agent", "search", "--tag", "t", "--budget", "60", "--experiments", "3")
    with on_a_terminal(project, *night) as loop:
        assert loop.shows(r"training, \d+ of 60 s left"), loop.text
        assert "Tag t: dataset simple" in loop.text and "0000 run 1" in loop.text
        assert loop.shows(r"step \d+.*loss \d.*tokens/s"), loop.text
        assert HIDE_CURSOR in loop.text
        with on_a_terminal(project, "--watch", "t") as watching:
            assert watching.shows(r"training, \d+ of 60 s left"), watching.text
            assert watching.shows(r"tokens/s") and OTHER_SCREEN in watching.text
            assert watching.press_ctrl_c() == 0
            assert watching.text.rstrip().endswith(BACK) and "Traceback" not in watching.text
            assert watching.text.rindex(SHOW_CURSOR) > watching.text.rindex(HIDE_CURSOR)
        once = run(project, "--watch", PYTHONPATH=str(project))
        assert once.returncode == 0 and "0000 run 1" in once.stdout and "\x1b" not in once.stdout, once
        before = len(loop.text)
        loop.resize(40)
        assert wait_until(lambda: "step" in loop.text[before + 2000 :], 10)
        assert loop.press_ctrl_c() == 0, loop.text
    assert "Stopped." in loop.text and "Traceback" not in loop.text
    assert loop.text.rindex(SHOW_CURSOR) > loop.text.rindex(HIDE_CURSOR)
    assert loop.text.rindex("Stopped.") > loop.text.rindex("s left")
    assert read_status(root).ended == BY_HAND
    assert "nothing runs: the night was stopped" in run(project, "--watch", "t", PYTHONPATH=str(project)).stdout
    assert subprocess.run(["pgrep", "-f", str(project)], capture_output=True, text=True).stdout == ""


def test_watching_changes_nothing_and_says_that_nothing_runs(tmp_path: Path) -> None:
    root = make_night(tmp_path / "runs" / "nov24", 6).root
    for path in (root, *root.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = files_of(root)
    variables = {"MLX_AUTORESEARCH_RUNS": str(root.parent)}
    for arguments in (("--watch",), ("--watch", "nov24"), ("--watch", "--tag", "nov24")):
        looked = run(tmp_path, *arguments, **variables)
        assert looked.returncode == 0, looked
        assert "nov24 · 6 edits decided" in looked.stdout and "nothing is known to run" in looked.stdout
    assert files_of(root) == before
    for path in (root, *root.rglob("*")):
        path.chmod(0o755)


def test_what_can_not_be_watched_gets_a_sentence(tmp_path: Path) -> None:
    variables = {"MLX_AUTORESEARCH_RUNS": str(tmp_path / "runs")}
    nothing = run(tmp_path, "--watch", **variables)
    assert nothing.returncode == 1 and nothing.stderr.startswith("error: There is no night under")
    unknown = run(tmp_path, "--watch", "nov31", **variables)
    assert unknown.returncode == 1 and "there is no run in" in unknown.stderr and "Traceback" not in unknown.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "variables", "redraws", "colours"),
    [
        ((), {}, True, True),
        ((), {"NO_COLOR": "1"}, True, False),
        (("--plain",), {}, False, True),
        ((), {"TERM": "dumb"}, False, False),
        ((), {"PYTHONIOENCODING": "latin-1"}, False, True),
    ],
)
def test_what_a_terminal_can_show(
    tmp_path: Path, arguments: tuple[str, ...], variables: dict[str, str], redraws: bool, colours: bool
) -> None:
    root = make_night(tmp_path / "runs" / "nov24", 2).root
    places = {"MLX_AUTORESEARCH_RUNS": str(root.parent), "PYTHONPATH": str(PROJECT)}
    with on_a_terminal(tmp_path, "--watch", *arguments, columns=60, **places, **variables) as watching:
        assert watching.shows("edits decided"), watching.text
        if redraws:
            assert watching.shows("Ctrl-C leaves") and watching.press_ctrl_c() == 0
        else:
            assert watching.process.wait(30) == 0
            watching._reader.join(5)
    assert (OTHER_SCREEN in watching.text) is redraws and "Traceback" not in watching.text
    assert (re.search(r"\x1b\[[0-9;]*3[0-9]m", watching.text) is not None) is colours
