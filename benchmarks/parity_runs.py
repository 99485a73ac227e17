"""The two sides of the parity benchmark: the same weights and batches through train_mlx.py and through PyTorch.

Each side gives a `Run`, NumPy arrays under the same names, so that comparing them knows nothing of either library.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import torch
from mlx.utils import tree_flatten, tree_unflatten

from benchmarks import torch_gpt
from mlx_autoresearch.corpus.stories import generate_stories
from mlx_autoresearch.metric import bits_per_byte, token_nats

EVALUATION_ROWS, EVALUATION_LENGTH = 4, 200
"""Rows of text for the bits per byte, longer than the training rows like those of the scorer."""

STORY_SEED, STORIES = 4, 160

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Data:
    """What both sides compute on: int32 tokens, and shares of the full learning rate.

    Attributes:
        batches: (inputs, targets) of every step, (B, T) each.
        rates: one for each step.
        evaluation: (inputs, targets), (EVALUATION_ROWS, EVALUATION_LENGTH) each.
    """

    batches: list[tuple[np.ndarray, np.ndarray]]
    rates: list[float]
    evaluation: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Run:
    """What one side computed.

    Attributes:
        logits: of the first batch with the first weights, (B, T, V) float32.
        loss: of the first batch, in nats.
        gradients: of that loss, by parameter.
        losses: of every step.
        parameters: by number of steps, then by name.
        state: the optimizer's, by number of steps, then by "mean of NAME", "square of NAME", "momentum of NAME".
        bpb: bits per byte of the evaluation text, by number of steps.
    """

    logits: np.ndarray
    loss: float
    gradients: Arrays
    losses: list[float]
    parameters: dict[int, Arrays]
    state: dict[int, Arrays]
    bpb: dict[int, float]


def checkpoints(steps: int) -> list[int]:
    """After which of `steps` steps everything is compared: 1, 10, 100, ... and the last one."""
    return sorted({10**power for power in range(9) if 10**power <= steps} | {steps})


@lru_cache(maxsize=1)
def story_bytes() -> bytes:
    """The text of all batches: made-up stories, about 150 kB."""
    return "\n".join(generate_stories(STORY_SEED, STORIES)).encode()


def byte_tokens(start: int, length: int) -> np.ndarray:
    """Bytes of the stories from `start` on as tokens (id 1 + byte), int32 (length,).

    Raises:
        ValueError: there are not so many.
    """
    piece = story_bytes()[start : start + length]
    if len(piece) < length:
        raise ValueError(f"{STORIES} stories have no {start + length} bytes")
    return np.frombuffer(piece, dtype=np.uint8).astype(np.int32) + 1


def make_data(module: ModuleType, steps: int) -> Data:
    """Batches of story text without repetition, a falling learning rate, and other text for the evaluation."""
    rows, length = module.BATCH_SIZE * module.ACCUMULATION, module.SEQUENCE_LENGTH
    rows, length = module.BATCH_SIZE * module.ACCUMULATION, module.SEQUENCE_LENGTH
    size = rows * length
    batches = [text_rows(step * size, rows, length) for step in range(steps)]
    rates = [1.0 - 0.9 * step / steps for step in range(steps)]
    return Data(batches, rates, text_rows(steps * size + 1, EVALUATION_ROWS, EVALUATION_LENGTH))


def text_rows(start: int, rows: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """(inputs, targets) from byte `start` of the stories on, int32 (rows, length) each."""
    stream = byte_tokens(start, rows * length + 1)
    return stream[:-1].reshape(rows, length), stream[1:].reshape(rows, length)


def awake_weights(module: ModuleType) -> Arrays:
    """Weights in which every part of the model shows, by name.

    A fresh model has zero matrices, equal scales and logits near zero: most gradients vanish and the soft cap does
    nothing. Zeros become random, scales differ from each other, and the head gives logits that reach the cap.
    """
    chance = np.random.default_rng(7)
    mx.random.seed(3)
    weights = {}
    for name, parameter in tree_flatten(module.build_model().parameters()):
        weight = np.array(parameter)
        if not weight.any():
            weight = chance.normal(size=weight.shape) / math.sqrt(weight.shape[-1])
        elif weight.shape == (1,):
            weight = weight * chance.uniform(0.8, 1.2, 1)
        elif name.startswith("head"):
            weight = chance.normal(size=weight.shape) * module.SOFTCAP / 4 / math.sqrt(weight.shape[-1])
        weights[name] = weight.astype(np.float32)
    return weights


# ---------------------------------------------------------------------------------------------------------------------
# MLX


@contextmanager
def compilation(on: bool) -> Iterator[None]:
    """Within the block `mx.compile` does its work, or with `on` False nothing at all."""
    (mx.enable_compile if on else mx.disable_compile)()
    try:
        yield
    finally:
        mx.enable_compile()


def run_mlx(module: ModuleType, weights: Arrays, data: Data, compiled: bool = True) -> Run:
    """Everything that is compared, computed by a loaded train_mlx.py."""
    with compilation(compiled):
        model = module.build_model()
        model.update(tree_unflatten([(name, mx.array(weight)) for name, weight in weights.items()]))
        inputs, targets = map(mx.array, data.batches[0])
        logits = np.array(model(inputs))
        loss, gradients = nn.value_and_grad(model, module.loss_function)(model, inputs, targets)
        first_loss, first_gradients = loss.item(), arrays_of(gradients)
        optimizer = module.Optimizer(dict(tree_flatten(model.trainable_parameters())))
        step = module.make_step(model, optimizer)
        losses, parameters, state, bpb = [], {}, {}, {0: mlx_bpb(model, data)}
        for number, (batch, rate) in enumerate(zip(data.batches, data.rates, strict=True), start=1):
            parts = (np.split(part, module.ACCUMULATION) for part in batch)
            loss, _ = step([(mx.array(x), mx.array(y)) for x, y in zip(*parts, strict=True)], mx.array(rate))
            mx.eval(loss, model.state, optimizer.state)
            losses.append(loss.item())
            if number in checkpoints(len(data.batches)):
                parameters[number] = arrays_of(model.parameters())
                state[number] = mlx_state(optimizer, parameters[number])
                bpb[number] = mlx_bpb(model, data)
    return Run(logits, first_loss, first_gradients, losses, parameters, state, bpb)


def arrays_of(tree: dict) -> Arrays:
    """A tree of MLX arrays as flat NumPy arrays."""
    return {name: np.array(array) for name, array in tree_flatten(tree)}


def mlx_state(optimizer: object, parameters: Arrays) -> Arrays:
    """The optimizer's state by parameter; momenta are stacked there, and the transposes of tall ones."""
    state = {
        f"{kind} of {name}": np.array(array)
        for kind in ("mean", "square")
        for name, array in optimizer.state[kind].items()
    }
    for key, names in optimizer.muon.items():
        for name, momentum in zip(names, np.array(optimizer.state["momentum"][key]), strict=True):
            rows, columns = parameters[name].shape
            state[f"momentum of {name}"] = momentum.T if rows > columns else momentum
    return state


