"""A launch agent for macOS: the night goes on by itself after a reboot, until it is over or the agent is removed.

    python -m mlx_autoresearch.loop --install-launch-agent ...    the options of the night; it starts at once
    python -m mlx_autoresearch.loop --uninstall-launch-agent      stops it and removes the agent

launchd starts the loop when the person logs in, and again when it ended by a failure; a night that is over, or was
stopped, ends with status 0 and is left alone until the next log-in. No key is written into the agent's file: keys come
from the keychain when the night starts. Written after launchd.plist(5), launchctl(1) and security(1), not yet run on a
Mac.
"""

from __future__ import annotations

import os
import plistlib
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.files import written_atomically
from mlx_autoresearch.night_lock import NightLock
from mlx_autoresearch.paths import PROJECT
from mlx_autoresearch.process import PASSED_ON_PREFIXES

LABEL = "mlx-autoresearch.night"
"""One for all nights: two of them at a time would disturb each other's measurements."""

LOG_FILE = "launch-agent.log"

KEYCHAIN_SERVICE = "mlx-autoresearch"

KEYS = {
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    "claude": ("ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"),
    "codex": ("OPENAI_API_KEY", "CODEX_API_KEY"),
    "chat": ("OPENAI_API_KEY",),
}
"""Variables that hold an agent's credentials, where it takes them from the environment."""

PASSED_ON = (
    "PATH",
    "LANG",
    "LC_ALL",
    "SSL_CERT_FILE",
    "HF_HOME",
    "ANTHROPIC_BASE_URL",
    "CLAUDE_CONFIG_DIR",
    "CODEX_HOME",
)
"""What else the night needs of the person's environment; launchd sets HOME, USER and TMPDIR."""

OWN_OPTIONS = ("install_launch_agent", "uninstall_launch_agent")
"""The loop's options that are about the agent, not the night."""

GUARDED_FOLDERS = ("Desktop", "Documents", "Downloads")
"""Folders below home that macOS keeps from programs that no window belongs to."""

RETRY_SECONDS = 600
"""Between two starts of a night that failed: the disk may be full, the network away."""

STOP_SECONDS = 60
"""For the night to end its runs when it is told to stop; then launchd kills it."""

POLL_SECONDS = 0.2


def install(options: Mapping[str, Any], folder: Path) -> list[str]:
    """Write the launch agent, check it, and start it; one that is there already is stopped and replaced.

    Args:
        options: the loop's options by name, as argparse has them, with tag, dataset and agent settled: a night that
            starts again must not choose anew. None and False were not given.
        folder: runs/<tag>, which gets the log of what launchd starts.

    Returns:
        What to tell the person, a sentence each.

    Raises:
        AutoresearchError: this is no Mac, a key is not in the keychain, an option makes no sense here, another loop
            works on the night, or launchd refuses.
    """
    command = command_line(options)
    _require_macos(command)
    if options.get("hours") is not None:
        raise AutoresearchError(
            "--hours counts from every start, so a night that starts again by itself would never be over; leave it out "
            "for --install-launch-agent, or say --experiments N"
        )
    keys = keys_in_keychain(options["agent"], os.environ)
    _stop()
    with NightLock(folder):
        pass
    path = plist_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_atomically(path) as temporary:
            temporary.write_bytes(plistlib.dumps(description(command, keys, folder, os.environ)))
            _check(temporary)
    except OSError as error:
        raise AutoresearchError(f"{path} can't be written: {error.strerror}") from None
    _start(path)
    return list(_told(options["agent"], folder, keys))


def uninstall() -> str:
    """Stop the night that launchd runs and remove the agent; returns what to tell the person.

    Raises:
        AutoresearchError: this is no Mac, or launchd does not end it.
    """
    _require_macos(["python", "-m", "mlx_autoresearch.loop"])
    was_there = plist_path().exists()
    plist_path().unlink(missing_ok=True)
    if _stop() or was_there:
        return f"The launch agent {LABEL} is stopped and removed. What the night recorded stays."
    return f"There was no launch agent {LABEL}."


def plist_path() -> Path:
    """Where the agent's file lies."""
    return Path.home() / "Library" / "LaunchAgents" / f"{LABEL}.plist"


def command_line(options: Mapping[str, Any]) -> list[str]:
    """The loop with these options, with this very interpreter."""
    words = [sys.executable, "-m", "mlx_autoresearch.loop"]
    for name, value in options.items():
        if value is not None and value is not False and name not in OWN_OPTIONS:
            words += ["--" + name.replace("_", "-")] + ([] if value is True else [str(value)])
    return words


def description(
    command: list[str], keys: Iterable[str], folder: Path, environment: Mapping[str, str]
) -> dict[str, Any]:
    """The launch agent as launchd.plist(5) has it.

    Started at log-in (RunAtLoad), and again after a failure (SuccessfulExit false), though not within RETRY_SECONDS. As
    an interactive process, or macOS would slow it down, and its scores would not compare with those of a terminal.
    """
    log = str((folder / LOG_FILE).absolute())
    return {
        "Label": LABEL,
        "ProgramArguments": with_keys(command, keys),
        "WorkingDirectory": str(PROJECT),
        "EnvironmentVariables": passed_on(environment),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": RETRY_SECONDS,
        "ExitTimeOut": STOP_SECONDS,
        "ProcessType": "Interactive",
        "LimitLoadToSessionType": "Aqua",
        "StandardOutPath": log,
        "StandardErrorPath": log,
    }


