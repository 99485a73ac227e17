"""What must hold for train_mlx.py whatever another implementation says: causality, learning, knobs that do something.

Each property is a function of the edits of train_mlx.py under test and gives a `Property`.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import torch
from mlx.utils import tree_flatten, tree_unflatten
from rich.console import Console

from benchmarks import torch_gpt
from benchmarks.parity_comparison import FLOAT32, distance, number_error, peak_error
from benchmarks.parity_options import SMALL, Edits
from benchmarks.parity_runs import (
    Arrays,
    arrays_of,
    awake_weights,
    compilation,
    make_data,
    text_rows,
)
from benchmarks.training_file import edited, load_training_file
from mlx_autoresearch.corpus import Source
from mlx_autoresearch.corpus.stories import generate_stories
from mlx_autoresearch.curve import read_points
from mlx_autoresearch.dataset import prepare_dataset
from mlx_autoresearch.handin import SCORE_ROWS, hand_in
from mlx_autoresearch.judge import RefusedError, change_rows, compare
from mlx_autoresearch.knobs import Choices, IntRange, Knob, Value, read_knobs, short_float, write_knobs
from mlx_autoresearch.launch import WITHOUT_MPI
from mlx_autoresearch.machine import awake_seconds
from mlx_autoresearch.paths import PROJECT
from mlx_autoresearch.process import child_environment
from mlx_autoresearch.scorer import answer, import_graph
from mlx_autoresearch.settings import CONTEXT, GRAPH_FILE, SETTINGS_VARIABLE, RunSettings

SEES_ONE_AHEAD = ("visible = (back >= 0) & (back < window)", "visible = (back >= -1) & (back < window)")
"""An edit that lets every token see the one after it."""

KNOB_STEPS = 5
"""Optimizer steps after which a knob must have changed something; a few, so that schedules move."""

KNOB_EFFECT = 1e-4
"""Least change of a parameter by a knob, as a share of the way it moved: a hundred times what rounding does."""


@dataclass(frozen=True)
class Property:
    """A property, whether it holds, and the numbers that say so."""

    name: str
    passed: bool
    detail: str


def causal(edits: Edits) -> Property:
    """The scorer accepts the model."""
    refusal = scorers_verdict(edits)
    return Property("the scorer finds the model causal", refusal is None, refusal or "every cut of a row tried")


def acausal_is_caught(edits: Edits) -> Property:
    """The scorer refuses the model when its mask lets tokens see the one after them."""
    refusal = scorers_verdict((*edits, SEES_ONE_AHEAD))
    return Property("the scorer refuses a mask that looks ahead", refusal is not None, refusal or "it was accepted")


def scorers_verdict(edits: Edits) -> str | None:
    """Why the scorer refuses an awake model, or None."""
    module = load_training_file(SMALL, edits=edits)
    with exported(awake_model(module)) as graph:
        chance = np.random.default_rng(1)
        inputs, targets = text_rows(0, SCORE_ROWS, CONTEXT)
        rows = np.concatenate([inputs, targets[:, -1:]], axis=1)
        changed = change_rows(rows, chance, every_cut=True)
        first = answer(graph, module.VOCAB_SIZE, rows)
        try:
            compare(rows, first.nats, changed, answer(graph, module.VOCAB_SIZE, changed.rows, changed.cuts - 1))
        except RefusedError as refusal:
            return str(refusal)
    return None


def exported_equals_live(edits: Edits) -> Property:
    """The graph that is handed in gives the live model's logits."""
    model = awake_model(load_training_file(SMALL, edits=edits))
    rows, _ = text_rows(0, SCORE_ROWS, CONTEXT)
    with exported(model) as graph:
        error = peak_error(np.array(graph(mx.array(rows))), np.array(model(mx.array(rows))))
    tolerance = FLOAT32["logits"]
    return Property("the exported graph equals the live model", error <= tolerance, f"{error:.1e} of {tolerance:.0e}")


def awake_model(module: ModuleType) -> nn.Module:
    """A model in which every part shows (see `parity_runs.awake_weights`)."""
    model = module.build_model()
    model.update(tree_unflatten([(name, mx.array(weight)) for name, weight in awake_weights(module).items()]))
    return model


