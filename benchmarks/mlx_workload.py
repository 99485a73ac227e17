"""What an MLX worker does, trains train_mlx.py's model or multiplies matrices: builders for `interleaved`."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten

from benchmarks.plain_step import make_plain
from benchmarks.training_file import DataType, load_training_file
from benchmarks.worker import Timing, Workload, time_one_by_one, time_overlapped, token_batches
from mlx_autoresearch.blas import THREADS_VARIABLE
from mlx_autoresearch.knobs import Value

MEMORY_KIND = "MLX's allocator"


def build(
    knobs: Mapping[str, Value],
    batch_size: int,
    sequence_length: int,
    weights: str | None = None,
    data_type: DataType | None = None,
    plain: Sequence[str] = (),
    edits: Sequence[tuple[str, str]] = (),
    overlap: bool = True,
    rate: float = 0.1,
    evaluation: bool = True,
) -> Workload:
    """Training steps of train_mlx.py with these knobs, and passes that work out the loss alone.

    Args:
        knobs: of train_mlx.py, SEQUENCE_LENGTH left out.
        batch_size, sequence_length: rows and tokens of a micro-batch; the length may be none of the knob's choices.
        weights: .npz file with the initial weights by name; None draws them.
        data_type: of the activations; None for what train_mlx.py picks on this machine.
        plain: which of `plain_step.PIECES` to make plain.
        edits: (before, after) pieces of train_mlx.py's text.
        overlap: read the loss while the next step is queued, as train_mlx.py does; otherwise finish each step first.
        rate: share of the full learning rates. It costs the same whatever it is; a small one keeps variants together.
        evaluation: whether passes without gradients are timed too.
    """
    module = load(knobs, sequence_length, data_type, edits)
    make_plain(module, plain)
    mx.random.seed(0)
    model = module.build_model()
    if weights is not None:
        model.load_weights(weights)
    parameters = dict(tree_flatten(model.trainable_parameters()))
    optimizer = module.Optimizer(parameters)
    mx.eval(model.parameters(), optimizer.state)
    step = module.make_step(model, optimizer)
    batches = endless_batches(module.VOCAB_SIZE, batch_size, sequence_length)

    def start() -> mx.array:
        loss, _ = step([next(batches)], mx.array(rate))  # the norms are never computed, as in most steps of a run
        mx.async_eval(loss, model.state, optimizer.state)
        return loss

    def finish() -> None:
        mx.eval(model.state, optimizer.state)

    def read_all(loss: mx.array) -> float:
        finish()
        return loss.item()

    def run(steps: int) -> Timing:
        if overlap:
            return time_overlapped(steps, start, mx.array.item, finish)
        return time_one_by_one(steps, start, read_all)

    loss_alone = evaluation_loss(model)

    def evaluate(passes: int) -> Timing:
        return time_one_by_one(passes, lambda: loss_alone(*next(batches)), mx.array.item)

    return Workload(
        run=run,
        evaluate=evaluate if evaluation else None,
        rest=mx.clear_cache,
        reset_peak_memory=mx.reset_peak_memory,
        peak_memory=mx.get_peak_memory,
        facts={
            **device_facts(),
            "dtype": str(module.DTYPE).removeprefix("mlx.core."),
            "parameters": sum(parameter.size for parameter in parameters.values()),
            "tokens_per_step": batch_size * sequence_length,
        },
    )


def load(
    knobs: Mapping[str, Value],
    sequence_length: int,
    data_type: DataType | None = None,
    edits: Sequence[tuple[str, str]] = (),
) -> ModuleType:
    """train_mlx.py as a module whose rows have any length, also one that its knob doesn't offer."""
    module = load_training_file(knobs, data_type, edits)
    module.SEQUENCE_LENGTH = sequence_length
    return module


def evaluation_loss(model: nn.Module) -> Callable[[mx.array, mx.array], mx.array]:
    """Compiled loss(inputs, targets) from the model's logits as they are scored, without gradients: nats per token."""
    state = [model.state]

    def loss(inputs: mx.array, targets: mx.array) -> mx.array:
        return nn.losses.cross_entropy(model(inputs), targets, reduction="mean")

    return mx.compile(loss, inputs=state)


def endless_batches(vocab_size: int, batch_size: int, sequence_length: int) -> Iterator[tuple[mx.array, mx.array]]:
    """`worker.token_batches` over and over, as MLX arrays that exist already."""
    batches = [(mx.array(i), mx.array(t)) for i, t in token_batches(vocab_size, batch_size, sequence_length)]
    mx.eval(batches)
    return itertools.cycle(batches)


def save_weights(knobs: Mapping[str, Value], sequence_length: int, path: Path) -> None:
    """Initial weights for all variants: .npz with float32 arrays by name.

    The matrices that train_mlx.py starts at zero are drawn small, so that every part shows in the first loss.
    """
    mx.random.seed(0)
    model = load(knobs, sequence_length).build_model()
    rng = np.random.default_rng(0)
    arrays = {name: np.array(value) for name, value in tree_flatten(model.parameters())}
    for name, array in arrays.items():
        if not array.any():
            arrays[name] = rng.normal(0, 0.02, array.shape).astype(np.float32)
    np.savez(path, **arrays)


def build_matmul(size: int, data_type: DataType) -> Workload:
    """Products of two square matrices: the ceiling for everything else."""
    left, right = (mx.random.normal((size, size)).astype(getattr(mx, data_type)) for _ in range(2))
    mx.eval(left, right)

    def run(products: int) -> Timing:
        seconds = []
        for _ in range(products):
            began = time.perf_counter()
            mx.eval(left @ right)
            seconds.append(time.perf_counter() - began)
        return seconds, 0.0

    return Workload(run, rest=mx.clear_cache, facts={**device_facts(), "dtype": data_type, "size": size})


def device_facts() -> dict[str, object]:
    """What computes here, and how its memory is counted."""
    device = "gpu" if mx.default_device() == mx.gpu else "cpu"
    threads = os.environ.get(THREADS_VARIABLE) if device == "cpu" else None
    return {"device": device, "version": f"mlx {mx.__version__}", "threads": threads, "memory_kind": MEMORY_KIND}
