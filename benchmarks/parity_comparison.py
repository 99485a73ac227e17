"""What the parity benchmark compares, and when a difference is an error.

Errors are relative, a the side under test and b the reference:

- logits, each gradient:           max |a - b| / max |b| over the tensor
- loss, bits per byte, loss curve: |a - b| / |b|, the largest over steps
- parameters after n steps:        ||a - b|| / ||b - first weights|| (Frobenius): as a share of the way they moved
- optimizer state after n steps:   ||a - b|| / ||b||, because it starts from zero

Of many tensors the worst is reported, by name. The scales of all blocks, one number each, count as one tensor: the
gradient of a scale is a sum of all activations with either sign, and what is left of it can be as small as rounding.

The reference is PyTorch on the CPU in float32. Tolerances in float32 are fixed numbers; only for parameters and state
after some steps rounding itself grows (Adam divides by small numbers, Muon makes small singular values large), by how
much is measured: the same reference once more in float64. An error is allowed to be ten times what float32 does to the
reference, and no more than a tenth of everything.

bfloat16 rounds to 8 bits, 2^-8 = 0.4 % at most each time, some twenty times on the way through the model, and what that
costs depends on the model: the yardstick is PyTorch in bfloat16. MLX may be twice as far from the float32 reference,
because it rounds in other places.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from benchmarks import torch_gpt
from benchmarks.parity_options import Edits, Option
from benchmarks.parity_runs import Arrays, Data, Run, awake_weights, make_data, run_mlx, run_torch
from benchmarks.training_file import load_training_file

FLOAT32: dict[str, float] = {
    "logits": 1e-5,
    "loss": 1e-5,
    "gradients": 1e-4,
    "parameters": 1e-3,
    "optimizer state": 1e-3,
    "loss curve": 1e-3,
    "bits per byte": 1e-4,
}
"""Tolerances in float32 by kind of quantity."""

FLOAT32_ROUNDING_FACTOR, MOST_ROUNDING = 10.0, 0.1
"""For parameters and optimizer state: so many times the reference's own rounding, if that is more than `FLOAT32`."""

BFLOAT16_ROUNDING = 2.0**-8

BFLOAT16: dict[str, float] = {
    "logits": 4 * BFLOAT16_ROUNDING,
    "loss": BFLOAT16_ROUNDING,  # a mean over many tokens: roundings cancel
    "gradients": 8 * BFLOAT16_ROUNDING,  # twice the way of the logits
    "parameters": 8 * BFLOAT16_ROUNDING,
    "optimizer state": 8 * BFLOAT16_ROUNDING,
    "loss curve": 4 * BFLOAT16_ROUNDING,
    "bits per byte": BFLOAT16_ROUNDING,
}
"""Tolerances in bfloat16 by kind of quantity, for where PyTorch's own error happens to be small."""

BFLOAT16_FACTOR, MOST_BFLOAT16 = 2.0, 0.75
"""MLX's error may be so many times PyTorch's, but never so large that hardly anything is left in common."""


@dataclass(frozen=True)
class Difference:
    """A relative error and the tensor in which it was found (empty for numbers)."""

    error: float
    where: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the result.

    Attributes:
        option: name of the set-up.
        side: what is compared with what.
        quantity: what is compared.
        where: the worst tensor.
        error, tolerance: relative, as the module says.
        columns: the same error of PyTorch on other devices, by device; for information.
    """

    option: str
    side: str
    quantity: str
    where: str
    error: float
    tolerance: float
    columns: dict[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the error is a number within the tolerance."""
        return self.error <= self.tolerance


def differences(run: Run, reference: Run, weights: Arrays) -> dict[tuple[str, int | None], Difference]:
    """All errors of a run, by kind of quantity and number of steps (None where there are none).

    A run may be shorter than its reference: what it lacks is not compared.
    """
    steps = sorted(set(run.parameters) & set(reference.parameters))
    found = {
        ("logits", None): Difference(peak_error(run.logits, reference.logits)),
        ("loss", None): Difference(number_error(run.loss, reference.loss)),
        ("gradients", None): worst_tensor(run.gradients, reference.gradients, peak_error),
    }
    for step in steps:
        moved, should = (moves(side.parameters[step], weights) for side in (run, reference))
        found["parameters", step] = worst_tensor(moved, should, distance)
    for step in steps:
        found["optimizer state", step] = worst_tensor(run.state[step], reference.state[step], distance)
    curve = [number_error(a, b) for a, b in zip(run.losses, reference.losses, strict=False)]
    found["loss curve", len(curve)] = Difference(largest(curve))
    scores = [number_error(run.bpb[step], reference.bpb[step]) for step in (0, *steps)]
    found["bits per byte", None] = Difference(largest(scores))
    return found


def largest(errors: list[float]) -> float:
    """The largest error; NaN if one is, which Python's `max` can miss."""
    return float(np.max(errors))


def worst(errors: Mapping[str, float]) -> Difference:
    """The largest of the errors by tensor; one that is NaN is the largest."""
    name = max(errors, key=lambda name: math.inf if math.isnan(errors[name]) else errors[name])
    return Difference(errors[name], name)