@contextmanager
def exported(model: nn.Module) -> Iterator[Callable[[mx.array], mx.array]]:
    """The model's hand-in, read back as the scorer reads it; its file is there during the block."""
    with tempfile.TemporaryDirectory() as folder:
        hand_in(model, RunSettings("", folder, 1.0, 0, 0.0))
        yield import_graph(Path(folder) / GRAPH_FILE)[0]


def loss_falls(edits: Edits) -> Property:
    """Twenty steps on one batch learn it by heart, from fresh weights."""
    module = load_training_file(SMALL, edits=edits)
    batch = make_data(module, 1).batches[0]
    with compilation(False):
        mx.random.seed(5)
        model = module.build_model()
        optimizer = module.Optimizer(dict(tree_flatten(model.trainable_parameters())))
        step = module.make_step(model, optimizer)
        losses = []
        for _ in range(20):
            loss, _ = step([tuple(map(mx.array, batch))], mx.array(1.0))
            mx.eval(loss, model.state, optimizer.state)
            losses.append(loss.item())
    detail = f"{losses[0]:.2f} to {losses[-1]:.2f} nats in 20 steps"
    return Property("the loss falls on a repeated batch", losses[-1] < losses[0] / 2, detail)


# Knobs


class StepClock:
    """A clock of train_mlx.py's `main` that lets it take a number of steps."""

    def __init__(self, steps: int):
        self._steps, self._begun = steps, 0

    def resume(self, data: object, *state: object) -> int:
        return 0

    def running(self) -> bool:
        self._begun += 1
        return self._begun <= self._steps

    def progress(self) -> float:
        return (self._begun - 1) / self._steps

    def elapsed(self) -> float:
        return 1000.0 * self._begun  # so far apart that every step is logged


class TextBatches:
    """Batches of stories for train_mlx.py's `main`."""

    wait_seconds = 0.0

    def __init__(self, vocab_size: int, batch_size: int, sequence_length: int):
        self._rows, self._length, self._position = batch_size, sequence_length, 0

    def __next__(self) -> tuple[mx.array, mx.array]:
        inputs, targets = text_rows(self._position, self._rows, self._length)
        self._position += inputs.size
        return mx.array(inputs), mx.array(targets)

    def close(self) -> None:
        """Nothing to close."""


@dataclass(frozen=True)
class ShortRun:
    """Parameters before and after a few steps of train_mlx.py's own `main`, and what it logged at each step."""

    first: Arrays
    last: Arrays
    logged: list[dict[str, float]]


def short_run(knobs: Mapping[str, Value], edits: Edits) -> ShortRun:
    """`main` of train_mlx.py with other knobs, on stories, for a few steps."""
    module = load_training_file({**SMALL, **knobs}, edits=edits)
    models, logged, fresh = [], [], []
    build = module.build_model

    def build_model() -> nn.Module:
        model = build()
        fresh.append(arrays_of(model.parameters()))
        return model

    replacements = {
        "Clock": partial(StepClock, KNOB_STEPS),
        "batches": TextBatches,
        "log": lambda step, **numbers: logged.append(numbers),
        "hand_in": models.append,
        "build_model": build_model,
        "SEED": 1,
    }
    vars(module).update(replacements)
    with compilation(False):
        module.main()
    return ShortRun(fresh[0], arrays_of(models[0].parameters()), logged)


def knob_effect(run: ShortRun, base: ShortRun) -> float:
    """How far the parameters ended from those of another run; infinity when the models have other shapes."""
    if {n: p.shape for n, p in run.last.items()} != {n: p.shape for n, p in base.last.items()}:
        return float("inf")
    return max(distance(run.last[n] - base.first[n], p - base.first[n]) for n, p in base.last.items())


def other_value(knob: Knob) -> Value:
    """Another value of the knob from the range that it declares."""
    limits, value = knob.range, knob.value
    if isinstance(limits, Choices):
        return limits.values[(limits.values.index(value) + 1) % len(limits.values)]
    if isinstance(limits, IntRange):
        return value + limits.step if value + limits.step <= limits.high else limits.low
    middle = (limits.low + limits.high) / 2
    return short_float(middle if abs(middle - value) > 0.05 * (limits.high - limits.low) else limits.high)


