"""Fixed files: what a night must not survive, and what it must."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from mlx_autoresearch import fixed_files
from mlx_autoresearch.dataset import MANIFEST, Dataset, open_dataset
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.fixed_files import FixedFiles


@pytest.fixture
def project(tmp_path: Path) -> Path:
    package = tmp_path / "project" / "mlx_autoresearch"
    (package / "sandbox" / "__pycache__").mkdir(parents=True)
    for path in ("__init__.py", "metric.py", "sandbox/__init__.py"):
        (package / path).write_text("x = 1\n")
    for name in ("prepare.py", "train_mlx.py", "program.md", "ideas.md"):
        (package.parent / name).write_text("y = 1\n")
    return package.parent


@pytest.fixture
def watched(project: Path, dataset: Dataset, tmp_path: Path) -> FixedFiles:
    shutil.copytree(dataset.folder, tmp_path / "data")
    return FixedFiles.of(open_dataset(tmp_path / "data"), project)


def test_what_a_person_and_python_may_do_stops_nothing(watched: FixedFiles) -> None:
    for name in ("train_mlx.py", "program.md", "ideas.md", "notes.py"):
        (watched.project / name).write_text("edited")
    package = watched.project / "mlx_autoresearch"
    (package / "sandbox" / "__pycache__" / "x.cpython-311.pyc").write_bytes(b"x")
    (package / ".#metric.py").symlink_to("an editor's lock")
    (package / "metric.py").write_text("x = 1\n")  # saved as it was
    with watched.unchanged():
        pass


@pytest.mark.parametrize("name", ["prepare.py", "mlx_autoresearch/metric.py", "mlx_autoresearch/sandbox/__init__.py"])
def test_changed_code_stops_the_night_and_is_named(watched: FixedFiles, name: str) -> None:
    with pytest.raises(AutoresearchError, match=rf"{name} was changed.*Undo the change"), watched.unchanged():
        path = watched.project / name
        path.write_text("x = 2\n")
        os.utime(path, ns=(0, 0))


def test_code_that_vanished_or_appeared_stops_it(watched: FixedFiles) -> None:
    new = watched.project / "mlx_autoresearch" / "new.py"
    new.touch()
    with pytest.raises(AutoresearchError, match=r"new\.py was changed"):
        watched.check()
    new.unlink()
    watched.check()
    (watched.project / "mlx_autoresearch" / "metric.py").unlink()
    with pytest.raises(AutoresearchError, match=r"metric\.py was changed"):
        watched.check()


@pytest.mark.parametrize("name", [MANIFEST, "tokenizers/256.json", "val/tokens-1024.bin"])
def test_changed_data_stops_the_night_and_says_what_to_type(watched: FixedFiles, name: str) -> None:
    path = watched.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    with pytest.raises(AutoresearchError, match=rf"{name} was changed.*python prepare\.py"), watched.unchanged():
        path.write_bytes(content)


def test_large_files_are_read_again_only_when_something_touched_them(
    watched: FixedFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fixed_files, "SMALL_BYTES", 0)
    read: list[Path] = []
    real = fixed_files.sha256_of
    monkeypatch.setattr(fixed_files, "sha256_of", lambda path: read.append(path) or real(path))
    shard = watched.folder / "train" / "tokens-256.bin"
    watched.check()
    assert shard not in read
    before = shard.stat()
    content = bytearray(shard.read_bytes())
    shard.write_bytes(content)
    os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))
    watched.check()  # written, as it was
    assert read.count(shard) == 1
    content[7] ^= 1
    shard.write_bytes(content)
    os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))  # nobody can set the time of status change
    with pytest.raises(AutoresearchError, match=r"train/tokens-256\.bin was changed"):
        watched.check()


def test_a_block_that_fails_keeps_its_own_reason(watched: FixedFiles) -> None:
    with pytest.raises(KeyboardInterrupt), watched.unchanged():
        (watched.project / "prepare.py").write_text("changed")
        raise KeyboardInterrupt


def test_a_damaged_dataset_is_not_taken_for_the_standard(watched: FixedFiles) -> None:
    path = watched.folder / "test" / "tokens-256.bin"
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(AutoresearchError, match="damaged"):
        FixedFiles.of(open_dataset(watched.folder), watched.project)
