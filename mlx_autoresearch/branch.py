"""The night's improvements as commits on a branch of their own, `autoresearch/<tag>`, checked out in runs/<tag>/branch.

A commit is built with git's plumbing (a blob, a tree from a private index, `commit-tree`, `update-ref` against the tip
that was read), so it neither needs nor touches any checkout: not the person's index, stash, files or branches, and not
even the worktree, whose train_mlx.py is brought up to date afterwards as a convenience. No hook, filter, signing or
line-end rule of the person takes part, and no command discards work: neither `reset --hard` nor `clean` is ever run.

runs/<tag>/branch.json says that the branch is this run's, and from which commit it started. It is written before the
branch, so a kill in between leaves nothing that a resumed run would mistake for somebody else's.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.files import read_json, remove_tree, write_json

SOURCE_FILE = "train_mlx.py"
TIMEOUT_SECONDS = 300
IDENTITY = {"user.name": "mlx-autoresearch", "user.email": "mlx-autoresearch@localhost"}
"""Author of commits where the person has told git no name or no address."""

SAFE_SETTINGS = (
    *("core.hooksPath=/dev/null", "commit.gpgSign=false", "core.autocrlf=false", "core.fsmonitor=false"),
    *("i18n.commitEncoding=UTF-8", "i18n.logOutputEncoding=UTF-8", "log.showSignature=false"),
)


@dataclass(frozen=True)
class BranchOpening:
    """What came of opening the branch.

    Attributes:
        branch: None when the night goes on without one; the notes say why.
        notes: sentences for the person, to be shown once.
    """

    branch: ImprovementBranch | None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ImprovementBranch:
    """The branch of one run.

    Attributes:
        project: folder with train_mlx.py, inside a git repository.
        folder: the worktree, runs/<tag>/branch.
        name: `autoresearch/<tag>`.
        start: commit that the branch started from.
        path: train_mlx.py as the repository names it.
    """

    project: Path
    folder: Path
    name: str
    start: str
    path: str

    @classmethod
    def open(cls, project: Path, folder: Path, tag: str) -> BranchOpening:
        """Start the branch of a run at the project's HEAD, or take up the one that this run started.

        What is missing for a branch (git, a repository, a commit with train_mlx.py in it) is a note, no error: the
        night goes on without one.

        Raises:
            AutoresearchError: `tag` can't be part of a branch name, or the branch is another run's.
        """
        if shutil.which("git") is None:
            return BranchOpening(None, ["git is not installed, so improvements are not committed to a branch"])
        name = f"autoresearch/{tag}"
        check_tag(tag)
        folder = folder.parent.resolve() / folder.name
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            return cls._open(project, folder, name)
        except (_GitError, OSError) as error:
            return BranchOpening(None, [f"improvements are not committed to a branch: {error}"])

    @classmethod
    def _open(cls, project: Path, folder: Path, name: str) -> BranchOpening:
        path = _git(project, "rev-parse", "--show-prefix") + SOURCE_FILE
        record = folder.with_name("branch.json")
        start, has_worktree = _read_record(record)
        notes = []
        if start is None:
            if _commit_of(project, f"refs/heads/{name}"):
                raise AutoresearchError(
                    f"branch {name} exists already and belongs to an earlier run; choose another --tag, or delete it "
                    f"if nobody needs it: git branch -D {name}"
                )
            if folder.exists() and any(folder.iterdir()):
                raise _GitError(f"{folder} is in the way, and not from this run; move it, or choose another --tag")
            start = _starting_commit(project, path)
        branch = cls(project, folder, name, start, path)
        if not has_worktree:
            branch._record(worktree=False)
            branch._remove_half_made_entries()
        elif folder.is_dir() and not branch._is_worktree():
            _try_git(project, "worktree", "repair", str(folder))  # the project was moved
        branch._remove_locks_left_behind()
        if not _commit_of(project, branch.reference):
            if has_worktree:
                notes.append(f"branch {name} was deleted; it starts again, and the keeps so far are not on it")
            _git(project, "branch", "--no-track", name, start)
        if elsewhere := branch._checked_out_elsewhere():
            notes.append(
                f"branch {name} is checked out in {elsewhere}; to leave that alone, nothing is committed until it is "
                "switched to another branch"
            )
        elif note := branch._make_worktree(has_worktree):
            notes.append(note)
        else:
            branch._record(worktree=True)
        return BranchOpening(branch, notes)

    def _record(self, worktree: bool) -> None:
        record = self.folder.with_name("branch.json")
        write_json(record, {"branch": self.name, "start": self.start, "worktree": worktree})

    @property
    def reference(self) -> str:
        """The branch as git names it in full."""
        return f"refs/heads/{self.name}"

    def commit(self, source: str, subject: str, body: str, experiment: int) -> str:
        """Commit `source` as train_mlx.py on top of the branch, unless that experiment is on it already.

        The baseline (experiment 0) makes a commit only if its text differs from the one the branch started with.

        Returns:
            The full id of the commit that holds the experiment.

        Raises:
            AutoresearchError: git refuses, the branch is checked out somewhere else, or a later experiment is on the
                branch already. Nothing is changed then, and the same call may be made again later.
        """
        try:
            return self._commit(source, _message(subject, body, experiment), experiment)
        except (_GitError, OSError) as error:
            raise AutoresearchError(
                f"experiment {experiment:04d} could not be committed to branch {self.name}: {error}"
            ) from None

    def _commit(self, source: str, message: str, experiment: int) -> str:
        committed = self.committed()
        if experiment in committed:
            self._update_worktree()
            return committed[experiment]
        if any(number > experiment for number in committed):
            raise _GitError(f"experiment {max(committed):04d}, a later one, is on it already")
        if elsewhere := self._checked_out_elsewhere():
            raise _GitError(f"it is checked out in {elsewhere}; switch that to another branch")
        blob = _git(self.project, "hash-object", "-w", "--no-filters", "--stdin", text=source)
        if experiment == 0 and blob == _blob_of(self.project, self.start, self.path)[1]:
            return self.start
        tip = _git(self.project, "rev-parse", "--verify", self.reference + "^{commit}")
        tree = self._tree_with(tip, blob)
        author = _missing_author(self.project)
        sha = _git(self.project, "commit-tree", tree, "-p", tip, "-F", "-", text=message, settings=author)
        _git(self.project, "update-ref", "-m", f"experiment {experiment:04d}", self.reference, sha, tip)
        self._update_worktree()
        return sha

    def committed(self) -> dict[int, str]:
        """Commit of each experiment on the branch, by number; only what came after its start, which may be merged work.

        Raises:
            AutoresearchError: git can't read the branch.
        """
        log = _git(
            *(self.project, "log", "--first-parent", f"{self.start}..{self.reference}"),
            "--format=%H%x1f%(trailers:key=Experiment,valueonly)%x1e",
        )
        commits = {}
        for entry in log.split("\x1e"):
            sha, _, trailers = entry.strip().partition("\x1f")
            numbers = re.findall(r"^[0-9]+$", trailers, re.MULTILINE)
            commits |= {int(number): sha for number in numbers[-1:]}
        return commits

    def _tree_with(self, tip: str, blob: str) -> str:
        """The tree of `tip` with train_mlx.py replaced, made in an index of our own."""
        index = self.folder.with_name("branch.index.partial")
        lock = index.with_name(index.name + ".lock")
        mode = _blob_of(self.project, tip, self.path)[0]
        mode = mode if mode in ("100644", "100755") else "100644"
        for left_behind in (index, lock):
            left_behind.unlink(missing_ok=True)
        try:
            _git(self.project, "read-tree", tip, index=index)
            _git(self.project, "update-index", "--add", "--cacheinfo", f"{mode},{blob},{self.path}", index=index)
            return _git(self.project, "write-tree", index=index)
        finally:
            index.unlink(missing_ok=True)

    def _make_worktree(self, was_there: bool) -> str | None:
        """Have the worktree at `folder` with the branch checked out; a sentence when that can't be had.

        A folder left by an interrupted first creation holds nothing of anybody's and is made again; one that was
        complete once is never deleted.
        """
        present = self.folder.is_dir() and any(self.folder.iterdir())
        if present and was_there:
            if not self._is_worktree():
                return (
                    f"{self.folder} is no git worktree any more; commits go onto {self.name} all the same (move or "
                    "delete the folder to have it made anew)"
                )
            return self._update_worktree()
        self._record(worktree=False)  # a kill from here on leaves something half made that is ours to remove
        if present:
            shutil.rmtree(self.folder)
        # Twice --force: an interrupted creation leaves its entry locked. This names our entries alone; `prune` would
        # also drop worktrees of the person that are on a drive not mounted now.
        for gone in (self.folder, *(place for place in self._checkouts() if not place.exists())):
            _try_git(self.project, "worktree", "remove", "--force", "--force", str(gone))
        try:
            _git(self.project, "worktree", "add", str(self.folder), self.name)
        except _GitError as error:
            self._record(worktree=was_there)
            return f"the worktree {self.folder} can't be made ({error}); commits go onto {self.name} all the same"
        return None

    def _update_worktree(self) -> str | None:
        """Bring the worktree's train_mlx.py to the tip; a sentence when it is left as it is.

        It is left alone when it holds something that git hasn't stored, or when another branch is checked out there.
        """
        if not self._is_worktree():
            return None
        if self._in_worktree("symbolic-ref", "--quiet", "HEAD") != self.reference:
            return f"{self.folder} has something else than {self.name} checked out and is left as it is"
        file = self.folder / self.path
        if file.exists() and not self._is_stored(file):
            return f"{file} was edited by hand and is left as it is; commits go onto {self.name} all the same"
        if self._in_worktree("checkout", self.reference, "--", f":(top,literal){self.path}") is None:
            return f"{file} could not be brought up to date; commits go onto {self.name} all the same"
        return None

    def _is_stored(self, file: Path) -> bool:
        """Whether git holds the content of a file of the worktree, as it is or as its line-end rules store it."""
        blobs = [self._in_worktree("hash-object", *rules, "--", str(file)) for rules in (["--no-filters"], [])]
        stored = any(blob and self._in_worktree("cat-file", "-e", blob) is not None for blob in blobs)
        return stored or self._is_torn(file)

    def _is_torn(self, file: Path) -> bool:
        """Whether a file of the worktree is the beginning of what is committed: a checkout was killed in its write."""
        committed = self._in_worktree("cat-file", "blob", f"{self.reference}:{self.path}")
        written = file.read_bytes().decode("utf-8", "ignore").strip()  # as `_git` strips what it returns
        return committed is not None and committed.startswith(written)

    def _in_worktree(self, *arguments: str) -> str | None:
        """What git prints in the worktree, None when it fails.

        The ceiling keeps a damaged worktree from being taken for the repository around it, the person's own.
        """
        try:
            return _git(self.folder, *arguments, ceiling=self.folder.parent)
        except _GitError:
            return None

    def _is_worktree(self) -> bool:
        return self.folder.is_dir() and self._in_worktree("rev-parse", "--git-dir") is not None

    def _checkouts(self) -> list[Path]:
        """Folders in which the branch is checked out, ours and others, also those that are gone."""
        entries = [entry.splitlines() for entry in _git(self.project, "worktree", "list", "--porcelain").split("\n\n")]
        return [Path(lines[0].removeprefix("worktree ")) for lines in entries if f"branch {self.reference}" in lines]

    def _checked_out_elsewhere(self) -> Path | None:
        """Another checkout of the branch than ours: moving the branch would move it under somebody's feet."""
        others = (place for place in self._checkouts() if place.resolve() != self.folder and place.exists())
        return next(others, None)

    def _remove_half_made_entries(self) -> None:
        """Remove what a git that was killed in `worktree add` left: entries of our folder, and those of none.

        With some of them `git worktree` refuses to work at all, and `prune` leaves them, locked as they are.
        """
        for entry in (self._common_folder() / "worktrees").glob(f"{self.folder.name}*"):
            place = entry / "gitdir"
            names = place.read_text(encoding="utf-8", errors="replace").strip() if place.is_file() else ""
            if names in ("", str(self.folder / ".git")):
                remove_tree(entry)

    def _common_folder(self) -> Path:
        return self.project / _git(self.project, "rev-parse", "--git-common-dir")

    def _remove_locks_left_behind(self) -> None:
        """Remove locks of a git that was killed: those of our worktree and of our branch, which are ours alone."""
        with suppress(NotADirectoryError):  # a branch called `autoresearch`: git will say so
            (self._common_folder() / f"{self.reference}.lock").unlink(missing_ok=True)
        own = self._in_worktree("rev-parse", "--absolute-git-dir") if self._is_worktree() else None
        if own is not None:
            for name in ("index.lock", "HEAD.lock"):
                (Path(own) / name).unlink(missing_ok=True)


