"""What the harness tells one training run: a small JSON file named by one environment variable."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.files import read_json, write_json

SETTINGS_VARIABLE = "MLX_AUTORESEARCH_RUN"

PARENT_VARIABLE = "MLX_AUTORESEARCH_PARENT"
"""Names the process whose death ends a child; absent in a sandbox with a process table of its own."""

DEFAULT_BUDGET_SECONDS = 300.0
"""Every experiment of a night trains for this long; another budget is practice and is never compared with it."""

CONTEXT = 256
"""Tokens in a scored row: every model is scored on rows of this length, whatever it was trained on."""

CONTRACT_VERSION = "4"
"""Raised when the metric or the contract changes what a score means: scores of different versions don't compare."""

SMOKE_STEPS = 2
"""Training steps of a smoke run: enough to compile the step, use its result, and hand in."""

GRAPH_FILE, WEIGHTS_FILE, SUMMARY_FILE = "model.mlxfn", "model.safetensors", "handin.json"
"""What a hand-in consists of; the summary is written last."""

CHECKPOINT_FILE = "checkpoint.safetensors"
"""What an interrupted training of hours goes on from; it is gone when the run has ended."""


@dataclass(frozen=True)
class RunSettings:
    """Settings of one training run.

    Attributes:
        dataset: folder of the prepared dataset (absolute path).
        folder: where the run writes its curve and its hand-in (absolute path).
        budget_seconds: training time, counted from `started`.
        seed: seed of weights and data order.
        started: `machine.awake_seconds()` when the parent started the process; the budget runs from here.
        smoke: stop after `SMOKE_STEPS` steps.
        checkpoint_seconds: write a checkpoint so often; None for never, as in every run of a night.
        resumed_seconds: how much of the budget was used when the checkpoint was written that lies in the folder; 0 for
            a run from the start. `started` lies back by as much.
    """

    dataset: str
    folder: str
    budget_seconds: float
    seed: int
    started: float
    smoke: bool = False
    checkpoint_seconds: float | None = None
    resumed_seconds: float = 0.0

    def save(self, path: Path) -> None:
        """Write the settings as JSON to `path`."""
        write_json(path, asdict(self))

    @classmethod
    def from_environment(cls) -> RunSettings | None:
        """The settings named by the environment, or None when the file is run by hand.

        Raises:
            AutoresearchError: the variable names a file that can't be read as settings.
        """
        path = os.environ.get(SETTINGS_VARIABLE)
        return cls.read(Path(path)) if path else None

    @classmethod
    def read(cls, path: Path) -> RunSettings:
        """The settings in a file.

        Raises:
            AutoresearchError: it can't be read as settings.
        """
        try:
            return cls(**read_json(path))
        except (OSError, ValueError, TypeError) as error:
            raise AutoresearchError(f"{path} holds no run settings: {error}") from None
