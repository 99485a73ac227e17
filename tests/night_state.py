"""What a night on disk must look like when its loop has ended: `consistent`, and `end_state` to compare two nights."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlx_autoresearch.history import MODEL_FILES, Experiment, Night
from mlx_autoresearch.records import CRASH
from mlx_autoresearch.status import OVER, is_working, read_status

TIMES = ("training_seconds", "total_seconds", "data_wait_share", "peak_memory_bytes")
"""Measured anew in every run, so different in two nights that are otherwise the same."""

LEFT_HALF_MADE = re.compile(r"\.partial\b|^best\.old$|^\.removing-|^warming-up$|\.lock$")


def consistent(root: Path, project: Path) -> list[str]:
    """Faults of the night in `root` after its loop has ended, a sentence each: none is how it must be.

    Experiments, results.tsv, best/ and the branch must say the same, everything must be decided, and nothing half made
    may be left.

    Args:
        root: runs/<tag>.
        project: the folder with train_mlx.py, a git repository.
    """
    night = Night.read(root)
    faults = [*night.damage, *night.skipped.values(), *_of_experiments(night), *_of_results(night), *_of_best(night)]
    return [*faults, *_of_status(root), *_of_branch(night, project), *_left_half_made(root, project)]


def survivors(words: str) -> list[str]:
    """Processes that have to do with `words`: in their environment, arguments or working folder (Linux)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parts = [(entry / name).read_bytes() for name in ("environ", "cmdline")]
            parts.append(os.readlink(entry / "cwd").encode())
        except OSError:
            continue
        if words.encode() in b"\n".join(parts) and int(entry.name) != os.getpid():
            found.append(f"{entry.name} {parts[1][-200:].replace(bytes(1), b' ').decode(errors='replace')}")
    return found


