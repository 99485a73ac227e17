"""What a confined process may see, write and use up: plain data, the same for every platform.

Nothing is allowed that is not named here: the Python environment, this project's code, system libraries with the
compiler that MLX's CPU backend calls, the files of the dataset that the job needs, and the job's own folders.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlx_autoresearch import machine, paths
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.machine import GIB

SYSTEM_FOLDERS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store")
"""Programs and libraries, g++ and its headers among them. Links among them are kept as links."""

SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/sys/devices/system")
"""What the dynamic linker, Debian's compiler links and OpenBLAS (which counts cores) read."""

HIDDEN_CODE = ("corpus",)


@dataclass(frozen=True)
class Limits:
    """What a job may use up.

    Attributes:
        memory_bytes: of all its processes together, and of the data of any one.
        processes: processes and threads that it may have at a time.
        file_bytes: size of any file that it writes.
        disk_bytes: what its folders may hold together.
        open_files: file descriptors of any one process.
    """

    memory_bytes: int = 16 * GIB
    processes: int = 512
    file_bytes: int = 8 * GIB
    disk_bytes: int = 8 * GIB
    open_files: int = 1024


@dataclass(frozen=True)
class Policy:
    """What one job may do.

    Attributes:
        folder: its working folder; must be among `readable` or `writable`.
        readable: files and folders that it sees, read-only. What is absent is passed over.
        writable: folders that it may write.
        environment: its whole environment.
        limits: what it may use up.
    """

    folder: Path
    readable: tuple[Path, ...]
    writable: tuple[Path, ...]
    environment: Mapping[str, str]
    limits: Limits = field(default_factory=Limits)

    def require_hidden_home(self) -> None:
        """Refuse to show the whole home folder.

        Raises:
            AutoresearchError: the home folder, or one that holds it, is named.
        """
        home = Path.home().resolve()
        for path in (*self.readable, *self.writable):
            if home == path.resolve() or path.resolve() in home.parents:
                raise AutoresearchError(
                    f"{path} would have to be visible in the sandbox, and your home folder {home} lies in it; move the "
                    "project (or the Python environment) into a folder of its own"
                )


def limits_of_this_machine(folder: Path) -> Limits:
    """Limits that leave the machine alive: most of its memory, half of the disk that is free for `folder`."""
    disk = min(Limits.disk_bytes, shutil.disk_usage(folder).free // 2)
    return Limits(memory_bytes=memory_limit(machine.main_memory_bytes()), file_bytes=disk, disk_bytes=disk)


def memory_limit(memory: int | None) -> int:
    """Bytes that a run may hold on a machine with so much memory, which on a Mac is the GPU's too.

    A tenth stays for everything else, at least 1.5 GiB: a system with a browser takes more, but it can be compressed.
    """
    if memory is None:
        return Limits.memory_bytes
    return max(memory // 2, min(int(0.9 * memory), memory - 3 * GIB // 2))


def python_and_project() -> tuple[Path, ...]:
    """The interpreter with its packages, this project's code, and system libraries; nothing else of the person's.

    Of the code without `corpus/`: it can tell the built-in stories again, the held-out ones among them.
    """
    system = [Path(name) for name in (*SYSTEM_FOLDERS, *SYSTEM_FILES)]
    python = [
        Path(name) for name in dict.fromkeys((sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix))
    ]
    package = [path for path in (paths.PROJECT / "mlx_autoresearch").iterdir() if path.name not in HIDDEN_CODE]
    code = [*sorted(package), paths.PROJECT / "prepare.py"]
    return tuple(path for path in (*system, *python, *links_to(Path(sys.executable)), *code) if path.exists())


def links_to(program: Path) -> list[Path]:
    """Every name on the way from `program` to the file behind it: starting it means following all of them."""
    names = [program]
    while names[-1].is_symlink() and len(names) < 40:
        names.append(names[-1].parent / os.readlink(names[-1]))
    return names
