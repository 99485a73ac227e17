"""Nights that go on after something strange: git in an odd state, torn lines, clocks that jump, sleep."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import scipy.stats  # noqa: F401  once here, not in every forked night

from mlx_autoresearch import history, loop, machine
from mlx_autoresearch.timeline import read_spans
from tests.made_up_night import TAG, Fault, MadeUpLaboratory, live, make_project
from tests.night_state import end_state, git
from tests.survival import fast_folder, faults_of, undisturbed

HALFWAY = 250
"""Operations after which the first keep is committed and the second is still to come."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with fast_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def wanted(folder: Path) -> dict[str, Any]:
    return undisturbed(folder)[1]


@pytest.fixture
def project(folder: Path, request: pytest.FixtureRequest, wanted: dict[str, Any]) -> Path:
    """A night that was killed when one keep was on its branch and one was still to come."""
    project = make_project(folder / f"night-{abs(hash(request.node.name))}" / "project")
    assert live(project, Fault(HALFWAY, "kill")).status == -9
    assert git(project, "log", "--format=%s", f"autoresearch/{TAG}").splitlines() == ["FIRST 0.2", "start"]
    return project


def go_on(project: Path, around: Callable[[], None] = lambda: None) -> str:
    """The next life, which has to come to its end; what it said."""
    life = live(project, around=around)
    assert life.status == 0 and "Traceback" not in life.said, life.said
    return life.said


# --- git --------------------------------------------------------------------------------------------------------------


def detach(project: Path) -> None:
    git(project, "checkout", "--quiet", "--detach")


def soil(project: Path) -> None:
    (project / "train_mlx.py").write_text("unsaved = True\n")
    (project / "notes.txt").write_text("untracked\n")
    (project / "program.md").write_text("staged\n")
    git(project, "add", "program.md")


def delete_worktree(project: Path) -> None:
    shutil.rmtree(project / "runs" / TAG / "branch")


def leave_locks(project: Path) -> None:
    own = project / ".git" / "worktrees" / "branch"
    for lock in (own / "index.lock", own / "HEAD.lock", project / f".git/refs/heads/autoresearch/{TAG}.lock"):
        lock.touch()
    (project / ".git" / "index.lock").touch()  # the person's own, which is left alone


def begin_rebase(project: Path) -> None:
    """Stop in the middle of a rebase with a conflict, in the person's own checkout."""
    identity = ("-c", "user.name=A", "-c", "user.email=a@localhost")
    git(project, "checkout", "--quiet", "-b", "mine")
    for branch, text in (("mine", "one\n"), ("main", "two\n")):
        git(project, "checkout", "--quiet", branch)
        (project / "program.md").write_text(text)
        git(project, *identity, "commit", "--quiet", "-am", text)
    rebase = ["git", "-C", project, *identity, "rebase", "mine"]
    assert subprocess.run(rebase, capture_output=True).returncode != 0
    assert (project / ".git" / "rebase-merge").exists()


def begin_rebase_of_the_branch(project: Path) -> None:
    """The same in the night's worktree, of the branch itself."""
    rebase = ["git", "-C", project / "runs" / TAG / "branch", "rebase", "--interactive", "HEAD~1"]
    editor = os.environ | {"GIT_SEQUENCE_EDITOR": "sed -i.bak s/^pick/edit/", "HOME": str(project)}
    subprocess.run(rebase, env=editor, check=True, capture_output=True)
    assert (project / ".git" / "worktrees" / "branch" / "rebase-merge").exists()


REBASES = [begin_rebase, begin_rebase_of_the_branch]


@pytest.mark.parametrize("disturb", [detach, soil, delete_worktree, leave_locks, *REBASES])
def test_git_states_that_change_nothing(project: Path, wanted: dict[str, Any], disturb: Callable[[Path], None]) -> None:
    disturb(project)
    before = git(project, "rev-parse", "HEAD"), git(project, "status", "--porcelain")
    go_on(project)
    assert end_state(project / "runs" / TAG, project) == wanted
    assert (git(project, "rev-parse", "HEAD"), git(project, "status", "--porcelain")) == before


def remove_repository(project: Path) -> Callable[[], None]:
    (project / ".git").rename(project.parent / "git")
    return lambda: (project.parent / "git").rename(project / ".git")


def damage_repository(project: Path) -> Callable[[], None]:
    head = project / ".git" / "HEAD"
    before = head.read_text()
    head.write_text("")
    return lambda: head.write_text(before)


def check_out_the_branch(project: Path) -> Callable[[], None]:
    git(project, "checkout", "--quiet", "--ignore-other-worktrees", f"autoresearch/{TAG}")
    return lambda: git(project, "checkout", "--quiet", "main")


def lock_the_objects(project: Path) -> Callable[[], None]:
    """git can store nothing: what a full disk or a read-only repository does, for root too."""
    objects = project / ".git" / "objects"
    objects.rename(project.parent / "objects")
    objects.write_text("in the way")

    def mend() -> None:
        objects.unlink()
        (project.parent / "objects").rename(objects)

    return mend


