"""Does train_mlx.py compute what it says? The same weights and batches through MLX and through plain PyTorch.

    python -m benchmarks.parity            everything, some minutes
    python -m benchmarks.parity --quick    the default model and a few others, under a minute

The reference is `torch_gpt.py` on the CPU in float32; where PyTorch finds a GPU (mps, cuda), its own error there stands
beside as a column, for PyTorch is not always right on it. How errors are measured and why tolerances are what they
are is told in `parity_comparison.py`. The exit status is 1 when anything misses.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import math
import os
import platform
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.parity_options import Edits, half_options, options
from mlx_autoresearch import launch, machine
from mlx_autoresearch.errors import AutoresearchError, run_command_line
from mlx_autoresearch.files import write_json
from mlx_autoresearch.paths import PROJECT

if TYPE_CHECKING:  # imported for real only after the process is set up
    from benchmarks.parity_comparison import Row
    from benchmarks.parity_properties import Property

RESULTS = PROJECT / "benchmarks" / "results" / "parity.json"

PROPERTIES = "properties"
"""What `--only` calls the properties."""


def known_problems(version: str) -> list[str]:
    """Faults of this PyTorch on MPS that others have reported; a column that disagrees may be wrong itself.

    Args:
        version: of PyTorch, like "2.13.0+cpu".
    """
    number = tuple(map(int, re.findall(r"\d+", version)[:2]))
    problems = ["gradients past 32,768 elements after a change of shape (pytorch issue 177116, open)"]
    if number < (2, 14):
        problems.append("fused causal attention in float16 and bfloat16 looks ahead (pytorch issue 195910)")
    if number == (2, 14):
        problems.append("lerp in float16 and bfloat16 (pytorch issue 196067; not used here)")
    return problems


def other_devices() -> list[str]:
    """PyTorch's devices besides the CPU, on this machine."""
    import torch

    found = [("mps", torch.backends.mps.is_available()), ("cuda", torch.cuda.is_available())]
    return [name for name, available in found if available]


def set_up() -> None:
    """Prepare this process: call it before anything imports `mlx.core` or torch."""
    if importlib.util.find_spec("torch") is None:
        raise AutoresearchError("The parity benchmark needs PyTorch: pip install -e '.[bench]'")
    os.environ["MLX_ENABLE_TF32"] = "0"  # matrix products of float32 would be rounded to 11 bits on some GPUs
    launch.set_up_process()
    import torch

    torch.set_num_threads(1)  # at these sizes threads wait for each other longer than they compute


def compare_options(edits: Edits, devices: Sequence[str], quick: bool, only: Sequence[str]) -> list[Row]:
    """Rows of all options, or of those named; progress goes to stderr."""
    from benchmarks.parity_comparison import compare_bfloat16, compare_float32

    rows = []
    for option in options(quick):
        if not only or option.name in only:
            with reported(f"{option.name}, float32"):
                rows += compare_float32(option, edits, devices)
    for option in half_options(quick):
        if not only or option.name in only:
            with reported(f"{option.name}, bfloat16"):
                rows += compare_bfloat16(option, edits)
    return rows


def check_properties(edits: Edits, quick: bool) -> list[Property]:
    """All properties of train_mlx.py; progress goes to stderr."""
    from benchmarks import parity_properties

    found = []
    for check in parity_properties.QUICK if quick else (*parity_properties.QUICK, *parity_properties.SLOW):
        with reported(check.__name__.replace("_", " ")):
            found.append(check(edits))
    return found


def check_torch(devices: Sequence[str]) -> list[Property]:
    """Whether PyTorch agrees with itself on each device; never a miss, because it is no fault of train_mlx.py."""
    import torch

    from benchmarks.parity_comparison import BFLOAT16, FLOAT32
    from benchmarks.parity_properties import fused_equals_plain

    tolerances = ((torch.float32, FLOAT32["logits"]), (torch.bfloat16, BFLOAT16["logits"]))
    return [fused_equals_plain(device, *tolerance) for device in devices for tolerance in tolerances]


@contextmanager
def reported(what: str) -> Iterator[None]:
    """Say on stderr what is being done, and how long it took."""
    console, started = Console(stderr=True, highlight=False), time.perf_counter()
    with console.status(escape(what)):
        yield
    console.print(f"[dim]{time.perf_counter() - started:6.1f} s  {escape(what)}[/dim]")


