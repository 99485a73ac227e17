"""`python -m tests.survival`: the loop is killed at every step that it takes, hundreds of times, and may lose nothing.

- Made-up nights (`made_up_night`): ended at every single file operation, between and in the middle of writes, then
  started again; ended again and again until they get through; refused writes as on a full or a read-only disk.
- Real nights (`real_kills`): `python -m mlx_autoresearch.loop`, with real training and scoring in the sandbox, killed
  with SIGKILL at random instants of all stages: the loop alone, its process group, a child first.

In the end each night must be in the state of one that nobody disturbed (`night_state.end_state`), consistent in itself,
and nothing half made may be left. Prints a table; exit status 1 when anything was lost. A seed repeats the choices.
"""

from __future__ import annotations

import argparse
import errno
import random
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlx_autoresearch import loop
from mlx_autoresearch.errors import run_command_line
from mlx_autoresearch.files import remove_tree
from mlx_autoresearch.history import Night
from tests.fault_report import Report
from tests.git_kills import git_kills
from tests.made_up_night import BROKEN, GIT, TAG, Fault, Life, Script, live, make_project
from tests.night_state import consistent, end_state
from tests.real_kills import real_nights

ADVICE = ("start the same command again", "or keep runs elsewhere")
"""What a person is told to do when the night had to stop."""

LIFE_OPERATIONS = 160
"""A life that is ended at random gets through at most so many operations; starting again takes about 50."""

KILLED = -9


@contextmanager
def fast_folder() -> Iterator[Path]:
    """A temporary folder in memory where there is one: a killed process loses nothing that it has written to it."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="survival-", dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def undisturbed(folder: Path) -> tuple[Life, dict[str, Any]]:
    """A made-up night that nothing befalls: its life and its end state."""
    project = make_project(folder / "undisturbed" / "project")
    life = live(project)
    faults = faults_of(project, None)
    if life.status != 0 or faults:
        raise AssertionError(f"an undisturbed night ends with {life.status}: {faults} {life.said}")
    return life, end_state(project / "runs" / TAG, project)


def faults_of(project: Path, wanted: dict[str, Any] | None) -> list[str]:
    """What is wrong with a night that has ended; `wanted` is the end state that it must have."""
    root = project / "runs" / TAG
    faults = consistent(root, project)
    if wanted is not None and not faults:
        there = end_state(root, project)
        faults += [f"{name} differs from an undisturbed night's" for name in wanted if there[name] != wanted[name]]
    return faults


def kill_at(folder: Path, at: int, kind: str, wanted: dict[str, Any]) -> list[str]:
    """A made-up night that ends at operation `at` and is started again: what is wrong with it then."""
    project = make_project(folder / f"{kind}-{at}" / "project")
    first = live(project, Fault(at, kind))
    faults = [] if first.status in (KILLED, 0) else [f"it ended with {first.status}: {first.said[-500:]}"]
    faults += _torn_records(project)
    faults += _finish(project, wanted)
    remove_tree(project.parent)
    return [f"{kind} at operation {at} ({_last(first)}): {fault}" for fault in faults]


def think_ahead() -> None:
    """Let the made-up researcher think in a thread and fill a queue, as language models do."""
    loop.make_agent = lambda name, options: Script(thinks_ahead=True)


def kill_life_after_life(
    folder: Path, seed: int, kind: str, wanted: dict[str, Any], around: Callable[[], None] = lambda: None
) -> tuple[int, list[str]]:
    """A made-up night whose every life ends after a few operations; returns how many it took, and what is wrong."""
    project, draw = make_project(folder / f"{kind}-lives-{seed}" / "project"), random.Random(seed)
    lives, faults, status = 0, [], KILLED
    while status == KILLED:
        life = live(project, Fault(draw.randint(1, LIFE_OPERATIONS), kind), around)
        lives, status = lives + 1, life.status
        faults += [f"life {lives}, ended at {_last(life)}: {fault}" for fault in _torn_records(project)]
    faults += _finish(project, wanted)
    remove_tree(project.parent)
    return lives, [f"{kind}, seed {seed}: {fault}" for fault in faults]


def refuse_from(folder: Path, at: int, number: int, lasts: bool, wanted: dict[str, Any]) -> list[str]:
    """A made-up night whose operation `at` fails with error `number` (and all later ones); what is wrong with it.

    It has to say what happened, where and what to do, and to go on afterwards as if nothing had been.
    """
    project = make_project(folder / f"{number}-{at}" / "project")
    first = live(project, Fault(at, number, lasts))
    faults = []
    if first.status == BROKEN or "Traceback" in first.said:
        faults.append(f"a traceback: {first.said[-2000:]}")
    elif first.status != 0:
        sentence = next((line for line in first.said.splitlines() if line.startswith("error: ")), "")
        if str(project) not in sentence or not any(words in sentence for words in ADVICE):
            faults.append(f"it does not say where and what to do: {sentence!r}")
    faults += _torn_records(project)
    faults += _finish(project, wanted)
    remove_tree(project.parent)
    return [f"{errno.errorcode[number]} at operation {at} ({_last(first)}): {fault}" for fault in faults]


def _finish(project: Path, wanted: dict[str, Any]) -> list[str]:
    """Let the night come to its end; what is wrong with it then."""
    life = live(project)
    if life.status != 0:
        return [f"the next start ends with {life.status}: {life.said[-2000:]}"]
    return faults_of(project, wanted)


def _torn_records(project: Path) -> list[str]:
    """What can't be read in a night that was just ended: nothing may be, at any instant."""
    root = project / "runs" / TAG
    if not (root / "identity.json").exists():
        return []
    night = Night.read(root)
    return [*night.damage, *night.skipped.values()]


