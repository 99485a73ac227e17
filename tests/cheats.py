"""`python -m tests.cheats`: training files that cheat, each beside the honest file that it was made from.

Every cheat goes through the real laboratory in this machine's sandbox, and some through a whole night with an agent
that proposes nothing else. Prints a table: the verdict, the cheat, its score beside the honest one or the words of its
refusal.
Exit status 1 when a cheat pays or the harness breaks, 2 where there is no sandbox.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import shlex
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlx_autoresearch import experiment
from mlx_autoresearch.corpus import Source
from mlx_autoresearch.corpus.stories import generate_stories
from mlx_autoresearch.dataset import Dataset, prepare_dataset
from mlx_autoresearch.errors import AutoresearchError, run_command_line
from mlx_autoresearch.evidence import SIZE_LIMITS
from mlx_autoresearch.experiment import Laboratory
from mlx_autoresearch.history import Night
from mlx_autoresearch.process import tail
from mlx_autoresearch.records import CRASH, KEEP, RunResult
from mlx_autoresearch.sandbox import Sandbox
from mlx_autoresearch.sandbox.choice import choose
from mlx_autoresearch.sandbox.jobs import kernels_of
from mlx_autoresearch.sandbox.policy import Limits
from mlx_autoresearch.scoring import LOGS_OF_SCORING
from tests.cheat_edits import CHEATS, HONEST, Cheat
from tests.small_project import make_project

BUDGET_SECONDS, EXTRA_SECONDS = 3.0, 3.0
LATE_SECONDS, GRACE_SECONDS, SCORE_SECONDS = 2.0, 8.0, 20.0
LIMITS = Limits(memory_bytes=2 << 30, processes=64, file_bytes=256 << 20, disk_bytes=256 << 20)

TOLERANCE = 0.05
"""Bits per byte by which a cheat may be better than its honest twin and still count as no better. Both learn from the
same rows at the same pace; a row more or less, which the clock may give, moves the score by 0.02."""

STORIES = 700

QUICK = (
    "calls hand_in twice",
    "trains in the export",
    "goes on where its last run stopped",
    "reads what lies behind its input in memory",
)
"""The quick form: one of each kind that needs processes. What a graph alone can do is tested without them."""

NIGHT = (
    "calls hand_in twice",
    "trains past the deadline",
    "peeks at the next token",
    "gives NaN",
    "a graph that breaks off",
    "hands nothing in and hopes for what lies there",
)
"""Cheats for a whole night; all are refused, so every word of the ledger can be looked at."""

NIGHT_EXTRA_SECONDS = 8.0
"""More than the real harness allows."""

AGENT = """
import pathlib, sys
folder = pathlib.Path(sys.argv[1])
waiting = sorted(folder.glob("*.py"))
if waiting:
    pathlib.Path("train_mlx.py").write_text(waiting[0].read_text())
    print("DESCRIPTION: " + waiting[0].with_suffix(".name").read_text())
    print("HYPOTHESIS: nobody looks\\nEXPECTED: a better number")
    waiting[0].rename(waiting[0].with_suffix(".done"))
"""


REFUSED, NO_BETTER, PAYS, BROKE = "refused", "no better", "PAYS", "BROKE IT"
"""Verdicts; the last two must not be."""


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        verdict: one of the verdicts above.
        name: the cheat.
        outcome: its score, or the words with which it was refused.
    """

    verdict: str
    name: str
    outcome: str

    @property
    def is_wrong(self) -> bool:
        """Whether the harness has a hole."""
        return self.verdict in (PAYS, BROKE)


