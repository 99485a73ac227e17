"""Variants of a computation timed in turns, A B A B ..., so that heat and other programs slow all of them alike.

Every variant lives in a process of its own: its peak of memory, its threads and its compiled kernels are nobody else's.
All processes stay alive; one works, the others wait in a read. A variant is a name, a builder and its options:

    variants = [
        Variant("ours", "benchmarks.mlx_workload:build", options),
        Variant("plain", "benchmarks.mlx_workload:build", {**options, "plain": ["attention", "loss"]}),
    ]
    ours, plain = measure(variants, Plan(rounds=5))
    print(ours.step, spread(ratios(plain, ours)))

A variant that can't be built, or dies, has a sentence in `failure`; the others go on. What is fair: only one variant
works at a time, so each may use the whole machine, and each gets the same time in every round, not the same number of
steps, so that a fast one doesn't rest while a slow one heats the machine.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlx_autoresearch.blas import THREADS_VARIABLE
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.paths import PROJECT
from mlx_autoresearch.process import kill_group, tail

LAST_LINES = 3
"""How much of a dead worker's standard error is shown."""


@dataclass(frozen=True)
class Variant:
    """One thing to time.

    Attributes:
        name: what it is called in tables.
        builder: "package.module:function", imported in the worker and called with the options as keywords; it returns
            a `benchmarks.worker.Workload`.
        options: JSON.
        framework: "mlx" sets the worker up for MLX (BLAS, kernel cache, memory limits) before the builder is imported.
    """

    name: str
    builder: str
    options: Mapping[str, Any] = field(default_factory=dict)
    framework: Literal["mlx", "torch"] = "mlx"


@dataclass(frozen=True)
class Plan:
    """How long to measure.

    Attributes:
        rounds: turns of every variant.
        turn_seconds: how long a turn trains; passes without gradients get half as long again.
        least_steps: steps of a turn, however slow they are.
        warmup_steps: after the first one, before anything is counted.
    """

    rounds: int = 5
    turn_seconds: float = 2.0
    least_steps: int = 3
    warmup_steps: int = 3


@dataclass(frozen=True)
class Spread:
    """Median, and the 10th and 90th percentile, of some numbers."""

    median: float
    low: float
    high: float

    def map(self, function: Callable[[float], float]) -> Spread:
        """All three through a monotonic function; a falling one swaps the ends."""
        low, high = sorted((function(self.low), function(self.high)))
        return Spread(function(self.median), low, high)


@dataclass(frozen=True)
class Measurement:
    """What came of one variant.

    Attributes:
        name: of the variant.
        failure: why there are no numbers, or not all; empty when all went well.
        start_seconds: from the start of the process until the workload was built.
        first_step_seconds: the first step, which compiles; first_evaluation_seconds alike.
        warm_loss: loss of the last warm-up step, the same step for all variants.
        rounds: seconds of every step, round by round.
        evaluation_rounds: seconds of every pass without gradients, round by round.
        peak_memory_bytes: the framework's allocator while it trained; None where it keeps no count.
        peak_resident_bytes: the process as the system sees it, code and compilers included.
        resident_since: "turn" where that peak is of the training alone, "start" where the system counts from the start.
        facts: what the workload says about itself.
    """

    name: str
    failure: str = ""
    start_seconds: float | None = None
    first_step_seconds: float | None = None
    first_evaluation_seconds: float | None = None
    first_loss: float | None = None
    warm_loss: float | None = None
    rounds: tuple[tuple[float, ...], ...] = ()
    evaluation_rounds: tuple[tuple[float, ...], ...] = ()
    peak_memory_bytes: int | None = None
    peak_resident_bytes: int | None = None
    resident_since: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def step(self) -> Spread:
        """Seconds a step: each round's mean is one number, since steps that overlap only add up over a round."""
        return spread([statistics.mean(seconds) for seconds in self.rounds])

    @property
    def evaluation(self) -> Spread | None:
        """Seconds of a pass without gradients, each round's mean; None when there were none."""
        return spread([statistics.mean(s) for s in self.evaluation_rounds]) if self.evaluation_rounds else None

    @property
    def all_steps(self) -> Spread:
        """Seconds of single steps over all rounds, without the ends of a turn, which overlapping blurs."""
        return spread([second for seconds in self.rounds for second in (seconds[1:-1] or seconds)])


def spread(values: Sequence[float]) -> Spread:
    """Median with the 10th and the 90th percentile (linear between the sorted values) of at least one number."""
    ordered = sorted(values)

    def percentile(share: float) -> float:
        position = share * (len(ordered) - 1)
        below = math.floor(position)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (position - below) * (ordered[above] - ordered[below])

    return Spread(statistics.median(ordered), percentile(0.1), percentile(0.9))


