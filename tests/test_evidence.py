"""What a run left: links, pipes, giants and nonsense under the harness's names are found before anybody reads them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from mlx_autoresearch.curve import last_point, read_points
from mlx_autoresearch.evidence import clear_up, read_summary
from mlx_autoresearch.files import open_plain, remove_tree
from mlx_autoresearch.process import tail


def honest(folder: Path) -> Path:
    folder.mkdir()
    for name in ("run.json", "run.log", "curve.jsonl", "handin.json", "model.mlxfn", "model.safetensors"):
        (folder / name).write_text("content")
    return folder


def test_honest_folder_is_left_alone(tmp_path: Path) -> None:
    folder = honest(tmp_path / "run")
    before = {path: path.stat() for path in folder.iterdir()}
    assert clear_up(folder, whole=True) is None
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == {p: s.st_mtime_ns for p, s in before.items()}


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "socket", "folder", "giant"])
def test_model_that_is_no_plain_file_is_complained_about_and_removed(tmp_path: Path, kind: str) -> None:
    folder = honest(tmp_path / "run")
    secret, model = tmp_path / "secret", folder / "model.mlxfn"
    secret.write_text("secret")
    model.unlink()
    if kind == "link":
        model.symlink_to(secret)
    elif kind == "hard link":
        os.link(secret, model)
    elif kind == "pipe":
        os.mkfifo(model)
    elif kind == "socket":
        os.chdir(folder)
        with socket.socket(socket.AF_UNIX) as one:
            one.bind("model.mlxfn")
        os.chdir(tmp_path)
    elif kind == "folder":
        (model / "deep").mkdir(parents=True)
    else:
        model.touch()
        os.truncate(model, 50 << 30)
    assert clear_up(folder, whole=False).startswith("Its model.mlxfn ")
    assert not os.path.lexists(model) and secret.read_text() == "secret"


def test_names_that_the_harness_will_write_are_free(tmp_path: Path) -> None:
    folder = honest(tmp_path / "run")
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    for name in ("score.log", "result.json", "result.partial.json"):
        (folder / name).symlink_to(victim)
    (folder / "mine.txt").write_text("a person's own")
    assert clear_up(folder, whole=False) is None  # links are no accident, but none of these is a hand-in
    assert not (folder / "score.log").is_symlink() and (folder / "mine.txt").exists()
    assert clear_up(folder, whole=True) is None and not (folder / "mine.txt").exists()
    assert victim.read_text() == "untouched"


def test_locked_files_and_folders_are_opened(tmp_path: Path) -> None:
    folder = honest(tmp_path / "run")
    (folder / "curve.jsonl").chmod(0)
    folder.chmod(0)
    assert clear_up(folder, whole=True) is None
    assert (folder / "curve.jsonl").stat().st_mode & 0o400


def test_deep_and_locked_trees_are_removed_and_links_are_not_followed(tmp_path: Path) -> None:
    root, kept = tmp_path / "root", tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    root.mkdir()
    os.chdir(root)
    for _ in range(2000):
        os.mkdir("d")
        os.chdir("d")
    os.chdir(tmp_path)
    (root / "locked" / "inner").mkdir(parents=True)
    (root / "locked" / "inner" / "link").symlink_to(kept)
    (root / "locked" / "inner").chmod(0)
    (root / "locked").chmod(0)
    remove_tree(root)
    assert not root.exists() and (kept / "file").exists()
    remove_tree(root)


def test_readers_never_follow_links_or_wait_for_pipes(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"step": 1, "seconds": 1.0, "secret": 7}\n')
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(secret)
    os.mkfifo(pipe)
    for path in (link, pipe, tmp_path, tmp_path / "absent"):
        assert last_point(path) == {} and read_points(path) == [] and tail(path) == ""
        with pytest.raises(OSError):
            open_plain(path)
    assert last_point(secret)["secret"] == 7


def test_curve_holds_numbers_or_nothing(tmp_path: Path) -> None:
    curve = tmp_path / "curve.jsonl"
    lines = ['{"step": 1, "seconds": 2, "loss": null, "tokens": 5, "words": "x", "list": [1]}', "[" * 3000, "7", "{"]
    lines += ['{"step": "1", "seconds": 2}', '{"step": 1e400, "seconds": 2}', '{"step": 1}', '{"step": true}']
    lines += ['{"step": 1, "seconds": NaN}', '{"step": 1' + "0" * 400 + ', "seconds": 1}', "\x00\xff"]
    curve.write_text("\n".join(lines))
    assert read_points(curve) == [{"step": 1, "seconds": 2, "loss": None, "tokens": 5}]


@pytest.mark.parametrize(
    "text", ["", "[", "[]", "[" * 10000, '{"parameters": "many"}', '{"parameters": -1, "peak_memory_bytes": 1e99}']
)
def test_summary_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "handin.json").write_text(text)
    assert read_summary(tmp_path) == (None, None)