def every_knob_matters(edits: Edits, names: Collection[str] = ()) -> Property:
    """Another value in each knob (of `names`, if any) gives another model after a few steps.

    Knobs without a range only save memory: see the properties of LOSS_CHUNK and CHECKPOINT.
    """
    source = write_knobs((PROJECT / "train_mlx.py").read_text(encoding="utf-8"), SMALL, machine_class=0)
    knobs = [knob for knob in read_knobs(source, machine_class=0).values() if knob.range is not None]
    base = short_run({}, edits)
    noise = knob_effect(short_run({}, edits), base)  # a GPU may add up the gradients of an embedding in any order
    effects = {
        knob.name: knob_effect(short_run({knob.name: other_value(knob)}, edits), base)
        for knob in knobs
        if not names or knob.name in names
    }
    idle = [name for name, effect in effects.items() if not effect > max(KNOB_EFFECT, 10 * noise)]
    weakest = min(effects, key=effects.__getitem__)
    detail = f"{len(effects)} knobs; the weakest, {weakest}, moved a parameter by {effects[weakest]:.1e} of its way"
    if idle:
        detail = f"without effect: {', '.join(idle)}"
    return Property("every knob changes what is trained", not idle, detail)


def loss_chunk_saves_memory(edits: Edits) -> Property:
    """A sixteenth of the tokens at once needs at most a quarter of the memory: what is left is sums and results.

    That it changes nothing else is an option of the comparison.
    """
    whole, parts = (loss_memory({"LOSS_CHUNK": chunk}, edits) for chunk in (4096, 256))
    detail = f"{parts / whole:.0%} of the memory at a sixteenth of the tokens"
    return Property("LOSS_CHUNK bounds the memory of the loss", parts < 0.25 * whole, detail)


def loss_memory(knobs: Mapping[str, Value], edits: Edits) -> int:
    """Peak memory in bytes of the loss and its gradients for 4096 tokens, the arguments not counted."""
    module = load_training_file({**SMALL, "VOCAB_SIZE": 4096, **knobs}, edits=edits)
    hidden, weight = mx.random.normal((4096, module.WIDTH)), mx.random.normal((module.VOCAB_SIZE, module.WIDTH))
    targets = mx.zeros((4096,), mx.int32)
    mx.eval(hidden, weight, targets)
    return peak_memory(lambda: module.softcapped_cross_entropy(hidden, weight, targets))


def checkpoint_saves_memory(edits: Edits) -> Property:
    """Blocks that are computed again need less memory for the gradients of a deep model."""
    plain, again = (gradient_memory({"CHECKPOINT": value}, edits) for value in (False, True))
    return Property(
        "CHECKPOINT saves memory", again < 0.6 * plain, f"{again / plain:.0%} of the memory at eight blocks"
    )


def gradient_memory(knobs: Mapping[str, Value], edits: Edits) -> int:
    """Peak memory in bytes of loss and gradients of a deep model, its weights not counted."""
    deep = {**SMALL, "DEPTH": 8, "SEQUENCE_LENGTH": 256, "LOSS_CHUNK": 256, **knobs}
    module = load_training_file(deep, edits=edits)
    batch = tuple(map(mx.array, make_data(module, 1).batches[0]))
    with compilation(False):
        model = awake_model(module)
        mx.eval(model.parameters(), batch)
        gradients = nn.value_and_grad(model, module.loss_function)
        return peak_memory(lambda: gradients(model, *batch))


def peak_memory(compute: Callable[[], object]) -> int:
    """Most bytes that MLX holds while it works out what `compute` returns, beyond those held before."""
    mx.clear_cache()
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    mx.eval(compute())
    return mx.get_peak_memory() - before


# Processes


