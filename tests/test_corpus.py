"""Sources: what they are called, when two are the same, and that each pass starts anew."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mlx_autoresearch.corpus import hub, open_source, stories
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.paths import data_root


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_local_source(tmp_path: Path) -> None:
    source = open_source(write(tmp_path / "My book (2nd ed.).txt", "One.\n\n\nTwo."))
    assert re.fullmatch(r"My-book-2nd-ed-[0-9a-f]{8}", source.name)
    assert list(source.documents()) == list(source.documents()) == ["One.", "Two."]
    assert source.text_bytes == 11
    assert json.loads(json.dumps(source.identity)) == source.identity


def test_identity_is_what_is_read_not_where_it_lies(tmp_path: Path) -> None:
    here, there = write(tmp_path / "a/x.txt", "One."), write(tmp_path / "b/y.txt", "One.")
    assert open_source(here).identity == open_source(there).identity
    assert open_source(here).name != open_source(there).name


def test_identity_follows_content_format_order_and_column(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "a/x.txt", "text,more\nOne,Two\n"),
        write(tmp_path / "b/x.txt", "text,more\nOne,Tw0\n"),
        write(tmp_path / "a/x.csv", "text,more\nOne,Two\n"),
        str(tmp_path / "a"),
    ]
    identities = [open_source(path).identity for path in paths]
    identities.append(open_source(paths[2], "more").identity)
    assert len({json.dumps(identity) for identity in identities}) == 5
    assert len({open_source(path).name for path in paths}) == 4


def test_chosen_and_named_column_are_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,text\n1,One\n")
    assert open_source(path).identity == open_source(path, "text").identity


def test_pattern_is_named_by_its_folder(tmp_path: Path) -> None:
    write(tmp_path / "letters/1.txt", "One.")
    assert open_source(str(tmp_path / "letters/*.txt")).name.startswith("letters-")


def test_missing_path_names_it(tmp_path: Path) -> None:
    with pytest.raises(AutoresearchError, match=r"nowhere\.txt.*tinystories.*stories"):
        open_source(str(tmp_path / "nowhere.txt"))


def test_stories_source(monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source("stories")
    assert source.name == "stories"
    assert source.identity == open_source("stories").identity
    first, again = source.documents(), source.documents()
    assert [next(first) for _ in range(5)] == [next(again) for _ in range(5)]
    assert 1_000_000 < source.text_bytes < 200_000_000
    monkeypatch.setattr(stories, "generate_stories", lambda seed, count: iter(["Another generator."] * count))
    assert open_source("stories").identity != source.identity
    with pytest.raises(AutoresearchError, match="no columns"):
        open_source("stories", "text")


def test_tinystories_source_reads_the_downloaded_file(samples: Path) -> None:
    downloaded = data_root() / "downloads" / hub.TINYSTORIES.file
    downloaded.parent.mkdir(parents=True)
    downloaded.symlink_to(samples / "tinystories_sample.parquet")
    source = open_source("tinystories")
    assert source.name == "tinystories"
    assert source.identity["repo"] == "karpathy/tinystories-gpt4-clean" and len(source.identity["sha256"]) == 64
    assert sum(1 for _ in source.documents()) == 9906
    with pytest.raises(AutoresearchError, match="'story'"):
        open_source("tinystories", "story")
