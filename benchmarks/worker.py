"""The process in which one variant of a benchmark lives: `python -m benchmarks.worker`, started by `interleaved`.

It reads one JSON request a line from standard input and answers each with one JSON line. Between requests it waits in
a read and uses no processor. The first request names the variant; its builder is imported here and returns a
`Workload`. What the variant prints goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, TypeVar

import numpy as np

from mlx_autoresearch.errors import AutoresearchError, run_command_line
from mlx_autoresearch.launch import end_with_parent, set_up_process

Timing = tuple[list[float], float]
"""Seconds of each step, and the last step's loss."""

BATCHES = 8
"""Different batches, used in turn."""

Pending = TypeVar("Pending")


def nothing() -> None:
    """Does nothing."""


@dataclass(frozen=True)
class Workload:
    """What a builder returns: something that can be repeated and timed.

    Attributes:
        run: does that many steps and returns their seconds and the last loss; all work is done when it returns.
        evaluate: the same for passes without gradients; None when there is nothing to evaluate.
        rest: lets go of memory that another variant could use while this one is idle.
        reset_peak_memory, peak_memory: of the framework's own allocator, in bytes; None where it keeps no count.
        facts: anything worth keeping with the numbers, as JSON.
    """

    run: Callable[[int], Timing]
    evaluate: Callable[[int], Timing] | None = None
    rest: Callable[[], None] = nothing
    reset_peak_memory: Callable[[], None] = nothing
    peak_memory: Callable[[], int | None] = nothing
    facts: dict[str, Any] = field(default_factory=dict)


def time_one_by_one(steps: int, start: Callable[[], Pending], read: Callable[[Pending], float]) -> Timing:
    """Every step is finished, and its loss read, before the next one starts: `read` waits for everything."""
    seconds, loss = [], float("nan")
    for _ in range(steps):
        began = time.perf_counter()
        loss = read(start())
        seconds.append(time.perf_counter() - began)
    return seconds, loss


def time_overlapped(
    steps: int, start: Callable[[], Pending], read: Callable[[Pending], float], finish: Callable[[], None]
) -> Timing:
    """As the loop of train_mlx.py: a step's loss is read when the next step has been queued, so the device never waits.

    A step lasts from one reading to the next. The first includes filling the queue and the last includes `finish`,
    which waits for all that is still under way: together they are exactly the time that the steps took.
    """
    seconds, loss, pending = [], float("nan"), None
    last = time.perf_counter()

    def mark() -> None:
        nonlocal last
        now = time.perf_counter()
        seconds.append(now - last)
        last = now

    for step in range(steps):
        queued = start()
        if step > 0:
            loss = read(pending)
            mark()
        pending = queued
    if steps > 0:
        loss = read(pending)
        finish()
        mark()
    return seconds, loss


def token_batches(vocab_size: int, batch_size: int, sequence_length: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The same `BATCHES` batches of random tokens in every worker: inputs and targets, int32 (B, T) each."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, vocab_size, (BATCHES, batch_size, sequence_length + 1), dtype=np.int32)
    return [(batch[:, :-1], batch[:, 1:]) for batch in rows]


def load_builder(path: str) -> Callable[..., Workload]:
    """The function that "package.module:function" names.

    Raises:
        AutoresearchError: there is none.
    """
    module, _, function = path.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ModuleNotFoundError, AttributeError, ValueError) as error:
        raise AutoresearchError(f"there is no builder {path!r}: {error}") from None


def reset_resident_peak() -> bool:
    """Begin a new peak of this process's resident memory; whether that was possible (Linux only)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return True
    except OSError:
        return False


def resident_peak() -> int:
    """Peak of this process's resident memory in bytes, since `reset_resident_peak` or else since its start."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def turn(workload: Workload, seconds: float, least: int) -> dict[str, Any]:
    """One turn: a step to wake up, then steps for about `seconds` but `least` at least; passes without gradients alike.

    Other variants have run since the last turn: memory has to be taken again, threads and clocks have gone to rest.
    The first step pays for that and isn't counted.
    """
    is_new_peak = reset_resident_peak()
    workload.reset_peak_memory()
    steps, loss = workload.run(count_for(workload.run, seconds, least))
    answer: dict[str, Any] = {
        "seconds": steps,
        "loss": loss,
        "peak_memory": workload.peak_memory(),
        "peak_resident": resident_peak(),
        "resident_since": "turn" if is_new_peak else "start",
    }
    if workload.evaluate is not None:
        answer["evaluation_seconds"], _ = workload.evaluate(count_for(workload.evaluate, seconds / 2, least))
    workload.rest()
    return answer


def count_for(run: Callable[[int], Timing], seconds: float, least: int) -> int:
    """How many steps last about `seconds`, judged by one step that is not counted."""
    (one,), _ = run(1)
    return max(least, min(round(seconds / max(one, 1e-6)), MOST_STEPS))


MOST_STEPS = 1000
"""Steps in a turn at most."""


def prepare(workload: Workload, warmup: int) -> dict[str, Any]:
    """First step by itself, which compiles; then the other warm-up steps, and the first pass without gradients."""
    (first,), first_loss = workload.run(1)
    _, loss = workload.run(warmup)
    answer = {"first_step_seconds": first, "first_loss": first_loss, "warm_loss": loss}
    if workload.evaluate is not None:
        (answer["first_evaluation_seconds"],), _ = workload.evaluate(1)
    workload.rest()
    return answer


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer requests until there are no more."""

    def answer(value: dict[str, Any]) -> None:
        print(json.dumps(value), file=answers, flush=True)

    variant = json.loads(requests.readline())
    if variant["framework"] == "mlx":
        set_up_process()
    workload = load_builder(variant["builder"])(**variant["options"])
    answer(workload.facts)
    for line in requests:
        request = json.loads(line)
        if "warmup" in request:
            answer(prepare(workload, request["warmup"]))
        else:
            answer(turn(workload, request["seconds"], request["least"]))


def main() -> None:
    """Command line: none; see the module's docstring."""
    end_with_parent()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin, answers)


if __name__ == "__main__":
    run_command_line(main)
