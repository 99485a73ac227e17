"""Early kill, replayed over recorded nights: what it would have saved, and which winners it would have killed.

    python -m benchmarks.early_kill runs            every night in a folder
    python -m benchmarks.early_kill runs/nov24      one night

Every edit is looked at as it would have been then, with what the edits before it had shown. A winner is a run that
scored better than its incumbent, kept or not: of those, how many would have been stopped is the false-kill rate.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlx_autoresearch import machine
from mlx_autoresearch.briefings import bytes_per_token
from mlx_autoresearch.curves import Curves
from mlx_autoresearch.dataset import open_dataset
from mlx_autoresearch.early_kill import KILL_CHANCE, SHARES, Finished, chance_of_winning
from mlx_autoresearch.errors import AutoresearchError, run_command_line
from mlx_autoresearch.history import Night


@dataclass(frozen=True)
class Replay:
    """What the rule would have done in one night.

    Attributes:
        stopped: index of each stopped run with the share of the budget at which it was stopped.
        runs, winners: runs that went to their end, and those that scored better than their incumbent.
        winners_stopped: winners among the stopped.
        seconds_saved: training time that would have been saved.
    """

    stopped: tuple[tuple[int, float], ...]
    runs: int
    winners: int
    winners_stopped: int
    seconds_saved: float


def replay(runs: Sequence[Finished], budget: float, bound: float = KILL_CHANCE) -> Replay:
    """Look at each run with what the ones before it showed. Stopped runs show nothing to later ones, as in a night."""
    stopped: list[tuple[int, float]] = []
    known: list[Finished] = []
    for number, run in enumerate(runs):
        share = _stopped_at(run, known, bound)
        if share is None:
            known.append(run)
        else:
            stopped.append((number, share))
    return Replay(
        stopped=tuple(stopped),
        runs=len(runs),
        winners=sum(run.gain > 0 for run in runs),
        winners_stopped=sum(runs[number].gain > 0 for number, _ in stopped),
        seconds_saved=sum((1 - share) * budget for _, share in stopped),
    )


def _stopped_at(run: Finished, known: Sequence[Finished], bound: float) -> float | None:
    for index, share in enumerate(SHARES):
        lag = run.lags[index]
        chance = None if lag is None else chance_of_winning(lag, index, known)
        if chance is not None and chance < bound:
            return share
    return None


def nights_in(folder: Path) -> list[Night]:
    """The night in a folder, or all nights in it.

    Raises:
        AutoresearchError: there is none.
    """
    roots = (
        [folder] if (folder / "identity.json").exists() else [p.parent for p in sorted(folder.glob("*/identity.json"))]
    )
    if not roots:
        raise AutoresearchError(f"there is no night in {folder}: give runs/ or runs/<tag>")
    return [Night.read(root) for root in roots]


def sentence(name: str, found: Replay, budget: float) -> str:
    """One line about a night."""
    share = found.seconds_saved / (found.runs * budget) if found.runs else 0.0
    return (
        f"{name}: {len(found.stopped)} of {found.runs} runs stopped, {found.seconds_saved / 60:.1f} minutes saved "
        f"({share:.0%} of the training), {found.winners_stopped} of {found.winners} winners stopped"
    )


def main() -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.early_kill",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="runs/ or runs/<tag>")
    parser.add_argument("--bound", type=float, default=KILL_CHANCE, help="chance of winning (default: %(default)g)")
    arguments = parser.parse_args()
    total = Replay((), 0, 0, 0, 0.0)
    for night in nights_in(arguments.folder):
        rates = bytes_per_token(open_dataset(night.identity.dataset))
        budget = night.identity.budget_seconds
        found = replay(Curves(night, rates, machine.machine_class(), budget).finished(), budget, arguments.bound)
        print(sentence(night.root.name, found, budget))
        total = Replay(
            (*total.stopped, *found.stopped),
            total.runs + found.runs,
            total.winners + found.winners,
            total.winners_stopped + found.winners_stopped,
            total.seconds_saved + found.seconds_saved,
        )
    print(
        f"In all {len(total.stopped)} of {total.runs} runs stopped, {total.seconds_saved / 60:.1f} minutes saved, "
        f"{total.winners_stopped} of {total.winners} winners stopped."
    )


if __name__ == "__main__":
    run_command_line(main)
