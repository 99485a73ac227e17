"""The live view in the loop's terminal: lines stay above it, faults stay in it, and the cursor always comes back."""

from __future__ import annotations

import atexit
import io
import os
import pty
import random
import signal
import sys
import time
from pathlib import Path

import pytest
from recorded_night import make_night
from rich.console import Console
from test_loop import make_loop, rate, shown, small_baseline, statuses  # noqa: F401 (a fixture)

from mlx_autoresearch.experiment import Progress
from mlx_autoresearch.history import Night
from mlx_autoresearch.loop import Loop
from mlx_autoresearch.records import DISCARD, KEEP
from mlx_autoresearch.report import terminal as terminal_module
from mlx_autoresearch.report.terminal import Terminal
from mlx_autoresearch.status import StatusBoard, read_status

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


def at_a_terminal(loop: Loop, plain: bool = False) -> Terminal:
    screen = {"force_terminal": True, "width": 100, "soft_wrap": True, "_environ": {"TERM": "xterm"}}
    console = Console(file=io.StringIO(), highlight=False, **screen)
    loop.terminal = Terminal(console, plain)
    loop.terminal.follow(StatusBoard(loop.night.root, "script", 300.0))
    return loop.terminal


def test_stages_are_told_and_lines_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal_module, "REFRESHES_PER_SECOND", 50)
    loop = make_loop(tmp_path / "night", [rate(0.9), rate(0.8)])
    terminal, works, seen = at_a_terminal(loop), loop.laboratory.run, []

    def run(file: Path, folder: Path, seed: int, splits: tuple[str, ...]) -> object:
        terminal.progress(Progress("train", 100.0, 300.0, {}, folder))
        seen.append(read_status(loop.night.root))
        time.sleep(0.05)
        return works(file, folder, seed, splits)

    loop.laboratory.run = run
    with terminal.live(loop.night):
        loop.run()
    text = shown(loop)
    assert [(s.experiment, s.stage, s.phase) for s in seen[:3]] == [
        (0, "run 1", "train"),
        (0, "run 2", "train"),
        (1, "run 1", "train"),
    ]
    assert "training, 200 of 300 s left" in text and "0001 run 1: an edit" in text
    assert text.count("0001  discard") == text.count("0002  discard") == 1
    assert text.rindex(SHOW_CURSOR) > text.rindex(HIDE_CURSOR)


def test_plain_lines_on_request(tmp_path: Path) -> None:
    loop = make_loop(tmp_path / "night", [rate(0.9)])
    with at_a_terminal(loop, plain=True).live(loop.night):
        loop.run()
    assert "0001  discard" in shown(loop) and "edits decided" not in shown(loop) and HIDE_CURSOR not in shown(loop)


def test_a_fault_of_the_view_is_no_fault_of_the_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("dictionary changed size [bold]")

    monkeypatch.setattr(terminal_module, "picture", broken)
    loop = make_loop(tmp_path / "night", [rate(0.9)])
    with at_a_terminal(loop).live(loop.night):
        loop.run()
    assert statuses(loop) == [KEEP, DISCARD]
    assert "can't be drawn at the moment (RuntimeError: dictionary changed size [bold])" in shown(loop)


def show_again_and_again(night: Night) -> None:
    """Start and stop the live view until a signal ends it; for a forked process on a terminal of its own."""
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)
    terminal = Terminal()
    terminal.follow(StatusBoard(night.root, "search", 300.0))
    try:
        os.write(1, b"ready")
        while True:
            with terminal.live(night):
                time.sleep(0.005)
    except KeyboardInterrupt:
        atexit._run_exitfuncs()


def test_ctrl_c_at_any_moment_gives_the_cursor_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    night, draw = make_night(tmp_path / "t", 1), random.Random(0)
    for _ in range(15):
        child, controller = pty.fork()
        if child == 0:
            try:
                show_again_and_again(night)
            finally:
                os._exit(0)
        text = ""
        try:
            while "ready" not in text:
                text += os.read(controller, 65536).decode()
            time.sleep(draw.uniform(0, 0.05))
            os.kill(child, signal.SIGINT)
            while piece := os.read(controller, 65536):
                text += piece.decode()
        except OSError:  # how Linux says that nobody writes any more
            pass
        os.waitpid(child, 0)
        os.close(controller)
        assert HIDE_CURSOR not in text or text.rindex(SHOW_CURSOR) > text.rindex(HIDE_CURSOR)
        assert "Traceback" not in text
