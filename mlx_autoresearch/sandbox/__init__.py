"""The sandbox: code that a language model wrote runs with as few rights as training needs.

    sandbox = choice.choose().sandbox               the best one that proves itself on this machine
    confined = confine(command, policy, sandbox)    what to start instead of `command`

Linux: bubblewrap, else Landlock with namespaces. macOS: Seatbelt. Where none works, `choose` says so and the loop
refuses to start. What is promised, and what is not, is in docs/trust.md.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mlx_autoresearch import paths
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.process import HOPELESS, Outcome, Stop, child_environment, run_process, tail, with_parent
from mlx_autoresearch.sandbox import bubblewrap, seatbelt, warden
from mlx_autoresearch.sandbox.guard import Guard
from mlx_autoresearch.sandbox.policy import Limits, Policy, python_and_project

BUBBLEWRAP, LANDLOCK, SEATBELT, NOTHING = "bubblewrap", "Landlock", "Seatbelt", "none"
"""Kinds of sandboxes, as they are recorded with every run."""


@dataclass(frozen=True)
class Sandbox:
    """A way to confine processes on this machine.

    Attributes:
        kind: one of the kinds above.
        program: the program that makes it, where there is one.
        level: "strict" or "lenient" for Seatbelt, else empty.
        user_cache: for Seatbelt, the folder where Metal keeps compiled shaders.
    """

    kind: str
    program: str = ""
    level: str = ""
    user_cache: Path | None = None

    @property
    def name(self) -> str:
        """The name for people and for the record of a run."""
        return f"{self.kind} ({self.level})" if self.level else self.kind

    @property
    def confines(self) -> bool:
        """Whether it takes any rights away."""
        return self.kind != NOTHING


NO_SANDBOX = Sandbox(NOTHING)
"""Processes with the person's own rights."""

CHECK_SECONDS = 20.0
"""For a program that does nothing."""


@dataclass(frozen=True)
class Confined:
    """How to start a command and how to read what becomes of it.

    Attributes:
        command: argv.
        environment: the whole environment.
        folder: the working folder.
        guard: watches what it uses up.
        encodes_signals: whether a status above 128 means the signal that ended the command.
    """

    command: list[str]
    environment: Mapping[str, str]
    folder: Path
    guard: Guard
    encodes_signals: bool = False

    def exit_status(self, status: int) -> int:
        """The command's own status from that of the process that was started; negative is the signal that ended it."""
        if self.encodes_signals and 128 < status <= 128 + max(signal.valid_signals()):
            return 128 - status
        return status


def confine(command: list[str], policy: Policy, sandbox: Sandbox) -> Confined:
    """`command` (argv, its program an absolute path) with what `policy` allows, in `sandbox`.

    Without a sandbox it has the person's own rights, and only what it uses up is watched.

    Raises:
        AutoresearchError: the whole home folder would be visible.
    """
    environment, guard = dict(policy.environment), Guard(policy.limits, policy.writable)
    if not sandbox.confines:
        return Confined(command, with_parent(environment), policy.folder, guard)
    policy.require_hidden_home()
    if sandbox.kind == SEATBELT:
        line = seatbelt.command_line(_with_warden(command, policy), policy, sandbox.level, sandbox.user_cache)
        return Confined(line, with_parent(environment), policy.folder, guard)
    if sandbox.kind == LANDLOCK:
        # Python finds modules by listing the folder; Landlock shows the names below it then, but no contents.
        listed = _names((paths.PROJECT,))
        names = {"readable": _names(policy.readable), "writable": _names(policy.writable), "listed": listed}
        return Confined(_with_warden(command, policy, names), environment, policy.folder, guard, encodes_signals=True)
    line = bubblewrap.command_line(sandbox.program, _with_warden(command, policy), policy)
    return Confined(line, environment, policy.folder, guard, encodes_signals=True)


def run_confined(
    confined: Confined,
    log: Path,
    seconds: float,
    on_tick: Callable[[], None] = lambda: None,
    hopeless: Callable[[], str | None] = lambda: None,
) -> Outcome:
    """Run it to its end or its death, as `process.run_process` does; the status is the command's own.

    `hopeless` is called often and says why going on is not worth it; None while it is.

    Raises:
        OSError: it can't be started.
        KeyboardInterrupt: passed on, after everything was killed.
    """
    guard = confined.guard

    def stop(pid: int) -> Stop | None:
        if (stop := guard(pid)) is not None:
            return stop
        return None if (reason := hopeless()) is None else Stop(HOPELESS, reason)

    outcome = run_process(confined.command, confined.folder, confined.environment, log, seconds, on_tick, stop)
    status, stopped = confined.exit_status(outcome.exit_status), outcome.stopped
    if stopped is None and status == -signal.SIGKILL:
        stopped = guard.killed_by_system()
    return replace(outcome, exit_status=status, stopped=stopped, memory_bytes=guard.most_memory)


def require_working(sandbox: Sandbox) -> None:
    """Make sure that processes can still be confined, when one ended with a status that could say they can't.

    Status 125 is the warden's and 1 is bubblewrap's, but a program may end with them as well; so another one is tried.

    Raises:
        AutoresearchError: the sandbox can't be made any more.
    """
    paths.cache_root().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sandbox-check-", dir=paths.cache_root()) as name:
        folder, log = Path(name) / "inside", Path(name) / "log"
        folder.mkdir()
        policy = Policy(folder, python_and_project(), (folder,), child_environment({}))
        confined = confine([sys.executable, "-I", "-S", "-c", ""], policy, sandbox)
        if run_confined(confined, log, CHECK_SECONDS).exit_status > 0:
            words = tail(log).strip().splitlines()[-1:] or ["it says nothing"]
            raise AutoresearchError(
                f"the sandbox ({sandbox.name}) can't be made any more: {words[0]}. Nothing runs without it; `make "
                "doctor` tests it. Mend this and start the same command again: the run will be repeated"
            )


def _with_warden(command: list[str], policy: Policy, landlock: dict[str, list[str]] | None = None) -> list[str]:
    order = {"limits": _limits(policy.limits), "filter": sys.platform == "linux", "landlock": landlock}
    order |= {"cuda": landlock is None and bool(bubblewrap.gpu_devices()), "parent": os.getpid()}
    return [sys.executable, "-I", "-S", warden.__file__, json.dumps(order), *command]


def _limits(limits: Limits) -> dict[str, int | None]:
    """Limits of single processes; CUDA maps more address space than there is memory, so there only the guard counts."""
    known = asdict(limits)
    return known | {"memory_bytes": None} if bubblewrap.gpu_devices() else known


def _names(folders: tuple[Path, ...]) -> list[str]:
    return [str(path.absolute()) for path in folders]
