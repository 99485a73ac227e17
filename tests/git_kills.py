"""git, killed at each of its own steps in a made-up night: every rename, link, unlink, mkdir and write that it does.

Part of `python -m tests.survival` where `strace` is installed, which can kill a process at a system call. Either git
alone dies, and the night goes on, or the loop with it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mlx_autoresearch.files import remove_tree
from tests.made_up_night import TAG, Life, live, make_project
from tests.night_state import consistent, end_state

SYSTEM_CALLS = ("mkdir", "rename", "link", "unlink", "write")

WRITING = ("branch --no-track", "worktree remove", "worktree add", "hash-object -w", "read-tree", "update-index",
           "write-tree", "commit-tree", "update-ref", "checkout")  # fmt: skip
"""Subcommands that change something."""

WRAPPER = """\
#!/bin/sh
number=$(($(cat {folder}/count) + 1))
echo $number > {folder}/count
echo "$@" >> {folder}/calls
[ $number = "{call}" ] || exec {git} "$@"
{strace} -f -o {folder}/trace -e trace={system_call} -e inject={system_call}:signal=KILL:when={when} {git} "$@"
status=$?
grep -q "killed by SIGKILL" {folder}/trace || exit $status
echo killed > {folder}/killed
[ {with_loop} = True ] && kill -9 $PPID
[ $status = 137 ] && kill -9 $$
exit $status
"""


def git_kills(folder: Path, wanted: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Kill git in every way: for each, the subcommand, and what is wrong with the night in the end.

    Nothing where there is no strace, or where it may not trace.
    """
    if shutil.which("strace") is None:
        return
    for call, subcommand in writing_calls(folder):
        for system_call in SYSTEM_CALLS:
            for when in range(1, 100):
                reached = False
                for with_loop in (False, True):
                    reached, faults = kill_git(folder, call, system_call, when, with_loop, wanted)
                    place = (
                        f"git {subcommand}, call {call}, {system_call} {when}, {'loop too' if with_loop else 'alone'}"
                    )
                    if reached:
                        yield f"git {subcommand}", [f"{place}: {fault}" for fault in faults]
                if not reached:
                    break


def writing_calls(folder: Path) -> list[tuple[int, str]]:
    """Number and subcommand of the git calls that change something: the first of each, and those of the last keep."""
    project = make_project(folder / "calls" / "project")
    live(project, around=wrapped(project, 0, "mkdir", 1, False))
    lines = (project.with_name("bin") / "calls").read_text().splitlines()
    calls = [(number, words) for number, line in enumerate(lines, 1) for words in WRITING if f" {words} " in f"{line} "]
    first = {word: number for number, word in reversed(calls)}
    last = {word: number for number, word in calls}
    return sorted({(number, word) for found in (first, last) for word, number in found.items()})


def wrapped(project: Path, call: int, system_call: str, when: int, with_loop: bool) -> Callable[[], None]:
    """Put a git first on PATH that dies in its call number `call`, when it does `system_call` for the `when`th time."""
    folder = project.with_name("bin")
    folder.mkdir(exist_ok=True)
    (folder / "count").write_text("0")
    facts = {"call": call, "system_call": system_call, "when": when, "with_loop": with_loop}
    programs = {"git": shutil.which("git"), "strace": shutil.which("strace")}
    (folder / "git").write_text(WRAPPER.format(folder=folder, **facts, **programs))
    (folder / "git").chmod(0o755)
    return lambda: os.environ.update(PATH=f"{folder}:{os.environ['PATH']}")


def kill_git(
    folder: Path, call: int, system_call: str, when: int, with_loop: bool, wanted: dict[str, Any]
) -> tuple[bool, list[str]]:
    """One night in which git dies so: whether it did, and what is wrong with the night after the next start."""
    project = make_project(folder / f"git-{call}-{system_call}-{when}-{with_loop}" / "project")
    first = live(project, around=wrapped(project, call, system_call, when, with_loop))
    reached = (project.with_name("bin") / "killed").exists()
    faults = _faults_after(first, project, wanted) if reached else []
    remove_tree(project.parent)
    return reached, faults


def _faults_after(first: Life, project: Path, wanted: dict[str, Any]) -> list[str]:
    faults = [] if first.status in (0, -9) else [f"the night ended with {first.status}: {first.said[-500:]}"]
    life = live(project)
    if life.status != 0:
        return [*faults, f"the next start ended with {life.status}: {life.said[-500:]}"]
    faults += consistent(project / "runs" / TAG, project)
    there = end_state(project / "runs" / TAG, project)
    return faults + [f"{name} differs from an undisturbed night's" for name in wanted if there[name] != wanted[name]]
