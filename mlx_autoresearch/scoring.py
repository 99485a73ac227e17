"""Running the scorer for the judge: a process for every question, all at once where the machine has room for it.

Most of what a graph does on a CPU keeps one core busy, so two processes side by side take little more time than one. No
process sees what another one is asked (`scoring_policy`), else the second could read from the first what it must not
know.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from mlx_autoresearch import blas
from mlx_autoresearch.failures import CLASS_OF_STOP, last_line, signal_name
from mlx_autoresearch.judge import RefusedError
from mlx_autoresearch.process import TIMEOUT, Outcome, tail
from mlx_autoresearch.questions import Answer, Question, read_answer, write_question
from mlx_autoresearch.records import REFUSED
from mlx_autoresearch.sandbox.jobs import passing_folder, scoring_policy
from mlx_autoresearch.sandbox.policy import Limits, Policy
from mlx_autoresearch.settings import GRAPH_FILE

LOGS_OF_SCORING = ("score.log", "check.log")
"""What the two scoring processes print, in the run's folder."""

Start = Callable[[list[str], Policy, Path, Callable[[], None]], Outcome]
"""Runs a target of `launch_command` as a policy allows, to its end or the deadline: target, policy, log, on_tick."""


class GivenUpError(Exception):
    """Nobody waits for this process any more."""


@dataclass(frozen=True)
class ScoringRun:
    """Scoring of the model in one run's folder.

    Attributes:
        folder: the run's folder, absolute; the graph is in it, the logs go there.
        limits: what each process may use up.
        start: starts a process in the sandbox.
        on_tick: called often while they run, for progress.
        footprint_bytes: memory that training this model took, more than one scoring process will take.
    """

    folder: Path
    limits: Limits
    start: Start
    on_tick: Callable[[], None]
    footprint_bytes: int
    _held: list[int] = field(default_factory=list)

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """See `judge.Ask`.

        Raises:
            RefusedError: the model can't be run; the first question's process decides what is said.
            AutoresearchError: the sandbox can't be made any more.
        """
        if not self._at_once(len(questions)):
            return [self._ask(number, question, {}, self.on_tick) for number, question in enumerate(questions)]
        first, *others = enumerate(questions)
        extra, given_up = threads_for_each(len(questions)), threading.Event()

        def tick() -> None:
            if given_up.is_set():
                raise GivenUpError

        # The first one runs in this thread, which hears Ctrl-C; the others end within a tick of it.
        with ThreadPoolExecutor(len(others)) as pool:
            waiting = [pool.submit(self._ask, *other, extra, tick) for other in others]
            try:
                return [self._ask(*first, extra, self.on_tick), *(each.result() for each in waiting)]
            finally:
                given_up.set()

    def most_memory(self) -> int | None:
        """The most memory that training, or the scoring processes together, held; None when nobody looked."""
        together = sum(self._held) if self._at_once(len(self._held)) else max(self._held, default=0)
        return max(self.footprint_bytes, together) or None

    def _at_once(self, processes: int) -> bool:
        return usable_cores() >= processes and processes * self.footprint_bytes <= self.limits.memory_bytes

    def _ask(self, number: int, question: Question, extra: dict[str, str], on_tick: Callable[[], None]) -> Answer:
        log = self.folder / LOGS_OF_SCORING[number]
        with passing_folder(self.folder / f"scoring-{number + 1}") as work:
            write_question(work, question)
            graph = self.folder / GRAPH_FILE
            target = ["-m", "mlx_autoresearch.scorer", "--graph", str(graph), "--folder", str(work)]
            outcome = self.start(target, scoring_policy(graph, work, extra, self.limits), log, on_tick)
            self._held.append(outcome.memory_bytes or 0)
            vocab_size = read_scorer(outcome, log)
            if vocab_size not in question.rows:
                raise RefusedError(f"the model came with a vocabulary of {vocab_size}, which was not asked about")
            try:
                return read_answer(work, len(question.rows[vocab_size]), vocab_size, question.asked is not None)
            except (OSError, ValueError) as error:
                raise RefusedError(f"the scorer left no answer: {error}") from None


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_for_each(processes: int) -> dict[str, str]:
    """Variables that share the cores among so many processes with a BLAS of their own, unless the person has said."""
    if os.environ.get(blas.THREADS_VARIABLE):
        return {}
    return {blas.THREADS_VARIABLE: str(max(1, usable_cores() // processes))}


def read_scorer(outcome: Outcome, log: Path) -> int:
    """The vocabulary size that a scoring process found.

    Raises:
        RefusedError: what it said against the model, or how it ended.
    """
    if outcome.stopped is not None:
        failure = REFUSED if outcome.stopped.kind == TIMEOUT else CLASS_OF_STOP[outcome.stopped.kind]
        raise RefusedError(f"scoring was stopped: {outcome.stopped.reason}", failure)
    try:
        answer = json.loads(tail(log, 100_000).splitlines()[-1])
        said = answer.get("refused"), answer.get("vocab_size")
    except (IndexError, ValueError, AttributeError, RecursionError):
        said = None, None
    if isinstance(said[0], str):
        raise RefusedError(said[0])
    if outcome.exit_status < 0:
        name = signal_name(-outcome.exit_status)
        raise RefusedError(f"the process that ran the model was ended by {name}: its graph or its numbers can't be run")
    if outcome.exit_status != 0 or not isinstance(said[1], int):
        raise RefusedError(f"running the model ended with status {outcome.exit_status}: {last_line(log)}")
    return said[1]