def two_processes_equal_one(edits: Edits) -> Property:
    """Two processes of `mlx.launch` with half of the batch each have the loss curve of one: four steps of `main`.

    In float32 on every backend: in bfloat16 sums of another order move a loss by more than a mistake might.
    """
    with tempfile.TemporaryDirectory() as folder, small_dataset(Path(folder)) as dataset:
        curves = [curve_of(processes, Path(folder), dataset, edits) for processes in (1, 2)]
    error = max(number_error(b, a) for a, b in zip(*curves, strict=True))
    detail = f"{error:.1e} of {FLOAT32['bits per byte']:.0e} over {len(curves[0])} points"
    return Property("two processes train like one", len(curves[0]) >= 3 and error <= FLOAT32["bits per byte"], detail)


@contextmanager
def small_dataset(folder: Path) -> Iterator[Path]:
    """A dataset of a few hundred stories, prepared inside `folder`."""
    variable = "MLX_AUTORESEARCH_DATA"
    before = os.environ.get(variable)
    os.environ[variable] = str(folder / "data")
    source = Source("parity", {"kind": "parity"}, lambda: itertools.islice(generate_stories(4, 900), 900), None)
    try:
        yield prepare_dataset(source, console=Console(quiet=True)).folder
    finally:
        os.environ.pop(variable)
        if before is not None:
            os.environ[variable] = before


def curve_of(processes: int, root: Path, dataset: Path, edits: Edits) -> list[float]:
    """The losses that `main` logs in four steps of a number of processes.

    Raises:
        RuntimeError: a process failed; the message is the end of its output.
    """
    folder = root / str(processes)
    folder.mkdir()
    source = write_knobs((PROJECT / "train_mlx.py").read_text(encoding="utf-8"), SMALL, machine_class=0)
    four_steps = (
        ("M = machine_class()", "M = 0"),
        ("DTYPE = mx.bfloat16 if ON_GPU else mx.float32", "DTYPE = mx.float32"),
        ("while clock.running():", "while step < 4:"),
        ("> max(1.0, TIME_BUDGET / 100):", "> 0.0:"),
    )
    (folder / "train_small.py").write_text(edited(source, (*four_steps, *edits)), encoding="utf-8")
    RunSettings(str(dataset), str(folder), 300.0, 5, awake_seconds()).save(folder / "run.json")
    command = [sys.executable, str(folder / "train_small.py")]
    if processes > 1:
        launcher = str(Path(sys.executable).with_name("mlx.launch"))
        command = [launcher, "-n", str(processes), "--backend", "ring", "--cwd", str(folder), "--", *command]
    environment = child_environment(
        {SETTINGS_VARIABLE: str(folder / "run.json"), "OPENBLAS_NUM_THREADS": "1", **WITHOUT_MPI}
    )
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise RuntimeError(f"{processes} process(es) of train_mlx.py failed: {done.stderr[-1000:]}")
    return [point["loss"] for point in read_points(folder / "curve.jsonl")]


# PyTorch


def fused_equals_plain(device: str, dtype: torch.dtype, tolerance: float) -> Property:
    """PyTorch's fused attention, which only the speed benchmark uses, equals the plain one on a device."""
    torch.manual_seed(0)
    shapes = [(2, 4, 100, 32), (2, 2, 100, 32), (2, 2, 100, 32)]
    q, k, v = (torch.randn(shape).to(device, dtype) for shape in shapes)
    errors = []
    for window in (100, 30):
        plain, fused = (f(q, k, v, window) for f in (torch_gpt.plain_attention, torch_gpt.fused_attention))
        errors.append(peak_error(fused.float().cpu().numpy(), plain.float().cpu().numpy()))
    name = f"PyTorch's fused attention equals the plain one, {device} {str(dtype).removeprefix('torch.')}"
    return Property(name, max(errors) <= tolerance, f"{max(errors):.1e} of {tolerance:.1e}")


QUICK: tuple[Callable[[Edits], Property], ...] = (causal, acausal_is_caught, exported_equals_live, loss_falls)
"""Properties that take seconds."""

SLOW: tuple[Callable[[Edits], Property], ...] = (
    every_knob_matters,
    loss_chunk_saves_memory,
    checkpoint_saves_memory,
    two_processes_equal_one,
)
"""The others."""
