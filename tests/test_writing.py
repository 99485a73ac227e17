"""The benchmark of writing: every way a model can be read is timed."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn

from benchmarks.writing import measure, median_milliseconds
from mlx_autoresearch.handin import export_graph


class Bigrams(nn.Module):
    """Logits from the token before alone, so no key-value cache."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(256, 256)

    def __call__(self, tokens: mx.array) -> mx.array:
        return self.table(tokens)


def test_every_row_length_and_the_scored_shape_are_timed(tmp_path: Path) -> None:
    path = tmp_path / "model.mlxfn"
    export_graph(Bigrams(), path)
    found = measure(path, 3)
    assert [what for what in found if what.startswith("a token, in")] == [
        *(f"a token, in a row of {length}" for length in (32, 64, 128, 256)),
        "a token, in 8 rows of 256, as scored",
    ]
    assert all(milliseconds > 0 for milliseconds in found.values())


def test_what_was_called_to_warm_up_is_not_timed() -> None:
    calls = []
    assert median_milliseconds(lambda: calls.append(1), 4) >= 0
    assert len(calls) == 4 + 2
