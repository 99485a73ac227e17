"""On Linux's CPU backend: kernels compiled for this very processor, and where they are kept.

There `mx.compile` writes C++, calls `g++` by name and loads what comes out, built for the oldest x86-64: without vector
instructions, an exponential takes 20 ns. A `g++` of ours, first on PATH, adds `-march=native` and calls the real one.
What such a compiler builds is kept apart by processor, because another one may not know its instructions. Without
g++, MLX runs unfused. None of this applies on Metal.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from mlx_autoresearch import paths
from mlx_autoresearch.files import written_atomically

NAME = "g++"

FLAGS = "-march=native"


def set_up() -> None:
    """Give this process, and those that it starts, the compiler and a folder for compiled kernels that lasts.

    TMPDIR, under which MLX keeps them, is left alone where it is set. Done twice, it changes nothing. Where the cache
    can't be written, the system's own compiler and folder stay.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError):
        wrapper = make_wrapper()
        if wrapper is not None:
            os.environ["PATH"] = os.pathsep.join([str(wrapper), *_path_without(wrapper)])
    with suppress(OSError):
        kernels = kernels_folder()
        kernels.mkdir(parents=True, exist_ok=True)
        if not os.environ.get("TMPDIR") and os.access(kernels, os.W_OK):
            os.environ["TMPDIR"] = str(kernels)


def kernels_folder(owner: str = "") -> Path:
    """Where compiled kernels stay, by kind of processor; `owner` has a folder of its own."""
    return paths.cache_root() / "-".join(filter(None, ("compiled", owner, processor())))


def processor() -> str:
    """A short name for what this processor can do: the hash of its flags."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    told = next((line for line in lines if line.startswith(("flags", "Features"))), os.uname().machine)
    return hashlib.sha256(told.encode()).hexdigest()[:8]


def make_wrapper() -> Path | None:
    """The folder of our `g++`, made when missing; None where there is no compiler to call, or on another system.

    Raises:
        OSError: it is missing and the cache can't be written.
    """
    folder = paths.cache_root() / f"compiler-{processor()}"
    real = shutil.which(NAME, path=os.pathsep.join(_path_without(folder))) if sys.platform == "linux" else None
    if real is None:
        return None
    script = f'#!/bin/sh\nexec {shlex.quote(real)} {FLAGS} "$@"\n'
    wrapper = folder / NAME
    if not (wrapper.is_file() and wrapper.read_text(encoding="utf-8") == script):
        folder.mkdir(parents=True, exist_ok=True)
        with written_atomically(wrapper) as path:
            path.write_text(script, encoding="utf-8")
            path.chmod(0o755)
    return folder


def _path_without(folder: Path) -> list[str]:
    return [part for part in os.environ.get("PATH", os.defpath).split(os.pathsep) if part != str(folder)]
