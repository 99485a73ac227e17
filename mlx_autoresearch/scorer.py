"""The scorer: a process of its own that runs the exported graph on the rows that it is given. The judge asks it.

Nothing of the agent's Python runs here, and normalisation happens on this side. It knows no more than its rows: not
the dataset, not the other rows that the judge asks about (see judge.py). It prints one JSON line, the vocabulary of the
graph or why it is refused.

    python -m mlx_autoresearch.launch -m mlx_autoresearch.scorer --graph model.mlxfn --folder FOLDER
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import numpy as np

from mlx_autoresearch.errors import run_command_line
from mlx_autoresearch.handin import SCORE_ROWS
from mlx_autoresearch.judge import RefusedError
from mlx_autoresearch.metric import token_nats
from mlx_autoresearch.questions import Answer, read_question, write_answer
from mlx_autoresearch.settings import CONTEXT
from mlx_autoresearch.tokens.tokenizer import VOCAB_SIZES

Graph = Callable[[mx.array], mx.array]


def import_function(path: Path) -> Callable[..., list[mx.array]]:
    """The exported graph in a file, for all shapes that it takes.

    Raises:
        RefusedError: the file is not a graph.
    """
    try:
        return mx.import_function(str(path))
    except (RuntimeError, ValueError, IndexError, MemoryError, TypeError) as error:
        raise RefusedError(f"the handed-in graph can't be read: {error}") from None


def check_graph(imported: Callable[..., list[mx.array]]) -> tuple[Graph, int]:
    """An imported graph as a function of int32 tokens (SCORE_ROWS, CONTEXT), and its vocabulary size.

    Raises:
        RefusedError: it does not give float logits (SCORE_ROWS, CONTEXT, one of VOCAB_SIZES).
    """
    try:
        outputs = imported(mx.zeros((SCORE_ROWS, CONTEXT), dtype=mx.int32))
        mx.eval(outputs)
    except (RuntimeError, ValueError, IndexError, MemoryError, TypeError) as error:
        raise RefusedError(f"the handed-in graph can't be run on ({SCORE_ROWS}, {CONTEXT}) tokens: {error}") from None
    if len(outputs) != 1:
        raise RefusedError(f"the graph gives {len(outputs)} outputs; a model gives its logits and nothing else")
    (logits,) = outputs
    if logits.ndim != 3 or logits.shape[:2] != (SCORE_ROWS, CONTEXT) or logits.shape[2] not in VOCAB_SIZES:
        sizes = ", ".join(map(str, VOCAB_SIZES))
        raise RefusedError(
            f"logits have shape {tuple(logits.shape)}; they must be ({SCORE_ROWS}, {CONTEXT}, V), V one of {sizes}"
        )
    if not mx.issubdtype(logits.dtype, mx.floating):
        raise RefusedError(f"logits have dtype {logits.dtype}; they must be floating point")
    return lambda tokens: imported(tokens)[0].astype(mx.float32), logits.shape[2]


def import_graph(path: Path) -> tuple[Graph, int]:
    """`import_function` and `check_graph` in one."""
    return check_graph(import_function(path))


def answer(graph: Graph, vocab_size: int, rows: np.ndarray, asked: np.ndarray | None = None) -> Answer:
    """What a graph says about rows.

    Args:
        graph: the model.
        vocab_size: V.
        rows: int32 (N, CONTEXT + 1), N a multiple of SCORE_ROWS: tokens with the one that follows.
        asked: int32 (N,), positions whose logits are wanted.
    """
    nats = np.empty((len(rows), CONTEXT), np.float32)
    wanted = None if asked is None else np.empty((len(rows), vocab_size), np.float32)
    for start in range(0, len(rows), SCORE_ROWS):
        batch = slice(start, start + SCORE_ROWS)
        logits = graph(mx.array(rows[batch, :-1]))
        nats[batch] = token_nats(logits, mx.array(rows[batch, 1:]))
        if asked is not None:
            wanted[batch] = np.array(logits[mx.arange(SCORE_ROWS), mx.array(asked[batch])])
    return Answer(vocab_size, nats, wanted)


def run_scorer(graph_file: Path, folder: Path) -> dict:
    """Answer the question in `folder`; a refusal comes back as `{"refused": sentence}`."""
    try:
        graph, vocab_size = import_graph(graph_file)
        write_answer(folder, answer(graph, vocab_size, *read_question(folder, vocab_size)))
    except RefusedError as refusal:
        return {"refused": str(refusal)}
    return {"vocab_size": vocab_size}


def main() -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="mlx_autoresearch.scorer", description="Run an exported model on rows.")
    parser.add_argument("--graph", required=True, type=Path, help="the exported graph, model.mlxfn")
    parser.add_argument("--folder", required=True, type=Path, help="where the question lies and the answer goes")
    arguments = parser.parse_args()
    print(json.dumps(run_scorer(arguments.graph, arguments.folder)))


if __name__ == "__main__":
    run_command_line(main)
