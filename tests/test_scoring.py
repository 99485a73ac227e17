"""Asking several scoring processes at once: in the room there is, apart from each other, gone when nobody waits."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mlx_autoresearch import blas, scoring
from mlx_autoresearch.judge import RefusedError
from mlx_autoresearch.process import Outcome, Stop, run_process
from mlx_autoresearch.questions import Answer, Question, read_question, write_answer
from mlx_autoresearch.sandbox import confine, run_confined
from mlx_autoresearch.sandbox.choice import choose
from mlx_autoresearch.sandbox.jobs import scoring_policy
from mlx_autoresearch.sandbox.policy import Limits, Policy
from mlx_autoresearch.scoring import ScoringRun
from mlx_autoresearch.settings import CONTEXT, GRAPH_FILE

V = 256
GIB = 1 << 30
QUESTIONS = [
    Question({V: np.full((8, CONTEXT + 1), 7)}),
    Question({V: np.full((16, CONTEXT + 1), 8)}, {V: np.arange(16)}),
]


def scoring_run(folder: Path, start, footprint_bytes: int = 0) -> ScoringRun:
    (folder / GRAPH_FILE).touch()
    return ScoringRun(folder, Limits(memory_bytes=4 * GIB), start, lambda: None, footprint_bytes)


def answers(meeting: threading.Barrier | None = None, threads: list | None = None):
    """A stand-in for the process: says the vocabulary and gives its rows' first token for every loss."""

    def start(target: list[str], policy: Policy, log: Path, on_tick: Callable[[], None]) -> Outcome:
        if meeting is not None:
            meeting.wait(10)
        if threads is not None:
            threads.append(policy.environment.get(blas.THREADS_VARIABLE))
        rows, asked = read_question(policy.folder, V)
        logits = None if asked is None else np.zeros((len(rows), V))
        nats = np.repeat(rows[:, :1], CONTEXT, axis=1)
        write_answer(policy.folder, Answer(V, nats, logits))
        log.write_text(json.dumps({"vocab_size": V}) + "\n")
        return Outcome(0, None, 1.0, GIB)

    return start


@pytest.mark.parametrize(("cores", "footprint", "at_once"), [(2, GIB, True), (1, GIB, False), (2, 3 * GIB, False)])
def test_two_processes_run_at_once_where_there_is_room(
    tmp_path: Path, monkeypatch, cores: int, footprint: int, at_once: bool
) -> None:
    monkeypatch.setattr(scoring, "usable_cores", lambda: cores)
    monkeypatch.delenv(blas.THREADS_VARIABLE, raising=False)
    threads = []
    run = scoring_run(tmp_path, answers(threading.Barrier(2) if at_once else None, threads), footprint)
    first, second = run.ask(QUESTIONS)
    assert (first.nats == 7).all() and first.logits is None and first.nats.shape == (8, CONTEXT)
    assert (second.nats == 8).all() and second.logits.shape == (16, V)
    assert threads == ["1", "1"] if at_once else threads == [None, None]
    assert run.most_memory() == max(footprint, 2 * GIB if at_once else GIB)
    assert {path.name for path in tmp_path.iterdir()} == {GRAPH_FILE, "score.log", "check.log"}


def sleeping(process: list[str]) -> Callable[..., Outcome]:
    """Runs a real process that would go on for a minute where the second question is asked, `process` for the first."""

    def start(target: list[str], policy: Policy, log: Path, on_tick: Callable[[], None]) -> Outcome:
        command = process if log.name == "score.log" else [sys.executable, "-c", "import time; time.sleep(60)"]
        return run_process(command, policy.folder, policy.environment, log, 60, on_tick)

    return start


def test_a_refusal_of_the_first_ends_the_second(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(scoring, "usable_cores", lambda: 2)
    refuses = [sys.executable, "-c", """print('{"refused": "it is no model"}')"""]
    started = time.monotonic()
    with pytest.raises(RefusedError, match="it is no model"):
        scoring_run(tmp_path, sleeping(refuses)).ask(QUESTIONS)
    assert time.monotonic() - started < 10
    assert not list(tmp_path.glob("scoring-*"))


def test_ctrl_c_ends_both(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(scoring, "usable_cores", lambda: 2)
    started, threads = time.monotonic(), threading.active_count()

    def interrupt() -> None:
        raise KeyboardInterrupt

    run = scoring_run(tmp_path, sleeping([sys.executable, "-c", "import time; time.sleep(60)"]))
    with pytest.raises(KeyboardInterrupt):
        ScoringRun(run.folder, run.limits, run.start, interrupt, 0).ask(QUESTIONS)
    assert time.monotonic() - started < 10
    assert not list(tmp_path.glob("scoring-*")) and threading.active_count() == threads


def test_the_second_one_counts_as_much_as_the_first(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(scoring, "usable_cores", lambda: 2)
    honest = answers()

    def start(target: list[str], policy: Policy, log: Path, on_tick: Callable[[], None]) -> Outcome:
        done = honest(target, policy, log, on_tick)
        return done if log.name == "score.log" else Outcome(-9, Stop("memory", "it held 5 GiB"), 1.0)

    with pytest.raises(RefusedError, match="it held 5 GiB"):
        scoring_run(tmp_path, start).ask(QUESTIONS)


def test_a_scoring_process_can_not_read_what_another_is_asked(tmp_path: Path) -> None:
    choice = choose()
    if not choice.works:
        pytest.skip("; ".join(choice.problems))
    own, other = tmp_path / "scoring-2", tmp_path / "scoring-1"
    for folder in (own, other):
        folder.mkdir()
        (folder / "rows-256.bin").write_bytes(b"secret of " + folder.name.encode())
    (tmp_path / GRAPH_FILE).write_bytes(b"graph")
    code = (
        f"print(open({str(own / 'rows-256.bin')!r}).read(), open({str(tmp_path / GRAPH_FILE)!r}).read(), flush=True)\n"
        f"open({str(other / 'rows-256.bin')!r})"
    )
    policy = scoring_policy(tmp_path / GRAPH_FILE, own, {}, Limits())
    log = tmp_path / "check.log"
    outcome = run_confined(confine([sys.executable, "-c", code], policy, choice.sandbox), log, 30)
    said = log.read_text()
    assert said.startswith("secret of scoring-2 graph") and outcome.exit_status != 0, said
    assert "secret of scoring-1" not in said and ("PermissionError" in said or "FileNotFoundError" in said)