def number_error(value: float, reference: float) -> float:
    """|a - b| / |b|."""
    return abs(value - reference) / abs(reference)


def peak_error(array: np.ndarray, reference: np.ndarray) -> float:
    """max |a - b| / max |b|; the reference must not be all zeros."""
    return float(np.abs(array.astype(np.float64) - reference).max() / np.abs(reference).max())


def distance(array: np.ndarray, reference: np.ndarray) -> float:
    """||a - b|| / ||b||; where the reference is zero, as the state of a parameter without a gradient is, ||a - b||."""
    size = np.linalg.norm(reference.astype(np.float64))
    apart = np.linalg.norm(array.astype(np.float64) - reference)
    return float(apart / size) if size > 0 else float(apart)


def moves(parameters: Arrays, weights: Arrays) -> Arrays:
    """How far each parameter is from its first weights, float64."""
    return {name: parameters[name].astype(np.float64) - weight for name, weight in weights.items()}


def worst_tensor(arrays: Arrays, references: Arrays, error: Callable[[np.ndarray, np.ndarray], float]) -> Difference:
    """The largest error of all tensors, those of one number in one vector for each kind of them."""
    ours, theirs = with_scales_together(arrays), with_scales_together(references)
    return worst({name: error(ours[name], reference) for name, reference in theirs.items()})


def with_scales_together(arrays: Arrays) -> Arrays:
    """The arrays, with "KIND blocks.N.NAME" of one element each in one array "KIND NAME of all blocks"."""
    together: Arrays = {}
    scales: dict[str, list[np.ndarray]] = {}
    for name, array in arrays.items():
        if array.size == 1:
            scales.setdefault(re.sub(r"blocks\.\d+\.", "", name) + " of all blocks", []).append(array)
        else:
            together[name] = array
    return together | {name: np.concatenate(parts) for name, parts in scales.items()}


def float32_tolerance(kind: str, rounding: Difference) -> float:
    """The tolerance of a quantity in float32, given the error of the reference against itself in float64."""
    if kind in ("parameters", "optimizer state"):
        return max(FLOAT32[kind], min(FLOAT32_ROUNDING_FACTOR * rounding.error, MOST_ROUNDING))
    return FLOAT32[kind]


def bfloat16_tolerance(kind: str, torch_error: Difference) -> float:
    """The tolerance of a quantity in bfloat16, given the error of PyTorch in bfloat16."""
    return max(BFLOAT16[kind], min(BFLOAT16_FACTOR * torch_error.error, MOST_BFLOAT16))


def quantity(kind: str, steps: int | None) -> str:
    """A quantity as the table names it."""
    if steps is None:
        return kind
    return f"{kind}, {steps} steps" if kind == "loss curve" else f"{kind} after {steps}"


# Options


def compare_float32(option: Option, edits: Edits, devices: Sequence[str]) -> list[Row]:
    """train_mlx.py with `edits`, which don't reach the reference, in float32; PyTorch on `devices` in columns."""
    module = load_training_file(option.all_knobs(), "float32", edits)
    start, reference = reference_of(option)
    rounding = differences(reference, start.run(torch.float64), start.weights)
    columns = {device: differences(start.run(torch.float32, device), reference, start.weights) for device in devices}
    found = differences(run_mlx(module, start.weights, start.data, option.compiled), reference, start.weights)
    rows = []
    for key, difference in found.items():
        beside = {device: errors[key].error for device, errors in columns.items()}
        tolerance = float32_tolerance(key[0], rounding[key])
        rows.append(Row(option.name, "float32", quantity(*key), difference.where, difference.error, tolerance, beside))
    return rows


def compare_bfloat16(option: Option, edits: Edits) -> list[Row]:
    """bfloat16 activations against the float32 reference, and against PyTorch in bfloat16."""
    module = load_training_file(option.all_knobs(), "bfloat16", edits)
    start, reference = reference_of(option)
    half = start.run(torch.bfloat16)
    torch_errors = differences(half, reference, start.weights)
    ours = run_mlx(module, start.weights, start.data, option.compiled)
    rows = []
    for side, against in (("bfloat16", reference), ("bfloat16, PyTorch's too", half)):
        for key, difference in differences(ours, against, start.weights).items():
            tolerance = bfloat16_tolerance(key[0], torch_errors[key])
            rows.append(Row(option.name, side, quantity(*key), difference.where, difference.error, tolerance))
    return rows


@dataclass(frozen=True)
class Start:
    """Where both sides of an option start from."""

    configuration: torch_gpt.Configuration
    weights: Arrays
    data: Data

    def run(self, dtype: torch.dtype, device: str = "cpu") -> Run:
        """PyTorch's run from here."""
        return run_torch(self.configuration, self.weights, self.data, dtype, device)


def reference_of(option: Option) -> tuple[Start, Run]:
    """The start of an option and the reference run from it. train_mlx.py gives knobs and first weights, unedited."""
    module = load_training_file(option.all_knobs(), "float32")
    start = Start(torch_gpt.configuration_of(module), awake_weights(module), make_data(module, option.steps))
    return start, start.run(torch.float32)
