"""How a training run ended: its class of failure and a sentence, from exit status and structured evidence.

Words in the log decide nothing: a run may print what it likes. The evidence is why the parent stopped it, the record
that `launch` leaves when an exception ends it, the signal or status that it ended with, and what it handed in.
"""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

from mlx_autoresearch.curve import CURVE_FILE, last_point
from mlx_autoresearch.evidence import LOG_FILE, read_summary
from mlx_autoresearch.files import read_json
from mlx_autoresearch.launch import FAILURE_FILE, FAILURE_MESSAGE_CHARACTERS
from mlx_autoresearch.machine import GIB
from mlx_autoresearch.process import EXCESS, HOPELESS, MEMORY, TIMEOUT, Outcome, tail
from mlx_autoresearch.records import (
    ABORTED,
    KILLED,
    NAN,
    NO_HAND_IN,
    NOT_PERMITTED,
    OUT_OF_MEMORY,
    PYTHON_ERROR,
    STOPPED_EARLY,
    TIMED_OUT,
    RunResult,
)
from mlx_autoresearch.settings import SUMMARY_FILE

CLASS_OF_STOP = {TIMEOUT: TIMED_OUT, MEMORY: OUT_OF_MEMORY, EXCESS: KILLED, HOPELESS: STOPPED_EARLY}

CLASSES_OF_EXCEPTIONS = (NAN, TIMED_OUT, OUT_OF_MEMORY, NOT_PERMITTED, PYTHON_ERROR)
"""What a run's own record may say."""

WHAT_IS_PERMITTED = (
    "Training may read its own file, the train split and the system's libraries, write in its own folder, and use no "
    "network."
)


def read_outcome(outcome: Outcome, folder: Path, seed: int) -> RunResult:
    """What came of a training process: its own report where it handed in, else the class of failure."""
    point = last_point(folder / CURVE_FILE)
    waited, seconds = point.get("waited"), point.get("seconds")
    parameters, peak_memory_bytes = read_summary(folder)
    result = RunResult(
        seed=seed,
        training_seconds=round(outcome.seconds, 2),
        steps=point.get("step"),
        tokens=None if point.get("tokens") is None else int(point["tokens"]),
        footprint_bytes=outcome.memory_bytes,
        data_wait_share=round(waited / seconds, 5) if waited is not None and seconds else None,
    )
    failure, reason = failure_of(outcome, folder)
    if failure is not None:
        return replace(result, failure=failure, reason=reason)
    return replace(result, parameters=parameters, peak_memory_bytes=peak_memory_bytes)


def failure_of(outcome: Outcome, folder: Path) -> tuple[str | None, str]:
    """Class of failure (see `records`) and a sentence; None for a run that handed a model in."""
    if outcome.stopped is not None and outcome.stopped.kind == HOPELESS:
        return STOPPED_EARLY, outcome.stopped.reason
    if outcome.stopped is not None:
        return CLASS_OF_STOP[outcome.stopped.kind], f"It was stopped: {outcome.stopped.reason}."
    held = "" if outcome.memory_bytes is None else f" It held up to {outcome.memory_bytes / GIB:.1f} GiB of memory."
    if (folder / FAILURE_FILE).exists():
        failure, reason = read_failure(folder / FAILURE_FILE)
        return failure, f"{reason}{held}" if failure == OUT_OF_MEMORY else reason
    if outcome.exit_status == -signal.SIGABRT:
        words = f"Its last words: {last_line(folder / LOG_FILE)}"
        return ABORTED, f"It was ended by abort(), as by an error of Metal or of a library.{held} {words}"
    if outcome.exit_status < 0:
        name = signal_name(-outcome.exit_status)
        return KILLED, f"The process was ended by {name}. Its last words: {last_line(folder / LOG_FILE)}"
    if outcome.exit_status != 0:
        return PYTHON_ERROR, f"It ended with status {outcome.exit_status}: {last_line(folder / LOG_FILE)}"
    if not (folder / SUMMARY_FILE).exists():
        return NO_HAND_IN, "It ended without handing a model in."
    return None, ""


def read_failure(evidence: Path) -> tuple[str, str]:
    """Class and sentence from what the process left; a training file can write there too, so anything is possible."""
    try:
        record = read_json(evidence)
        failure, message = record["failure"], f"{record['type']}: {record['message']}"[: 2 * FAILURE_MESSAGE_CHARACTERS]
        if failure not in CLASSES_OF_EXCEPTIONS:
            failure = PYTHON_ERROR
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return PYTHON_ERROR, "It failed, and its record of the failure can't be read."
    message = message.rstrip(": .") + "."
    return failure, f"{message} {WHAT_IS_PERMITTED}" if failure == NOT_PERMITTED else message


def signal_name(number: int) -> str:
    """SIGKILL, SIGSEGV, ...; real-time signals have no names."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    lines = [line.strip() for line in tail(log).splitlines() if line.strip()]
    return lines[-1] if lines else "(nothing)"
