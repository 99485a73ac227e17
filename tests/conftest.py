"""Shared fixtures: sample data where it is at hand, a small dataset, folders that are not the person's own."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from mlx_autoresearch import blas
from mlx_autoresearch.corpus import Source
from mlx_autoresearch.dataset import Dataset, prepare_dataset
from mlx_autoresearch.history import Night

PROJECT = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    """Load the fast BLAS before any test imports mlx.core."""
    blas.load()


def simple_documents(count: int = 900, seed: int = 0) -> list[str]:
    """Distinct small documents that a model can learn something from."""
    draw = random.Random(seed)
    who, did, what = ["Ada", "Ben", "Cleo", "Dan"], ["found", "lost", "drew"], ["a kite", "two pears", "the blue boat"]
    return [
        f"{number}. " + " ".join(f"{draw.choice(who)} {draw.choice(did)} {draw.choice(what)}." for _ in range(9))
        for number in range(count)
    ]


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A small prepared dataset; tests read it and don't change it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLX_AUTORESEARCH_DATA", str(tmp_path_factory.mktemp("data")))
        documents = simple_documents()
        return prepare_dataset(Source("simple", {"kind": "test"}, lambda: iter(documents), None))


@pytest.fixture(scope="session")
def trained_night(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A night of two small models that were really trained; tests read it and don't change it."""
    from trained_night import make_trained_night  # found by pytest only; `python -m tests.survival` reads this file too

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLX_DISABLE_COMPILE", "1")  # compiling takes longer than the training
        return make_trained_night(tmp_path_factory.mktemp("runs") / "nov24", dataset)


@pytest.fixture(scope="session")
def samples() -> Path:
    """Folder with the sample data (TinyStories, reviews, diamonds); the test is skipped where it is absent."""
    folder = Path(os.environ.get("MLX_AUTORESEARCH_SAMPLES") or PROJECT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no sample data: set MLX_AUTORESEARCH_SAMPLES (looked in {folder.name}/)")
    return folder


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data, runs and the run settings of a test are its own, whatever the person has set."""
    root = tmp_path_factory.mktemp("project")
    monkeypatch.setenv("MLX_AUTORESEARCH_DATA", str(root / "data"))
    monkeypatch.setenv("MLX_AUTORESEARCH_RUNS", str(root / "runs"))
    monkeypatch.delenv("MLX_AUTORESEARCH_RUN", raising=False)
