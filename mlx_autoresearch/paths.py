"""Where things live: the project folder, prepared datasets, runs and small caches."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
"""The folder that holds prepare.py, train_mlx.py and program.md."""


def data_root() -> Path:
    """Prepared datasets: `data/` in the project, or `MLX_AUTORESEARCH_DATA`."""
    return Path(os.environ.get("MLX_AUTORESEARCH_DATA") or PROJECT / "data").absolute()


def runs_root() -> Path:
    """Runs: `runs/` in the project, or `MLX_AUTORESEARCH_RUNS`."""
    return Path(os.environ.get("MLX_AUTORESEARCH_RUNS") or PROJECT / "runs").absolute()


def cache_root() -> Path:
    """Things that can be made again (the BLAS copy): `.cache/` in the project, or `MLX_AUTORESEARCH_CACHE`."""
    return Path(os.environ.get("MLX_AUTORESEARCH_CACHE") or PROJECT / ".cache").absolute()
