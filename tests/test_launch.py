"""A launched process: where it imports from, what it is told, how it ends, and the limits it gets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_autoresearch import launch, paths
from mlx_autoresearch.files import read_json
from mlx_autoresearch.machine import GIB, Machine
from mlx_autoresearch.settings import PARENT_VARIABLE, SETTINGS_VARIABLE, RunSettings


def run_launched(target: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = launch.launch_command(target)
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder, env=os.environ | environment)


def machine_with(backend: str, memory: int | None, working_set: int | None = None) -> Machine:
    return Machine("chip", memory, working_set, 8, backend, "system", "0")


def test_file_runs_as_main_with_its_arguments_and_imports_from_the_project_only(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed json')")
    package = tmp_path / "mlx_autoresearch"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('shadowed package')")
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, json, mlx_autoresearch\nprint(__name__, sys.argv[1:], sys.path[0], mlx_autoresearch.__file__)"
    )
    child = run_launched(["program.py", "--seed", "3"], tmp_path)
    assert child.returncode == 0, child.stderr
    expected = f"__main__ ['--seed', '3'] {paths.PROJECT} {paths.PROJECT / 'mlx_autoresearch' / '__init__.py'}"
    assert child.stdout.strip() == expected


def test_module_runs_as_main(tmp_path: Path) -> None:
    (tmp_path / "value.json").write_text('{"a":1}')
    child = run_launched(["-m", "json.tool", "--compact", "value.json"], tmp_path)
    assert (child.returncode, child.stdout.strip()) == (0, '{"a":1}'), child.stderr


def test_exit_status_and_traceback_of_the_file_come_through(tmp_path: Path) -> None:
    (tmp_path / "leaves.py").write_text("import sys; sys.exit(7)")
    (tmp_path / "fails.py").write_text("def step():\n    raise ValueError('no such shape')\n\nstep()\n")
    assert run_launched(["leaves.py"], tmp_path).returncode == 7
    child = run_launched(["fails.py"], tmp_path)
    assert child.returncode == 1
    assert 'fails.py", line 2, in step' in child.stderr and "ValueError: no such shape" in child.stderr


@pytest.mark.parametrize("target", [["absent.py"], [], ["-m"]])
def test_nothing_to_run_is_one_sentence(target: list[str], tmp_path: Path) -> None:
    child = run_launched(target, tmp_path)
    assert child.returncode == 1
    assert child.stderr.startswith("error: ") and child.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="BLAS and compiled kernels are Linux matters")
def test_process_gets_fast_blas_and_a_lasting_cache(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    program = tmp_path / "program.py"
    program.write_text(
        "import os, faulthandler; from mlx_autoresearch import blas\n"
        "print(blas.load().library, os.environ['TMPDIR'], faulthandler.is_enabled())"
    )
    child = run_launched(["program.py"], tmp_path, MLX_AUTORESEARCH_CACHE=str(cache), TMPDIR="")
    library, folder, handler = child.stdout.rsplit(maxsplit=2)
    assert library.startswith("OpenBLAS ") and Path(folder).parent == cache and handler == "True"
    child = run_launched(["program.py"], tmp_path, MLX_AUTORESEARCH_CACHE=str(cache), TMPDIR=str(tmp_path))
    assert child.stdout.split()[-2] == str(tmp_path)  # one that is set is kept


@pytest.mark.skipif(sys.platform != "linux", reason="needs a library built here, with g++ as on Linux")
def test_mpi_that_would_end_the_process_is_not_loaded(tmp_path: Path) -> None:
    source, library = tmp_path / "mpi.cpp", tmp_path / "libmpi.so"
    source.write_text("#include <cstdlib>\n__attribute__((constructor)) void load() { _Exit(77); }")
    subprocess.run(["g++", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    (tmp_path / "program.py").write_text("import mlx.core as mx\nprint(mx.distributed.init().size())")
    path = {"LD_LIBRARY_PATH": str(tmp_path)}
    bare = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, env=os.environ | path, timeout=60)
    assert bare.returncode == 77  # MLX does try it
    assert run_launched(["program.py"], tmp_path, **path).stdout.strip() == "1"


def test_metal_limits_follow_the_working_set() -> None:
    small = launch.memory_limits(machine_with("metal", 8 * GIB, int(5.3 * GIB)))
    assert small.wired == small.memory == int(5.3 * GIB)
    assert GIB < small.cache < small.memory
    assert launch.memory_limits(machine_with("metal", 8 * GIB)) == launch.MemoryLimits()


def test_cpu_cache_is_raised_within_bounds_and_cuda_is_left_alone() -> None:
    assert launch.memory_limits(machine_with("cpu", 8 * GIB)) == launch.MemoryLimits(cache=GIB)
    assert launch.memory_limits(machine_with("cpu", 256 * GIB)).cache == 4 * GIB
    assert launch.memory_limits(machine_with("cpu", None)) == launch.MemoryLimits()
    assert launch.memory_limits(machine_with("cuda", 80 * GIB)) == launch.MemoryLimits()


def test_launched_process_has_the_limits_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import mlx.core as mx; from mlx_autoresearch import launch, machine\n"
        "expected = launch.memory_limits(machine.describe()).cache\n"
        "print(expected is None or mx.set_cache_limit(0) == expected)"
    )
    assert run_launched(["program.py"], tmp_path).stdout.strip() == "True"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (FloatingPointError("the loss is nan"), "nan"),
        (TimeoutError("over"), "timeout"),
        (MemoryError(), "out of memory"),
        (RuntimeError("[malloc] Unable to allocate 1073741824 bytes."), "out of memory"),
        (RuntimeError("[metal::malloc] Resource limit (499000) exceeded"), "out of memory"),
        (RuntimeError("[METAL] Command buffer execution failed: Insufficient Memory"), "out of memory"),
        (PermissionError(1, "Operation not permitted"), "not permitted"),
        (OSError(30, "Read-only file system"), "not permitted"),
        (FileNotFoundError(2, "No such file"), "python error"),
        (ValueError("out of memory of nanochat"), "python error"),
        (RuntimeError("[matmul] shapes differ, says nanochat"), "python error"),
    ],
)
def test_failure_class(error: Exception, expected: str) -> None:
    assert launch.failure_class(error) == expected


def test_a_training_run_that_raises_leaves_its_class(tmp_path: Path) -> None:
    settings = RunSettings(str(tmp_path), str(tmp_path), 1.0, 0, 0.0)
    settings.save(tmp_path / "run.json")
    (tmp_path / "diverges.py").write_text("raise FloatingPointError('the loss is nan at step 3')")
    (tmp_path / "leaves.py").write_text("raise SystemExit(0)")
    environment = {SETTINGS_VARIABLE: str(tmp_path / "run.json")}
    assert run_launched(["leaves.py"], tmp_path, **environment).returncode == 0
    assert not (tmp_path / launch.FAILURE_FILE).exists()
    child = run_launched(["diverges.py"], tmp_path, **environment)
    assert child.returncode == 1 and "FloatingPointError" in child.stderr
    assert read_json(tmp_path / launch.FAILURE_FILE) == {
        "failure": "nan",
        "type": "FloatingPointError",
        "message": "the loss is nan at step 3",
    }


def test_a_process_whose_starter_died_before_it_looked_ends_by_itself(tmp_path: Path) -> None:
    (tmp_path / "sleep.py").write_text("import time\ntime.sleep(60)\n")
    dead = subprocess.Popen(["true"])
    dead.wait()
    assert run_launched([str(tmp_path / "sleep.py")], tmp_path, **{PARENT_VARIABLE: str(dead.pid)}).returncode == 1
