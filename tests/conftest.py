"""Shared fixtures: sample data where it is at hand, and an environment that keeps tests out of the project's folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent


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
