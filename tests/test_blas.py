"""The BLAS is really in place, and every way in which it can't be ends in a reason instead of an error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_autoresearch import blas, paths

LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="macOS has Accelerate")

REPORT = "import json; r = blas.load(); print(json.dumps([r.library, str(r.path), r.reason]))"


def in_fresh_process(code: str, **environment: str) -> list:
    """What `code` prints as JSON in a process of its own: loading a BLAS can't be undone."""
    child = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=paths.PROJECT,
        env=os.environ | environment,
    )
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout.splitlines()[-1])


@LINUX_ONLY
def test_load_makes_one_copy_and_mlx_computes_right_and_fast_with_it(tmp_path: Path) -> None:
    code = f"""
from mlx_autoresearch import blas
{REPORT}
first = r
import mlx.core as mx, numpy as np
a = np.random.default_rng(0).standard_normal((200, 300), dtype=np.float32)
close = bool(np.allclose(np.array(mx.array(a) @ mx.array(a.T)), a @ a.T, atol=1e-3))
again = blas.load().path == first.path
print(json.dumps([first.library, str(first.path), close, again, blas.measure_gflops(1024, 0.1)]))
"""
    library, path, close, same_again, gflops = in_fresh_process(code, MLX_AUTORESEARCH_CACHE=str(tmp_path))
    assert library.startswith("OpenBLAS ")
    assert Path(path).parent == tmp_path / "blas"
    assert close and same_again
    assert gflops > 10  # the one shipped with MLX reaches 2 to 5
    assert [file.name for file in (tmp_path / "blas").iterdir()] == [Path(path).name]  # nothing half-made stays


@LINUX_ONLY
def test_load_after_mlx_says_too_late(tmp_path: Path) -> None:
    code = f"import mlx.core\nfrom mlx_autoresearch import blas\n{REPORT}"
    library, _, reason = in_fresh_process(code, MLX_AUTORESEARCH_CACHE=str(tmp_path))
    assert library is None and "too late" in reason
    assert not (tmp_path / "blas").exists()


@LINUX_ONLY
@pytest.mark.parametrize(
    "module",
    [
        "mlx_autoresearch.sample",
        "mlx_autoresearch.ask",
        "mlx_autoresearch.export",
        "benchmarks.writing",
    ],
)
def test_commands_that_compute_import_mlx_after_the_fast_blas(module: str) -> None:
    """Else they take the one of MLX's wheel: opening a model takes ten times as long then."""
    code = f"import sys, importlib; importlib.import_module({module!r}); sys.exit('mlx.core' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=paths.PROJECT).returncode == 0


def test_a_cache_that_cannot_be_written_is_worked_around(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    code = f"from mlx_autoresearch import blas\n{REPORT}"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    library, _, _ = in_fresh_process(code, MLX_AUTORESEARCH_CACHE=str(blocked), TMPDIR=str(temporary))
    assert library.startswith("OpenBLAS ")
    assert not any(temporary.iterdir())


@LINUX_ONLY
def test_a_broken_copy_is_removed_and_made_again_next_time(tmp_path: Path) -> None:
    code = f"from mlx_autoresearch import blas\nblas.SYSTEM_LIBRARIES = ()\n{REPORT}"
    _, path, _ = in_fresh_process(code, MLX_AUTORESEARCH_CACHE=str(tmp_path))
    Path(path).write_bytes(b"torn")
    library, _, reason = in_fresh_process(code, MLX_AUTORESEARCH_CACHE=str(tmp_path))
    assert library is None and "scipy-openblas32 could not be used" in reason
    library, _, _ = in_fresh_process(code, MLX_AUTORESEARCH_CACHE=str(tmp_path))
    assert library.startswith("OpenBLAS ")


@LINUX_ONLY
def test_processes_may_make_the_copy_at_once(tmp_path: Path) -> None:
    code = f"from mlx_autoresearch import blas\n{REPORT}"
    environment = os.environ | {"MLX_AUTORESEARCH_CACHE": str(tmp_path)}
    command = [sys.executable, "-c", code]
    children = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=paths.PROJECT, env=environment)
        for _ in range(3)
    ]
    answers = [json.loads(child.communicate(timeout=60)[0]) for child in children]
    assert all(library.startswith("OpenBLAS ") for library, _, _ in answers)
    assert len(list((tmp_path / "blas").iterdir())) == 1


@LINUX_ONLY
def test_no_patchelf_and_no_system_library_give_both_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLX_AUTORESEARCH_CACHE", str(tmp_path))
    monkeypatch.setattr(blas, "SYSTEM_LIBRARIES", ("libnosuchblas.so.0",))
    monkeypatch.setattr(blas, "_global_library", lambda: None)
    monkeypatch.setattr(blas.shutil, "which", lambda *_, **__: None)
    monkeypatch.delitem(sys.modules, "mlx.core", raising=False)
    report = blas.load()
    assert report.library is None
    assert "patchelf" in report.reason and "libnosuchblas.so.0" in report.reason


@pytest.mark.parametrize(
    ("flags", "core_type"),
    [
        ("fpu sse2 avx2 fma avx512f avx512bw avx512dq avx512vl avx512cd", "SkylakeX"),
        ("fpu sse2 avx2 fma avx512f", "Haswell"),
        ("fpu sse2 avx", None),
        ("", None),
    ],
)
def test_core_type_follows_the_cpu_flags(flags: str, core_type: str | None) -> None:
    assert blas.core_type_for(set(flags.split())) == core_type


def test_macos_uses_accelerate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert blas.load() == blas.BlasReport("Accelerate")


@LINUX_ONLY
def test_busy_cores_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = iter([100.0, 100.0 + 0.95 * 0.2])
    monkeypatch.setattr(blas, "_busy_seconds", lambda cores: next(busy))
    clock = iter([0.0, 0.2])
    monkeypatch.setattr(blas.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(blas.time, "sleep", lambda seconds: None)
    assert blas.free_cores({0, 1, 2, 3}) == 3


def test_cores_are_never_fewer_than_one_and_shared_by_a_launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text('[["127.0.0.1:5000"], ["127.0.0.1:5001"], ["10.0.0.2:5000"]]')
    assert blas.processes_here({"MLX_HOSTFILE": str(hosts), "MLX_RANK": "1"}) == 2
    assert blas.processes_here({"MLX_HOSTFILE": str(hosts), "MLX_RANK": "2"}) == 1
    assert blas.processes_here({}) == blas.processes_here({"MLX_HOSTFILE": str(tmp_path), "MLX_RANK": "0"}) == 1
    monkeypatch.setattr(blas, "_busy_seconds", lambda cores: 50.0 * blas.time.monotonic())
    assert blas.free_cores({0, 1}, seconds=0.01) == 1


@LINUX_ONLY
def test_the_number_of_threads_is_told_and_a_persons_own_is_kept() -> None:
    code = (
        "import ctypes, json, os; from mlx_autoresearch import blas; r = blas.load();"
        "used = ctypes.CDLL(str(r.path)).scipy_openblas_get_num_threads();"
        "print(json.dumps([r.threads, used, os.environ.get('OPENBLAS_NUM_THREADS')]))"
    )
    threads, used, left = in_fresh_process(code, OPENBLAS_NUM_THREADS="")
    assert threads == used >= 1 and not left
    assert in_fresh_process(code, OPENBLAS_NUM_THREADS="1") == [None, 1, "1"]
