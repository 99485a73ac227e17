"""Start a Python file or module as a process that is set up for MLX: `python -m mlx_autoresearch.launch FILE.py ...`.

In order: the project folder takes the place of the current folder on `sys.path` (files lying in a run's folder can't
stand in for modules), a fast BLAS before `mlx.core` is imported, a lasting cache for compiled kernels, faulthandler,
memory limits, then the file or module as `__main__`. Other processes start theirs with `launch_command`. When a
training run ends in an exception, its class is left in the run's folder: nobody has to guess it from words in the log.

On Linux's CPU backend `mx.compile` calls g++ (see compiler.py) and keeps what it built under TMPDIR/mlx/<version>/cpu;
the first run ever pays 20-35 s for it, later ones load it. /tmp is emptied at reboot and may hold another user's `mlx`
folder, so TMPDIR, unless set, becomes a folder in the project's cache. Processes with the same TMPDIR share kernels and
trust them: give a process that must not run another's code a TMPDIR of its own.
"""

from __future__ import annotations

import errno
import faulthandler
import os
import runpy
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlx_autoresearch import blas, compiler, machine, paths
from mlx_autoresearch.errors import AutoresearchError, run_command_line
from mlx_autoresearch.files import write_json
from mlx_autoresearch.records import NAN, NOT_PERMITTED, OUT_OF_MEMORY, PYTHON_ERROR, TIMED_OUT
from mlx_autoresearch.settings import PARENT_VARIABLE, RunSettings

USAGE = "use: python -m mlx_autoresearch.launch FILE.py [arguments], or -m MODULE [arguments]"

FAILURE_FILE = "failure.json"
"""In the folder of a training run that raised: {"failure": class of failure, "type": exception, "message": text}."""

FAILURE_MESSAGE_CHARACTERS = 1000

OUT_OF_MEMORY_WORDS = ("malloc]", "insufficient memory", "out of memory")
"""What MLX's RuntimeErrors say when memory is short: [malloc], [metal::malloc], Metal's command buffers, CUDA."""

WITHOUT_MPI = {"MLX_MPI_LIBNAME": "none"}
"""For the environment: `mx.distributed.init()` tries MPI wherever its library is installed, and MPI that can't
start its daemon (in a sandbox, say) ends the process. The ring of `mlx.launch` doesn't need it."""

METAL_WIRED_SHARE = 1.0
"""Share of Metal's recommended working set to keep resident: +14 % speed (mlx PR 2006); more is refused."""

METAL_MEMORY_SHARE = 1.0
"""Share of the working set for MLX's memory limit: its own default of 1.5 reaches into swap on small machines."""

METAL_CACHE_SHARE = 0.5
"""Share of the working set for freed buffers: unbounded they swap on 16 GB (mlx issue 3129), 1 GiB costs 30-70 %."""

CPU_CACHE_SHARE, CPU_CACHE_MOST = 0.125, 4 * machine.GIB
"""On the CPU backend the same as a share of main memory and a bound in bytes: the default, 32 MB, is below one step."""

PARENT_CHECK_SECONDS = 1.0


@dataclass(frozen=True)
class MemoryLimits:
    """MLX's limits in bytes; None leaves MLX's own."""

    wired: int | None = None
    memory: int | None = None
    cache: int | None = None


def launch_command(target: list[str]) -> list[str]:
    """The command that runs `target`, ["FILE.py", ...] or ["-m", "module", ...], in a process set up by this file.

    It works from any current folder, with or without the package installed, and never imports from that folder: hence
    not `-m`, which would look there first.
    """
    start = f"import sys; sys.path[:] = [{str(paths.PROJECT)!r}] + [p for p in sys.path if p]; "
    return [sys.executable, "-c", start + "from mlx_autoresearch.launch import main; main()", *target]