class Bench:
    """Where cheats are tried: a dataset, something worth stealing, and the laboratory."""

    def __init__(self, root: Path, sandbox: Sandbox) -> None:
        self.root, self.sandbox = root, sandbox
        self.dataset = make_dataset(root)
        self.laboratory = Laboratory(self.dataset.folder, BUDGET_SECONDS, sandbox=sandbox, limits=LIMITS)
        graph = root / "another-experiment" / "model.mlxfn"
        graph.parent.mkdir()
        export_good_model(self.dataset, graph)
        self.bait = {"dataset": str(self.dataset.folder), "graph": str(graph), "stories": STORIES}
        self._count = 0

    def honest(self) -> RunResult:
        """The honest file, run once.

        Raises:
            AutoresearchError: it failed.
        """
        result, _ = self.run(HONEST.read_text(encoding="utf-8"))
        if result.failure is not None:
            raise AutoresearchError(f"the honest file failed ({result.failure}): {result.reason}")
        return result

    def run(self, source: str, seeds: tuple[int, ...] = (1,), smoke: bool = False) -> tuple[RunResult, Path]:
        """A training file's smoke run, if wanted, and its runs; the last result, or the first failure, and its folder.

        What a run prints as FOUND is put into the source of the next one: an agent could do that.
        """
        folder = self.root / f"experiment-{self._count}"
        folder.mkdir()
        self._count += 1
        training_file = folder / "train_mlx.py"
        for index, seed in enumerate(seeds):
            training_file.write_text(source, encoding="utf-8")
            if smoke and (failure := self.laboratory.smoke(training_file, folder / "smoke")) is not None:
                return failure, folder / "smoke"
            kernels_of(training_file)  # made here, or the laboratory would run it once more to compile them
            run = folder / str(index)
            run.mkdir()
            result = self.laboratory.run(training_file, run, seed)
            found = re.findall(r"FOUND ([0-9a-f]+)", tail(run / "run.log", 1 << 20))
            source = source.replace('MEMORISED = ""', f"MEMORISED = {found[-1]!r}") if found else source
        return result, run

    def try_cheat(self, cheat: Cheat, honest_bpb: float) -> Row:
        """One cheat, and whether it pays."""
        try:
            seeds = tuple(range(cheat.runs, 0, -1))
            result, folder = self.run(cheat.source(self.bait, EXTRA_SECONDS), seeds, cheat.smoke)
        except Exception:
            return Row(BROKE, cheat.name, traceback.format_exc().strip().splitlines()[-1])
        left = {path.name for path in folder.iterdir()} - {*SIZE_LIMITS, *LOGS_OF_SCORING}
        if left:
            return Row(BROKE, cheat.name, f"left {', '.join(sorted(left))} behind")
        if result.failure is not None:
            return Row(REFUSED if result.reason else BROKE, cheat.name, f"{result.failure}: {result.reason}")
        scores = f"scored {result.val_bpb:.3f}, honest {honest_bpb:.3f}"
        return Row(PAYS if result.val_bpb < honest_bpb - TOLERANCE else NO_BETTER, cheat.name, scores)


def make_dataset(root: Path) -> Dataset:
    """The first built-in stories, prepared below `root`."""
    os.environ["MLX_AUTORESEARCH_DATA"] = str(root / "data")
    return prepare_dataset(Source("cheats", {"kind": "test"}, lambda: generate_stories(1, STORIES), None))


def export_good_model(dataset: Dataset, graph: Path) -> None:
    """What another experiment may have handed in: the pairs of the whole training text."""
    import mlx.core as mx

    tokens = np.asarray(dataset.tokens("train", 256), np.int64)
    pairs = np.full((256, 256), 0.05)
    np.add.at(pairs, (tokens[:-1], tokens[1:]), 1)
    table = mx.array(np.log(pairs / pairs.sum(axis=1, keepdims=True)), dtype=mx.float32)
    mx.export_function(str(graph), lambda tokens: table[tokens], mx.zeros((8, 256), dtype=mx.int32))


@contextmanager
def strict_harness() -> Iterator[None]:
    """Limits in proportion to the short budget, so that cheats which must be waited out take seconds."""
    names = ("LATE_SECONDS", "GRACE_SECONDS", "MINIMUM_SCORE_SECONDS")
    before = [getattr(experiment, name) for name in names]
    for name, value in zip(names, (LATE_SECONDS, GRACE_SECONDS, SCORE_SECONDS), strict=True):
        setattr(experiment, name, value)
    try:
        yield
    finally:
        for name, value in zip(names, before, strict=True):
            setattr(experiment, name, value)


