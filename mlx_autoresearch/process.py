"""Child processes: started in a group of their own, with a cleaned environment, a deadline, and certain death.

This keeps an experiment from outliving its budget and from inheriting secrets through the environment. What it may see
and write while it lives is the sandbox's business.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mlx_autoresearch.files import open_plain
from mlx_autoresearch.machine import awake_seconds
from mlx_autoresearch.paths import PROJECT
from mlx_autoresearch.process_tree import kill_tree
from mlx_autoresearch.settings import PARENT_VARIABLE

PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "USER", "LOGNAME", "SSL_CERT_FILE")
"""What a child needs from the person's environment. Everything else stays behind, API keys above all."""

PASSED_ON_PREFIXES = ("MLX_", "OMP_", "OPENBLAS_", "CUDA_", "NVIDIA_", "LD_LIBRARY_", "VECLIB_")
"""Settings of MLX, of BLAS and of the GPU driver, which change how fast a run is."""

LOG_LIMIT_BYTES = 32 << 20
"""A process that prints more than this is stopped: endless output would fill the disk."""

LOG_KEPT_BYTES = 1 << 20
"""What is kept of such output, from its beginning: hundreds of such logs would fill the disk too."""

POLL_SECONDS = 0.1

STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

TIMEOUT, MEMORY, EXCESS, HOPELESS = "timeout", "memory", "excess", "hopeless"
"""Kinds of `Stop`: no time left, memory that the child took, anything else that was too much, not worth going on."""


@dataclass(frozen=True)
class Stop:
    """Why a child had to be stopped: one of the kinds above, and a clause with its numbers, "it took ..."."""

    kind: str
    reason: str


@dataclass(frozen=True)
class Outcome:
    """How a child process ended.

    Attributes:
        exit_status: its status; negative is the signal that ended it.
        stopped: why the parent, or the system, killed it; None when it ended by itself.
        seconds: its wall time, time asleep not counted.
        memory_bytes: the most memory that all of its processes were seen to hold; None when nobody looked.
    """

    exit_status: int
    stopped: Stop | None
    seconds: float
    memory_bytes: int | None = None


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child process: the named few variables, the project on PYTHONPATH, and `extra`."""
    kept = {
        name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }
    return kept | {"PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"} | dict(extra)


def with_parent(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` with this process's number, so that a child that starts when it is dead already ends by itself.

    Not for children in a process table of their own, who can't see it; their sandbox ends them.
    """
    return {**environment, PARENT_VARIABLE: str(os.getpid())}


def run_process(
    command: list[str],
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    seconds: float,
    on_tick: Callable[[], None] = lambda: None,
    guard: Callable[[int], Stop | None] = lambda pid: None,
) -> Outcome:
    """Run `command` in `folder` to its end, or to its death after `seconds`; whatever happens, nothing of it lives on.

    Args:
        command: argv.
        folder: working directory.
        environment: the child's whole environment.
        log: file that gets its standard output and error.
        seconds: deadline, counted on a clock that stands still while the machine sleeps.
        on_tick: called about every POLL_SECONDS, for progress.
        guard: called as often with the child's number; says why the child has to be stopped, None while all is well.

    Raises:
        OSError: the command can't be started.
        KeyboardInterrupt: passed on, after the child was killed.
    """
    with log.open("wb") as output:
        started, child = awake_seconds(), None
        try:
            with signals_held_back():
                child = subprocess.Popen(
                    command,
                    cwd=folder,
                    env=dict(environment),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            stopped = _watch(child, output.fileno(), started, seconds, on_tick, guard)
        finally:
            if child is not None:
                kill_group(child)
            if os.fstat(output.fileno()).st_size > LOG_LIMIT_BYTES:
                os.ftruncate(output.fileno(), min(LOG_KEPT_BYTES, LOG_LIMIT_BYTES))
    return Outcome(child.returncode, stopped, awake_seconds() - started)


@contextmanager
def signals_held_back() -> Iterator[None]:
    """What asks this process to stop is heard at the end of the block, not in it.

    Else it could come while a child is being started, and nobody would know of the child.
    """
    if threading.current_thread() is not threading.main_thread():  # others never run handlers
        yield
        return
    held: list[int] = []
    numbers = [number for number in STOPPING_SIGNALS if callable(signal.getsignal(number))]
    before = {number: signal.signal(number, lambda number, _: held.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in held:
            signal.raise_signal(number)


def _watch(
    child: subprocess.Popen,
    log: int,
    started: float,
    seconds: float,
    on_tick: Callable[[], None],
    guard: Callable[[int], Stop | None],
) -> Stop | None:
    """Wait for the child's end. The log is known by its descriptor: its name belongs to the child's folder."""
    deadline = started + seconds
    while child.poll() is None:
        if awake_seconds() >= deadline:
            return Stop(TIMEOUT, f"it took longer than {seconds:g} s")
        if os.fstat(log).st_size > LOG_LIMIT_BYTES:
            return Stop(EXCESS, f"it printed more than {LOG_LIMIT_BYTES / 2**20:.0f} MiB")
        if (stop := guard(child.pid)) is not None:
            return stop
        on_tick()
        with suppress(subprocess.TimeoutExpired):
            child.wait(max(0.0, min(POLL_SECONDS, deadline - awake_seconds())))
    return None


def kill_group(child: subprocess.Popen) -> None:
    """SIGKILL the child, what it started and its whole process group, and wait until the child is gone."""
    if child.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(child.pid, signal.SIGSTOP)  # or it could start new ones while the others are killed
        kill_tree(child.pid)
    with suppress(ProcessLookupError, PermissionError):  # PermissionError: macOS's answer when only zombies are left
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def tail(log: Path, characters: int = 2000) -> str:
    """The end of a log file as text; empty when there is none, or something else lies there."""
    try:
        with open_plain(log) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4 * characters))
            return file.read(4 * characters).decode("utf-8", errors="replace")[-characters:]
    except OSError:
        return ""