def memory_limits(machine_facts: machine.Machine) -> MemoryLimits:
    """The limits for a machine. CUDA keeps MLX's own: its memory holds nothing else and never swaps."""
    memory, working_set = machine_facts.memory_bytes, machine_facts.working_set_bytes
    if machine_facts.backend == "metal" and working_set is not None:
        return MemoryLimits(
            wired=int(METAL_WIRED_SHARE * working_set),
            memory=int(METAL_MEMORY_SHARE * working_set),
            cache=int(METAL_CACHE_SHARE * working_set),
        )
    if machine_facts.backend == "cpu" and memory is not None:
        return MemoryLimits(cache=min(int(CPU_CACHE_SHARE * memory), CPU_CACHE_MOST))
    return MemoryLimits()


def apply_memory_limits(limits: MemoryLimits) -> None:
    """Set MLX's limits for this process. A wired limit that the system refuses (an older macOS) is left as it is."""
    import mlx.core as mx

    if limits.wired is not None:
        with suppress(ValueError, RuntimeError):
            mx.set_wired_limit(limits.wired)
    if limits.memory is not None:
        mx.set_memory_limit(limits.memory)
    if limits.cache is not None:
        mx.set_cache_limit(limits.cache)


def set_up_process() -> None:
    """Prepare this process for MLX; call it before anything imports `mlx.core`."""
    faulthandler.enable()
    os.environ.update(WITHOUT_MPI)
    compiler.set_up()
    threads, cores = blas.load().threads, len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
    if threads is not None and threads < cores:
        print(f"OpenBLAS uses {threads} of {cores} cores: the others are busy.", file=sys.stderr)
    apply_memory_limits(memory_limits(machine.describe()))


def run_target(arguments: list[str]) -> None:
    """Run a file or, after "-m", a module as `__main__` with the rest of `arguments` as its own.

    Raises:
        AutoresearchError: no target, or a file that doesn't exist.
    """
    is_module = arguments[:1] == ["-m"]
    target = arguments[1:] if is_module else arguments
    if not target:
        raise AutoresearchError(f"nothing to run; {USAGE}")
    if not is_module and not Path(target[0]).is_file():
        raise AutoresearchError(f"{target[0]} is not a file; {USAGE}")
    import_from_project()
    set_up_process()
    settings = RunSettings.from_environment()
    end_with_parent()
    sys.argv = list(target)
    try:
        if is_module:
            runpy.run_module(target[0], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(target[0], run_name="__main__")
    except Exception as error:
        if settings is not None:
            record_failure(Path(settings.folder), error)
        raise


def end_with_parent() -> None:
    """End this process within about a second of its parent's death, so that a killed loop leaves no run behind it.

    The parent says who it is (`PARENT_VARIABLE`), because it may have died before this process looks.
    """
    parent = int(os.environ.get(PARENT_VARIABLE) or os.getppid())

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="parent watch", daemon=True).start()


def failure_class(error: Exception) -> str:
    """The class of failure (see `records`) of an exception that ended a training run."""
    if isinstance(error, FloatingPointError):
        return NAN
    if isinstance(error, TimeoutError):
        return TIMED_OUT
    if isinstance(error, PermissionError) or (isinstance(error, OSError) and error.errno == errno.EROFS):
        return NOT_PERMITTED
    text = str(error).lower()
    short = isinstance(error, RuntimeError) and any(words in text for words in OUT_OF_MEMORY_WORDS)
    return OUT_OF_MEMORY if short or isinstance(error, MemoryError) else PYTHON_ERROR


def record_failure(folder: Path, error: Exception) -> None:
    """Leave `FAILURE_FILE` in a run's folder; a folder that can't be written is passed over."""
    message = str(error)[:FAILURE_MESSAGE_CHARACTERS]
    with suppress(OSError):
        write_json(
            folder / FAILURE_FILE,
            {"failure": failure_class(error), "type": type(error).__name__, "message": message},
        )


def import_from_project() -> None:
    """Put the project folder first on `sys.path` and take the current folder, which `python -m` put there, off it."""
    project = str(paths.PROJECT)
    unwanted = {"", os.getcwd(), project}
    sys.path[:] = [project, *(entry for entry in sys.path if entry not in unwanted)]


def main() -> None:
    """Command line: see `USAGE`."""
    run_command_line(lambda: run_target(sys.argv[1:]))


if __name__ == "__main__":
    main()