@pytest.mark.parametrize("disturb", [remove_repository, damage_repository, check_out_the_branch, lock_the_objects])
def test_git_that_refuses_gets_a_sentence_and_the_keeps_later(
    project: Path, wanted: dict[str, Any], disturb: Callable[[Path], Callable[[], None]]
) -> None:
    mend = disturb(project)
    said = go_on(project)
    notes = [line for line in said.splitlines() if line.startswith("Note: ") and "commit" in line]
    assert notes and "0006  keep" in said
    mend()
    go_on(project)
    assert faults_of(project, wanted) == []


def test_git_that_is_not_installed_any_more(project: Path, wanted: dict[str, Any]) -> None:
    said = go_on(project, lambda: os.environ.update(PATH=""))
    assert "git is not installed" in said and "0006  keep" in said
    go_on(project)
    assert faults_of(project, wanted) == []


def test_a_branch_that_the_person_moved_gets_the_next_keep_on_top(project: Path) -> None:
    git(project, "update-ref", f"refs/heads/autoresearch/{TAG}", "main")
    go_on(project)
    assert git(project, "log", "--format=%s", f"autoresearch/{TAG}").splitlines() == ["FOURTH 0.05", "start"]


def test_a_branch_that_the_person_deleted_begins_again(project: Path) -> None:
    git(project, "update-ref", "-d", f"refs/heads/autoresearch/{TAG}")
    assert "was deleted" in go_on(project)
    assert git(project, "log", "--format=%s", f"autoresearch/{TAG}").splitlines() == ["FOURTH 0.05", "start"]


# --- files ------------------------------------------------------------------------------------------------------------


def test_torn_last_lines(project: Path, wanted: dict[str, Any]) -> None:
    root = project / "runs" / TAG
    spans = len(read_spans(root / "timeline.jsonl"))
    files = ["results.tsv", "timeline.jsonl", "spending.jsonl", "loop.log", "experiments/0001/runs/1/curve.jsonl"]
    for name in files:
        with (root / name).open("ab") as file:
            file.write(b'{"what": "run", "sta\xff')
    go_on(project)
    assert faults_of(project, wanted) == []
    assert len(read_spans(root / "timeline.jsonl")) > spans + 5


@pytest.mark.parametrize("name", ["results.tsv", "best", "timeline.jsonl", "loop.log", "lock", "branch"])
def test_what_can_be_made_anew_is(project: Path, wanted: dict[str, Any], name: str) -> None:
    path = project / "runs" / TAG / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    go_on(project)
    assert faults_of(project, wanted) == []


def test_a_refused_start_leaves_nothing(folder: Path) -> None:
    project = make_project(folder / "refused" / "project")

    def with_a_language_model() -> None:
        sys.argv[2] = "codex"

    life = live(project, around=with_a_language_model)
    assert life.status == 1 and "no sandbox works here" in life.said
    assert not (project / "runs" / TAG).exists() and "autoresearch" not in git(project, "branch", "--list")
    git(project, "branch", f"autoresearch/{TAG}")
    life = live(project)
    assert life.status == 1 and "exists already" in life.said and not (project / "runs" / TAG).exists()
    git(project, "branch", "-D", f"autoresearch/{TAG}")
    live(project)
    (project / "runs" / TAG / "identity.json").write_text("{")
    before = sorted((project / "runs" / TAG).rglob("*"))
    life = live(project)
    assert life.status == 1 and "identity.json is damaged" in life.said
    assert sorted((project / "runs" / TAG).rglob("*")) == before


# --- clocks -----------------------------------------------------------------------------------------------------------


def test_nothing_depends_on_the_wall_clock(project: Path, wanted: dict[str, Any]) -> None:
    """It is set back a day, forward a year, and so on, between any two looks at it."""
    chance, real = random.Random(0), time.time

    def step() -> float:
        return chance.choice([0.0, -86400.0, 365 * 86400.0, -3600.0])

    def jump() -> None:
        time.time = lambda: real() + step()
        now = lambda zone: datetime.now(timezone.utc) + timedelta(seconds=step())  # noqa: E731
        history.datetime = SimpleNamespace(now=now)

    go_on(project, jump)
    assert faults_of(project, wanted) == []
    dates = {experiment.created[:10] for experiment in history.Night.read(project / "runs" / TAG).experiments}
    assert len(dates) > 1


def test_a_run_that_slept_is_void_and_repeated(project: Path, wanted: dict[str, Any]) -> None:
    """The clock that goes on while the machine sleeps gains ten minutes in three runs; the other stands still."""
    slept, naps, real = [0.0], iter([True, True, False, True]), machine.elapsed_seconds

    def nap() -> None:
        slept[0] += 600.0 if next(naps, False) else 0.0

    def sleepy() -> None:
        machine.elapsed_seconds = lambda: real() + slept[0]
        loop.Laboratory = lambda *_: MadeUpLaboratory(nap)

    assert go_on(project, sleepy).count("the machine slept for 600 s") == 3
    assert faults_of(project, wanted) == []
