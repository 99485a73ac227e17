"""How long does a token take when a trained model writes: with its key-value cache, and in rows of every length?

    python -m benchmarks.writing --tag nov24
    python -m benchmarks.writing --graph runs/nov24/experiments/0000/runs/1

Each way is what `python -m mlx_autoresearch.sample` would take if the graph had nothing faster. Median of the repeats,
on one thread of the BLAS.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_autoresearch import launch, machine
from mlx_autoresearch.argument_types import positive
from mlx_autoresearch.errors import AutoresearchError, run_command_line
from mlx_autoresearch.files import write_json

if TYPE_CHECKING:
    from mlx_autoresearch.exported_model import GraphReader

PROMPT_TOKENS = 40

WARM_UP = 2
"""Calls before the first that counts: MLX compiles and allocates in them."""


def median_milliseconds(call: Callable[[], object], repeats: int) -> float:
    """Median wall-clock time of `call` in milliseconds."""
    seconds = []
    for _ in range(WARM_UP + repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds[WARM_UP:])


def measure(graph: Path, repeats: int) -> dict[str, float]:
    """Milliseconds by what takes them, of the model in `graph`.

    Raises:
        RefusedError: it holds no model that could be scored.
    """
    import mlx.core as mx
    import numpy as np

    from mlx_autoresearch.continuation import log_probabilities, open_reader, usable_lengths

    start = time.perf_counter()
    reader, vocab_size = open_reader(graph)
    found = {"opening, with the comparison": 1000 * (time.perf_counter() - start)}
    text = np.random.default_rng(0).integers(1, vocab_size, size=reader.context, dtype=np.int32).tolist()

    if reader.cached is not None:
        cached = reader.cached

        def read_prompt() -> None:
            cached.readings.clear()
            mx.eval(reader.next_logits([text[:PROMPT_TOKENS]]))

        found[f"a prompt of {PROMPT_TOKENS} tokens, with the cache"] = median_milliseconds(read_prompt, repeats)
        found["a token, with the cache"] = _token_after_token(reader, text, repeats)

    rows = np.array([text], dtype=np.int32)
    scored = log_probabilities(reader.graph(mx.array(np.repeat(rows, reader.rows, axis=0)))[0])
    for length in usable_lengths(reader.graph, rows, scored):
        of_one_length = replace(reader, cached=None, lengths=(length,))
        found[f"a token, in a row of {length}"] = median_milliseconds(
            lambda one=of_one_length, count=length: mx.eval(one.next_logits([text[:count]])), repeats
        )
    as_scored = replace(reader, cached=None, lengths=())
    found[f"a token, in {reader.rows} rows of {reader.context}, as scored"] = median_milliseconds(
        lambda: mx.eval(as_scored.next_logits([text])), max(3, repeats // 5)
    )
    return found


def _token_after_token(reader: GraphReader, text: Sequence[int], repeats: int) -> float:
    """Milliseconds of a token while a text grows, as it is written."""
    import mlx.core as mx

    lengths = itertools.cycle(range(PROMPT_TOKENS, len(text) + 1))
    mx.eval(reader.next_logits([text[: next(lengths)]]))
    return median_milliseconds(lambda: mx.eval(reader.next_logits([text[: next(lengths)]])), repeats)


def main() -> None:
    """Command line: see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.writing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--tag", help="name of the night, whose best model is taken (default: the newest best)")
    which.add_argument("--graph", metavar="PATH", help="any model.mlxfn, or the one in this folder")
    parser.add_argument("--repeats", type=positive(int), default=50, help="of each measurement (default: 50)")
    parser.add_argument("--output", type=Path, help="JSON file (default: none)")
    arguments = parser.parse_args()
    os.environ.setdefault("MLX_AUTORESEARCH_BLAS_THREADS", "1")
    launch.set_up_process()
    from mlx_autoresearch.chosen_model import find_graph
    from mlx_autoresearch.judge import RefusedError

    graph = find_graph(arguments.tag, arguments.graph)
    try:
        found = measure(graph, arguments.repeats)
    except RefusedError as error:
        raise AutoresearchError(f"{graph} can't be used: {error}. Name another model.") from None
    print(f"{graph}, {machine.identity()}")
    for what, milliseconds in found.items():
        print(f"{what:<44} {milliseconds:8.1f} ms")
    if arguments.output is not None:
        write_json(arguments.output, {"machine": machine.identity(), "milliseconds": found})


if __name__ == "__main__":
    run_command_line(main)
