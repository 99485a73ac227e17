"""The noise of smoke runs: a dataset in form, with nothing to learn in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlx_autoresearch.dataset import Dataset, open_dataset
from mlx_autoresearch.rehearsal import TOKENS, rehearsal_of
from mlx_autoresearch.tokens.batches import Batches
from mlx_autoresearch.tokens.tokenizer import VOCAB_SIZES


def test_noise_opens_like_the_dataset_and_holds_none_of_it(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLX_AUTORESEARCH_CACHE", str(tmp_path))
    folder = rehearsal_of(dataset)
    noise = open_dataset(folder, splits=("train",))
    for size in VOCAB_SIZES:
        tokens, starts = noise.tokens("train", size), noise.document_starts("train", size)
        known = noise.tokenizer(size).get_vocab_size()
        assert len(tokens) == TOKENS and tokens.max() < known and (tokens[starts] == 0).all()
        counts = np.bincount(tokens, minlength=known)[1:known]
        assert counts.max() < 3 * counts.mean() + 10  # every token is as likely as the others
        inputs, targets = next(Batches(tokens, 4, 64, seed=1))
        assert inputs.shape == targets.shape == (4, 64)
    assert not (folder / "val").exists() and not (folder / "test").exists()
    before = (folder / "manifest.json").stat().st_mtime_ns
    assert rehearsal_of(dataset) == folder and (folder / "manifest.json").stat().st_mtime_ns == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
