"""Child processes: deadlines, cleaned environments, no survivors."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest
from waiting import alive, wait_until

from mlx_autoresearch import process
from mlx_autoresearch.process import EXCESS, TIMEOUT, Stop, child_environment, run_process, tail


def run(tmp_path: Path, code: str, seconds: float = 20.0, **options) -> process.Outcome:
    command = [sys.executable, "-c", code]
    return run_process(command, tmp_path, child_environment({}), tmp_path / "log", seconds, **options)


def test_output_and_status(tmp_path: Path) -> None:
    outcome = run(tmp_path, "import sys; print('words'); print('more', file=sys.stderr); sys.exit(3)")
    assert (outcome.exit_status, outcome.stopped) == (3, None) and 0 < outcome.seconds < 20
    assert tail(tmp_path / "log") == "words\nmore\n"


def test_environment_holds_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "secret")
    monkeypatch.setenv("HF_TOKEN", "secret")
    run(tmp_path, "import os; print(sorted(os.environ.items()))")
    assert "secret" not in tail(tmp_path / "log") and "PATH" in tail(tmp_path / "log")


def test_deadline_kills_the_whole_group(tmp_path: Path) -> None:
    code = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "grandchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open('pids', 'w').write(f'{os.getpid()} {grandchild.pid}')\n"
        "time.sleep(60)"
    )
    started = time.monotonic()
    outcome = run(tmp_path, code, seconds=1.0)
    assert outcome.stopped == Stop(TIMEOUT, "it took longer than 1 s")
    assert outcome.exit_status == -signal.SIGKILL and time.monotonic() - started < 10
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert wait_until(lambda: not any(alive(pid) for pid in pids), 5)


def test_grandchildren_die_with_a_child_that_ends_by_itself(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys\n"
        "grandchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open('pid', 'w').write(str(grandchild.pid))"
    )
    assert run(tmp_path, code).stopped is None
    pid = int((tmp_path / "pid").read_text())
    assert wait_until(lambda: not alive(pid), 5)


def test_endless_output_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOG_LIMIT_BYTES", 100_000)
    outcome = run(tmp_path, "while True: print('x' * 1000)")
    assert outcome.stopped.kind == EXCESS and "printed more" in outcome.stopped.reason
    assert (tmp_path / "log").stat().st_size <= 100_000 and tail(tmp_path / "log").startswith("x")


def test_interrupt_kills_the_child(tmp_path: Path) -> None:
    def interrupt() -> None:
        if (tmp_path / "pid").exists():
            raise KeyboardInterrupt

    code = "import os, time; open('part', 'w').write(str(os.getpid())); os.rename('part', 'pid'); time.sleep(60)"
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, code, on_tick=interrupt)
    assert not alive(int((tmp_path / "pid").read_text()))


def test_interrupt_while_the_child_is_started_kills_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    class Interrupted(process.subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self.pid)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(process.subprocess, "Popen", Interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background are deaf to it
    try:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, "import time; time.sleep(60)")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(started) == 1 and not alive(started[0])


def test_command_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        run_process(["/nowhere/program"], tmp_path, {}, tmp_path / "log", 1.0)


def test_tail_of_a_log_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\xff\xfe" * 10 + b"end")
    assert tail(tmp_path / "log", 5).endswith("end") and tail(tmp_path / "none") == ""
