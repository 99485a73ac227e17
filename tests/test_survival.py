"""The quick form of `python -m tests.survival`: made-up nights, killed and refused writes at some of their steps."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import scipy.stats  # noqa: F401  once here, not in every forked night

from tests.made_up_night import STATUSES, TAG, Life, live, make_project
from tests.night_state import consistent
from tests.real_kills import differences
from tests.survival import fast_folder, kill_at, kill_life_after_life, refuse_from, think_ahead, undisturbed


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with fast_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def reference(folder: Path) -> tuple[Life, dict[str, Any]]:
    return undisturbed(folder)


def test_the_undisturbed_night_has_everything_in_it(reference: tuple[Life, dict[str, Any]]) -> None:
    life, state = reference
    assert tuple(facts["verdict"]["status"] for facts in state["experiments"].values()) == STATUSES
    assert [number for number, _ in state["branch"]] == [1, 6]
    assert len(life.operations) > 400


@pytest.mark.parametrize(("kind", "around"), [("kill", lambda: None), ("torn", think_ahead)])
def test_killed_life_after_life(
    folder: Path, reference: tuple[Life, dict[str, Any]], kind: str, around: Callable[[], None]
) -> None:
    lives, faults = kill_life_after_life(folder, 3, kind, reference[1], around)
    assert faults == [] and lives >= 5


@pytest.mark.parametrize("kind", ["kill", "torn"])
def test_killed_once_anywhere(folder: Path, reference: tuple[Life, dict[str, Any]], kind: str) -> None:
    life, wanted = reference
    for at in range(7, len(life.operations), 131):
        assert kill_at(folder, at, kind, wanted) == []


@pytest.mark.parametrize(("number", "lasts"), [(errno.ENOSPC, True), (errno.ENOSPC, False), (errno.EROFS, True)])
def test_a_write_that_fails(folder: Path, reference: tuple[Life, dict[str, Any]], number: int, lasts: bool) -> None:
    life, wanted = reference
    for at in range(5, len(life.operations), 127):
        assert refuse_from(folder, at, number, lasts, wanted) == []


def test_the_checks_can_fail(folder: Path, reference: tuple[Life, dict[str, Any]]) -> None:
    """Every kind of damage that `consistent` is there for is seen by it."""
    project = make_project(folder / "damaged" / "project")
    live(project)
    root = project / "runs" / TAG
    assert consistent(root, project) == []
    damages = {
        "results.tsv says": lambda: (root / "results.tsv").write_text(
            (root / "results.tsv").read_text().replace("discard", "keep")
        ),
        "best/train_mlx.py is not": lambda: (root / "best" / "train_mlx.py").write_text("x = 1\n"),
        "best.old is left": lambda: (root / "best.old").mkdir(),
        "t.lock is left": lambda: (project / ".git/refs/heads/autoresearch/t.lock").touch(),
        "verdict.partial.json is left": lambda: (root / "experiments/0002/verdict.partial.json").touch(),
        "status.json is missing or": lambda: (root / "status.json").write_text("{"),
        "is an interrupted run": lambda: (root / "experiments/0001/runs/9").mkdir(),
        "has models in": lambda: (root / "experiments/0002/runs/1/model.mlxfn").touch(),
        "is not decided": lambda: (root / "experiments/0005/verdict.json").unlink(),
        "names the commit": lambda: (root / "experiments/0006/commit.txt").write_text("f" * 40),
        "are numbered": lambda: (root / "experiments/0004").rename(root / "experiments/0009"),
    }
    for words, damage in damages.items():
        damage()
        assert any(words in fault for fault in consistent(root, project)), words


def test_estimates_may_differ_a_little_and_nothing_else_may() -> None:
    sentence = "Kept: 0.0123 better (chance 96.5 %, 3 runs)."
    wanted = {"verdict": {"noise": 0.012, "val_bpb": 1.3, "sentence": sentence}, "runs": [1, 2]}

    def with_verdict(**changes: Any) -> dict[str, Any]:
        return wanted | {"verdict": wanted["verdict"] | changes}

    close = with_verdict(noise=0.012001, sentence="Kept: 0.0124 better (chance 96.6 %, 3 runs).")
    assert not list(differences(close, wanted))
    for other in (
        with_verdict(noise=0.022),
        with_verdict(val_bpb=1.300001),
        with_verdict(sentence=sentence.replace("0.0123", "0.0153")),
        with_verdict(sentence=sentence.replace("3 runs", "4 runs")),
        wanted | {"runs": [1]},
        {"runs": [1, 2]},
    ):
        assert len(list(differences(other, wanted))) == 1
