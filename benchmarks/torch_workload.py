"""What a PyTorch worker does: the same training as `mlx_workload`, eagerly or compiled. Builders for `interleaved`.

The model is `torch_gpt`, which is written to be right; a fair opponent is also fast. So attention is PyTorch's fused
one, RMS norm is PyTorch's own, Adam is `torch.optim.Adam(fused=True)`, and Muon works on stacks of matrices of the same
shape. "Compiled" adds `torch.compile` for loss and gradients and for Muon. On a GPU the loss is read while the next
step is queued, as train_mlx.py does.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its name everywhere)

from benchmarks import torch_gpt
from benchmarks.torch_gpt import GPT, Configuration, fused_attention, load_weights, loss_function
from benchmarks.worker import Timing, Workload, nothing, time_one_by_one, time_overlapped, token_batches
from mlx_autoresearch.errors import AutoresearchError


def build(
    configuration: Mapping[str, Any],
    batch_size: int,
    sequence_length: int,
    weights: str,
    data_type: str,
    device: str,
    compiled: bool = False,
    rate: float = 0.1,
) -> Workload:
    """Training steps, and passes that work out the loss alone.

    Args:
        configuration: fields of `torch_gpt.Configuration`, from the same knobs as the other side.
        batch_size, sequence_length: rows and tokens of a batch.
        weights: .npz file with the initial weights by name.
        data_type: of the activations: "float32" or "bfloat16".
        device: "cpu", "cuda" or "mps".
        compiled: by `torch.compile`.
        rate: share of the full learning rates.

    Raises:
        AutoresearchError: this PyTorch has no such device.
    """
    place = Device.open(device)
    torch_gpt.norm = norm
    model = GPT(configuration_from(configuration), fused_attention, getattr(torch, data_type), sequence_length)
    load_weights(model, np.load(weights))
    model.to(device)
    adam, muon = adam_for(model, rate), Muon.for_model(model)
    loss_of, update_matrices = loss_function, muon.update
    if compiled:
        loss_of, update_matrices = torch.compile(loss_of), torch.compile(update_matrices)
    rate_tensor = torch.tensor(rate, device=device)
    batches = endless_batches(model.configuration.vocab_size, batch_size, sequence_length, device)

    def start() -> torch.Tensor:
        loss = loss_of(model, *next(batches))
        loss.backward()
        adam.step()
        update_matrices(rate_tensor)
        for parameter in model.parameters():
            parameter.grad = None
        return loss.detach()

    @torch.no_grad()
    def start_evaluation() -> torch.Tensor:
        return loss_of(model, *next(batches))

    return Workload(
        run=lambda steps: place.time(steps, start),
        evaluate=lambda passes: place.time(passes, start_evaluation),
        rest=place.release,
        reset_peak_memory=place.reset_peak_memory,
        peak_memory=place.peak_memory,
        facts={
            **place.facts(),
            "dtype": data_type,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "tokens_per_step": batch_size * sequence_length,
        },
    )


def configuration_from(fields: Mapping[str, Any]) -> Configuration:
    """A configuration that went through JSON, which knows no tuples."""
    return Configuration(**{name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()})


def norm(x: torch.Tensor) -> torch.Tensor:
    """RMS norm over the last axis by PyTorch's own function."""
    return F.rms_norm(x, (x.shape[-1],), eps=1e-5)