def mlx_bpb(model: nn.Module, data: Data) -> float:
    """Bits per byte of the evaluation text."""
    return bpb_of(model(mx.array(data.evaluation[0])), data)


def bpb_of(logits: mx.array, data: Data) -> float:
    """Bits per byte from logits of the evaluation text; every token is a byte."""
    targets = data.evaluation[1]
    return bits_per_byte(float(token_nats(logits, mx.array(targets)).sum(dtype=np.float64)), targets.size)


# ---------------------------------------------------------------------------------------------------------------------
# PyTorch


def run_torch(
    configuration: torch_gpt.Configuration,
    weights: Arrays,
    data: Data,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> Run:
    """Everything that is compared, computed by PyTorch; float64 keeps weights and state in float64 as well."""
    model = torch_gpt.GPT(configuration, dtype=dtype, longest_row=max(EVALUATION_LENGTH, configuration.sequence_length))
    torch_gpt.load_weights(model, weights)
    if dtype == torch.float64:
        model.double()
    model.to(device)
    optimizer = torch_gpt.Optimizer(model)
    first, losses, parameters, state, bpb = None, [], {}, {}, {0: torch_bpb(model, data, device)}
    with torch.no_grad():
        logits = numpy_of(model(torch_tokens(data.batches[0][0], device)))
    for number, (batch, rate) in enumerate(zip(data.batches, data.rates, strict=True), start=1):
        model.zero_grad()
        loss = torch_gpt.loss_function(model, *(torch_tokens(part, device) for part in batch))
        loss.backward()
        losses.append(loss.item())
        if first is None:
            first = {name: numpy_of(parameter.grad) for name, parameter in model.named_parameters()}
        optimizer.update(rate)
        if number in checkpoints(len(data.batches)):
            parameters[number] = {name: numpy_of(parameter) for name, parameter in model.named_parameters()}
            state[number] = torch_state(optimizer)
            bpb[number] = torch_bpb(model, data, device)
    return Run(logits, losses[0], first, losses, parameters, state, bpb)


def torch_tokens(tokens: np.ndarray, device: str) -> torch.Tensor:
    """Tokens as PyTorch wants them: int64 on the device."""
    return torch.from_numpy(tokens.astype(np.int64)).to(device)


def numpy_of(tensor: torch.Tensor) -> np.ndarray:
    """A copy of a tensor as a NumPy array."""
    return tensor.detach().cpu().numpy().copy()


def torch_state(optimizer: torch_gpt.Optimizer) -> Arrays:
    """The optimizer's state under the names of `mlx_state`."""
    return {
        f"{kind} of {name}": numpy_of(tensor)
        for kind in ("mean", "square", "momentum")
        for name, tensor in getattr(optimizer, kind).items()
    }


def torch_bpb(model: torch_gpt.GPT, data: Data, device: str) -> float:
    """Bits per byte of the evaluation text, by the same metric as MLX's logits."""
    with torch.no_grad():
        logits = model(torch_tokens(data.evaluation[0], device)).float().cpu().numpy()
    return bpb_of(mx.array(logits), data)