def with_keys(command: list[str], keys: Iterable[str]) -> list[str]:
    """`command` with these variables, read from the keychain when it starts; it fails where one is not there."""
    lines = [f'{key}="$({shlex.join(_find_key(key))} -w)" && export {key} || exit 1' for key in keys]
    return ["/bin/sh", "-c", "; ".join([*lines, f"exec {shlex.join(command)}"])] if lines else command


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of this terminal that the night gets."""
    kept = {
        name: value for name, value in environment.items() if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }
    return {name: value for name, value in kept.items() if name != "MLX_AUTORESEARCH_RUN"}


def keys_in_keychain(agent: str, environment: Mapping[str, str]) -> list[str]:
    """The variables of an agent's credentials that the keychain holds.

    Raises:
        AutoresearchError: one that is set in the environment is not there.
    """
    found = []
    for name in KEYS.get(agent, ()):
        if subprocess.run(_find_key(name), capture_output=True).returncode == 0:
            found.append(name)
        elif environment.get(name):
            raise AutoresearchError(
                f"{name} is set in this terminal, but launchd does not see it, and a key does not belong into the "
                f"agent's file. Put it into your keychain once, then type the same command again: security "
                f"add-generic-password -s {KEYCHAIN_SERVICE} -a {name} -w    (it asks for the key)"
            )
    return found


def _find_key(name: str) -> list[str]:
    return ["security", "find-generic-password", "-s", KEYCHAIN_SERVICE, "-a", name]


def _told(agent: str, folder: Path, keys: list[str]) -> Iterator[str]:
    yield f"The night runs now, in the background, as launch agent {LABEL}. What it says: {folder / LOG_FILE}"
    yield (
        "It starts again when you log in after a reboot (nothing runs before you typed your password), and "
        f"{RETRY_SECONDS // 60} minutes after a failure."
    )
    if keys:
        yield f"Read from your keychain at every start: {', '.join(keys)}."
    if agent == "command":
        yield f"Of this terminal's environment your command gets these only: {', '.join(passed_on(os.environ))}."
    if any(Path.home() / name in PROJECT.parents for name in GUARDED_FOLDERS):
        yield (
            f'macOS may keep background programs out of {PROJECT}: if the log says "Operation not permitted", move '
            "the project out of Desktop, Documents and Downloads, and install it again."
        )
    yield "To stop it for good: python -m mlx_autoresearch.loop --uninstall-launch-agent"


def _require_macos(command: list[str]) -> None:
    if sys.platform != "darwin":
        raise AutoresearchError(
            "launch agents are macOS's. On Linux a systemd user service does the same: `systemctl --user edit --force "
            f"--full mlx-autoresearch` with WorkingDirectory={PROJECT}, ExecStart={shlex.join(command)}, "
            "Restart=on-failure and WantedBy=default.target, then `systemctl --user enable --now mlx-autoresearch` and "
            "`loginctl enable-linger`"
        )


def _check(path: Path) -> None:
    if shutil.which("plutil") is None:
        return
    answer = subprocess.run(["plutil", "-lint", str(path)], capture_output=True, text=True)
    if answer.returncode != 0:
        raise AutoresearchError(f"macOS does not accept the launch agent: {(answer.stdout + answer.stderr).strip()}")


def _stop() -> bool:
    """End the agent that launchd knows, and wait until it is gone; returns whether there was one."""
    if not _is_loaded():
        return False
    subprocess.run(["launchctl", "bootout", f"{_domain()}/{LABEL}"], capture_output=True)
    deadline = time.monotonic() + STOP_SECONDS + 10
    while _is_loaded():
        if time.monotonic() >= deadline:
            raise AutoresearchError(f"launchd does not end {LABEL}: see `launchctl print {_domain()}/{LABEL}`")
        time.sleep(POLL_SECONDS)
    return True


def _is_loaded() -> bool:
    return subprocess.run(["launchctl", "print", f"{_domain()}/{LABEL}"], capture_output=True).returncode == 0


def _start(path: Path) -> None:
    # A person may have switched it off in System Settings, Login Items; installing it again means on.
    subprocess.run(["launchctl", "enable", f"{_domain()}/{LABEL}"], capture_output=True)
    answer = subprocess.run(["launchctl", "bootstrap", _domain(), str(path)], capture_output=True, text=True)
    if answer.returncode != 0:
        path.unlink()
        raise AutoresearchError(
            f"launchd refused the agent ({(answer.stderr or answer.stdout).strip()}). It needs a session at the "
            "screen: log in at the Mac itself, not only by ssh, and try again"
        )


def _domain() -> str:
    """launchd's domain of the person's session at the screen."""
    return f"gui/{os.getuid()}"
