"""Where text comes from: TinyStories from the Hub, the built-in stories, or a person's own files, as a `Source`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from mlx_autoresearch.corpus.local_files import (
    READER_VERSION,
    format_of,
    list_files,
    read_documents,
    resolve_column,
    text_bytes,
)
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.files import sha256_of

STORIES_NAME = "stories"
TINYSTORIES_NAME = "tinystories"
STORY_SEED = 1
"""Seed of the built-in stories; another one gives another corpus."""

STORY_SAMPLE = 500
"""How many of the first stories are told to know the generator's version and the size of the corpus."""


@dataclass(frozen=True)
class Source:
    """Text to prepare a dataset from.

    Attributes:
        name: name of the dataset's folder: letters, digits, `_` and `-` only.
        identity: JSON that is equal exactly when the text is equal; a prepared dataset keeps it.
        documents: starts a fresh pass over the documents, streamed, the same ones in the same order every time.
        text_bytes: about how many bytes of text there are, for progress; None when unknown.
        split_key: the part of a document that decides whether it is trained on or held out; None for all of it.
            Documents with equal keys are always on the same side.
    """

    name: str
    identity: dict[str, Any]
    documents: Callable[[], Iterator[str]]
    text_bytes: int | None
    split_key: Callable[[str], str] | None = None


def open_source(dataset: str, text_column: str | None = None) -> Source:
    """Open a source of text: "tinystories" (downloaded once), "stories" (built in), or the path of local text.

    Args:
        dataset: one of the two names, or a file, a folder, or a glob pattern. `./stories` is a folder of that name.
        text_column: column that holds the text in csv, tsv, jsonl and parquet files; None to find it.

    Raises:
        AutoresearchError: nothing readable there, no such column, or the download failed.
    """
    if dataset == STORIES_NAME:
        return _stories(text_column)
    if dataset == TINYSTORIES_NAME:
        return _tinystories(text_column)
    return _local(dataset, text_column)


def _stories(text_column: str | None) -> Source:
    from mlx_autoresearch.corpus.stories import STORY_COUNT, generate_stories  # only for those who train on them

    if text_column is not None:
        raise AutoresearchError("The built-in stories have no columns: leave out --text-column.")
    # the first stories stand for the generator's version: whoever changes its words or rules changes them
    sample = "\0".join(generate_stories(STORY_SEED, STORY_SAMPLE)).encode()
    return Source(
        name=STORIES_NAME,
        identity={
            "kind": "stories",
            "seed": STORY_SEED,
            "count": STORY_COUNT,
            "first_stories_sha256": hashlib.sha256(sample).hexdigest(),
        },
        documents=remembered(partial(generate_stories, STORY_SEED, STORY_COUNT)),
        text_bytes=len(sample) * STORY_COUNT // STORY_SAMPLE,
    )


def remembered(make: Callable[[], Iterator[str]]) -> Callable[[], Iterator[str]]:
    """A source's `documents` that makes them once and keeps them for further passes; for small corpora."""
    kept: list[str] = []
    complete = False

    def documents() -> Iterator[str]:
        nonlocal complete
        if complete:
            yield from kept
            return
        kept.clear()
        for document in make():
            kept.append(document)
            yield document
        complete = True

    return documents


def _tinystories(text_column: str | None) -> Source:
    from mlx_autoresearch.corpus.hub import TINYSTORIES, tinystories_file  # imports the whole HTTP client

    file = tinystories_file()
    column = resolve_column([file], text_column or TINYSTORIES.text_column)
    identity = {
        "kind": "hub",
        "repo": TINYSTORIES.repo,
        "file": TINYSTORIES.file,
        "sha256": sha256_of(file),
        "text_column": column,
        "reader": READER_VERSION,
    }
    return Source(TINYSTORIES_NAME, identity, partial(read_documents, [file], column), text_bytes([file], column))


def _local(path: str, text_column: str | None) -> Source:
    files = list_files(path)
    column = resolve_column(files, text_column)
    size = sum(file.stat().st_size for file in files)
    with Console(stderr=True).status(f"Reading {path} ({size / 1e6:.1f} MB) ..."):
        identity = {
            "kind": "local",
            "files": [file_identity(file) for file in files],
            "text_column": column,
            "reader": READER_VERSION,
        }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return Source(
        name=f"{folder_safe(path)}-{digest[:8]}",
        identity=identity,
        documents=partial(read_documents, files, column),
        text_bytes=text_bytes(files, column),
    )


def file_identity(file: Path) -> dict[str, Any]:
    """A file by what is in it and how that is read; its name and place don't matter."""
    try:
        return {"format": format_of(file), "bytes": file.stat().st_size, "sha256": sha256_of(file)}
    except OSError as error:
        raise AutoresearchError(f"{file} can't be read: {error.strerror}.") from None


def folder_safe(path: str) -> str:
    """A short folder name from the last part of a path that is no pattern."""
    parts = [part for part in Path(path).expanduser().absolute().parts if not re.search(r"[*?\[\]]", part)]
    stem = Path(parts[-1]).stem
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:40] or "text"
