"""How much does train_mlx.py, unchanged, move from seed to seed? The noise that every verdict has to see through.

    python -m benchmarks.seeds --seeds 8

Each seed trains for the whole budget, on a machine that does nothing else meanwhile, and is scored on validation and
test text. Seeds that were run before, of the same file on the same machine, are not repeated: stopped, the same
command goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.speed import slug
from mlx_autoresearch import machine
from mlx_autoresearch.argument_types import positive
from mlx_autoresearch.conditions_meter import ConditionsMeter
from mlx_autoresearch.dataset import open_dataset
from mlx_autoresearch.errors import AutoresearchError, run_command_line
from mlx_autoresearch.experiment import Laboratory, clear_progress, print_progress
from mlx_autoresearch.files import read_json, remove_tree, write_json
from mlx_autoresearch.paths import PROJECT, runs_root
from mlx_autoresearch.settings import DEFAULT_BUDGET_SECONDS

TRAINING_FILE = PROJECT / "train_mlx.py"


def deviation(values: Sequence[float]) -> float | None:
    """Standard deviation of a sample; None for less than two values."""
    return round(statistics.stdev(values), 6) if len(values) > 1 else None


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Mean, standard deviation and range of both scores and of the steps, and how far the two scores go together."""
    numbers: dict[str, float | None] = {}
    for name in ("val_bpb", "test_bpb", "steps"):
        values = [run[name] for run in runs]
        numbers[f"{name}_mean"] = round(statistics.fmean(values), 6)
        numbers[f"{name}_deviation"] = deviation(values)
        numbers[f"{name}_range"] = round(max(values) - min(values), 6)
    for one, other in (("val_bpb", "test_bpb"), ("val_bpb", "steps")):
        pairs = [run[one] for run in runs], [run[other] for run in runs]
        spread = all(len(set(values)) > 1 for values in pairs)
        numbers[f"correlation_{one}_{other}"] = round(statistics.correlation(*pairs), 3) if spread else None
    return numbers


def identity_of(budget: float, dataset: str) -> dict[str, Any]:
    """What must be equal for runs to be of one kind."""
    digest = hashlib.sha256(TRAINING_FILE.read_bytes()).hexdigest()
    return {"machine": machine.identity(), "budget_seconds": budget, "dataset": dataset, "training_file_sha256": digest}


def earlier_runs(output: Path, identity: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs in `output` that are of this kind."""
    if not output.exists():
        return []
    found = read_json(output)
    return found["runs"] if {name: found.get(name) for name in identity} == identity else []


def main() -> None:
    """Command line: see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.seeds", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=positive(int), default=8, help="how many (default: 8)")
    parser.add_argument(
        "--budget", type=positive(float), default=DEFAULT_BUDGET_SECONDS, help="seconds of a run (default: 300)"
    )
    parser.add_argument("--dataset", help="prepared dataset (default: the one prepared last)")
    parser.add_argument("--output", type=Path, help="JSON file (default: benchmarks/results/seeds-MACHINE.json)")
    arguments = parser.parse_args()
    output = arguments.output or PROJECT / "benchmarks" / "results" / f"seeds-{slug(machine.describe())}.json"
    dataset = open_dataset(arguments.dataset)
    identity = identity_of(arguments.budget, dataset.name)
    runs = earlier_runs(output, identity)
    root = runs_root() / "benchmark-seeds" / time.strftime("%Y%m%d-%H%M%S")
    laboratory = Laboratory(dataset.folder, arguments.budget, print_progress)
    waiting = [seed for seed in range(1, arguments.seeds + 1) if all(run["seed"] != seed for run in runs)]
    if waiting and (failure := laboratory.smoke(TRAINING_FILE, root / "smoke")) is not None:
        raise AutoresearchError(f"the smoke run failed ({failure.failure}): {failure.reason}")
    for seed in waiting:
        folder = root / str(seed)
        folder.mkdir(parents=True)
        with ConditionsMeter(None) as meter:
            result = laboratory.run(TRAINING_FILE, folder, seed, splits=("val", "test"))
        clear_progress()
        if result.failure is not None:
            raise AutoresearchError(f"seed {seed} failed ({result.failure}): {result.reason} See {folder}.")
        remove_tree(folder)
        runs = [*runs, {**asdict(result), "other_cores": meter.conditions.other_cores}]
        output.parent.mkdir(parents=True, exist_ok=True)
        write_json(output, {**identity, "summary": summary(runs), "runs": runs})
        print(
            f"seed {seed}: val_bpb {result.val_bpb:.4f}, test_bpb {result.test_bpb:.4f}, {result.steps:,} steps, "
            f"others used {meter.conditions.other_cores or 0:.2f} cores",
            flush=True,
        )
    for name, number in summary(runs).items():
        print(f"{name:<30} {'unknown' if number is None else f'{number:.5f}'}")
    print(f"Written to {output}")


if __name__ == "__main__":
    run_command_line(main)
