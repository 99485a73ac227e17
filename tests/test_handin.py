"""The hand-in: bit-exact graphs, once, and nothing half-written."""

from __future__ import annotations

import json
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.handin import ROW_LENGTHS, SCORE_ROWS, hand_in
from mlx_autoresearch.settings import CONTEXT, RunSettings


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = mx.random.normal((256, 32), key=mx.random.key(0))
        self.head = nn.Linear(32, 256)
        self.dropout = nn.Dropout(0.5)

    def __call__(self, tokens: mx.array) -> mx.array:
        return mx.compile(self.head)(self.dropout(mx.cumsum(self.table[tokens], axis=1)))


def settings(folder: Path) -> RunSettings:
    return RunSettings("nowhere", str(folder), 300.0, 0, 0.0)


def test_graph_equals_the_model_and_drops_nothing_out(tmp_path: Path) -> None:
    model = Model()
    hand_in(model, settings(tmp_path))
    graph = mx.import_function(str(tmp_path / "model.mlxfn"))
    tokens = mx.random.randint(0, 256, (SCORE_ROWS, CONTEXT), key=mx.random.key(1))
    np.testing.assert_array_equal(graph(tokens)[0], model(tokens))
    weights = mx.load(str(tmp_path / "model.safetensors"))
    assert set(weights) == {"table", "head.weight", "head.bias"}
    summary = json.loads((tmp_path / "handin.json").read_text())
    assert summary["parameters"] == 256 * 32 + 32 * 256 + 256 and summary["peak_memory_bytes"] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["handin.json", "model.mlxfn", "model.safetensors"]


def test_graph_takes_single_rows_too_where_the_model_does(tmp_path: Path) -> None:
    class BoundToOneShape(Model):
        def __call__(self, tokens: mx.array) -> mx.array:
            return super().__call__(tokens.reshape(SCORE_ROWS, CONTEXT))

    tokens = mx.random.randint(0, 256, (SCORE_ROWS, CONTEXT), key=mx.random.key(1))
    for model, name in ((Model(), "free"), (BoundToOneShape(), "bound")):
        (tmp_path / name).mkdir()
        hand_in(model, settings(tmp_path / name))
        graph = mx.import_function(str(tmp_path / name / "model.mlxfn"))
        np.testing.assert_array_equal(graph(tokens)[0], model(tokens))
        for length in ROW_LENGTHS:
            if name == "free":
                np.testing.assert_allclose(graph(tokens[:1, :length])[0], model(tokens)[:1, :length], atol=1e-4)
            else:
                with pytest.raises(ValueError, match="No imported function"):
                    graph(tokens[:1, :length])
    sizes = [(tmp_path / name / "model.mlxfn").stat().st_size for name in ("free", "bound")]
    assert sizes[0] < sizes[1] + 30_000  # one copy of the weights


def test_second_hand_in_is_refused(tmp_path: Path) -> None:
    hand_in(Model(), settings(tmp_path))
    before = (tmp_path / "model.mlxfn").read_bytes()
    with pytest.raises(AutoresearchError, match="called twice"):
        hand_in(Model(), settings(tmp_path))
    assert (tmp_path / "model.mlxfn").read_bytes() == before


def test_model_that_cannot_be_traced_leaves_nothing(tmp_path: Path) -> None:
    class ReadsValues(Model):
        def __call__(self, tokens: mx.array) -> mx.array:
            return self.table[tokens] * float(tokens.sum().item() > 0)

    class Breaks(Model):
        def __call__(self, tokens: mx.array) -> mx.array:
            raise ValueError("no")

    for model in (ReadsValues(), Breaks()):
        with pytest.raises(Exception):  # noqa: B017 (MLX's own errors differ in kind)
            hand_in(model, settings(tmp_path))
        assert not (tmp_path / "handin.json").exists() and not list(tmp_path.glob("*partial*"))
