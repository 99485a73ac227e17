"""python prepare.py as a person types it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_autoresearch.dataset import open_dataset

PREPARE = Path(__file__).resolve().parent.parent / "prepare.py"


def prepare(*arguments: str, folder: Path, code: str = "") -> subprocess.CompletedProcess:
    start = [str(PREPARE)] if not code else ["-c", code]
    environment = {**os.environ, "COLUMNS": "120", "PYTHONPATH": str(PREPARE.parent)}
    return subprocess.run(
        [sys.executable, *start, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


@pytest.fixture()
def text_file(tmp_path: Path) -> Path:
    stories = [f"Story {index}. " + "The little dog ran home. " * 20 for index in range(600)]
    (tmp_path / "my stories.txt").write_text("\n\n\n".join(stories), encoding="utf-8")
    return tmp_path / "my stories.txt"


def test_prepares_a_file_and_says_what_is_next(text_file: Path) -> None:
    done = prepare("--dataset", text_file.name, "--max-train-mb", "0.1", folder=text_file.parent)
    assert done.returncode == 0, done.stderr
    dataset = open_dataset()
    assert dataset.text_bytes("train") <= 100_000
    for expected in ("documents", "tokens of 8192", "bytes a token", str(dataset.folder), "chosen evenly"):
        assert expected in done.stdout
    assert done.stdout.splitlines()[-1] == "Next: python -m mlx_autoresearch.loop"
    assert dataset.manifest["command"] == f"python prepare.py --dataset '{text_file}' --max-train-mb 0.1"
    again = prepare("--dataset", text_file.name, "--max-train-mb", "0.1", folder=text_file.parent)
    assert again.returncode == 0 and "already prepared" in again.stderr and "tokens of 8192" in again.stdout


def test_bad_input_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "three.txt").write_text("a\nb\nc\n")
    for dataset, words in (("three.txt", "at least 100 kB"), ("absent.txt", "absent.txt")):
        done = prepare("--dataset", dataset, folder=tmp_path)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("error: ") and words in last


def test_help_has_examples(tmp_path: Path) -> None:
    done = prepare("--help", folder=tmp_path)
    assert done.returncode == 0 and "python prepare.py --dataset stories" in done.stdout


def test_importing_and_preparing_need_no_mlx(text_file: Path) -> None:
    code = "import sys, prepare; prepare.main(); assert 'mlx.core' not in sys.modules, 'mlx was imported'"
    done = prepare("--dataset", text_file.name, folder=text_file.parent, code=code)
    assert done.returncode == 0, done.stderr


def test_rows_of_a_table(tmp_path: Path) -> None:
    colours = ("", "red", "red")
    lines = [f"{index},{index * 7919 % 3000 / 100:.2f},{colours[index % 3]},{index % 49}" for index in range(6000)]
    (tmp_path / "shop.csv").write_text(",weight kg,colour,price\n" + "\n".join(lines), encoding="utf-8")
    options = ("--dataset", "shop.csv", "--rows", "--target", "price", "--max-chars", "80")
    done = prepare(*options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    for words in (
        "6,000 rows, each with weight kg, colour; then the target 'price': a number",
        "Column '' is left out: it has no name",
        "Missing values are left out of their rows: colour 2,000",
        "Every row fits",
        "same features as an earlier row",
    ):
        assert words in done.stdout
    command = open_dataset().manifest["command"]
    assert command == f"python prepare.py --dataset {tmp_path / 'shop.csv'} --rows --target price --max-chars 80"
    assert "already prepared" in prepare(*options, folder=tmp_path).stderr


def test_options_of_rows_that_make_no_sense(tmp_path: Path) -> None:
    for arguments, words in (
        ("--dataset a.csv --target price", "add --rows"),
        ("--rows", "name it with --dataset"),
        ("--dataset a.csv --rows --text-column text", "leave one of them out"),
    ):
        done = prepare(*arguments.split(), folder=tmp_path)
        assert done.returncode == 2 and words in done.stderr
