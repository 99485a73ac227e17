"""Checkpoints of a training run, for trainings of hours: everything that it carries from step to step, in one file.

The training process writes and reads them, in `Clock.running` and `Clock.resume`; what is in one is its own affair, and
the parent never looks into it (see resuming.py). Runs of a night are too short to need checkpoints and get none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlx.core as mx

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.files import written_atomically
from mlx_autoresearch.settings import CHECKPOINT_FILE, RunSettings

if TYPE_CHECKING:
    from mlx_autoresearch.tokens.batches import Batches

RANDOM_STATE = "random"

State = Sequence[Any]
"""Modules, dictionaries and lists that hold arrays, and change while training."""


@dataclass(frozen=True)
class Position:
    """Where a checkpoint was written.

    Attributes:
        step: optimizer steps so far.
        batches: batches that were taken so far.
    """

    step: int
    batches: int


@dataclass
class Checkpoints:
    """The checkpoints of one run.

    Attributes:
        path: where the newest lies.
        every: seconds from one to the next. There is none in the last such stretch: something must be left to do.
        budget: seconds of the whole training.
        goes_on: this run goes on from the one that lies there.
        data: the batches.
        state: what is saved.
        saved: when the last one was saved, in seconds of the run.
    """

    path: Path
    every: float
    budget: float
    goes_on: bool
    data: Batches
    state: State
    saved: float

    @classmethod
    def of(cls, settings: RunSettings, data: Batches, state: State) -> Checkpoints:
        """Those of the run with these settings, which has `checkpoint_seconds`."""
        before = settings.resumed_seconds
        path = Path(settings.folder) / CHECKPOINT_FILE
        return cls(path, settings.checkpoint_seconds, settings.budget_seconds, before > 0, data, state, before)

    def restore(self) -> int:
        """Put the state back, where this run goes on; returns the steps that were made.

        Raises:
            AutoresearchError: the checkpoint is damaged, or one of something else.
        """
        return restore_checkpoint(self.path, self.state).step if self.goes_on else 0

    def save_when_due(self, seconds: float, steps: int) -> None:
        """Write a checkpoint after `steps` steps, if the last one is older than `every` at `seconds` of the run."""
        if seconds - self.saved >= self.every and self.budget - seconds >= self.every:
            save_checkpoint(self.path, Position(steps, self.data.batches_served), self.state)
            self.saved = seconds


def save_checkpoint(path: Path, position: Position, state: State) -> None:
    """Write all arrays of `state`, MLX's random state and the position to `path`."""
    arrays = {name: parent[key] for name, parent, key in _places(state)}
    arrays[RANDOM_STATE] = mx.random.state[0]
    metadata = {name: str(number) for name, number in vars(position).items()}
    with written_atomically(path) as temporary:
        mx.save_safetensors(str(temporary), arrays, metadata)


def read_position(path: Path) -> Position:
    """Where the checkpoint at `path` was written.

    Raises:
        AutoresearchError: it is no checkpoint.
    """
    return _read(path)[1]


def restore_checkpoint(path: Path, state: State) -> Position:
    """Put the arrays of the checkpoint at `path` into `state`, and MLX's random state back; returns the position.

    Raises:
        AutoresearchError: it is no checkpoint, or one of something else; `state` is unchanged.
    """
    arrays, position = _read(path)
    random_state = arrays.pop(RANDOM_STATE, None)
    places = list(_places(state))
    fitting = {name: (parent[key].shape, parent[key].dtype) for name, parent, key in places}
    if random_state is None or {name: (array.shape, array.dtype) for name, array in arrays.items()} != fitting:
        raise AutoresearchError(f"{path} is a checkpoint of something else than is trained here")
    for name, parent, key in places:
        parent[key] = arrays[name]
    high, low = random_state.tolist()
    mx.random.seed(high << 32 | low)  # a seed's two halves are the key that MLX starts from
    return position


def _read(path: Path) -> tuple[dict[str, mx.array], Position]:
    try:
        arrays, metadata = mx.load(str(path), return_metadata=True)
        return arrays, Position(int(metadata["step"]), int(metadata["batches"]))
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise AutoresearchError(f"{path} is no checkpoint: {error}") from None


def _places(state: State) -> Iterator[tuple[str, Any, Any]]:
    """Every array in `state`: its name, what holds it, and under which key or index."""
    waiting: list[tuple[str, Any]] = [(str(number), part) for number, part in enumerate(state)]
    while waiting:
        name, holder = waiting.pop()
        for key, value in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
            if isinstance(value, mx.array):
                yield f"{name}.{key}", holder, key
            elif isinstance(value, dict | list):
                waiting.append((f"{name}.{key}", value))
