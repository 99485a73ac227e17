"""What the loop says about itself on disk: true while it lives, harmless afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from mlx_autoresearch.experiment import Progress
from mlx_autoresearch.machine import awake_seconds
from mlx_autoresearch.status import BY_HAND, STATUS_FILE, StatusBoard, birth_of, is_working, read_status


def test_the_file_follows_and_is_written_only_for_something_new(tmp_path: Path) -> None:
    board = StatusBoard(tmp_path, "search", 300.0, None, 5)
    assert read_status(tmp_path) == board.status and is_working(board.status)
    board.stage("run 1", 7)
    folder = tmp_path / "experiments" / "0007" / "runs" / "1"
    written = []
    for seconds in (3.0, 3.1, 3.2):
        board.progress(Progress("train", seconds, 300.0, {}, folder))
        written.append((tmp_path / STATUS_FILE).stat().st_ino)
    assert len(set(written)) == 1
    status = read_status(tmp_path)
    assert (status.stage, status.experiment, status.phase) == ("run 1", 7, "train")
    assert tmp_path / status.folder == folder and 2.9 < awake_seconds() - status.since < 60
    board.stage("writing the report")
    assert read_status(tmp_path).folder == "" and read_status(tmp_path).experiment is None
    board.end(BY_HAND)
    assert read_status(tmp_path).ended == BY_HAND and not is_working(read_status(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [STATUS_FILE]


def test_a_stale_file_claims_nothing(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    status = replace(StatusBoard(tmp_path, "search", 300.0).status, pid=child.pid, birth=birth_of(child.pid))
    assert is_working(status)
    assert not is_working(replace(status, birth="1"))  # another process has got its number
    child.communicate(b"\n")
    assert not is_working(status) and birth_of(child.pid) is None and not is_working(None)


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="needs os.waitid, which Python on macOS has from 3.13 on")
def test_a_process_that_waits_to_be_collected_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert birth_of(child.pid) is None
    child.wait()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"more": 1}', "[" * 100_000])
def test_a_damaged_file_is_no_status(tmp_path: Path, text: str) -> None:
    (tmp_path / STATUS_FILE).write_text(text)
    assert read_status(tmp_path) is None


def test_a_disk_that_refuses_stops_nothing(tmp_path: Path) -> None:
    board = StatusBoard(tmp_path / "not there", "search", 300.0)
    board.stage("run 1", 1)
    board.end(BY_HAND)
    assert board.status.ended == BY_HAND and not (tmp_path / "not there").exists()


def test_json_holds_every_field(tmp_path: Path) -> None:
    board = StatusBoard(tmp_path, "search", 300.0)
    assert json.loads((tmp_path / STATUS_FILE).read_text()) == asdict(board.status)
