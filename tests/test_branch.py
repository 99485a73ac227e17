"""The improvement branch on real repositories: what it commits, leaves alone and survives (10 s of git processes)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mlx_autoresearch.branch import ImprovementBranch
from mlx_autoresearch.errors import AutoresearchError

SOURCE = "DEPTH = 4\n"


@pytest.fixture(autouse=True)
def own_git(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without git settings, and no GIT_ variables of the caller; returns the home."""
    home = tmp_path_factory.mktemp("home")
    for name in [name for name in os.environ if name.startswith(("GIT_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    return home


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True).stdout


def repository(folder: Path, inside: str = "") -> Path:
    """A repository with one commit; returns the project folder in it."""
    project = folder / inside
    project.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "config", "user.name", "Ada")
    git(folder, "config", "user.email", "ada@example.org")
    (project / "train_mlx.py").write_text(SOURCE)
    (project / "program.md").write_text("be bold\n")
    (project / ".gitignore").write_text("runs/\n")
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", "first")
    return project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return repository(tmp_path / "project")


def place(project: Path, tag: str = "night") -> Path:
    return project / "runs" / tag / "branch"


def opened(project: Path, tag: str = "night") -> ImprovementBranch:
    opening = ImprovementBranch.open(project, place(project, tag), tag)
    assert opening.notes == [] and opening.branch is not None
    return opening.branch


def keep(branch: ImprovementBranch, number: int, source: str | None = None) -> str:
    return branch.commit(source or f"DEPTH = {number}\n", f"edit {number}", "val_bpb: 1.234567", number)


def log(project: Path, tag: str = "night") -> list[str]:
    return git(project, "log", "--format=%s", f"autoresearch/{tag}").splitlines()


def snapshot(project: Path) -> tuple[object, ...]:
    """Everything of the person's that must not change."""
    top = Path(git(project, "rev-parse", "--show-toplevel").strip())
    files = {
        path.relative_to(top): path.read_bytes()
        for path in top.rglob("*")
        if path.is_file() and "runs" not in path.parts and ".git" not in path.parts
    }
    refs = [line for line in git(project, "for-each-ref").splitlines() if "refs/heads/autoresearch/" not in line]
    index = (top / ".git" / "index").read_bytes()
    head = (top / ".git" / "HEAD").read_text()
    return files, refs, index, head, git(project, "stash", "list"), git(project, "config", "--list", "--local")


# --- commits ----------------------------------------------------------------------------------------------------------


def test_a_keep_is_one_commit_that_changes_one_file(project: Path) -> None:
    branch = opened(project)
    body = "val_bpb: 1.234567 ± 0.002\nExperiment: 0009\n\n---\n# not a comment\n\nExperiment: 0008"
    sha = branch.commit("DEPTH = 6\n", "  deeper\n\tmodel\x00\ud800 ", body, 7)
    assert git(project, "rev-parse", "autoresearch/night").strip() == sha
    assert git(project, "show", "--format=", "--name-status", sha) == "M\ttrain_mlx.py\n"
    assert git(project, "show", f"{sha}:train_mlx.py") == "DEPTH = 6\n"
    assert git(project, "log", "-1", "--format=%B", sha).strip() == f"deeper model\n\n{body}\n\nExperiment: 0007"
    assert git(project, "log", "-1", "--format=%an <%ae>", sha).strip() == "Ada <ada@example.org>"
    assert branch.committed() == {7: sha}
    assert git(branch.folder, "status", "--porcelain") == ""
    assert (branch.folder / "train_mlx.py").read_text() == "DEPTH = 6\n"
    assert sorted(path.name for path in place(project).parent.iterdir()) == ["branch", "branch.json"]
    git(project, "fsck", "--strict")


def test_commits_follow_each_other_and_are_made_once(project: Path) -> None:
    branch = opened(project)
    shas = [keep(branch, number) for number in (1, 4, 12)]
    assert [keep(branch, number) for number in (1, 4, 12)] == shas
    assert [keep(opened(project), number, "other = 1\n") for number in (4, 12)] == shas[1:]
    assert log(project) == ["edit 12", "edit 4", "edit 1", "first"]


def test_baseline_is_committed_only_if_it_differs(project: Path) -> None:
    start = git(project, "rev-parse", "HEAD").strip()
    branch = opened(project)
    assert keep(branch, 0, SOURCE) == start
    assert log(project) == ["first"]
    (project / "train_mlx.py").write_text("DEPTH = 5  # not committed\n")
    other = opened(project, "other")
    sha = keep(other, 0, (project / "train_mlx.py").read_text())
    assert sha != start and keep(other, 0, "DEPTH = 5  # not committed\n") == sha
    assert log(project, "other") == ["edit 0", "first"]
    assert git(project, "status", "--porcelain") == " M train_mlx.py\n"


def test_an_earlier_experiment_never_goes_on_top_of_a_later_one(project: Path) -> None:
    branch = opened(project)
    keep(branch, 5)
    with pytest.raises(AutoresearchError, match=r"0003 could not be committed.*0005, a later one"):
        keep(branch, 3)
    assert log(project) == ["edit 5", "first"]


def test_numbers_of_a_night_merged_earlier_do_not_count(project: Path) -> None:
    keep(opened(project, "first"), 3)
    git(project, "merge", "--quiet", "autoresearch/first")
    branch = opened(project, "second")
    assert branch.committed() == {}
    sha = keep(branch, 3, "DEPTH = 99\n")
    assert git(project, "show", f"{sha}:train_mlx.py") == "DEPTH = 99\n"


def test_every_byte_is_kept_whatever_git_is_set_to(project: Path, own_git: Path) -> None:
    (own_git / ".gitconfig").write_text("[core]\nautocrlf = true\n[i18n]\ncommitEncoding = latin1\n")
    (project / ".gitattributes").write_text("* text=auto eol=crlf\n")
    git(project, "add", ".gitattributes")
    git(project, "commit", "--quiet", "-m", "attributes")
    branch = opened(project)
    source = "A = 'é'\r\nB = 2\nC = 3"
    sha = branch.commit(source, "größer", "", 1)
    stored = subprocess.run(["git", "-C", project, "cat-file", "blob", f"{sha}:train_mlx.py"], capture_output=True)
    assert stored.stdout == source.encode()
    assert "größer" in git(project, "-c", "i18n.logOutputEncoding=UTF-8", "log", "-1", "--format=%s", sha)
    assert keep(branch, 2)  # the worktree's copy, with other line ends, is not in the way
    assert (branch.folder / "train_mlx.py").read_text() == "DEPTH = 2\n"


def test_a_project_in_a_folder_of_its_repository(tmp_path: Path) -> None:
    project = repository(tmp_path / "mono", "deep/pro [ject] é")
    branch = opened(project)
    sha = keep(branch, 1, "DEPTH = 8\n")
    assert git(project, "show", "--format=", "--name-only", "-z", sha).strip("\0") == "deep/pro [ject] é/train_mlx.py"
    assert (branch.folder / "deep" / "pro [ject] é" / "train_mlx.py").read_text() == "DEPTH = 8\n"
    assert keep(branch, 0 + 2) and (branch.folder / branch.path).read_text() == "DEPTH = 2\n"


def test_file_mode_is_kept(project: Path) -> None:
    (project / "train_mlx.py").chmod(0o755)
    git(project, "commit", "--quiet", "-am", "executable")
    sha = keep(opened(project), 1)
    assert git(project, "ls-tree", sha, "train_mlx.py").startswith("100755")


def test_author_is_given_only_where_git_has_none(project: Path) -> None:
    git(project, "config", "--unset", "user.email")
    git(project, "config", "user.useConfigOnly", "true")
    branch = opened(project)
    author = git(project, "log", "-1", "--format=%an <%ae>", keep(branch, 1)).strip()
    assert author == "Ada <mlx-autoresearch@localhost>"
    git(project, "config", "user.name", "")
    author = git(project, "log", "-1", "--format=%cn <%ce>", keep(branch, 2)).strip()
    assert author == "mlx-autoresearch <mlx-autoresearch@localhost>"


# --- what is left alone -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("detached", [False, True])
def test_nothing_of_the_person_is_touched(project: Path, detached: bool) -> None:
    git(project, "branch", "feature")
    (project / "program.md").write_text("stashed\n")
    git(project, "stash")
    if detached:
        git(project, "checkout", "--quiet", "--detach")
    (project / "train_mlx.py").write_text("DEPTH = 77  # unsaved work\n")
    (project / "program.md").write_text("staged\n")
    (project / "notes.txt").write_text("untracked\n")
    git(project, "add", "program.md")
    before = snapshot(project)
    branch = opened(project)
    for number in range(3):
        keep(branch, number)
    opened(project)
    after = snapshot(project)
    assert after == before
    assert len(log(project)) == 4


def test_no_hook_and_no_signing(project: Path, own_git: Path) -> None:
    hooks = own_git / "hooks"
    hooks.mkdir()
    for name in (
        "pre-commit",
        "commit-msg",
        "post-commit",
        "post-checkout",
        "reference-transaction",
        "post-index-change",
    ):
        for folder in (hooks, project / ".git" / "hooks"):
            (folder / name).write_text(f"#!/bin/sh\ntouch '{own_git}/ran'\nexit 1\n")
            (folder / name).chmod(0o755)
    (own_git / ".gitconfig").write_text(
        f"[core]\nhooksPath = {hooks}\n[commit]\ngpgSign = true\n[gpg]\nprogram = /bin/false\n"
        "[log]\nshowSignature = true\n"
    )
    branch = opened(project)
    keep(branch, 1)
    assert keep(branch, 2) == keep(opened(project), 2)
    assert not (own_git / "ran").exists()


def test_git_variables_of_the_caller_do_not_count(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = repository(tmp_path / "other")
    before = snapshot(other)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    sha = keep(opened(project), 1)
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    assert git(project, "log", "-1", "--format=%an", sha).strip() == "Ada"
    assert snapshot(other) == before and log(project) == ["edit 1", "first"]


def test_a_branch_checked_out_by_the_person_is_not_moved_under_them(project: Path) -> None:
    branch = opened(project)
    keep(branch, 1)
    git(project, "checkout", "--quiet", "--ignore-other-worktrees", "autoresearch/night")
    with pytest.raises(AutoresearchError, match="checked out in"):
        keep(branch, 2)
    opening = ImprovementBranch.open(project, place(project), "night")
    assert "checked out in" in opening.notes[0]
    assert git(project, "status", "--porcelain") == "" and len(log(project)) == 2
    git(project, "checkout", "--quiet", "main")
    keep(opening.branch, 2)
    assert log(project) == ["edit 2", "edit 1", "first"]


# --- no branch --------------------------------------------------------------------------------------------------------


def without_branch(project: Path) -> str:
    opening = ImprovementBranch.open(project, place(project), "night")
    assert opening.branch is None and len(opening.notes) == 1
    return opening.notes[0]


def test_no_repository(tmp_path: Path) -> None:
    assert "not a git repository" in without_branch(tmp_path)
    assert not place(tmp_path).exists()


def test_no_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert "no commit yet" in without_branch(tmp_path)


def test_a_repository_around_it_that_knows_nothing_of_the_project(tmp_path: Path) -> None:
    home = repository(tmp_path / "dotfiles")
    (home / "downloads").mkdir()
    assert "downloads/train_mlx.py is not in the last commit" in without_branch(home / "downloads")
    assert git(home, "branch", "--list", "autoresearch/*") == ""


def test_no_git(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert "git is not installed" in without_branch(project)


def test_a_branch_in_the_way(project: Path) -> None:
    git(project, "branch", "autoresearch")
    assert "autoresearch" in without_branch(project)


def test_a_folder_in_the_way_is_not_removed(project: Path) -> None:
    place(project).mkdir(parents=True)
    (place(project) / "mine.txt").touch()
    assert "in the way" in without_branch(project)
    assert (place(project) / "mine.txt").exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"start": 3, "worktree": true}', '{"start": "--all", "worktree": true}']
)
def test_a_damaged_record(project: Path, text: str) -> None:
    opened(project)
    (place(project).parent / "branch.json").write_text(text)
    assert "branch.json is damaged" in without_branch(project)


@pytest.mark.parametrize("tag", ["", "a b", "-x", "a..b", "a/b", "x.lock", "x.", "~", "é", "a\n"])
def test_a_tag_that_names_no_branch(project: Path, tag: str) -> None:
    with pytest.raises(AutoresearchError, match="--tag"):
        ImprovementBranch.open(project, place(project), tag)


def test_the_branch_of_an_earlier_run_is_not_taken_over(project: Path) -> None:
    keep(opened(project), 1)
    shutil.rmtree(project / "runs")
    for _ in range(2):
        with pytest.raises(AutoresearchError, match=r"autoresearch/night exists already.*--tag"):
            ImprovementBranch.open(project, place(project), "night")
    assert log(project) == ["edit 1", "first"]


# --- resume -----------------------------------------------------------------------------------------------------------


def test_commits_of_a_person_stay_below(project: Path) -> None:
    branch = opened(project)
    keep(branch, 1)
    (branch.folder / "program.md").write_text("by hand\n")
    git(branch.folder, "commit", "--quiet", "-am", "by hand")
    sha = keep(opened(project), 2)
    assert log(project) == ["edit 2", "by hand", "edit 1", "first"]
    assert git(project, "show", f"{sha}:program.md") == "by hand\n"
    assert git(branch.folder, "status", "--porcelain") == ""


def test_edits_in_the_worktree_are_not_lost(project: Path) -> None:
    branch = opened(project)
    keep(branch, 1)
    (branch.folder / "train_mlx.py").write_text("MINE = 1\n")
    (branch.folder / "program.md").write_text("mine\n")
    sha = keep(branch, 2)
    assert (branch.folder / "train_mlx.py").read_text() == "MINE = 1\n"
    assert (branch.folder / "program.md").read_text() == "mine\n"
    assert git(project, "show", "--format=", "--name-only", sha) == "train_mlx.py\n"
    assert "edited by hand" in ImprovementBranch.open(project, place(project), "night").notes[0]
    (branch.folder / "train_mlx.py").unlink()
    assert opened(project) and (branch.folder / "train_mlx.py").read_text() == "DEPTH = 2\n"


def test_another_branch_in_the_worktree(project: Path) -> None:
    branch = opened(project)
    git(branch.folder, "checkout", "--quiet", "-b", "mine")
    keep(branch, 1)
    assert git(branch.folder, "log", "--format=%s", "mine") == "first\n"
    assert "something else" in ImprovementBranch.open(project, place(project), "night").notes[0]
    assert (branch.folder / "train_mlx.py").read_text() == SOURCE


@pytest.mark.parametrize("how", ["folder", "emptied", "git", "with another branch"])
def test_a_deleted_worktree_is_made_again(project: Path, tmp_path: Path, how: str) -> None:
    elsewhere = tmp_path / "drive"
    git(project, "worktree", "add", "--quiet", str(elsewhere))
    elsewhere.rename(tmp_path / "not mounted")
    branch = opened(project)
    keep(branch, 1)
    if how == "git":
        git(project, "worktree", "remove", str(branch.folder))
    else:
        if how == "with another branch":
            git(branch.folder, "checkout", "--quiet", "-b", "mine")
        shutil.rmtree(branch.folder)
        if how == "emptied":
            branch.folder.mkdir()
    branch = opened(project)
    assert (branch.folder / "train_mlx.py").read_text() == "DEPTH = 1\n"
    keep(branch, 2)
    assert log(project) == ["edit 2", "edit 1", "first"]
    assert str(elsewhere) in git(project, "worktree", "list"), "the person's worktree on another drive was dropped"


def test_a_worktree_deleted_during_the_night(project: Path) -> None:
    branch = opened(project)
    shutil.rmtree(branch.folder)
    keep(branch, 1)
    assert log(project) == ["edit 1", "first"]


def test_a_worktree_without_its_git_file_does_not_lead_to_the_persons_checkout(project: Path) -> None:
    branch = opened(project)
    (branch.folder / ".git").unlink()
    (branch.folder / "train_mlx.py").write_text("MINE = 1\n")
    before = snapshot(project)
    keep(branch, 1)
    opening = ImprovementBranch.open(project, place(project), "night")
    keep(opening.branch, 2)
    assert snapshot(project) == before and log(project) == ["edit 2", "edit 1", "first"]
    assert "no git worktree" in opening.notes[0] or "edited by hand" in opening.notes[0]  # older git can't repair it
    assert (branch.folder / "train_mlx.py").read_text() == "MINE = 1\n"


def test_a_moved_project_goes_on(project: Path, tmp_path: Path) -> None:
    keep(opened(project), 1)
    moved = tmp_path / "moved"
    project.rename(moved)
    branch = opened(moved)
    keep(branch, 2)
    assert log(moved) == ["edit 2", "edit 1", "first"]
    assert (branch.folder / "train_mlx.py").read_text() == "DEPTH = 2\n"


def test_a_deleted_branch_starts_again(project: Path) -> None:
    branch = opened(project)
    keep(branch, 1)
    git(project, "update-ref", "-d", "refs/heads/autoresearch/night")
    opening = ImprovementBranch.open(project, place(project), "night")
    assert "was deleted" in opening.notes[0]
    keep(opening.branch, 2)
    assert log(project) == ["edit 2", "first"]


@pytest.mark.parametrize("step", ["record", "branch", "torn worktree", "worktree"])
def test_a_kill_while_the_branch_is_made(project: Path, step: str) -> None:
    branch = opened(project)
    record = place(project).parent / "branch.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"worktree": False}))
    if step == "torn worktree":
        (branch.folder / "train_mlx.py").write_text("DEP")
        (project / ".git" / "worktrees" / "branch" / "locked").write_text("initializing")
        (project / ".git" / "worktrees" / "branch" / "index").unlink()
    elif step != "worktree":
        git(project, "worktree", "remove", str(branch.folder))
        if step == "record":
            git(project, "branch", "--quiet", "-D", "autoresearch/night")
    branch = opened(project)
    keep(branch, 1)
    assert git(branch.folder, "status", "--porcelain") == "" and log(project) == ["edit 1", "first"]
    assert json.loads(record.read_text())["worktree"] is True


@pytest.mark.parametrize("made", [["locked", "gitdir"], ["locked", "gitdir", "HEAD", "commondir"]])
@pytest.mark.parametrize("again", [False, True])
def test_a_kill_early_in_worktree_add(project: Path, made: list[str], again: bool) -> None:
    """An entry that git 2.39 leaves so is locked; with an empty commondir no `git worktree` command works any more."""
    if again:  # the worktree was there, was deleted by hand, and is made anew
        shutil.rmtree(opened(project).folder)
        git(project, "worktree", "prune")
    place(project).parent.mkdir(parents=True, exist_ok=True)
    record = place(project).with_name("branch.json")
    start = git(project, "rev-parse", "HEAD").strip()
    record.write_text(json.dumps({"branch": "autoresearch/night", "start": start, "worktree": False}))
    entry = project / ".git" / "worktrees" / "branch"
    entry.mkdir(parents=True)
    for name in made:
        (entry / name).touch()
    if len(made) > 2:
        (entry / "gitdir").write_text(f"{place(project).resolve()}/.git\n")
    keep(opened(project), 1)
    assert [path.name for path in entry.parent.iterdir()] == ["branch"]
    assert git(place(project), "status", "--porcelain") == ""


@pytest.mark.parametrize("written", ["", "DEPTH = 1\nWI"])
def test_a_kill_in_the_middle_of_a_checkout(project: Path, written: str) -> None:
    branch = opened(project)
    keep(branch, 1, "DEPTH = 1\nWIDTH = 2\n")
    (branch.folder / "train_mlx.py").write_text(written)
    assert (opened(project).folder / "train_mlx.py").read_text() == "DEPTH = 1\nWIDTH = 2\n"


def test_a_kill_between_commit_and_worktree(project: Path) -> None:
    branch = opened(project)
    sha = keep(branch, 1)
    # The branch is moved without its worktree: what a kill right after update-ref leaves.
    tree = git(project, "rev-parse", "main^{tree}").strip()
    newer = git(project, "commit-tree", tree, "-p", sha, "-m", "edit 2\n\nExperiment: 0002").strip()
    git(project, "update-ref", "refs/heads/autoresearch/night", newer)
    branch = opened(project)
    assert keep(branch, 2) == newer
    assert git(branch.folder, "status", "--porcelain") == ""
    assert (branch.folder / "train_mlx.py").read_text() == SOURCE


def test_locks_left_by_a_kill_are_ours_to_remove(project: Path) -> None:
    branch = opened(project)
    own = project / ".git" / "worktrees" / "branch"
    for lock in (own / "index.lock", own / "HEAD.lock", project / ".git/refs/heads/autoresearch/night.lock"):
        lock.touch()
    (place(project).parent / "branch.index.partial.lock").touch()
    (project / ".git" / "index.lock").touch()
    branch = opened(project)
    keep(branch, 1)
    assert git(branch.folder, "status", "--porcelain") == ""
    assert (project / ".git" / "index.lock").exists(), "the person's lock is not ours"


def test_git_refusing_is_a_sentence_and_can_be_tried_again(project: Path) -> None:
    branch = opened(project)
    lock = project / ".git/refs/heads/autoresearch/night.lock"
    lock.touch()
    with pytest.raises(AutoresearchError, match=r"0001 could not be committed.*git update-ref"):
        keep(branch, 1)
    lock.unlink()
    keep(branch, 1)
    assert log(project) == ["edit 1", "first"]
