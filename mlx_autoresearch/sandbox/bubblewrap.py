"""Linux with bubblewrap: a file system that holds nothing but what is named, and namespaces of its own for the rest.

The job has its own process table (nothing outside can be signalled, traced or read through /proc, and when its first
process dies the kernel kills all others), its own network without any interface but an empty loopback, its own IPC.
It has no capabilities, can't make further user namespaces, and gets no controlling terminal.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

from mlx_autoresearch.sandbox.policy import Policy

PROGRAM = "bwrap"

GPU_DEVICES = ("/dev/nvidia*", "/dev/nvidia-caps/*")


def find() -> str | None:
    """Path of bubblewrap, None where it is not installed."""
    return shutil.which(PROGRAM)


def gpu_devices() -> list[str]:
    """Devices of an NVIDIA GPU, which CUDA opens."""
    return sorted(name for pattern in GPU_DEVICES for name in glob.glob(pattern))


def command_line(program: str, command: list[str], policy: Policy) -> list[str]:
    """`command` inside bubblewrap. Later mounts cover earlier ones, so deeper paths come later."""
    line = [
        program,
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--cap-drop",
        "ALL",
        "--hostname",
        "sandbox",
    ]
    if "--disable-userns" in _options(program):
        line += ["--unshare-user", "--disable-userns"]
    line += ["--proc", "/proc", "--dev", "/dev", "--dir", "/tmp"]
    for device in gpu_devices():
        line += ["--dev-bind", device, device]
    mounts = {path.absolute(): "--ro-bind" for path in policy.readable}
    mounts |= {path.absolute(): "--bind" for path in policy.writable}
    for path, kind in sorted(mounts.items(), key=lambda mount: len(mount[0].parts)):
        around = next((mounts[folder] for folder in path.parents if folder in mounts), None)
        if kind != around:
            line += _mount(path, kind)
    # What is left of the root and of /dev are file systems in memory: read-only, or they could be filled.
    return [
        *line,
        "--remount-ro",
        "/dev",
        "--remount-ro",
        "/",
        "--chdir",
        str(policy.folder.absolute()),
        "--",
        *command,
    ]


def _mount(path: Path, kind: str) -> list[str]:
    """A link at the top of the file system, like /bin, stays a link; everything else appears where it is."""
    if path.is_symlink() and len(path.parts) == 2:
        return ["--symlink", os.readlink(path), str(path)]
    return [kind, str(path), str(path)] if path.exists() else []


@lru_cache(maxsize=4)
def _options(program: str) -> str:
    """What this version can do, as its help says."""
    answer = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=10)
    return answer.stdout + answer.stderr
