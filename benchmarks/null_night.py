"""A real night whose edits change nothing that matters: every keep is false, so how many does each rule make?

    python -m benchmarks.null_night --experiments 30 --budget 60
    python -m benchmarks.null_night --experiments 8 --gain FINAL_LR=0.045 --gain-at 3 --steal

The loop itself runs, with a researcher that renames and reorders (null_edits.py). Afterwards other rules are played
over the same first runs: keep whatever is lower once, and keep what is lower by a fixed amount. With `--gain` some
edits help by an amount that another night has shown; with `--steal` another process takes a core for every other two
minutes, and the runs it spoils have to be repeated, not judged.

The night is runs/<tag>, its branch autoresearch/<tag>; started again with the same tag it goes on.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from mlx_autoresearch import machine
from mlx_autoresearch.conditions import CONDITIONS_FILE, ConditionsLog
from mlx_autoresearch.errors import AutoresearchError, run_command_line
from mlx_autoresearch.files import read_json, write_json
from mlx_autoresearch.history import Experiment, Night
from mlx_autoresearch.paths import PROJECT, runs_root
from mlx_autoresearch.records import KEEP

RESULTS = PROJECT / "benchmarks" / "results" / "null_night.json"

FIXED_THRESHOLD = 0.005
"""Bits per byte that a rule with a fixed threshold asks for."""

STEAL_SECONDS = 120.0

THIEF = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
while os.getppid() == int(sys.argv[1]):
    sum(range(1_000_000))
"""
"""Takes the number of its parent and ends with it, however that ended: one left behind would rob later nights."""


@dataclass(frozen=True)
class Outcome:
    """What a night of this kind showed.

    Attributes:
        edits: decided edits; helping: how many of them were meant to help.
        kept: descriptions of those that the loop kept; missed: of helping ones that it did not keep.
        false_keeps: edits without effect that the loop kept.
        lower_once, fixed_threshold: how many edits these rules would have kept.
        runs: runs of all experiments that counted; invalid: how often the reason for an invalid run was given.
        deviation: standard deviation of val_bpb over the first runs of the edits without effect.
    """

    edits: int
    helping: int
    kept: list[str]
    missed: list[str]
    false_keeps: int
    lower_once: int
    fixed_threshold: int
    runs: int
    invalid: dict[str, int]
    deviation: float | None


def keeps_if_lower(first_runs: Sequence[float], by: float) -> int:
    """Keeps of a rule that looks once: lower than the lowest so far, by some amount. The baseline comes first."""
    best, keeps = first_runs[0], 0
    for score in first_runs[1:]:
        if score < best - by:
            best, keeps = score, keeps + 1
    return keeps


def outcome(night: Night, log: ConditionsLog) -> Outcome:
    """Count what the night's records say."""
    edits = [e for e in night.experiments[1:] if e.verdict is not None]
    scored = [e.scores[0] for e in night.experiments if e.scores]
    kept = [e for e in edits if e.verdict.status == KEEP]
    reasons = [_kind(entry.invalid) for entry in log.entries if entry.invalid is not None]
    empty = [e.scores[0] for e in edits if e.scores and not helps(e)]
    mean = sum(empty) / len(empty) if empty else 0.0
    squares = sum((score - mean) ** 2 for score in empty)
    return Outcome(
        edits=len(edits),
        helping=sum(map(helps, edits)),
        kept=[e.proposal.description for e in kept],
        missed=[e.proposal.description for e in edits if helps(e) and e not in kept],
        false_keeps=sum(not helps(e) for e in kept),
        lower_once=keeps_if_lower(scored, 0.0),
        fixed_threshold=keeps_if_lower(scored, FIXED_THRESHOLD),
        runs=sum(len(e.runs) for e in night.experiments),
        invalid={reason: reasons.count(reason) for reason in dict.fromkeys(reasons)},
        deviation=round((squares / (len(empty) - 1)) ** 0.5, 5) if len(empty) > 1 else None,
    )


def helps(experiment: Experiment) -> bool:
    """Whether an edit was one of those with a known effect."""
    return " and set " in experiment.proposal.description


def _kind(reason: str) -> str:
    """A reason without its numbers."""
    return " ".join("N" if any(letter.isdigit() for letter in word) else word for word in reason.split())


