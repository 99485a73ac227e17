"""The pages say what is so: every command is one that exists and takes these options, every link leads somewhere."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlx_autoresearch.arguments import build_parser

PROJECT = Path(__file__).resolve().parent.parent
PAGES = sorted([PROJECT / "README.md", PROJECT / "program.md", *PROJECT.glob("docs/*.md")])

BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`((?:[A-Z_]+=\S+ )*(?:python|make|\.venv/bin/python|mlx\.launch|pip)[ \n][^`]+)`")
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
OPTION_LINE = re.compile(r"^\s+--[a-z]")
PLACEHOLDERS = ("...", "…")


class ParsedError(Exception):
    """The command line was taken."""


def commands(page: Path) -> Iterator[str]:
    """Every command of a page, in blocks and in the text, without comments."""
    text = page.read_text(encoding="utf-8")
    for block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip() and not OPTION_LINE.match(line):
                yield line
    for span in SPAN.findall(BLOCK.sub("", text)):
        yield " ".join(span.split())


def is_command(line: str) -> bool:
    """Whether a line of a block is one to type, not output or text of a file."""
    return re.match(r"(?:[A-Z_]+=\S+ )*(?:python|make|\.venv/bin/python|mlx\.launch|pip) ", line) is not None


def words_of(line: str) -> list[str]:
    """The words of a command without its variables, comments and placeholders."""
    words = [word for word in shlex.split(line, comments=True) if word not in PLACEHOLDERS]
    while re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words.pop(0)
    return words


def ours(page: Path) -> list[list[str]]:
    """The commands of a page that start something of this project."""
    found = [words_of(line) for line in commands(page) if is_command(line)]
    return [words for words in found if not words[0].startswith("pip") and words[1:3] != ["-m", "pip"]]


def parse(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program read the command line, and no more.

    Raises:
        SystemExit: it does not take it.
        ImportError: there is no such program.
    """
    original = argparse.ArgumentParser.parse_args

    def parse_only(parser: argparse.ArgumentParser, *args: object, **options: object) -> None:
        original(parser, *args, **options)
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    if words[:1] == ["-m"]:
        name, arguments = words[1], words[2:]
        module = importlib.import_module(name)
        if not hasattr(module, "main"):
            module = importlib.import_module(f"{name}.__main__")
    else:
        name, arguments = words[0], words[1:]
        assert (PROJECT / name).is_file(), name
        if name == "train_mlx.py":
            assert not arguments
            return
        module = importlib.import_module(Path(name).stem)
    if "--help" in arguments:
        return
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(ParsedError):
        module.main()


def cases() -> list[tuple[str, list[str]]]:
    """Page and words of every command, each once."""
    return list({(page.name, tuple(words)): (page.name, words) for page in PAGES for words in ours(page)}.values())


@pytest.mark.parametrize(
    ("page", "words"), cases(), ids=lambda value: " ".join(value) if isinstance(value, list) else value
)
def test_commands_are_taken(page: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if words[0] == "make":
        targets = re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
        assert set(words[1:]) <= set(targets)
    elif words[1:3] == ["-m", "pytest"]:
        assert all((PROJECT / name).is_file() for name in words[3:])
    elif words[0] == "mlx.launch":
        assert (PROJECT / words[-1].replace("$PWD/", "")).is_file()
    else:
        parse(words[1:], monkeypatch)


def test_no_command_is_passed_over() -> None:
    for page in PAGES:
        for line in commands(page):
            assert is_command(line) or " -m mlx_autoresearch" not in line, f"{page.name}: {line}"


def test_options_that_are_listed_are_there() -> None:
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    listed = re.search(r"loop --help\n((?: +--.*\n)+)", text)[1]
    options = set(re.findall(r"--[a-z-]+", listed))
    assert len(options) > 5 and options <= set(re.findall(r"--[a-z-]+", build_parser().format_help()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).exists(), target


def test_an_option_that_is_not_there_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        parse(["-m", "mlx_autoresearch.loop", "--no-such-option"], monkeypatch)
