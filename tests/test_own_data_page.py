"""The worked examples of docs/own-data.md make the rows that the page says."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

import prepare

PROJECT = Path(__file__).resolve().parent.parent
PAGE = (PROJECT / "docs" / "own-data.md").read_text(encoding="utf-8")
COMMANDS = [line.strip() for block in re.findall(r"```\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
PREPARE = "python prepare.py "


def words_after(start: str) -> list[list[str]]:
    return [shlex.split(line.removeprefix(start), comments=True) for line in COMMANDS if line.startswith(start)]


def test_worked_examples_are_rows(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"diamonds.csv": "diamonds.csv", "reviews.csv": "reviews_sample.csv"}
    seen = set()
    for words in words_after(PREPARE):
        monkeypatch.setattr(sys, "argv", ["prepare.py", *words])
        arguments = prepare.parse_arguments()
        if arguments.rows and arguments.dataset in files:
            name = seen.add(arguments.dataset) or arguments.dataset
            arguments.dataset = str(samples / files[name])
            first = next(prepare.open_text_or_rows(arguments).documents())
            if name == "diamonds.csv":
                assert first in PAGE
            else:
                assert re.fullmatch(r"text: …?[^;]{1,402}; label: [01]", first)
    assert seen == set(files)
