"""The process that runs a graph: it answers what it is asked, and refuses what is no model."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from mlx_autoresearch.handin import SCORE_ROWS
from mlx_autoresearch.judge import RefusedError
from mlx_autoresearch.launch import launch_command
from mlx_autoresearch.metric import token_nats
from mlx_autoresearch.process import child_environment
from mlx_autoresearch.questions import Question, read_answer, write_question
from mlx_autoresearch.scorer import import_graph, run_scorer
from mlx_autoresearch.settings import CONTEXT

V = 256


def export(path: Path, function) -> Path:
    mx.export_function(str(path), function, mx.zeros((SCORE_ROWS, CONTEXT), dtype=mx.int32))
    return path


def table() -> mx.array:
    return mx.random.normal((V, V), key=mx.random.key(7)) * 2


def test_answer_is_the_loss_of_every_next_token_and_the_logits_asked_for(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    rows, asked = draw.integers(0, V, (2 * SCORE_ROWS, CONTEXT + 1)), draw.integers(0, CONTEXT, 2 * SCORE_ROWS)
    write_question(tmp_path, Question({V: rows, 1024: rows}, {V: asked, 1024: asked[::-1]}))
    logits = table()
    assert run_scorer(export(tmp_path / "model.mlxfn", lambda x: logits[x]), tmp_path) == {"vocab_size": V}
    answer = read_answer(tmp_path, len(rows), V, asked=True)
    expected = logits[mx.array(rows[:, :-1])]
    np.testing.assert_allclose(answer.nats, token_nats(expected, mx.array(rows[:, 1:])), atol=1e-6)
    np.testing.assert_array_equal(answer.logits, np.array(expected)[np.arange(len(rows)), asked])
    with pytest.raises(ValueError, match=r"nats\.bin does not hold"):
        read_answer(tmp_path, len(rows) - 1, V, asked=False)
    (tmp_path / "nats.bin").unlink()
    (tmp_path / "nats.bin").symlink_to("/dev/zero")
    with pytest.raises(OSError):
        read_answer(tmp_path, len(rows), V, asked=False)


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


def test_damaged_graphs_are_refused_by_a_process_of_their_own(tmp_path: Path) -> None:
    """Whatever a damaged file does to the scorer's process, the answer is a refusal or a status, never an answer."""
    logits = table()
    mx.eval(logits)
    whole = export(tmp_path / "whole.mlxfn", lambda x: logits[x]).read_bytes()
    write_question(tmp_path, Question({V: np.zeros((SCORE_ROWS, CONTEXT + 1), np.int32)}))
    for size in (0, len(whole) // 2):
        damaged = tmp_path / "model.mlxfn"
        damaged.write_bytes(whole[:size])
        command = ["-m", "mlx_autoresearch.scorer", "--graph", str(damaged), "--folder", str(tmp_path)]
        done = subprocess.run(launch_command(command), env=child_environment({}), capture_output=True, text=True)
        assert done.returncode != 0 or "refused" in json.loads(done.stdout)
        assert not (tmp_path / "nats.bin").exists()