class _GitError(AutoresearchError):
    """What git said when it refused."""


def _git(
    folder: Path,
    *arguments: str,
    text: str = "",
    settings: tuple[str, ...] = (),
    index: Path | None = None,
    ceiling: Path | None = None,
) -> str:
    """Run git in `folder` and return what it prints; no hook or GIT_ variable of the person changes what it does.

    Args:
        folder: where git runs.
        arguments: command and its arguments.
        text: standard input.
        settings: `key=value` on top of `SAFE_SETTINGS`.
        index: the index to work in, instead of the checkout's.
        ceiling: folder in which, and above which, no repository is looked for.

    Raises:
        _GitError: it failed, with its last words.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_") and key != "LANGUAGE"}
    environment |= {"LANG": "C", "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
    environment |= {"GIT_INDEX_FILE": str(index)} if index else {}
    environment |= {"GIT_CEILING_DIRECTORIES": str(ceiling)} if ceiling else {}
    command = ["git", "-C", str(folder)]
    for setting in (*SAFE_SETTINGS, *settings):
        command += ["-c", setting]
    try:
        done = subprocess.run(
            [*command, *arguments],
            input=text.encode("utf-8", "replace"),
            capture_output=True,
            env=environment,
            timeout=TIMEOUT_SECONDS,
        )
    except OSError as error:
        raise _GitError(f"git can't be started ({error.strerror})") from None
    except subprocess.TimeoutExpired:
        raise _GitError(f"git did not answer within {TIMEOUT_SECONDS} seconds") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit status {done.returncode}"]
        raise _GitError(f"git {arguments[0]}: {' '.join(said[-3:])}")
    return done.stdout.decode("utf-8", "replace").strip()


def _try_git(folder: Path, *arguments: str) -> str | None:
    try:
        return _git(folder, *arguments)
    except _GitError:
        return None


def check_tag(tag: str) -> None:
    """Refuse a tag that can't be part of a branch name.

    Raises:
        AutoresearchError: it can't.
    """
    allowed = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", tag) and ".." not in tag
    if not allowed or tag.endswith((".", ".lock")):
        raise AutoresearchError(
            f"--tag {tag!r} can't name a branch (autoresearch/{tag}): use letters, digits, '-', '_' and single '.'"
        )


def _read_record(path: Path) -> tuple[str | None, bool]:
    """Start commit, and whether the worktree was complete once; None when this run has no branch yet."""
    if not path.exists():
        return None, False
    try:
        record = read_json(path)
        start, worktree = record["start"], record["worktree"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _GitError(f"{path} is damaged ({error}); put it back, or choose another --tag") from None
    if not (isinstance(start, str) and re.fullmatch(r"[0-9a-f]{40,64}", start) and isinstance(worktree, bool)):
        raise _GitError(f"{path} is damaged ({json.dumps(record)}); put it back, or choose another --tag")
    return start, worktree


def _starting_commit(project: Path, path: str) -> str:
    """The project's HEAD, attached to a branch or not, if train_mlx.py is in it."""
    head = _commit_of(project, "HEAD")
    if head is None:
        raise _GitError(f"the git repository around {project} has no commit yet; make a first one to get a branch")
    if not _blob_of(project, head, path)[1]:
        raise _GitError(
            f"{path} is not in the last commit of the git repository around {project}; commit it to get a branch"
        )
    return head


def _commit_of(project: Path, revision: str) -> str | None:
    return _try_git(project, "rev-parse", "--verify", "--quiet", revision + "^{commit}")


def _blob_of(project: Path, commit: str, path: str) -> tuple[str, str]:
    """Mode and id of a file in a commit, empty when it isn't there."""
    entry = _git(project, "ls-tree", "--full-tree", commit, "--", path).split()
    return (entry[0], entry[2]) if entry else ("", "")


def _missing_author(project: Path) -> tuple[str, ...]:
    """Settings for what the person hasn't told git about themselves."""
    return tuple(f"{key}={value}" for key, value in IDENTITY.items() if not _try_git(project, "config", "--get", key))


def _message(subject: str, body: str, experiment: int) -> str:
    """A commit message: subject on one line, body, and the trailer in a paragraph of its own."""
    line = " ".join("".join(character if character.isprintable() else " " for character in subject).split())
    text = "".join(character if character.isprintable() or character == "\n" else " " for character in body).strip()
    paragraphs = [line or f"Experiment {experiment:04d}", text, f"Experiment: {experiment:04d}"]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"
