"""The scorer: exact on models that can be worked out by hand, and closed to models that break a rule."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from mlx_autoresearch.dataset import Dataset
from mlx_autoresearch.handin import SCORE_ROWS
from mlx_autoresearch.launch import launch_command
from mlx_autoresearch.process import child_environment
from mlx_autoresearch.scorer import (
    RefusedError,
    import_graph,
    rows_of_split,
    score,
    sweep_every_cut,
)
from mlx_autoresearch.settings import CONTEXT

V = 256


def export(path: Path, function) -> Path:
    mx.export_function(str(path), function, mx.zeros((SCORE_ROWS, CONTEXT), dtype=mx.int32))
    return path


def bigram_logits() -> mx.array:
    return mx.random.normal((V, V), key=mx.random.key(7)) * 2


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_uniform_model_scores_log2_v_over_bytes_per_token(dataset: Dataset) -> None:
    for vocab_size in (256, 1024):
        result = score(lambda x, v=vocab_size: mx.zeros((*x.shape, v)), vocab_size, dataset, "val", rng())
        tokens = int((np.asarray(dataset.tokens("val", vocab_size)) != 0).sum())
        assert result.text_tokens == tokens and result.text_bytes == dataset.text_bytes("val")
        assert result.bpb == pytest.approx(math.log2(vocab_size) * tokens / dataset.text_bytes("val"), rel=1e-6)


def test_bigram_model_matches_numpy(dataset: Dataset, tmp_path: Path) -> None:
    table = bigram_logits()
    graph, vocab_size = import_graph(export(tmp_path / "model.mlxfn", lambda x: table[x]))
    result = score(graph, vocab_size, dataset, "test", rng())
    logits = np.array(table, dtype=np.float64)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    stream = np.asarray(dataset.tokens("test", V), dtype=np.int64)
    wanted = stream[1:] != 0
    nats = -log_probabilities[stream[:-1], stream[1:]][wanted].sum()
    assert result.bpb == pytest.approx(nats / math.log(2) / dataset.text_bytes("test"), abs=1e-6)


def test_rows_cover_every_text_token_once(dataset: Dataset) -> None:
    stream = np.asarray(dataset.tokens("val", 1024), dtype=np.int64)
    inputs, targets = rows_of_split(stream)
    assert inputs.shape == targets.shape and inputs.shape[1] == CONTEXT and len(inputs) % SCORE_ROWS == 0
    np.testing.assert_array_equal(targets.ravel()[: len(stream) - 1], stream[1:])
    np.testing.assert_array_equal(inputs.ravel()[: len(stream) - 1], stream[:-1])
    assert not targets.ravel()[len(stream) - 1 :].any()
    assert rows_of_split(stream, max_rows=3)[1].ravel()[3 * CONTEXT :].sum() == 0


def peeks_everywhere(x: mx.array) -> mx.array:
    following = mx.concatenate([x[:, 1:], x[:, :1]], axis=1)
    return bigram_logits()[x] + 8 * (mx.arange(V) == following[..., None])


def peeks_at_one_position_in_sixteen(x: mx.array) -> mx.array:
    following = mx.concatenate([x[:, 1:], x[:, :1]], axis=1)
    there = (mx.arange(CONTEXT) % 16 == 7)[None, :, None]
    return bigram_logits()[x] + there * (mx.arange(V) == following[..., None])


def takes_the_mean_of_chunks(x: mx.array) -> mx.array:
    logits = bigram_logits()[x]
    means = logits.reshape(SCORE_ROWS, CONTEXT // 8, 8, V).mean(axis=2)
    return logits + 0.1 * mx.repeat(means, 8, axis=1)


def mixes_rows(x: mx.array) -> mx.array:
    logits = bigram_logits()[x]
    return logits + 0.1 * mx.roll(logits, 1, axis=0)


def knows_its_place_in_the_batch(x: mx.array) -> mx.array:
    return bigram_logits()[x] + mx.arange(SCORE_ROWS)[:, None, None] * mx.arange(V)


def gives_nan(x: mx.array) -> mx.array:
    return bigram_logits()[x] * float("nan")


@pytest.mark.parametrize(
    "cheat",
    [peeks_everywhere, takes_the_mean_of_chunks, mixes_rows, knows_its_place_in_the_batch, gives_nan],
)
def test_cheats_are_refused(dataset: Dataset, tmp_path: Path, cheat) -> None:
    graph, vocab_size = import_graph(export(tmp_path / "model.mlxfn", cheat))
    with pytest.raises(RefusedError):
        score(graph, vocab_size, dataset, "val", rng(), max_rows=SCORE_ROWS)


def test_sweep_finds_a_rare_peek_and_passes_an_honest_model(dataset: Dataset) -> None:
    row = rows_of_split(dataset.tokens("val", V))[0][0]
    sweep_every_cut(lambda x: bigram_logits()[x], V, row, rng())
    with pytest.raises(RefusedError, match=r"position (7|23|39|\d+)"):
        sweep_every_cut(peeks_at_one_position_in_sixteen, V, row, rng())


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: mx.zeros((SCORE_ROWS, CONTEXT, 300)), "shape"),
        (lambda x: mx.zeros((SCORE_ROWS, CONTEXT - 1, V)), "shape"),
        (lambda x: mx.zeros((SCORE_ROWS, CONTEXT, V), dtype=mx.int32), "floating point"),
        (lambda x: (mx.zeros((SCORE_ROWS, CONTEXT, V)), x), "outputs"),
    ],
)
def test_graphs_of_the_wrong_form_are_refused(tmp_path: Path, function, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        import_graph(export(tmp_path / "model.mlxfn", function))


def test_damaged_graphs_are_refused_by_a_process_of_their_own(dataset: Dataset, tmp_path: Path) -> None:
    """Whatever a damaged file does to the scorer's process, the answer is a refusal or a status, never a score."""
    whole = export(tmp_path / "whole.mlxfn", lambda x: bigram_logits()[x]).read_bytes()
    for size in (0, 20, len(whole) // 2):
        damaged = tmp_path / "model.mlxfn"
        damaged.write_bytes(whole[:size])
        command = ["-m", "mlx_autoresearch.scorer", "--graph", str(damaged), "--dataset", str(dataset.folder)]
        done = subprocess.run(
            launch_command([*command, "--split", "val"]), env=child_environment({}), capture_output=True, text=True
        )
        assert done.returncode != 0 or "refused" in json.loads(done.stdout)
