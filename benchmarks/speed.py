"""How fast train_mlx.py trains, beside plain MLX and PyTorch, and how much of the machine it uses.

    python -m benchmarks.speed
    python -m benchmarks.speed --sizes 1M 50M --contexts 256 2048 --name large
    python -m benchmarks.speed --quick

For every size and context four variants take turns, each in its own process: train_mlx.py as it is; the same model,
weights and optimizer as one writes them without its tricks (benchmarks/plain_step.py); and PyTorch, eager and compiled
(benchmarks/torch_workload.py), on the same device and in the same dtype. All do the same training: their losses after
the same number of steps are compared, and a difference is reported.

What is fair, and what is not counted: tokens are random and lie in memory already; train_mlx.py and PyTorch on a GPU
read a step's loss while the next step runs, plain MLX finishes each step first. Both MLX variants run in processes that
the project has set up, with its BLAS and its compiler flags, so that these are no part of the difference. A first step
is timed with the kernels that earlier runs left in the compilers' caches, or, with --cold, without any. Numbers are
medians over rounds with the 10th and 90th percentile; a round's number is the mean of its steps.

Achieved FLOP/s counts the matrix products that the mathematics needs: 6 a weight and token, and 12 a visible pair of
query and key, head and dimension; masked pairs, recomputed values and element-wise work count nothing. Muon's products
are counted separately. The ceiling is the fastest product of two large matrices in the same dtype in the same run.

At the end train_mlx.py is run for real for --run-seconds on the dataset prepared last: the share of time spent waiting
for data, and the seconds until the first step is done, for handing in and for scoring.

Results go to a JSON file as a run with a name, beside other runs; the picture lies next to it. Ctrl-C keeps what is
finished.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.interleaved import Measurement, Plan, Spread, Variant, measure, ratios, spread
from benchmarks.training_file import edited
from mlx_autoresearch import machine
from mlx_autoresearch.blas import free_cores
from mlx_autoresearch.curve import read_points
from mlx_autoresearch.errors import AutoresearchError, run_command_line
from mlx_autoresearch.experiment import Laboratory
from mlx_autoresearch.files import read_json, write_json, write_text
from mlx_autoresearch.paths import PROJECT, runs_root

SIZES: dict[str, dict[str, int]] = {
    "1M": {"DEPTH": 4, "WIDTH": 128, "KV_HEADS": 1, "QUERIES_PER_KV": 2, "VOCAB_SIZE": 1024},
    "3M": {"DEPTH": 4, "WIDTH": 128, "KV_HEADS": 2, "QUERIES_PER_KV": 1, "VOCAB_SIZE": 4096},
    "10M": {"DEPTH": 6, "WIDTH": 256, "KV_HEADS": 4, "QUERIES_PER_KV": 1, "VOCAB_SIZE": 4096},
    "15M": {"DEPTH": 6, "WIDTH": 384, "KV_HEADS": 3, "QUERIES_PER_KV": 2, "VOCAB_SIZE": 4096},
    "50M": {"DEPTH": 10, "WIDTH": 512, "KV_HEADS": 4, "QUERIES_PER_KV": 2, "VOCAB_SIZE": 8192},
}
"""Knobs of train_mlx.py by the number of parameters they make, about."""

DEFAULT_SIZES = (("1M", "3M", "10M"), ("1M", "10M"), ("1M", "15M", "50M"), ("1M", "15M", "50M"))
DEFAULT_CONTEXTS = ((256, 1024), (256, 1024), (256, 1024, 2048), (256, 1024, 2048))
DEFAULT_TOKENS = (2048, 4096, 8192, 16384)
"""What the sweep covers, and tokens in a step, by machine class (see `machine.machine_class`)."""

QUICK_SIZES, QUICK_CONTEXTS, QUICK_TOKENS = ("1M",), (256,), 512

TORCH_DEVICES = {"metal": "mps", "cuda": "cuda", "cpu": "cpu"}
"""PyTorch's name of what MLX computes on."""

