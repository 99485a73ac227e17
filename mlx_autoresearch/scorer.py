"""The scorer: a process of its own that imports the exported graph, owns the held-out tokens, and prints one JSON line.

Nothing of the agent's Python runs here. The graph gets rows of CONTEXT tokens, gives logits, and everything else
(normalisation, targets, byte counts, the sum) happens on this side. Three properties are checked on every scored row
by running it a second time in another place of the batch, with its tail replaced after a random cut:

- causality: logits before the cut must not move;
- independence: they must not depend on the neighbours in the batch;
- determinism: they must not depend on the order of calls.

Random cuts can miss a model that looks ahead at a few positions only, so `--every-cut` also sweeps over all cuts of a
row; the harness asks for it before a keep.

    python -m mlx_autoresearch.launch -m mlx_autoresearch.scorer --graph model.mlxfn --dataset data/stories --split val
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import mlx.core as mx
import numpy as np

from mlx_autoresearch.dataset import Dataset, open_dataset
from mlx_autoresearch.errors import run_command_line
from mlx_autoresearch.handin import SCORE_ROWS
from mlx_autoresearch.metric import bits_per_byte, token_nats
from mlx_autoresearch.settings import CONTEXT
from mlx_autoresearch.tokens.tokenizer import SEPARATOR_ID, VOCAB_SIZES, token_byte_lengths

TOLERANCE = 1e-3
"""Largest allowed movement of a logit that must not move, in nats: what it could win is below 0.0004 bits per byte."""

Graph = Callable[[mx.array], mx.array]


class RefusedError(Exception):
    """The hand-in breaks a rule; the message is the sentence for the ledger."""


@dataclass(frozen=True)
class Score:
    """A score over one split.

    Attributes:
        bpb: bits per byte.
        nats: summed cross-entropy of the text tokens.
        text_bytes: UTF-8 bytes of the scored text.
        text_tokens: tokens scored (separators are not).
        vocab_size: vocabulary of the model.
        seconds: time the scoring took.
    """

    bpb: float
    nats: float
    text_bytes: int
    text_tokens: int
    vocab_size: int
    seconds: float


def import_graph(path: Path) -> tuple[Graph, int]:
    """The exported graph as a function of int32 tokens (SCORE_ROWS, CONTEXT), and its vocabulary size.

    Raises:
        RefusedError: the file is not a graph, or does not give float logits (SCORE_ROWS, CONTEXT, one of VOCAB_SIZES).
    """
    try:
        imported = mx.import_function(str(path))
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


def rows_of_split(stream: np.ndarray, max_rows: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets over the concatenated documents of a split, int32 (rows, CONTEXT) each.

    The stream begins with a separator, so that every text token is a target once. The last row is filled up with
    separators, whose targets do not count; rows are a multiple of SCORE_ROWS in number.
    """
    stream = np.asarray(stream, dtype=np.int32)
    count = -(-(len(stream) - 1) // CONTEXT)
    if max_rows is not None:
        count = min(count, max_rows)
    batches = -(-count // SCORE_ROWS)
    needed = batches * SCORE_ROWS * CONTEXT
    inputs, targets = np.full((2, needed), SEPARATOR_ID, dtype=np.int32)
    used = min(count * CONTEXT, len(stream) - 1)
    inputs[:used] = stream[:used]
    targets[:used] = stream[1 : used + 1]
    return inputs.reshape(-1, CONTEXT), targets.reshape(-1, CONTEXT)


def score(
    graph: Graph, vocab_size: int, dataset: Dataset, split: str, rng: np.random.Generator, max_rows: int | None = None
) -> Score:
    """Score a graph on a split (its first `max_rows` rows if given), checking every row as the module says.

    Raises:
        RefusedError: logits that are not finite, or that depend on later tokens, other rows or the order of calls.
    """
    started = time.perf_counter()
    byte_lengths = token_byte_lengths(dataset.tokenizer(vocab_size), vocab_size)
    inputs, targets = rows_of_split(dataset.tokens(split, vocab_size), max_rows)
    scored_bytes = int(byte_lengths[targets].sum())
    if max_rows is None and scored_bytes != dataset.text_bytes(split):
        raise RuntimeError(f"{split}: tokens hold {scored_bytes} bytes, the text {dataset.text_bytes(split)}")
    nats = 0.0
    for start in range(0, len(inputs), SCORE_ROWS):
        rows = slice(start, start + SCORE_ROWS)
        logits = graph(mx.array(inputs[rows]))
        losses = token_nats(logits, mx.array(targets[rows]))
        if not np.isfinite(losses).all():
            raise RefusedError("the model gives logits that are not finite numbers")
        counted = byte_lengths[targets[rows]] > 0
        nats += float(losses[counted].sum(dtype=np.float64))
        check_batch(graph, inputs[rows], logits, rng, other_tails=inputs[rng.permutation(len(inputs))[:SCORE_ROWS]])
    text_tokens = int((byte_lengths[targets] > 0).sum())
    seconds = time.perf_counter() - started
    return Score(bits_per_byte(nats, scored_bytes), nats, scored_bytes, text_tokens, vocab_size, seconds)


def check_batch(
    graph: Graph, inputs: np.ndarray, logits: mx.array, rng: np.random.Generator, other_tails: np.ndarray
) -> None:
    """Run the rows again, in another order and with other tails, and compare the logits before each row's cut.

    Args:
        graph: the model.
        inputs: (SCORE_ROWS, CONTEXT) int32, the rows as scored.
        logits: their logits, (SCORE_ROWS, CONTEXT, V).
        rng: draws order and cuts.
        other_tails: up to SCORE_ROWS rows of text to take the tails from.

    Raises:
        RefusedError: a logit moved that must not.
    """
    order = rng.permutation(SCORE_ROWS)
    cuts = rng.integers(1, CONTEXT, SCORE_ROWS)
    tails = np.resize(other_tails, inputs.shape)
    before_cut = np.arange(CONTEXT)[None, :] < cuts[:, None]
    changed = np.where(before_cut, inputs, tails)[order]
    again = graph(mx.array(changed))
    moved = mx.abs(again - logits[mx.array(order)]).max(axis=-1)
    worst = float(mx.where(mx.array(before_cut[order]), moved, 0.0).max())
    if not worst <= TOLERANCE:
        raise RefusedError(
            f"logits moved by {worst:.3g} when only later tokens, other rows or the order of calls changed: "
            "the model must be causal, treat rows independently and give the same answer twice"
        )


def sweep_every_cut(graph: Graph, vocab_size: int, row: np.ndarray, rng: np.random.Generator) -> None:
    """Replace the tail of one row after every possible cut and compare all logits before it.

    A model that copies the next token at one position in sixteen passes eleven random cuts; this finds it.

    Args:
        graph: the model.
        vocab_size: V.
        row: (CONTEXT,) int32 text tokens.
        rng: draws the replacement tokens, each different from the original.

    Raises:
        RefusedError: a logit before a cut moved.
    """
    base = graph(mx.array(np.repeat(row[None], SCORE_ROWS, axis=0)))
    for first in range(1, CONTEXT, SCORE_ROWS):
        cuts = np.minimum(np.arange(first, first + SCORE_ROWS), CONTEXT - 1)
        other = (row[None] + rng.integers(1, vocab_size, (SCORE_ROWS, CONTEXT))) % vocab_size
        before_cut = np.arange(CONTEXT)[None, :] < cuts[:, None]
        moved = mx.abs(graph(mx.array(np.where(before_cut, row[None], other).astype(np.int32))) - base).max(axis=-1)
        moved = np.array(mx.where(mx.array(before_cut), moved, 0.0))
        if not moved.max() <= TOLERANCE:
            position = int(np.unravel_index(moved.argmax(), moved.shape)[1])
            raise RefusedError(f"the logits at position {position} of a row depend on tokens after it")


def run_scorer(arguments: argparse.Namespace) -> dict:
    """Score what the command line asks for; a refusal comes back as `{"refused": sentence}`."""
    dataset = open_dataset(arguments.dataset, arguments.split)
    rng = np.random.default_rng()  # not reproducible on purpose: a model can't know the cuts beforehand
    try:
        graph, vocab_size = import_graph(Path(arguments.graph))
        results = {}
        for split in arguments.split:
            results[split] = asdict(score(graph, vocab_size, dataset, split, rng, arguments.max_rows))
        if arguments.every_cut:
            inputs, _ = rows_of_split(dataset.tokens(arguments.split[0], vocab_size))
            sweep_every_cut(graph, vocab_size, inputs[rng.integers(len(inputs))], rng)
    except RefusedError as refusal:
        return {"refused": str(refusal)}
    return {"scores": results}


def main() -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="mlx_autoresearch.scorer", description="Score an exported model.")
    parser.add_argument("--graph", required=True, help="the exported graph, model.mlxfn")
    parser.add_argument("--dataset", required=True, help="folder of a prepared dataset")
    parser.add_argument("--split", action="append", choices=("val", "test"), required=True, help="may be repeated")
    parser.add_argument("--max-rows", type=int, help="score only the first rows (smoke runs)")
    parser.add_argument("--every-cut", action="store_true", help="check causality at every position of a row")
    print(json.dumps(run_scorer(parser.parse_args())))


if __name__ == "__main__":
    run_command_line(main)
