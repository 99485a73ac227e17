"""The compiler for MLX's CPU kernels: found first, told the processor, in nobody's way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_autoresearch import compiler

LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="kernels are compiled by g++ on Linux alone")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and a `g++` that prints what it is told."""
    (tmp_path / "system").mkdir()
    told = tmp_path / "system" / "g++"
    told.write_text('#!/bin/sh\necho "told: $@"\n')
    told.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(told.parent), "/usr/bin", "/bin"]))
    monkeypatch.setenv("TMPDIR", "")
    monkeypatch.setenv("MLX_AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@LINUX_ONLY
def test_the_compiler_is_told_the_processor_and_nothing_else_changes(cache: Path) -> None:
    compiler.set_up()
    once = os.environ["PATH"], os.environ["TMPDIR"]
    compiler.set_up()
    assert (os.environ["PATH"], os.environ["TMPDIR"]) == once  # a child of ours does not call itself for ever
    said = subprocess.run(["g++", "-O3", "a file.cpp"], capture_output=True, text=True, check=True).stdout
    assert said == "told: -march=native -O3 a file.cpp\n"
    assert Path(once[1]) == compiler.kernels_folder() and Path(once[1]).is_dir()
    assert compiler.kernels_folder("scorer") not in (Path(once[1]), *Path(once[1]).parents)


@LINUX_ONLY
def test_a_folder_that_the_person_chose_is_kept(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    compiler.set_up()
    assert os.environ["TMPDIR"] == str(tmp_path)


@LINUX_ONLY
def test_without_a_compiler_or_a_cache_all_stays_as_it_was(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write_text("a file where the cache should be")
    before = os.environ["PATH"]
    compiler.set_up()
    assert (os.environ["PATH"], os.environ["TMPDIR"]) == (before, "")
    cache.unlink()
    monkeypatch.setenv("PATH", str(cache.parent / "nowhere"))
    compiler.set_up()
    assert os.environ["PATH"] == str(cache.parent / "nowhere")


@LINUX_ONLY
def test_kernels_use_vector_instructions(tmp_path: Path) -> None:
    """What MLX itself has compiled, not what it was told: the flag must reach it in a launched process."""
    if not {"avx2", "fma"} <= set(Path("/proc/cpuinfo").read_text().split()):
        pytest.skip("this processor has no AVX2")
    program = tmp_path / "program.py"
    program.write_text(
        "import mlx.core as mx; f = mx.compile(lambda x: mx.exp(x) * 2 + 1); mx.eval(f(mx.ones((64,))))\n"
    )
    environment = {**os.environ, "MLX_AUTORESEARCH_CACHE": str(tmp_path / "cache"), "TMPDIR": ""}
    project = Path(__file__).resolve().parent.parent
    subprocess.run(
        [sys.executable, "-m", "mlx_autoresearch.launch", str(program)], cwd=project, env=environment, check=True
    )
    libraries = list((tmp_path / "cache").rglob("*.so"))
    assert libraries
    code = subprocess.run(["objdump", "-d", str(libraries[0])], capture_output=True, text=True, check=True).stdout
    assert "ymm" in code