def end_state(root: Path, project: Path) -> dict[str, Any]:
    """All that a night came to, without what is different every time: times, memory, and with them ids of commits."""
    night = Night.read(root)
    with (root / "results.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    measured = ("commit", "seconds", "memory_gb")
    return {
        "experiments": {experiment.number: _facts(experiment) for experiment in night.experiments},
        "results.tsv": [{name: cell for name, cell in row.items() if name not in measured} for row in rows],
        "best": {path.name: path.read_bytes() for path in (root / "best").iterdir()},
        "branch": [(number, source) for number, _, source in _commits(night, project)],
        "files": sorted(str(path.relative_to(root)) for path in (root / "experiments").rglob("*")),
    }


def _facts(experiment: Experiment) -> dict[str, Any]:
    return {
        "proposal": asdict(experiment.proposal),
        "verdict": asdict(experiment.verdict) if experiment.verdict else None,
        "committed": experiment.commit is not None,
        "runs": {
            index: {name: value for name, value in asdict(result).items() if name not in TIMES}
            for index, result in experiment.results.items()
        },
    }


def _of_experiments(night: Night) -> Iterator[str]:
    numbers = [experiment.number for experiment in night.experiments]
    if numbers != list(range(len(numbers))):
        yield f"the experiments are numbered {numbers}"
    sources = [experiment.source for experiment in night.experiments]
    if len(set(sources)) < len(sources):
        yield "two experiments have the same text"
    for experiment in night.experiments:
        name = f"experiment {experiment.number:04d}"
        if experiment.verdict is None:
            yield f"{name} is not decided"
        if experiment.verdict and experiment.verdict.status != CRASH and not experiment.scores:
            yield f"{name} is decided without a score"
        if sorted(experiment.results) != list(range(1, len(experiment.results) + 1)):
            yield f"{name} has the runs {sorted(experiment.results)}"
        seeds = [run.seed for run in experiment.runs]
        if seeds != sorted(set(seeds)):
            yield f"{name} has runs with the seeds {seeds}"
        for folder in experiment.folder.glob("runs/*"):
            if not (folder / "result.json").exists():
                yield f"{folder} is an interrupted run"
        models = {path.parent for name in MODEL_FILES for path in experiment.folder.glob(f"runs/*/{name}")}
        wanted = {experiment.run_folder(experiment.model_run())} if experiment.kept else set()
        if models != wanted:
            yield f"{name} has models in {sorted(map(str, models))}, not in {sorted(map(str, wanted))}"


def _of_results(night: Night) -> Iterator[str]:
    before = (night.root / "results.tsv").read_bytes()
    decided = [f"{experiment.number:04d}" for experiment in night.experiments if experiment.verdict]
    lines = [line.split("\t") for line in before.decode().splitlines()]
    rows = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    if [row["experiment"] for row in rows] != decided:
        yield f"results.tsv has rows for {[row['experiment'] for row in rows]}, decided are {decided}"
        return
    for row, experiment in zip(rows, night.experiments, strict=False):
        bpb = "" if experiment.verdict.val_bpb is None else f"{experiment.verdict.val_bpb:.6f}"
        told = (row["status"], row["val_bpb"], row["commit"], row["runs"])
        known = (experiment.verdict.status, bpb, (experiment.commit or "")[:7], str(len(experiment.scores)))
        if told != known:
            yield f"results.tsv says {told} of experiment {experiment.number:04d}, its folder {known}"


def _of_best(night: Night) -> Iterator[str]:
    best, incumbent = night.root / "best", night.incumbent()
    if incumbent is None or incumbent.model_run() is None:
        yield "there is no incumbent with a model"
        return
    score = json.loads((best / "score.json").read_text())
    if (score["experiment"], score["runs"]) != (incumbent.number, len(incumbent.scores)):
        yield f"best/ tells of experiment {score['experiment']} with {score['runs']} runs, not of {incumbent.number}"
    if (best / "train_mlx.py").read_text() != incumbent.source:
        yield "best/train_mlx.py is not the incumbent's"
    for name in MODEL_FILES:
        if (best / name).read_bytes() != (incumbent.run_folder(incumbent.model_run()) / name).read_bytes():
            yield f"best/{name} is not the incumbent's"


def _of_status(root: Path) -> Iterator[str]:
    status = read_status(root)
    if status is None:
        yield "status.json is missing or damaged"
    elif status.ended != OVER or is_working(status):
        yield f"status.json does not say that the night is over: {status}"


def _of_branch(night: Night, project: Path) -> Iterator[str]:
    name = f"autoresearch/{night.root.name}"
    kept = [experiment for experiment in night.experiments if experiment.kept]
    commits = _commits(night, project)
    if [number for number, _, _ in commits] != [experiment.number for experiment in kept[1:]]:
        yield f"{name} holds {[number for number, _, _ in commits]}; kept are {[e.number for e in kept]}"
        return
    start = json.loads((night.root / "branch.json").read_text())["start"]
    for experiment, commit in zip(kept, [start, *(commit for _, commit, _ in commits)], strict=True):
        if experiment.commit != commit:
            yield f"experiment {experiment.number:04d} names the commit {experiment.commit}, on the branch is {commit}"
    if any(source != experiment.source for experiment, (_, _, source) in zip(kept[1:], commits, strict=True)):
        yield f"a commit on {name} holds another text than its experiment"
    worktree = night.root / "branch"
    if git(worktree, "status", "--porcelain") or git(project, "status", "--porcelain"):
        yield "the worktree or the project is not clean"
    if (worktree / "train_mlx.py").read_text() != kept[-1].source:
        yield "the worktree's train_mlx.py is not the last keep"


def _commits(night: Night, project: Path) -> list[tuple[int, str, str]]:
    """Number, id and train_mlx.py of every experiment on the branch, the oldest first."""
    start = json.loads((night.root / "branch.json").read_text())["start"]
    span = f"{start}..autoresearch/{night.root.name}"
    lines = git(project, "log", "--reverse", "--format=%H %(trailers:key=Experiment,valueonly,separator=%x20)", span)
    pairs = [line.split() for line in lines.splitlines()]
    return [(int(number), sha, git(project, "show", f"{sha}:train_mlx.py")) for sha, number in pairs]


def _left_half_made(root: Path, project: Path) -> Iterator[str]:
    for folder in (root, project / ".git"):
        for path in folder.rglob("*"):
            if LEFT_HALF_MADE.search(path.name) and "objects" not in path.parts:
                yield f"{path} is left behind"
    entries = [path.name for path in (project / ".git" / "worktrees").glob("*")]
    if entries != ["branch"]:
        yield f"git knows the worktrees {entries}"
    if any((root / "queue").glob("*")):
        yield f"proposals wait in {root / 'queue'}"
    with (root / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield "the lock is held"


def git(folder: Path, *arguments: str) -> str:
    """What git prints."""
    return subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True, text=True).stdout