def ratios(slow: Measurement, fast: Measurement) -> list[float]:
    """How many times as long a step of `slow` takes as one of `fast`, in each round: drift cancels."""
    pairs = zip(slow.rounds, fast.rounds, strict=False)
    return [statistics.mean(above) / statistics.mean(below) for above, below in pairs]


class WorkerDied(Exception):  # noqa: N818 (it is no error of this process)
    """A variant's process ended; the message is a sentence."""


class Worker:
    """One variant's process."""

    def __init__(self, variant: Variant, log: Path, environment: Mapping[str, str]) -> None:
        self._variant, self._log = variant, log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.worker"],
                cwd=PROJECT,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches the parent alone, which ends all workers in order
            )

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            WorkerDied: it ended instead.
        """
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None
        line = self.process.stdout.readline()
        if not line:
            raise self._died()
        return json.loads(line)

    def _died(self) -> WorkerDied:
        status = self.process.wait()
        lines = [line.strip() for line in tail(self._log).splitlines() if line.strip()]
        words = " | ".join(lines[-LAST_LINES:]) or "it said nothing"
        return WorkerDied(f"{self._variant.name} ended with status {status}: {words}")

    def end(self) -> None:
        """Kill the process and everything it started."""
        kill_group(self.process)
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(BrokenPipeError):  # a request that nobody read is still in the buffer
                pipe.close()


def measure(
    variants: Sequence[Variant],
    plan: Plan,
    on_progress: Callable[[str], None] = lambda words: None,
    environment: Mapping[str, str] | None = None,
) -> list[Measurement]:
    """Time all variants in turns, each in its own process.

    Args:
        variants: with different names.
        plan: how long.
        on_progress: told in a few words what begins.
        environment: variables that the workers get besides this process's own.

    Returns:
        One measurement a variant, in their order.

    Raises:
        AutoresearchError: two variants have the same name.
        KeyboardInterrupt: passed on; no worker is left.
    """
    if len({variant.name for variant in variants}) != len(variants):
        raise AutoresearchError("two variants of a benchmark have the same name")
    variables = worker_environment() | dict(environment or {})
    results: dict[str, dict[str, Any]] = {v.name: {"rounds": [], "evaluation_rounds": []} for v in variants}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlx-autoresearch-")))
        workers: dict[str, Worker] = {}
        for number, variant in enumerate(variants):
            on_progress(f"{variant.name}: start and first step")
            started = time.perf_counter()
            worker = Worker(variant, folder / f"{number}.log", variables)
            stack.callback(worker.end)
            result = results[variant.name]
            try:
                result["facts"] = worker.ask(asdict(variant))
                result["start_seconds"] = time.perf_counter() - started
                result.update(worker.ask({"warmup": plan.warmup_steps}))
                workers[variant.name] = worker
            except WorkerDied as death:
                result["failure"] = str(death)
        for number in range(plan.rounds):
            for name, worker in list(workers.items()):
                on_progress(f"round {number + 1} of {plan.rounds}: {name}")
                try:
                    answer = worker.ask({"seconds": plan.turn_seconds, "least": plan.least_steps})
                except WorkerDied as death:
                    results[name]["failure"] = str(death)
                    del workers[name]
                    continue
                add_turn(results[name], answer)
    return [Measurement(name, **frozen(result)) for name, result in results.items()]


def add_turn(result: dict[str, Any], answer: Mapping[str, Any]) -> None:
    """Take a worker's answer to a turn into what is known about its variant."""
    result["rounds"].append(answer["seconds"])
    if "evaluation_seconds" in answer:
        result["evaluation_rounds"].append(answer["evaluation_seconds"])
    result["resident_since"] = answer["resident_since"]
    for measured, name in (("peak_memory", "peak_memory_bytes"), ("peak_resident", "peak_resident_bytes")):
        if answer[measured] is not None:
            result[name] = max(result.get(name, 0), answer[measured])


def frozen(result: Mapping[str, Any]) -> dict[str, Any]:
    """The same with tuples in place of lists of lists."""
    lists = ("rounds", "evaluation_rounds")
    return {**result, **{name: tuple(tuple(seconds) for seconds in result[name]) for name in lists}}


def worker_environment() -> dict[str, str]:
    """This process's variables, and as many BLAS threads as there are cores: all variants get the same number.

    Otherwise each process counts the cores that are free when it starts, and one may start in a busy moment.
    """
    threads = {THREADS_VARIABLE: str(len(os.sched_getaffinity(0)))} if sys.platform == "linux" else {}
    return threads | dict(os.environ)
