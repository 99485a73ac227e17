"""macOS with Seatbelt: a profile for `sandbox-exec` that shuts everything but the GPU and the named files.

Not yet run on a Mac. The rules for Metal follow reports that were measured on Macs: the IOKit class AGXDeviceUserClient
is all that Metal compute opens (nolabs-ai/nono PR 635, tetsuo-ai/agenc-core PR 1488, macOS 26), the service
com.apple.MTLCompilerService compiles shaders (agenc-core PR 1488, sandbox-runtime issue 560), and compiled ones go to
the user's cache folder below com.apple.metal* (claude-code issue 86757, WebKit PR 25267). Profiles that deny IOKit
altogether end MLX at its import (openai/codex issue 17644). Hence two levels and a self-test: "strict" names what may
be reached, "lenient" leaves IOKit, most services and the system's files open and shuts where people keep theirs; the
first that computes and proves its refusals is used.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from mlx_autoresearch import paths
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.sandbox.policy import Policy

PROGRAM = "/usr/bin/sandbox-exec"

LEVELS = ("strict", "lenient")

GPU_CLASSES = ("AGXDeviceUserClient", "IOSurfaceRootUserClient")

GPU_SERVICES = ("com.apple.MTLCompilerService", "com.apple.GPUCompilerService")

OTHER_SERVICES = (
    "com.apple.system.opendirectoryd.libinfo",
    "com.apple.system.notification_center",
    "com.apple.bsd.dirhelper",
    "com.apple.logd",
)
"""What the system libraries of any process look up."""

KEYCHAIN_SERVICES = (
    "com.apple.SecurityServer",
    "com.apple.securityd",
    "com.apple.security.keychaind",
    "com.apple.secd",
    "com.apple.security.agent",
)
"""Shut at both levels."""

READABLE_SYSTEM = (
    "/System", "/Library/Frameworks", "/Library/Apple", "/Library/Developer/CommandLineTools", "/usr", "/bin", "/sbin",
    "/opt/homebrew", "/private/etc/localtime", "/private/var/db/timezone", "/private/var/db/dyld", "/dev",
)  # fmt: skip


PERSONAL = ("/Users", "/Volumes", "/private/tmp", "/private/var/tmp", "/private/var/folders", "/private/var/root")
"""Where people and their programs keep files: shut at the lenient level, where the rest of the disk can be read."""


def command_line(command: list[str], policy: Policy, level: str, user_cache: Path) -> list[str]:
    """`command` under `sandbox-exec`; `user_cache` is the folder from `user_cache_folder`."""
    return [PROGRAM, "-p", profile(policy, level, user_cache), *command]


def user_cache_folder() -> Path:
    """Where Metal keeps compiled shaders: `getconf DARWIN_USER_CACHE_DIR`, /var/folders/.../C/.

    Raises:
        AutoresearchError: the system doesn't say.
    """
    try:
        answer = subprocess.run(["getconf", "DARWIN_USER_CACHE_DIR"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        answer = None
    if answer is None or not answer.stdout.startswith("/"):
        raise AutoresearchError("macOS does not say where its cache folder is (getconf DARWIN_USER_CACHE_DIR)")
    return Path(answer.stdout.strip())


def profile(policy: Policy, level: str, user_cache: Path) -> str:
    """The profile's text. Of several rules that match, the last one counts.

    Reading starts from a refusal of all file contents outside the system's folders ("lenient": of those in people's
    folders and the project's); names and sizes stay visible, because the dynamic linker and Python look along whole
    paths. Writing starts from a refusal of everything.
    """
    readable = " ".join(_below(path) for path in (*map(Path, READABLE_SYSTEM), *policy.readable, *policy.writable))
    writable = " ".join(_below(path) for path in policy.writable)
    rules = [
        "(version 1)",
        "(allow default)",
        "(deny network*)",
        "(deny appleevent-send)",
        "(deny process-fork)",
        "(deny signal)",
        "(allow signal (target self))",
        "(deny process-info*)",
        "(allow process-info* (target self))",
        '(deny sysctl-read (sysctl-name-prefix "kern.procargs"))',
        f"(deny file-read-data{'' if level == 'strict' else ' ' + _personal()})",
        f'(allow file-read-data (literal "/") {readable})',
        "(deny file-write*)",
        '(allow file-write-data (literal "/dev/null") (literal "/dev/zero") (literal "/dev/dtracehelper"))',
        f"(allow file-write* {writable})",
        f'(allow file-read-data file-write* (regex #"{_metal_caches(user_cache)}"))',
        *(f"(deny file-write* {_below(path)})" for path in policy.readable if _inside_writable(path, policy)),
    ]
    if level == "strict":
        rules += [
            "(deny iokit-open)",
            f"(allow iokit-open (iokit-user-client-class {_texts(GPU_CLASSES)}))",
            "(deny mach-lookup)",
            f"(allow mach-lookup {_names(GPU_SERVICES + OTHER_SERVICES)} "
            '(xpc-service-name "com.apple.MTLCompilerService"))',
        ]
    rules.append(f"(deny mach-lookup {_names(KEYCHAIN_SERVICES)})")
    return "\n".join(rules)


def _personal() -> str:
    own = (Path.home(), paths.PROJECT, paths.data_root(), paths.runs_root(), paths.cache_root())
    return " ".join(_below(path) for path in (*map(Path, PERSONAL), *own))


def _inside_writable(path: Path, policy: Policy) -> bool:
    return any(folder in path.parents for folder in policy.writable)


def _metal_caches(user_cache: Path) -> str:
    folder = "".join(f"\\{letter}" if letter in ".^$*+?()[]{}|" else letter for letter in _plain(user_cache))
    return rf"^{folder}/(.*/)?com\.apple\.(metal|metalfe|gpuarchiver)(/|$)"


def _below(path: Path) -> str:
    return f'(subpath "{_plain(path)}")'


def _plain(path: Path) -> str:
    """The real path, as Seatbelt compares it.

    Raises:
        AutoresearchError: it holds a character that could end a string of the profile.
    """
    text = str(path.resolve())
    if any(letter in text for letter in '"\\\n#'):
        raise AutoresearchError(f"{text!r} can't be named in a sandbox profile: rename that folder")
    return text


def _names(services: tuple[str, ...]) -> str:
    return " ".join(f'(global-name "{name}")' for name in services)


def _texts(words: tuple[str, ...]) -> str:
    return " ".join(f'"{word}"' for word in words)