LARGEST_DIFFERENCE = {"float32": 2e-3, "bfloat16": 2e-2}
"""How far apart the losses of variants may be after the warm-up, relatively."""

OURS = "train_mlx.py"


# What is compared


@dataclass(frozen=True)
class Configuration:
    """One size at one context."""

    size: str
    context: int
    batch_size: int

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.size}, context {self.context}"

    @property
    def knobs(self) -> dict[str, int]:
        """For train_mlx.py."""
        return SIZES[self.size]


def configurations(sizes: Sequence[str], contexts: Sequence[int], tokens: int) -> list[Configuration]:
    """All sizes at all contexts, with as many rows as make about `tokens` tokens a step."""
    return [Configuration(size, context, max(1, tokens // context)) for size in sizes for context in contexts]


def variants_of(configuration: Configuration, backend: str, folder: Path) -> list[Variant]:
    """train_mlx.py, plain MLX and, where it is installed, PyTorch; weights for all of them go to `folder`."""
    from benchmarks import mlx_workload
    from benchmarks.plain_step import PIECES

    weights = folder / "weights.npz"
    mlx_workload.save_weights(configuration.knobs, configuration.context, weights)
    common = {
        "batch_size": configuration.batch_size,
        "sequence_length": configuration.context,
        "weights": str(weights),
    }
    ours = {**common, "knobs": configuration.knobs}
    variants = [
        Variant(OURS, "benchmarks.mlx_workload:build", ours),
        Variant("plain MLX", "benchmarks.mlx_workload:build", {**ours, "plain": list(PIECES), "overlap": False}),
    ]
    if importlib.util.find_spec("torch") is None:
        return variants
    from benchmarks.torch_gpt import configuration_of

    module = mlx_workload.load(configuration.knobs, configuration.context)
    theirs = {
        **common,
        "configuration": asdict(configuration_of(module)),
        "data_type": data_type_of(module),
        "device": TORCH_DEVICES[backend],
    }
    return [
        *variants,
        Variant("PyTorch eager", "benchmarks.torch_workload:build", theirs, "torch"),
        Variant("torch.compile", "benchmarks.torch_workload:build", {**theirs, "compiled": True}, "torch"),
    ]


def data_type_of(module: ModuleType) -> str:
    """Name of the activations' dtype in a loaded train_mlx.py."""
    return str(module.DTYPE).removeprefix("mlx.core.")


def ceiling_variants(backend: str, size: int) -> list[Variant]:
    """Products of square matrices in the dtype of train_mlx.py, in MLX and, where it is installed, in PyTorch."""
    from benchmarks.training_file import load_training_file

    options = {"size": size, "data_type": data_type_of(load_training_file({}))}
    variants = [Variant("mlx", "benchmarks.mlx_workload:build_matmul", options)]
    if importlib.util.find_spec("torch") is not None:
        theirs = {**options, "device": TORCH_DEVICES[backend]}
        variants.append(Variant("torch", "benchmarks.torch_workload:build_matmul", theirs, "torch"))
    return variants


# FLOPs


@dataclass(frozen=True)
class Flops:
    """Floating-point operations of one training step's matrix products: a multiplication and an addition are two.

    Attributes:
        weights: 6 a token for each weight that multiplies: 2 forward, 4 backward. Gathered embeddings multiply nothing.
        attention: queries by keys and weights by values, 2 each a pair, head and dimension; 3 times that with backward.
            Only pairs that the mask lets through.
        optimizer: Muon's five steps on every matrix of r x c, r <= c: 2 r^2 c, 2 r^3 and 2 r^2 c each.
    """

    weights: int
    attention: int
    optimizer: int

    @property
    def model(self) -> int:
        """Without the optimizer."""
        return self.weights + self.attention


def flops_per_step(module: ModuleType, shapes: Mapping[str, Sequence[int]], batch_size: int, length: int) -> Flops:
    """Count for a loaded train_mlx.py with its SEQUENCE_LENGTH set.

    Args:
        module: its knobs decide heads and windows.
        shapes: of all parameters, by name.
        batch_size, length: rows and tokens of a step.
    """
    multiplied = 0
    for name, shape in shapes.items():
        is_table = name.endswith("embedding.weight") and not (name == "embedding.weight" and module.TIED_HEAD)
        if len(shape) == 2 and not is_table:
            multiplied += shape[0] * shape[1]
    head_channels = module.KV_HEADS * module.QUERIES_PER_KV * module.HEAD_DIM
    pairs = sum(visible_pairs(length, window) for window in windows_of(module))
    steps, optimizer = len(module.POLAR_EXPRESS), 0
    for name, shape in shapes.items():
        if name.startswith("blocks.") and name.endswith(module.MATRICES):
            short, long = sorted(shape)
            optimizer += steps * (4 * short**2 * long + 2 * short**3)
    return Flops(
        weights=6 * multiplied * batch_size * length,
        attention=12 * head_channels * pairs * batch_size,
        optimizer=optimizer,
    )


def visible_pairs(length: int, window: int) -> int:
    """Pairs of query and key that a causal window lets through in a row."""
    inside = min(length, window)
    return inside * (inside + 1) // 2 + (length - inside) * window


def windows_of(module: ModuleType) -> list[int]:
    """The attention window of every block, as the model has it."""
    return [block.attention._window for block in module.build_model().blocks]


def count_flops(configuration: Configuration) -> Flops:
    """`flops_per_step` of a configuration."""
    from mlx.utils import tree_flatten

    from benchmarks import mlx_workload

    module = mlx_workload.load(configuration.knobs, configuration.context)
    shapes = {name: array.shape for name, array in tree_flatten(module.build_model().trainable_parameters())}
    return flops_per_step(module, shapes, configuration.batch_size, configuration.context)


# Results


def three(values: Spread | None) -> dict[str, float] | None:
    """A spread as JSON."""
    return None if values is None else asdict(values)


def row_of(
    measurement: Measurement, ours: Measurement, flops: Flops, ceilings: Mapping[str, float], batch_tokens: int
) -> dict[str, Any]:
    """One variant of one configuration, as JSON: everything that the table shows, and every step's seconds."""
    row: dict[str, Any] = {"variant": measurement.name, "failure": measurement.failure}
    if not measurement.rounds:
        return row
    per_second = measurement.step.map(lambda seconds: batch_tokens / seconds)
    achieved = measurement.step.map(lambda seconds: flops.model / seconds / 1e9)
    ceiling = ceilings.get("torch" if measurement.facts["version"].startswith("torch") else "mlx")
    evaluation = measurement.evaluation
    return row | {
        "facts": dict(measurement.facts),
        "start_seconds": measurement.start_seconds,
        "first_step_seconds": measurement.first_step_seconds,
        "first_evaluation_seconds": measurement.first_evaluation_seconds,
        "training_tokens_per_second": three(per_second),
        "evaluation_tokens_per_second": three(evaluation and evaluation.map(lambda s: batch_tokens / s)),
        "step_seconds": three(measurement.all_steps),
        "achieved_gflops": three(achieved),
        "achieved_gflops_with_optimizer": three(
            measurement.step.map(lambda seconds: (flops.model + flops.optimizer) / seconds / 1e9)
        ),
        "share_of_ceiling": three(achieved.map(lambda gflops: gflops / ceiling)) if ceiling else None,
        "seconds_over_ours": three(spread(ratios(measurement, ours))) if ours.rounds else None,
        "peak_memory_bytes": measurement.peak_memory_bytes,
        "peak_resident_bytes": measurement.peak_resident_bytes,
        "resident_since": measurement.resident_since,
        "warm_loss": measurement.warm_loss,
        "rounds": measurement.rounds,
        "evaluation_rounds": measurement.evaluation_rounds,
    }


def loss_warning(measurements: Sequence[Measurement]) -> str:
    """A sentence when variants that should do the same training have different losses; empty when they agree."""
    losses = {m.name: m.warm_loss for m in measurements if m.warm_loss is not None}
    if not losses:
        return ""
    allowed = max(LARGEST_DIFFERENCE[m.facts["dtype"]] for m in measurements if m.facts)
    if max(losses.values()) - min(losses.values()) <= allowed * abs(max(losses.values())):
        return ""
    words = ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items())
    return f"The variants do not do the same training: after the warm-up their losses are {words}."


def measure_configuration(
    configuration: Configuration, backend: str, plan: Plan, ceilings: Mapping[str, float], cold: bool
) -> dict[str, Any]:
    """All variants of one configuration, as JSON."""
    flops = count_flops(configuration)
    with tempfile.TemporaryDirectory(prefix="mlx-autoresearch-") as folder:
        environment = {"TMPDIR": folder} if cold else {}  # where MLX and PyTorch keep compiled kernels
        variants = variants_of(configuration, backend, Path(folder))
        with progress(configuration.name) as tell:
            measurements = measure(variants, plan, tell, environment)
    tokens = configuration.batch_size * configuration.context
    return {
        **asdict(configuration),
        "name": configuration.name,
        "tokens_per_step": tokens,
        "flops_per_step": asdict(flops),
        "loss_warning": loss_warning(measurements),
        "rows": [row_of(m, measurements[0], flops, ceilings, tokens) for m in measurements],
    }


def measure_ceilings(backend: str, size: int, plan: Plan) -> dict[str, dict[str, Any]]:
    """Speed of products of `size` x `size` matrices in 10^9 operations a second, by framework.

    "best" is the fastest product, the ceiling; "gflops" has median and spread over rounds.
    """
    operations = 2 * size**3 / 1e9
    with progress("ceiling") as tell:
        measurements = measure(ceiling_variants(backend, size), plan, tell)
    ceilings = {}
    for measurement in measurements:
        ceilings[measurement.name] = {"failure": measurement.failure, "matrix_size": size}
        if measurement.rounds:
            fastest = min(min(seconds) for seconds in measurement.rounds)
            gflops = measurement.step.map(lambda seconds: operations / seconds)
            ceilings[measurement.name] |= {"best": operations / fastest, "gflops": three(gflops)}
    return ceilings


# A real run


PROBES = (
    (
        "    step, smooth_loss, last_log, pending = clock.resume(data, model, optimizer.state), None, 0.0, None\n",
        "    step, smooth_loss, last_log, pending = clock.resume(data, model, optimizer.state), None, 0.0, None\n"
        "    log(0, probe=0)\n",
    ),
    (
        "            value = pending[0].item()\n",
        "            value = pending[0].item()\n            if step == 2:\n                log(1, probe=1)\n",
    ),
    (
        "    data.close()\n    hand_in(model)\n",
        "    waited = data.wait_seconds\n    data.close()\n    hand_in(model)\n"
        "    log(step, probe=2, tokens=step * tokens_per_step, waited=waited)\n",
    ),
)
"""Edits of train_mlx.py that note when the model is built, the first step's loss is there, and the model handed in."""


def real_run(seconds: float, dataset_name: str | None) -> dict[str, Any]:
    """train_mlx.py itself, trained and scored for a short budget on a prepared dataset, as JSON.

    Raises:
        AutoresearchError: no dataset is prepared, or the run failed.
    """
    from mlx_autoresearch.dataset import open_dataset

    dataset = open_dataset(dataset_name)
    folder = runs_root() / "benchmark-speed" / time.strftime("%Y%m%d-%H%M%S")
    folder.mkdir(parents=True)
    training_file = folder / "train_mlx.py"
    write_text(training_file, edited((PROJECT / "train_mlx.py").read_text(encoding="utf-8"), PROBES))
    with progress("real run") as tell:
        laboratory = Laboratory(dataset.folder, seconds, lambda p: tell(f"{p.stage} {p.seconds:.0f} s"))
        # As in a night: the smoke run compiles what the run then finds in the cache.
        result = laboratory.smoke(training_file, folder / "smoke")
        if result is None:
            (folder / "run").mkdir()
            result = laboratory.run(training_file, folder / "run", seed=1)
    if result.failure is not None:
        raise AutoresearchError(f"train_mlx.py failed ({result.failure}): {result.reason} See {folder}.")
    return {
        "dataset": dataset.name,
        "budget_seconds": seconds,
        "steps": result.steps,
        "val_bpb": result.val_bpb,
        **shares(read_points(folder / "run" / "curve.jsonl"), result.training_seconds, result.total_seconds, seconds),
    }


def shares(points: Sequence[dict], training_seconds: float, total_seconds: float, budget: float) -> dict[str, float]:
    """Where the time of a run went, from its learning curve with the lines that `PROBES` writes.

    Seconds count from the start of the process; `training_seconds` end with it, `total_seconds` with the score.
    """
    built, first, handed_in = (next(p for p in points if p.get("probe") == number) for number in range(3))
    trained = next(p for p in reversed(points) if "probe" not in p)
    scoring = total_seconds - training_seconds
    return {
        "start_seconds": built["seconds"],
        "first_step_seconds": first["seconds"] - built["seconds"],
        "hand_in_seconds": handed_in["seconds"] - trained["seconds"],
        "data_wait_share": handed_in["waited"] / trained["seconds"],
        "scoring_seconds": scoring,
        "scoring_share_of_budget": scoring / budget,
        "training_tokens_per_second": handed_in["tokens"] / (trained["seconds"] - built["seconds"]),
    }


# What a person sees


@contextmanager
def progress(title: str) -> Iterator[Any]:
    """A line on a terminal that says what is being done: `tell(words)`; elsewhere one line a title."""
    is_terminal = sys.stderr.isatty()
    if not is_terminal:
        print(title, file=sys.stderr, flush=True)

    def tell(words: str) -> None:
        if is_terminal:
            print(f"\r\x1b[K{title}: {words}", end="", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        tell("")
        if is_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def show(run: Mapping[str, Any]) -> None:
    """Tables of a run: one a configuration, then the ceilings and the real run."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=max(Console().width, TABLE_WIDTH))
    for configuration in run["configurations"]:
        rows = [row for row in configuration["rows"] if "step_seconds" in row]
        title = f"{configuration['name']}, {configuration['tokens_per_step']} tokens a step"
        table = Table("", *(row["variant"] for row in rows), title=title, title_justify="left")
        for column in table.columns[1:]:
            column.justify = "right"
        for heading, name, pattern, factor in LINES:
            table.add_row(heading, *(cell(row[name], pattern, factor) for row in rows))
        console.print(table)
        for row in configuration["rows"]:
            if row["failure"]:
                console.print(f"No numbers, or not all: {row['failure']}", markup=False, highlight=False)
        if configuration["loss_warning"]:
            console.print(configuration["loss_warning"], markup=False, highlight=False)
    for name, ceiling in run["ceilings"].items():
        console.print(f"Ceiling, {name}: {ceiling_words(ceiling)}", markup=False, highlight=False)
    real = run["real_run"]
    if real is not None:
        console.print(real.get("failure") or real_run_sentence(real), markup=False, highlight=False)
    cores = run["cores"]
    if cores is not None and cores["free"] < cores["all"]:
        busy = f"Other programs were busy on {cores['all'] - cores['free']} of {cores['all']} cores before this began"
        console.print(f"{busy}: these numbers say little. Run it again on an idle machine.", highlight=False)
    heat = " before, ".join("unknown" if h is None else machine.THERMAL_LEVELS[h] for h in run["thermal_levels"])
    console.print(f"Heat: {heat} after.", markup=False, highlight=False)


LINES: tuple[tuple[str, str, str, float], ...] = (
    ("training, tokens/s", "training_tokens_per_second", "{:,.0f}", 1.0),
    ("time a step, ours = 1", "seconds_over_ours", "{:.2f}", 1.0),
    ("evaluation, tokens/s", "evaluation_tokens_per_second", "{:,.0f}", 1.0),
    ("single steps, ms", "step_seconds", "{:,.1f}", 1e3),
    ("matrix products, GFLOP/s", "achieved_gflops", "{:,.1f}", 1.0),
    ("  with Muon's", "achieved_gflops_with_optimizer", "{:,.1f}", 1.0),
    ("  share of the ceiling, %", "share_of_ceiling", "{:.1f}", 100.0),
    ("peak of the allocator, MB", "peak_memory_bytes", "{:,.0f}", 1e-6),
    ("peak of the process, MB", "peak_resident_bytes", "{:,.0f}", 1e-6),
    ("start, s", "start_seconds", "{:.1f}", 1.0),
    ("first step, s", "first_step_seconds", "{:.1f}", 1.0),
)
"""Lines of a configuration's table: what it says, the value's name in a row, how it is written, and a factor."""


def cell(value: float | Mapping[str, float] | None, pattern: str, factor: float) -> str:
    """A value of a row as text; a spread has a second line with its 10th and 90th percentile."""
    if value is None:
        return "-"
    if not isinstance(value, Mapping):
        return pattern.format(value * factor)
    median, low, high = (pattern.format(value[key] * factor) for key in ("median", "low", "high"))
    return f"{median}\n[dim]{low} - {high}[/dim]"


def ceiling_words(ceiling: Mapping[str, Any]) -> str:
    """A framework's ceiling in words."""
    if "best" not in ceiling:
        return ceiling["failure"]
    gflops, size = ceiling["gflops"], ceiling["matrix_size"]
    spread_words = f"{gflops['median']:,.0f}, {gflops['low']:,.0f} - {gflops['high']:,.0f} over rounds"
    return f"{ceiling['best']:,.0f} GFLOP/s at best ({spread_words}), {size} x {size}"


def real_run_sentence(real: Mapping[str, Any]) -> str:
    """The real run in words."""
    return (
        f"A run of {real['budget_seconds']:g} s: {real['start_seconds']:.1f} s to build the model, first step "
        f"{real['first_step_seconds']:.1f} s, {real['data_wait_share']:.2%} of the time waiting for data, hand-in "
        f"{real['hand_in_seconds']:.1f} s, scoring {real['scoring_seconds']:.1f} s "
        f"({real['scoring_share_of_budget']:.1%} of the budget)."
    )


TABLE_WIDTH = 110
"""Characters in a line at least, also where no terminal says how many there are."""

COLOURS = {OURS: "#1f6fb4", "plain MLX": "#9ecae9", "PyTorch eager": "#f7b267", "torch.compile": "#d95f0e"}


def draw(run: Mapping[str, Any], path: Path) -> None:
    """Training speed and achieved FLOP/s of every size, a column of panels a context."""
    from matplotlib.figure import Figure

    contexts = sorted({c["context"] for c in run["configurations"]})
    panels = (
        ("training_tokens_per_second", "training, tokens/s"),
        ("evaluation_tokens_per_second", "evaluation, tokens/s"),
        ("achieved_gflops", "training, GFLOP/s"),
    )
    figure = Figure(figsize=(2.2 + 4.2 * len(contexts), 9), layout="constrained")
    grid = figure.subplots(len(panels), len(contexts), squeeze=False)
    for column, context in enumerate(contexts):
        members = [c for c in run["configurations"] if c["context"] == context]
        for axes, (quantity, label) in zip(grid[:, column], panels, strict=True):
            draw_bars(axes, members, quantity)
            axes.set(xticks=range(len(members)), xticklabels=[c["size"] for c in members])
            axes.grid(axis="y", alpha=0.3)
            axes.set_axisbelow(True)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            if column == 0:
                axes.set_ylabel(label)
        for name, ceiling in run["ceilings"].items():
            if "best" in ceiling:
                style = {"mlx": "--", "torch": ":"}[name]
                label = f"matrix products, {name}"
                grid[2, column].axhline(ceiling["best"], color="black", linestyle=style, linewidth=1, label=label)
        grid[0, column].set_title(f"context {context}")
        grid[2, column].set_xlabel("parameters")
    known = {}
    for axes in grid.flat:
        handles, labels = axes.get_legend_handles_labels()
        known |= dict(zip(labels, handles, strict=True))
    figure.legend(known.values(), known.keys(), loc="outside lower center", ncols=3)
    figure.suptitle(f"{run['identity']}\nmedian over rounds, 10th to 90th percentile", fontsize=11)
    figure.savefig(path, dpi=150)


def draw_bars(axes: Any, members: Sequence[Mapping[str, Any]], quantity: str) -> None:
    """A group of bars for each configuration, a bar a variant, with its spread."""
    width = 0.8 / len(COLOURS)
    for number, (variant, colour) in enumerate(COLOURS.items()):
        places, medians, below, above = [], [], [], []
        for place, configuration in enumerate(members):
            values = next((r.get(quantity) for r in configuration["rows"] if r["variant"] == variant), None)
            if values is not None:
                places.append(place + (number - (len(COLOURS) - 1) / 2) * width)
                medians.append(values["median"])
                below.append(values["median"] - values["low"])
                above.append(values["high"] - values["median"])
        if places:
            error_style = {"elinewidth": 1, "capsize": 2, "ecolor": "#333333"}
            axes.bar(places, medians, width, yerr=(below, above), color=colour, label=variant, error_kw=error_style)


# Command line


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=SIZES, help="parameters, about (default: by machine)")
    parser.add_argument("--contexts", nargs="+", type=int, help="tokens in a row (default: by machine)")
    parser.add_argument("--tokens", type=int, help="tokens in a step, about (default: by machine)")
    parser.add_argument("--rounds", type=int, help="turns of every variant (default: 7, quick: 3)")
    parser.add_argument("--turn-seconds", type=float, help="training seconds of a turn (default: 3, quick: 0.5)")
    parser.add_argument("--quick", action="store_true", help="one small configuration and short turns: does it work?")
    parser.add_argument("--cold", action="store_true", help="first steps without kernels compiled earlier")
    parser.add_argument("--run-seconds", type=float, help="budget of the real run, 0 for none (default: 60, quick: 0)")
    parser.add_argument("--dataset", help="prepared dataset of the real run (default: the one prepared last)")
    parser.add_argument("--name", help="of this run in the file; the same name replaces (default: sweep, quick: quick)")
    parser.add_argument("--output", type=Path, help="JSON file (default: benchmarks/results/speed-<machine>.json)")
    return parser


@dataclass(frozen=True)
class Sweep:
    """What the command line asks for, with nothing left open."""

    name: str
    sizes: tuple[str, ...]
    contexts: tuple[int, ...]
    tokens: int
    plan: Plan
    matrix_size: int
    run_seconds: float
    cold: bool

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace, machine_class: int) -> Sweep:
        """Defaults by machine class (see `machine.machine_class`)."""
        quick = arguments.quick
        sizes = arguments.sizes or (QUICK_SIZES if quick else DEFAULT_SIZES[machine_class])
        contexts = arguments.contexts or (QUICK_CONTEXTS if quick else DEFAULT_CONTEXTS[machine_class])
        return cls(
            name=arguments.name or ("quick" if quick else "sweep"),
            sizes=tuple(sizes),
            contexts=tuple(contexts),
            tokens=arguments.tokens or (QUICK_TOKENS if quick else DEFAULT_TOKENS[machine_class]),
            plan=Plan(
                rounds=arguments.rounds or (3 if quick else 7),
                turn_seconds=given(arguments.turn_seconds, 0.5 if quick else 3.0),
            ),
            matrix_size=2048 if machine_class == 0 else 4096,
            run_seconds=given(arguments.run_seconds, 0.0 if quick else 60.0),
            cold=arguments.cold,
        )


def given(value: float | None, default: float) -> float:
    """A value that may be 0, or the default."""
    return default if value is None else value


def slug(facts: machine.Machine) -> str:
    """The machine in a file's name: "apple-m4-max-64gb-metal"."""
    memory = "" if facts.memory_bytes is None else f" {facts.memory_bytes / machine.GIB:.0f}gb"
    return re.sub(r"[^a-z0-9]+", "-", f"{facts.chip}{memory} {facts.backend}".lower()).strip("-")


def picture_of(output: Path, name: str) -> Path:
    """The picture of a run beside the results file: one for each name, so that none takes another's place."""
    return output.with_name(f"{output.stem}-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.png")


def stored_runs(output: Path) -> dict[str, Any]:
    """The runs in a results file by name; none when there is no file yet.

    Raises:
        AutoresearchError: the file is no result of this benchmark.
    """
    try:
        return dict(read_json(output)["runs"]) if output.exists() else {}
    except (OSError, ValueError, KeyError, TypeError):
        raise AutoresearchError(f"{output} holds no speed results; move it away or choose another --output.") from None


def store(output: Path, run: Mapping[str, Any]) -> None:
    """Write a run into the file, in place of one of the same name; other runs stay."""
    output.parent.mkdir(parents=True, exist_ok=True)
    write_json(output, {"runs": {**stored_runs(output), run["name"]: run}})


def cores_before() -> dict[str, int] | None:
    """How many cores there are and how many of them other programs leave free; None where the system isn't Linux."""
    if sys.platform != "linux":
        return None
    cores = os.sched_getaffinity(0)
    return {"all": len(cores), "free": free_cores(cores)}


def run_sweep(sweep: Sweep, output: Path, dataset: str | None) -> dict[str, Any]:
    """Measure everything, writing the file after each configuration.

    Raises:
        AutoresearchError: the file can't be used.
        KeyboardInterrupt: passed on; what is finished is in the file.
    """
    stored_runs(output)  # better now than after the first configuration
    facts = machine.describe()
    run: dict[str, Any] = {
        "name": sweep.name,
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "identity": machine.identity(),
        "machine": asdict(facts),
        "sweep": asdict(sweep),
        "cores": cores_before(),
        "thermal_levels": [machine.thermal_level(), None],
        "ceilings": {},
        "configurations": [],
        "real_run": None,
    }
    run["ceilings"] = measure_ceilings(facts.backend, sweep.matrix_size, sweep.plan)
    ceilings = {name: ceiling["best"] for name, ceiling in run["ceilings"].items() if "best" in ceiling}
    for configuration in configurations(sweep.sizes, sweep.contexts, sweep.tokens):
        measured = measure_configuration(configuration, facts.backend, sweep.plan, ceilings, sweep.cold)
        run["configurations"].append(measured)
        run["thermal_levels"][1] = machine.thermal_level()
        store(output, run)
    if sweep.run_seconds > 0:
        try:
            run["real_run"] = real_run(sweep.run_seconds, dataset)
        except AutoresearchError as error:
            run["real_run"] = {"failure": f"No real run: {error}"}
        store(output, run)
    return run


def main() -> None:
    """Command line: see the module's docstring."""
    arguments = build_parser().parse_args()
    sweep = Sweep.from_arguments(arguments, machine.machine_class())
    output = arguments.output or PROJECT / "benchmarks" / "results" / f"speed-{slug(machine.describe())}.json"
    try:
        with machine.keep_awake():
            run = run_sweep(sweep, output, arguments.dataset)
    except KeyboardInterrupt:
        print(f"\nConfigurations that were finished, if any, are in {output}, under {sweep.name!r}.", file=sys.stderr)
        raise
    show(run)
    if importlib.util.find_spec("torch") is None:
        print("PyTorch is not installed, so it has no rows: pip install -e '.[bench]'")
    print(f"Written to {output}")
    picture = picture_of(output, sweep.name)
    draw(run, picture)
    print(f"Drawn to {picture}")


if __name__ == "__main__":
    run_command_line(main)