def endless_batches(
    vocab_size: int, batch_size: int, sequence_length: int, device: str
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """`worker.token_batches` over and over, as int64 tensors that lie on the device already."""
    batches = token_batches(vocab_size, batch_size, sequence_length)
    return itertools.cycle(
        [tuple(torch.from_numpy(tokens.astype(np.int64)).to(device) for tokens in batch) for batch in batches]
    )


# Optimizers


def is_matrix(name: str) -> bool:
    """Whether Muon trains a parameter."""
    return name.startswith("blocks.") and name.split(".")[-2] in torch_gpt.BLOCK_MATRICES


def adam_for(model: GPT, rate: float) -> torch.optim.Adam:
    """Fused Adam for everything that Muon doesn't train, with the learning rates of the configuration."""
    c, groups = model.configuration, {}
    for name, parameter in model.named_parameters():
        if not is_matrix(name):
            kind = name.split(".")[-2] if name.endswith(".weight") else ""
            full = {
                "embedding": c.embedding_learning_rate,
                "value_embedding": c.embedding_learning_rate,
                "head": c.head_learning_rate,
            }.get(kind, c.scalar_learning_rate)
            groups.setdefault(full, []).append(parameter)
    parameters = [{"params": members, "lr": rate * full} for full, members in groups.items()]
    return torch.optim.Adam(parameters, betas=c.adam_betas, eps=1e-10, fused=True)


@dataclass
class Muon:
    """Muon for stacks of matrices whose shapes are equal; `update` takes gradients from `.grad`."""

    configuration: Configuration
    data_type: torch.dtype
    stacks: list[list[torch.nn.Parameter]]
    momenta: list[torch.Tensor]
    coefficients: list[tuple[float, float, float]] = field(default_factory=torch_gpt.polar_express_coefficients)

    @classmethod
    def for_model(cls, model: GPT) -> Muon:
        """For all matrices of a model's blocks."""
        stacks: dict[torch.Size, list[torch.nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            if is_matrix(name):
                stacks.setdefault(parameter.shape, []).append(parameter)
        momenta = [torch.zeros_like(torch.stack(members)) for members in stacks.values()]
        return cls(model.configuration, model.dtype, list(stacks.values()), momenta)

    @torch.no_grad()
    def update(self, rate: torch.Tensor) -> None:
        """One step; `rate` is a scalar tensor, so that compiled code serves every value."""
        c = self.configuration
        for parameters, momentum in zip(self.stacks, self.momenta, strict=True):
            gradient = torch.stack([parameter.grad for parameter in parameters])
            momentum.lerp_(gradient, 1 - c.momentum)
            direction = self.orthogonalize(torch.lerp(gradient, momentum, c.momentum))
            rows, columns = momentum.shape[-2:]
            step = rate * c.matrix_learning_rate * max(1.0, rows / columns) ** 0.5
            for parameter, change in zip(parameters, direction, strict=True):
                parameter.mul_(1 - step * c.weight_decay).sub_(step * change)

    def orthogonalize(self, matrices: torch.Tensor) -> torch.Tensor:
        """`torch_gpt.orthogonalize` for a stack (n, rows, columns)."""
        is_tall = matrices.shape[-2] > matrices.shape[-1]
        x = matrices.mT if is_tall else matrices
        x = (x / (1.02 * torch.linalg.matrix_norm(x, keepdim=True) + 1e-6)).to(self.data_type)
        for a, b, c in self.coefficients:
            gram = x @ x.mT
            x = a * x + (b * gram + c * gram @ gram) @ x
        return x.mT if is_tall else x


# Devices


@dataclass(frozen=True)
class Device:
    """How a device is waited for and how its memory is counted."""

    name: str
    wait: Callable[[], None] = nothing
    release: Callable[[], None] = nothing
    reset_peak_memory: Callable[[], None] = nothing
    peak_memory: Callable[[], int | None] = nothing
    memory_kind: str | None = None

    @classmethod
    def open(cls, name: str) -> Device:
        """The device of that name.

        Raises:
            AutoresearchError: this PyTorch has no such device.
        """
        there = {"cpu": lambda: True, "cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
        if not there[name]():
            raise AutoresearchError(f"this PyTorch ({torch.__version__}) has no device {name!r}")
        if name == "cuda":
            cuda = torch.cuda
            return cls(
                name,
                cuda.synchronize,
                cuda.empty_cache,
                cuda.reset_peak_memory_stats,
                cuda.max_memory_allocated,
                "PyTorch's CUDA allocator",
            )
        if name == "mps":
            # There is no peak to ask for; what the allocator holds after a turn, given back before, is close to it.
            held = torch.mps.driver_allocated_memory
            return cls(name, torch.mps.synchronize, torch.mps.empty_cache, nothing, held, "held from Metal by PyTorch")
        return cls(name)

    def time(self, steps: int, start: Callable[[], torch.Tensor]) -> Timing:
        """Time steps whose `start` returns a loss; a CPU has done the step by then, so there is nothing to overlap."""
        if self.name == "cpu":
            return time_one_by_one(steps, start, torch.Tensor.item)
        return time_overlapped(steps, start, torch.Tensor.item, self.wait)

    def facts(self) -> dict[str, Any]:
        """What computes here, and how its memory is counted."""
        return {
            "device": self.name,
            "version": f"torch {torch.__version__}",
            "threads": torch.get_num_threads() if self.name == "cpu" else None,
            "memory_kind": self.memory_kind,
        }


def build_matmul(size: int, data_type: str, device: str) -> Workload:
    """Products of two square matrices: the ceiling for everything else.

    Raises:
        AutoresearchError: this PyTorch has no such device.
    """
    place = Device.open(device)
    left, right = (torch.randn(size, size).to(device, getattr(torch, data_type)) for _ in range(2))

    def run(products: int) -> Timing:
        seconds = []
        for _ in range(products):
            began = time.perf_counter()
            left @ right
            place.wait()
            seconds.append(time.perf_counter() - began)
        return seconds, 0.0

    return Workload(run, rest=place.release, facts={**place.facts(), "dtype": data_type, "size": size})
