"""Which dataset and which night the loop opens when nobody says so."""

from __future__ import annotations

import time
from pathlib import Path

from mlx_autoresearch.branch import check_tag
from mlx_autoresearch.corpus import open_source
from mlx_autoresearch.dataset import Dataset, open_dataset, prepare_dataset
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.history import Night, RunIdentity
from mlx_autoresearch.paths import data_root, runs_root
from mlx_autoresearch.report.terminal import Terminal


def open_or_make_dataset(name: str | None, terminal: Terminal) -> Dataset:
    """The dataset of this name, or the one prepared last; where nothing is prepared, the built-in stories are made.

    Raises:
        AutoresearchError: a dataset was named that is not prepared.
    """
    if name is None and not (data_root() / "current").exists():
        terminal.say(
            "No dataset is prepared: making the built-in stories, which needs no network. "
            "For TinyStories stop this, run `python prepare.py`, and start again."
        )
        return prepare_dataset(open_source("stories"))
    return open_dataset(name)


def dataset_of(tag: str | None) -> str | None:
    """The dataset of the night with this tag; None where there is no such night yet, or it can't be read."""
    if tag is None:
        return None
    check_tag(tag)
    try:
        return Night.read(runs_root() / tag).identity.dataset
    except AutoresearchError:
        return None  # a new one, or somebody's trouble that is told when the night is opened


def newest_tag(identity: RunIdentity) -> str | None:
    """The tag last worked on with this very dataset, budget and machine, if there is one."""
    tags = []
    for path in runs_root().glob("*/identity.json"):
        try:
            if Night.read(path.parent).identity == identity:
                results = path.parent / "results.tsv"
                tags.append(((results if results.exists() else path).stat().st_mtime, path.parent.name))
        except AutoresearchError:
            continue  # somebody else's trouble: it is reported when that tag is asked for
    return max(tags)[1] if tags else None


def choose_tag(tag: str | None, identity: RunIdentity, terminal: Terminal) -> str:
    """The tag asked for, else the newest night that this run can go on with, else today's date.

    Raises:
        AutoresearchError: the tag asked for can't be the name of a branch.
    """
    if tag is not None:
        check_tag(tag)
        return tag
    known = newest_tag(identity)
    if known is not None:
        terminal.say(f"Going on with tag {known}; start a new one with --tag NAME.")
        return known
    today = time.strftime("%b%d").lower()
    names = (today if count == 1 else f"{today}-{count}" for count in range(1, 1000))
    return next(name for name in names if not (runs_root() / name).exists())


def night_so_far(root: Path, identity: RunIdentity) -> Night:
    """The night in `root` as it is, an empty one where there is none: nothing is made or changed."""
    return Night.read(root) if (root / "identity.json").exists() else Night(root, identity)