def night(root: Path, dataset: Dataset, bait: dict) -> Iterator[Row]:
    """A night of the real loop with an agent that cheats only: what its ledger says of each cheat."""
    project = make_project(root / "project", dataset, HONEST.read_text(encoding="utf-8"))
    folder = root / "agent"
    folder.mkdir()
    (folder / "agent.txt").write_text(AGENT)
    for number, name in enumerate(NIGHT):
        cheat = next(each for each in CHEATS if each.name == name)
        (folder / f"{number}.py").write_text(cheat.source(bait, NIGHT_EXTRA_SECONDS))
        (folder / f"{number}.name").write_text(name)
    agent = shlex.join([sys.executable, str(folder / "agent.txt"), str(folder)])
    command = [sys.executable, "-m", "mlx_autoresearch.loop", "--tag", "cheats", "--budget", "3"]
    command += ["--experiments", str(len(NIGHT)), "--agent", "command", "--command", agent]
    environment = {"PATH": os.environ["PATH"], "HOME": str(root), "MLX_DISABLE_COMPILE": "1"}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        yield Row(BROKE, "a whole night", f"it ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        return
    with (project / "runs" / "cheats" / "results.tsv").open(encoding="utf-8") as file:
        status = {line["description"]: line["status"] for line in csv.DictReader(file, delimiter="\t")}
    for each in Night.read(project / "runs" / "cheats").experiments[1:]:
        name, verdict = each.proposal.description, each.verdict
        told = status.get(name) == verdict.status and verdict.sentence
        word = PAYS if verdict.status == KEEP else REFUSED if told and verdict.status == CRASH else BROKE
        yield Row(word, f"in a night: {name}", f"{verdict.status}: {verdict.sentence}")


def shown(rows: Iterator[Row]) -> int:
    """Print rows as they come; returns how many are wrong."""
    wrong = 0
    for row in rows:
        print(f"{row.verdict:9} {row.name:60} {row.outcome[:230]}", flush=True)
        wrong += row.is_wrong
    return wrong


def run_all(sandbox: Sandbox, quick: bool, only: str | None) -> int:
    """Every cheat in a sandbox, printed as they are made; returns how many pay or break something."""
    chosen = [
        cheat
        for cheat in CHEATS
        if (only is None or only in cheat.name) and (not quick or only is not None or cheat.name in QUICK)
    ]
    with tempfile.TemporaryDirectory(prefix="cheats-", ignore_cleanup_errors=True) as name, strict_harness():
        bench = Bench(Path(name), sandbox)
        honest = bench.honest()
        print(f"The honest file scores {honest.val_bpb:.3f} and ends {honest.overtime_seconds:.2f} s after its budget.")
        wrong = shown(bench.try_cheat(cheat, honest.val_bpb) for cheat in chosen)
        if not quick and only is None:
            wrong += shown(night(Path(name), bench.dataset, bench.bait))
            again = bench.honest()
            print(f"The honest file again: {again.val_bpb:.3f}, {again.overtime_seconds:.2f} s after its budget.")
            wrong += abs(again.val_bpb - honest.val_bpb) > TOLERANCE  # or the table says nothing
    print(f"{len(chosen)} cheats in {sandbox.name}, {wrong} pay or break something.")
    return wrong


def main() -> int:
    """Command line: see the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.cheats", description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few of them, and no night")
    parser.add_argument("--only", metavar="WORDS", help="only cheats with these words in their names")
    arguments = parser.parse_args()
    choice = choose()
    if not choice.works:
        print(f"There is no sandbox here: {'; '.join(choice.problems)}. {choice.advice}")
        return 2
    return 1 if run_all(choice.sandbox, arguments.quick, arguments.only) else 0


if __name__ == "__main__":
    run_command_line(main)