@contextmanager
def stealing(wanted: bool) -> Iterator[None]:
    """Another process computes on one core for STEAL_SECONDS, rests as long, and so on."""
    over = threading.Event()

    def steal() -> None:
        while not over.wait(STEAL_SECONDS):
            thief = subprocess.Popen([sys.executable, "-c", THIEF, str(os.getpid())], start_new_session=True)
            over.wait(STEAL_SECONDS)
            thief.kill()
            thief.wait()

    thread = threading.Thread(target=steal)
    if wanted:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if wanted:
            thread.join()


def run_night(arguments: argparse.Namespace) -> None:
    """The loop with the researcher of null_edits.py, shown as it runs.

    Raises:
        AutoresearchError: it ended badly.
    """
    counter = runs_root() / f"{arguments.tag}.counter"
    if not (runs_root() / arguments.tag).exists():
        counter.unlink(missing_ok=True)  # of an earlier night with that tag, which somebody has removed
    researcher = [sys.executable, "-m", "benchmarks.null_edits", str(counter)]
    if arguments.gain:
        researcher += ["--gain", *arguments.gain, "--gain-at", *map(str, arguments.gain_at)]
    command = f"PYTHONPATH={shlex.quote(str(PROJECT))} {shlex.join(researcher)}"
    loop = [sys.executable, "-m", "mlx_autoresearch.loop", "--tag", arguments.tag, "--agent", "command"]
    loop += ["--command", f"sh -c {shlex.quote(command)}", "--budget", f"{arguments.budget:g}"]
    loop += ["--experiments", str(arguments.experiments)]
    if arguments.dataset is not None:
        loop += ["--dataset", arguments.dataset]
    child = subprocess.Popen(loop, cwd=PROJECT)
    try:
        status = child.wait()
    except KeyboardInterrupt:
        with suppress(ProcessLookupError):
            child.send_signal(signal.SIGINT)
        child.wait()
        raise
    if status != 0:
        raise AutoresearchError(f"the loop ended with status {status}; the same command goes on")


def show(found: Outcome) -> None:
    """The outcome in lines."""
    print(
        f"{found.edits} edits, {found.edits - found.helping} of them without any effect, {found.runs} runs that count."
    )
    print(f"False keeps: {found.false_keeps} by the loop's rule.")
    print(f"All keeps: {len(found.kept)} by the loop, {found.lower_once} by 'lower once', ", end="")
    print(f"{found.fixed_threshold} by 'lower by {FIXED_THRESHOLD:g}'.")
    for words, descriptions in (("Kept", found.kept), ("Not kept though it helps", found.missed)):
        for description in descriptions:
            print(f"{words}: {description}")
    for reason, count in found.invalid.items():
        print(f"Invalid runs, repeated: {count} because {reason}")


def main() -> None:
    """Command line: see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.null_night",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--experiments", type=int, default=30, help="edits of the night (default: 30)")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of a run (default: 60)")
    parser.add_argument("--tag", default="null-night", help="name of the night (default: null-night)")
    parser.add_argument("--dataset", help="prepared dataset (default: the one prepared last)")
    parser.add_argument("--gain", nargs="*", default=[], metavar="KNOB=VALUE", help="knobs of the edits that help")
    parser.add_argument("--gain-at", type=int, nargs="*", default=[], metavar="N", help="edits (from 0) that help too")
    parser.add_argument("--steal", action="store_true", help="another process takes a core half of the time")
    parser.add_argument("--output", type=Path, default=RESULTS, help="JSON file (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.gain_at and not arguments.gain:
        parser.error("--gain-at needs --gain")
    with stealing(arguments.steal):
        run_night(arguments)
    root = runs_root() / arguments.tag
    night = Night.read(root)
    found = outcome(night, ConditionsLog.open(root / CONDITIONS_FILE))
    nights = read_json(arguments.output) if arguments.output.exists() else {}
    settings = {"budget_seconds": arguments.budget, "gain": arguments.gain, "steal": arguments.steal}
    nights[arguments.tag] = {"machine": machine.identity(), **settings, **asdict(found)}
    write_json(arguments.output, nights)
    show(found)


if __name__ == "__main__":
    run_command_line(main)
