"""Temporary folders: gone afterwards, and what dead processes left goes with the next one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from mlx_autoresearch.temporary import temporary_folder


def test_leftovers_of_dead_processes_go_and_nothing_else(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    left, stays = f"probe-{dead.pid}-abc", [f"probe-{os.getpid()}-abc", "probe-words-abc", "probe", "other-1-abc"]
    for name in (left, *stays):
        (tmp_path / name).mkdir()
    (tmp_path / left / "file").touch()
    (tmp_path / f"probe-{dead.pid}-socket").touch()
    with temporary_folder(tmp_path, "probe") as folder:
        assert folder.parent == tmp_path and list(folder.iterdir()) == []
        (folder / "more").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(stays)
