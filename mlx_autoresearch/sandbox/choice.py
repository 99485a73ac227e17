"""Which sandbox this machine has: every kind proves itself, from inside, before it is believed.

It counts only if MLX computes in it on the same backend as outside and everything that the probe tries is refused.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlx_autoresearch import machine, paths
from mlx_autoresearch.compiler import processor
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.launch import launch_command
from mlx_autoresearch.process import child_environment, tail
from mlx_autoresearch.sandbox import (
    BUBBLEWRAP,
    LANDLOCK,
    NO_SANDBOX,
    SEATBELT,
    Sandbox,
    bubblewrap,
    confine,
    run_confined,
    seatbelt,
    warden,
)
from mlx_autoresearch.sandbox.jobs import tools
from mlx_autoresearch.sandbox.policy import Policy, python_and_project
from mlx_autoresearch.temporary import remove_leftovers, temporary_folder

PROBE_SECONDS = 120.0
"""The first one ever compiles a kernel, with g++ or for Metal."""

SOCKET_NAME = "mlx-autoresearch-bait"

INSTALL = "sudo apt install bubblewrap (Fedora: sudo dnf install bubblewrap; Arch: sudo pacman -S bubblewrap)"

ALLOW_NAMESPACES = (
    "bubblewrap is installed but not allowed to make namespaces: on Ubuntu 24.04 or later give it an AppArmor profile "
    "(https://ubuntu.com/blog/ubuntu-23-10-restricted-unprivileged-user-namespaces), in a container start that with "
    "--security-opt seccomp=unconfined"
)


@dataclass(frozen=True)
class Choice:
    """What `choose` found.

    Attributes:
        sandbox: the best one that works, `NO_SANDBOX` where there is none.
        problems: a sentence for each better one that doesn't work.
        advice: what to type for a better one; empty when there is none.
    """

    sandbox: Sandbox
    problems: tuple[str, ...] = ()
    advice: str = ""

    @property
    def works(self) -> bool:
        """Whether there is a sandbox."""
        return self.sandbox.confines


def choose() -> Choice:
    """Test the sandboxes of this system, the best first, until one works. Takes seconds."""
    problems = []
    for candidate in candidates():
        if isinstance(candidate, str):
            problems.append(candidate)
            continue
        problem = problem_with(candidate)
        if problem is None:
            return Choice(candidate, tuple(problems), advice() if candidate.kind == LANDLOCK else "")
        problems.append(f"{candidate.name}: {problem}")
    return Choice(NO_SANDBOX, tuple(problems), advice())


def candidates() -> Iterator[Sandbox | str]:
    """The sandboxes to test, the best first; a sentence for one that is not there."""
    if sys.platform == "darwin":
        try:
            cache = seatbelt.user_cache_folder()
        except AutoresearchError as error:
            yield f"{SEATBELT}: {error}"
            return
        for level in seatbelt.LEVELS:
            yield Sandbox(SEATBELT, seatbelt.PROGRAM, level, cache)
        return
    program = bubblewrap.find()
    yield Sandbox(BUBBLEWRAP, program) if program else f"{BUBBLEWRAP} is not installed"
    version = warden.landlock_version()
    if version >= warden.OLDEST_LANDLOCK:
        yield Sandbox(LANDLOCK)
    else:
        yield f"{LANDLOCK}: this kernel has " + (f"only version {version}" if version else "none")


def advice() -> str:
    """What to type for the best sandbox of this system."""
    if sys.platform == "darwin":
        return "please report what `make doctor` says here, with the version of macOS"
    return ALLOW_NAMESPACES if bubblewrap.find() else INSTALL


def problem_with(sandbox: Sandbox) -> str | None:
    """Run the probe in `sandbox`: None when it computes and nothing gets through, else a sentence."""
    root = paths.cache_root()
    root.mkdir(parents=True, exist_ok=True)
    with temporary_folder(root, "probe") as folder, Bait(folder) as bait:
        answer = _probe(sandbox, folder, bait)
        if isinstance(answer, str):
            return answer
        open_ways = [*answer["open"], *bait.touched()]
    if answer["computes"] != machine.backend():
        return f"MLX computes on {answer['computes']} in it, on {machine.backend()} outside"
    return f"{', '.join(dict.fromkeys(open_ways))} got through" if open_ways else None


def _probe(sandbox: Sandbox, folder: Path, bait: Bait) -> dict | str:
    inside, log = folder / "inside", folder / "log"
    inside.mkdir()
    kernels = paths.cache_root() / "sandbox" / f"probe-{processor()}"
    kernels.mkdir(parents=True, exist_ok=True)
    environment = child_environment({"TMPDIR": str(kernels), "HOME": str(kernels)})
    readable = (*python_and_project(), *tools())
    policy = Policy(inside, readable, (inside, kernels), environment)
    command = launch_command(["-m", "mlx_autoresearch.sandbox.probe", json.dumps(bait.told())])
    try:
        confined = confine(command, policy, sandbox)
        outcome = run_confined(confined, log, PROBE_SECONDS)
    except (AutoresearchError, OSError) as error:
        return str(error)
    lines = [line for line in tail(log).splitlines() if line.strip()]
    if outcome.stopped is not None:
        return f"MLX gave no answer in it: {outcome.stopped.reason}"
    try:
        answer = json.loads(lines[-1])
        return {"computes": str(answer["computes"]), "open": list(answer["open"])}
    except (IndexError, ValueError, KeyError, TypeError):
        return f"MLX does not run in it (status {outcome.exit_status}): {lines[-1] if lines else 'no message'}"


class Bait:
    """What lies outside for the probe to find: a file, and sockets that notice when somebody gets through."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "outside" / "file"
        self.file.parent.mkdir()
        self.file.write_text("bait")
        remove_leftovers(Path("/tmp"), SOCKET_NAME)
        self._address = f"/tmp/{SOCKET_NAME}-{os.getpid()}-{os.urandom(4).hex()}"  # such names must be short
        self.sockets = {
            "a TCP connection": socket.socket(socket.AF_INET, socket.SOCK_STREAM),
            "a UDP packet": socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
            "a unix socket": socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
        }
        for name, one in self.sockets.items():
            one.bind(self._address if one.family == socket.AF_UNIX else ("127.0.0.1", 0))
            one.setblocking(False)
            if name != "a UDP packet":
                one.listen()

    def __enter__(self) -> Bait:
        """Itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the sockets."""
        for one in self.sockets.values():
            one.close()
        Path(self._address).unlink(missing_ok=True)
        shutil.rmtree(self.file.parent, ignore_errors=True)

    def told(self) -> dict:
        """What the probe needs to know."""
        ports = [one.getsockname()[1] for one in list(self.sockets.values())[:2]]
        facts = {"file": str(self.file), "tcp": ports[0], "udp": ports[1], "unix": self._address, "pid": os.getpid()}
        return facts

    def touched(self) -> list[str]:
        """What somebody reached, as seen from here."""
        found = [] if self.file.read_text() == "bait" else ["writing a file outside"]
        for name, one in self.sockets.items():
            try:
                one.recv(1) if one.type == socket.SOCK_DGRAM else one.accept()[0].close()
            except OSError:
                continue
            found.append(name)
        return found
