"""A copy of the project with a small model, in a git repository of its own, for tests that run the real loop."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from mlx_autoresearch.dataset import Dataset
from mlx_autoresearch.knobs import write_knobs
from mlx_autoresearch.sandbox.choice import choose

PROJECT = Path(__file__).resolve().parent.parent

SMALL_KNOBS = {
    "DEPTH": 2,
    "WIDTH": 64,
    "HEAD_DIM": 32,
    "KV_HEADS": 2,
    "VOCAB_SIZE": 1024,
    "SEQUENCE_LENGTH": 64,
    "BATCH_SIZE": 4,
}


def small_source() -> str:
    """train_mlx.py with knobs that make a step take milliseconds on a CPU."""
    return write_knobs((PROJECT / "train_mlx.py").read_text(encoding="utf-8"), SMALL_KNOBS, machine_class=0)


def sandbox_options() -> list[str]:
    """What a loop with a researcher needs on a machine without a sandbox; nothing where there is one."""
    return [] if choose().works else ["--no-sandbox"]


def make_project(folder: Path, dataset: Dataset, source: str | None = None) -> Path:
    """Copy the project into `folder`, with `dataset` prepared and everything committed; returns the folder.

    `source` is its train_mlx.py; `small_source()` where none is given.
    """
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "mlx_autoresearch", folder / "mlx_autoresearch", ignore=ignored)
    for name in ("prepare.py", "program.md", ".gitignore"):
        shutil.copy(PROJECT / name, folder / name)
    (folder / "train_mlx.py").write_text(small_source() if source is None else source, encoding="utf-8")
    shutil.copytree(dataset.folder, folder / "data" / dataset.name)
    (folder / "data" / "current").write_text(dataset.name)
    identity = ("-c", "user.name=A", "-c", "user.email=a@localhost")
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "start"]):
        subprocess.run(["git", "-C", str(folder), *command], check=True, capture_output=True)
    return folder