def _last(life: Life) -> str:
    return life.operations[-1] if life.operations else "nothing done"


STAGES = (
    (rf"^{GIT}", "git"),
    (r"/experiments/\d+\.partial", "proposal"),
    (r"/experiments/\d+/smoke", "smoke run"),
    (r"/experiments/\d+/runs/\d+/result", "result"),
    (r"/experiments/\d+/runs", "a run's folder"),
    (r"/experiments/\d+/verdict", "verdict"),
    (r"/experiments/\d+/commit", "commit.txt"),
    (r"/t/best", "best/"),
    (r"/t/results", "results.tsv"),
    (r"/t/branch|\.git/|\.lock$", "branch"),
    (r"/t/(timeline|loop|status)", "timeline, log and status"),
    (r"", "start"),
)
"""Stages of a made-up night by what an operation is done to; the first that fits."""


def stage_of(operation: str) -> str:
    """The stage that an operation belongs to."""
    return next(stage for pattern, stage in STAGES if re.search(pattern, operation))


def made_up_nights(every: int, nights: int, seed: int) -> int:
    """All faults in made-up nights; prints the tables and returns how many were found."""
    kills, gits, lives, writes = Report(), Report(), Report(), Report()
    with fast_folder() as folder:
        life, wanted = undisturbed(folder)
        points = range(1 + seed % every, len(life.operations) + 1, every)
        print(f"A made-up night of {len(life.operations)} operations.", flush=True)
        for at in points:
            for kind in ("kill", "torn"):
                stage = stage_of(life.operations[at - 1])
                kills.add(stage, 1, 2, kill_at(folder, at, kind, wanted))
        if every == 1:
            for subcommand, found in git_kills(folder, wanted):
                gits.add(subcommand, 1, 2, found)
        for number in range(nights):
            for kind in ("kill", "torn"):
                for around, name in ((lambda: None, "asked when needed"), (think_ahead, "thinks ahead")):
                    count, found = kill_life_after_life(folder, seed + number, kind, wanted, around)
                    lives.add(f"{kind}, researcher {name}", count - 1, count, found)
        for at in points:
            stage = stage_of(life.operations[at - 1])
            for error, lasts in ((errno.ENOSPC, True), (errno.ENOSPC, False), (errno.EROFS, True)):
                name = f"{errno.errorcode[error]}{' from then on' if lasts else ' once'}: {stage}"
                writes.add(name, 1, 2, refuse_from(folder, at, error, lasts, wanted))
    kills.show("Killed once, before an operation or in the middle of a write, then started again", "kills")
    gits.show("git killed at one of its own system calls, alone or with the loop", "kills")
    lives.show("Killed life after life until it was through", "kills")
    writes.show("Operations that fail, then started again", "failures")
    return sum(report.found for report in (kills, gits, lives, writes))


def main() -> int:
    """Command line: see the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.survival", description=__doc__.split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=200, help="of the real loop; 0 for made-up nights only")
    parser.add_argument("--every", type=int, default=1, help="made-up nights: every so-manieth operation; 0 for none")
    parser.add_argument("--nights", type=int, default=5, help="made-up nights that are killed life after life")
    parser.add_argument("--experiments", type=int, default=10, help="edits in a real night")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    found = made_up_nights(arguments.every, arguments.nights, arguments.seed) if arguments.every else 0
    if arguments.kills:
        found += real_nights(arguments.kills, arguments.experiments, arguments.seed)
    return 1 if found else 0


if __name__ == "__main__":
    run_command_line(main)