def show(rows: Sequence[Row], properties: Sequence[Property], devices: Sequence[str]) -> None:
    """A table for each set-up and way to compute, then the properties, on stdout."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    for (option, side), group in itertools.groupby(rows, key=lambda row: (row.option, row.side)):
        table = Table(title=escape(f"{option}: {side}"), title_justify="left", title_style="bold")
        table.add_column("relative error of")
        for heading in ("MLX", "tolerance", "", *(f"PyTorch, {device}" for device in devices)):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("worst tensor", overflow="fold")
        for row in group:
            beside = [f"{row.columns[device]:.1e}" if device in row.columns else "" for device in devices]
            numbers = (f"{row.error:.1e}", f"{row.tolerance:.1e}", verdict(row.passed), *beside)
            table.add_row(row.quantity, *numbers, row.where)
        console.print(table)
    for item in properties:
        console.print(f"{verdict(item.passed)}  {escape(item.name)}: {escape(item.detail)}", soft_wrap=True)


def verdict(passed: bool) -> str:
    """A verdict in colour."""
    return "[green]ok[/green]" if passed else "[bold red]MISS[/bold red]"


def report(
    rows: Sequence[Row], properties: Sequence[Property], torch_checks: Sequence[Property], devices: Sequence[str]
) -> dict:
    """Everything as JSON; an error that is no number is null."""
    import torch

    return {
        "passed": all(item.passed for item in (*rows, *properties)),
        "machine": asdict(machine.describe()),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "known_problems_of_torch": known_problems(torch.__version__) if "mps" in devices else [],
        "rows": [row_json(row) for row in rows],
        "properties": [asdict(item) for item in properties],
        "torch": [asdict(item) for item in torch_checks],
    }


def row_json(row: Row) -> dict:
    """A row with its verdict; errors that are no numbers are null."""
    numbers = {device: finite(error) for device, error in row.columns.items()}
    return {**asdict(row), "error": finite(row.error), "columns": numbers, "passed": row.passed}


def finite(number: float) -> float | None:
    """The number, or None where it is none."""
    return number if math.isfinite(number) else None


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    names = "; ".join([*dict.fromkeys(option.name for option in options(quick=False)), PROPERTIES])
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.parity",
        description="Compare train_mlx.py with a plain PyTorch implementation of the same model and optimizer.",
        epilog=f"What --only knows: {names}.",
    )
    parser.add_argument("--quick", action="store_true", help="a few set-ups and steps, under a minute")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only this set-up; may be repeated")
    parser.add_argument(
        "--edit",
        action="append",
        default=[],
        nargs=2,
        metavar=("BEFORE", "AFTER"),
        help="replace a piece of train_mlx.py's text, once in it: shows whether a mistake would be caught",
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="JSON file (default: %(default)s)")
    return parser.parse_args()


def main() -> int:
    """Command line: see the module's docstring. Returns 1 when anything misses."""
    arguments = parse_arguments()
    known = {PROPERTIES, *(option.name for option in (*options(arguments.quick), *half_options(arguments.quick)))}
    if unknown := [name for name in arguments.only if name not in known]:
        raise AutoresearchError(f"--only {unknown[0]}: choose from {', '.join(sorted(known))}.")
    set_up()
    devices = other_devices()
    edits = [tuple(edit) for edit in arguments.edit]
    rows = compare_options(edits, devices, arguments.quick, arguments.only)
    wanted = not arguments.only or PROPERTIES in arguments.only
    properties = check_properties(edits, arguments.quick) if wanted else []
    torch_checks = check_torch(["cpu", *devices]) if wanted else []
    show(rows, [*properties, *torch_checks], devices)
    result = report(rows, properties, torch_checks, devices)
    for problem in result["known_problems_of_torch"]:
        print(f"Known of this PyTorch on MPS: {problem}")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(arguments.output, result)
    misses = sum(not item.passed for item in (*rows, *properties))
    print(f"{len(rows)} rows and {len(properties)} properties, {misses} missed. Written to {arguments.output}")
    return 1 if misses else 0


if __name__ == "__main__":
    run_command_line(main)
