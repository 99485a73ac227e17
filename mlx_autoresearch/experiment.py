"""One experiment's runs, from a training file to a score: smoke, train, score, each in child processes.

The parent owns the clock: a run that has not handed its model in by TIME_BUDGET + GRACE_SECONDS after its start is
killed. A run that fails is a result like any other, with a class of failure and a sentence, never a number. Both
processes run in the laboratory's sandbox, where it has one; what training left is checked before anybody reads it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from mlx_autoresearch.compiler import kernels_folder
from mlx_autoresearch.curve import last_point
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.evidence import clear_up, read_summary
from mlx_autoresearch.files import read_json, remove_tree
from mlx_autoresearch.gate import check_source
from mlx_autoresearch.launch import FAILURE_FILE, FAILURE_MESSAGE_CHARACTERS, launch_command
from mlx_autoresearch.machine import awake_seconds
from mlx_autoresearch.paths import runs_root
from mlx_autoresearch.process import LOG_TOO_LARGE, TIMEOUT, Outcome, child_environment, tail
from mlx_autoresearch.records import RunResult
from mlx_autoresearch.sandbox import NO_SANDBOX, NOTHING, Confined, Sandbox, confine, run_confined
from mlx_autoresearch.sandbox.jobs import (
    file_to_share,
    has_kernels,
    scoring_policy,
    share_kernels,
    throw_away_kernels,
    training_policy,
)
from mlx_autoresearch.sandbox.policy import Limits
from mlx_autoresearch.settings import (
    DEFAULT_BUDGET_SECONDS,
    GRAPH_FILE,
    SETTINGS_VARIABLE,
    SUMMARY_FILE,
    RunSettings,
)

GRACE_SECONDS = 15.0
"""Time after the budget to finish the last step, export the model and end; then the process is killed."""

SMOKE_SECONDS = 180.0
"""Limit of a smoke run. Two steps take seconds, but where MLX compiles with g++ the first ones ever take a minute."""

MINIMUM_SCORE_SECONDS = 180.0
"""A model that takes longer to score than both this and its training budget is refused."""

FAILURE_CLASS_CHARACTERS = 40

SMOKE_SCORE_ROWS = 8
"""Rows scored after a smoke run: one batch, enough to find a model that can't be scored."""


@dataclass(frozen=True)
class Progress:
    """What a run is doing, for the person who watches.

    Attributes:
        stage: "smoke", "train", "score" or "sample".
        seconds: time in this stage.
        budget_seconds: training budget.
        point: the newest line of the learning curve, empty before the first.
    """

    stage: str
    seconds: float
    budget_seconds: float
    point: dict


@dataclass(frozen=True)
class Laboratory:
    """Where experiments run: everything that is equal for all of them.

    Attributes:
        dataset: folder of the prepared dataset.
        budget_seconds: training time of every run.
        on_progress: called a few times a second while something runs.
        sandbox: where training and scoring run; without one they have the person's own rights.
        limits: what a sandboxed process may use up; None for what this machine can spare.
    """

    dataset: Path
    budget_seconds: float = DEFAULT_BUDGET_SECONDS
    on_progress: Callable[[Progress], None] = lambda progress: None
    sandbox: Sandbox = NO_SANDBOX
    limits: Limits | None = None

    def smoke(self, training_file: Path, folder: Path) -> RunResult | None:
        """Two steps, a hand-in and a score on a sliver; returns the failure, or None when all is well.

        `folder` is made for it and removed again, unless it failed: then its logs stay.
        """
        remove_tree(folder)
        folder.mkdir(parents=True)
        if self.sandbox.kind != NOTHING and (own := file_to_share()) is not None:
            self._compile_kernels(own, folder)
            share_kernels(own)
        result = self._train(training_file, folder, seed=0, smoke=True)
        if result.failure is None:
            result = self.score(folder, result, ["val"], max_rows=SMOKE_SCORE_ROWS)
        if result.failure is not None:
            return result
        if self.sandbox.kind != NOTHING:
            share_kernels(training_file)
        remove_tree(folder)
        return None

    def run(self, training_file: Path, folder: Path, seed: int, splits: Sequence[str] = ("val",)) -> RunResult:
        """Train once for the whole budget in `folder` (which exists and is empty) and score what is handed in."""
        started = awake_seconds()
        if self.sandbox.kind != NOTHING and not has_kernels(training_file):
            self._compile_kernels(training_file, folder)
        result = self._train(training_file, folder, seed, smoke=False)
        if result.failure is None:
            result = self.score(folder, result, splits)
        return replace(result, total_seconds=round(awake_seconds() - started, 2))

    def _compile_kernels(self, training_file: Path, folder: Path) -> None:
        """Two steps whose result is thrown away: kernels that were lost since the smoke run must not cost budget."""
        warm = folder / "warming-up"
        warm.mkdir()
        self._train(training_file, warm, seed=0, smoke=True)
        remove_tree(warm)

    def score(
        self,
        folder: Path,
        result: RunResult,
        splits: Sequence[str],
        max_rows: int | None = None,
        every_cut: bool = False,
    ) -> RunResult:
        """`result` with the scores of the model in `folder` on `splits`, or with the reason why it can't be scored."""
        command = [
            "-m",
            "mlx_autoresearch.scorer",
            "--graph",
            str((folder / GRAPH_FILE).absolute()),
            "--dataset",
            str(self.dataset.absolute()),
        ]
        for split in splits:
            command += ["--split", split]
        if max_rows is not None:
            command += ["--max-rows", str(max_rows)]
        if every_cut:
            command.append("--every-cut")
        log = folder / "score.log"
        limit = max(MINIMUM_SCORE_SECONDS, self.budget_seconds)
        with self._scoring(launch_command(command), folder, splits) as confined:
            outcome = run_confined(confined, log, limit, self._ticker("score", folder))
        if outcome.stopped:
            reason = f"took longer than {limit:.0f} s" if outcome.stopped == TIMEOUT else outcome.stopped
            return replace(result, failure="refused", reason=f"Scoring was stopped: {reason}.")
        try:
            answer = json.loads(tail(log, 100_000).splitlines()[-1])
        except (IndexError, ValueError):
            answer = None
        if outcome.exit_status != 0 or not isinstance(answer, dict):
            reason = f"The scorer ended with status {outcome.exit_status}: {last_line(log)}"
            return replace(result, failure="refused", reason=reason)
        if "refused" in answer:
            return replace(result, failure="refused", reason=f"{answer['refused'][:1].upper()}{answer['refused'][1:]}.")
        scores = answer["scores"]
        bpb = {split: round(scores[split]["bpb"], 6) for split in scores}
        return replace(
            result,
            val_bpb=bpb.get("val", result.val_bpb),
            test_bpb=bpb.get("test", result.test_bpb),
            vocab_size=scores[splits[0]]["vocab_size"],
        )

    def read_model(self, target: list[str], folder: Path, splits: Sequence[str], log: Path, seconds: float) -> Outcome:
        """Run `target` of ours (as for `launch_command`), which reads the model in `folder`, where scoring runs."""
        with self._scoring(launch_command(target), folder, splits) as confined:
            return run_confined(confined, log, seconds, self._ticker("sample", folder))

    def _train(self, training_file: Path, folder: Path, seed: int, smoke: bool) -> RunResult:
        settings = RunSettings(
            dataset=str(self.dataset.absolute()),
            folder=str(folder.absolute()),
            budget_seconds=self.budget_seconds,
            seed=seed,
            started=awake_seconds(),
            smoke=smoke,
        )
        settings.save(folder / "run.json")
        limit = SMOKE_SECONDS if smoke else self.budget_seconds + GRACE_SECONDS
        confined = self._training(launch_command([str(training_file.absolute())]), training_file, folder)
        ticker = self._ticker("smoke" if smoke else "train", folder)
        outcome = run_confined(confined, folder / "run.log", limit, ticker)
        complaint = clear_up(folder, whole=self.sandbox.kind != NOTHING)
        result = replace(read_outcome(outcome, folder, seed, limit), sandbox=self.sandbox.name)
        if complaint is not None and result.failure is None:
            return replace(result, failure="refused", reason=complaint)
        return result

    def _training(self, command: list[str], training_file: Path, folder: Path) -> Confined:
        settings_file = (folder / "run.json").absolute()
        variables = {SETTINGS_VARIABLE: str(settings_file)}
        if self.sandbox.kind == NOTHING:
            return Confined(command, child_environment(variables), folder)
        files = (training_file.absolute(), folder.absolute(), settings_file, self.dataset.absolute())
        return confine(command, training_policy(*files, variables, self.limits), self.sandbox)

    @contextmanager
    def _scoring(self, command: list[str], folder: Path, splits: Sequence[str]) -> Iterator[Confined]:
        if self.sandbox.kind == NOTHING:
            yield Confined(command, scorer_environment(), folder)
            return
        with throw_away_kernels() as kernels:
            files = (folder.absolute(), self.dataset.absolute())
            yield confine(command, scoring_policy(*files, splits, kernels, self.limits), self.sandbox)

    def _ticker(self, stage: str, folder: Path) -> Callable[[], None]:
        started = awake_seconds()

        def tick() -> None:
            point = last_point(folder / "curve.jsonl")
            self.on_progress(Progress(stage, awake_seconds() - started, self.budget_seconds, point))

        return tick


def scorer_environment() -> dict[str, str]:
    """The scorer's environment: compiled kernels of its own, since a training file could plant code in shared ones."""
    folder = kernels_folder("scorer")
    folder.mkdir(parents=True, exist_ok=True)
    return child_environment({"TMPDIR": str(folder)})


def read_outcome(outcome: Outcome, folder: Path, seed: int, limit: float) -> RunResult:
    """What came of a training process: its own report where it handed in, else the class of failure."""
    point = last_point(folder / "curve.jsonl")
    waited, seconds = point.get("waited"), point.get("seconds")
    parameters, peak_memory_bytes = read_summary(folder)
    result = RunResult(
        seed=seed,
        training_seconds=round(outcome.seconds, 2),
        steps=point.get("step"),
        tokens=None if point.get("tokens") is None else int(point["tokens"]),
        data_wait_share=round(waited / seconds, 5) if waited is not None and seconds else None,
    )
    failure, reason = failure_of(outcome, folder, limit)
    if failure is not None:
        return replace(result, failure=failure, reason=reason)
    return replace(result, parameters=parameters, peak_memory_bytes=peak_memory_bytes)


def failure_of(outcome: Outcome, folder: Path, limit: float) -> tuple[str | None, str]:
    """Class of failure and a sentence, told by exit status and structured evidence, not by words in the log."""
    if outcome.stopped == TIMEOUT:
        return "timeout", f"No model was handed in {limit:.0f} s after the start."
    if outcome.stopped == LOG_TOO_LARGE:
        return "killed", "It printed more than the log may hold and was stopped."
    if outcome.stopped:
        return "out of memory" if "memory" in outcome.stopped else "killed", f"It was stopped: {outcome.stopped}."
    evidence = folder / FAILURE_FILE
    if evidence.exists():
        return read_failure(evidence)
    if outcome.exit_status < 0:
        name = signal.Signals(-outcome.exit_status).name
        kind = "aborted" if outcome.exit_status == -signal.SIGABRT else "killed"
        return kind, f"The process was ended by {name}. Its last words: {last_line(folder / 'run.log')}"
    if outcome.exit_status != 0:
        return "python error", f"It ended with status {outcome.exit_status}: {last_line(folder / 'run.log')}"
    if not (folder / SUMMARY_FILE).exists():
        return "no hand-in", "It ended without handing a model in."
    return None, ""


def read_failure(evidence: Path) -> tuple[str, str]:
    """Class and sentence from what the process left; a training file can write there too, so anything is possible."""
    try:
        failure = read_json(evidence)
        message = f"{failure['type']}: {failure['message']}"[: 2 * FAILURE_MESSAGE_CHARACTERS]
        return str(failure["failure"])[:FAILURE_CLASS_CHARACTERS], message
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "python error", "It failed, and its record of the failure can't be read."


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    lines = [line.strip() for line in tail(log).splitlines() if line.strip()]
    return lines[-1] if lines else "(nothing)"


def summary_block(result: RunResult) -> str:
    """The block of `name: value` lines that people and coding agents know; unknown values are left out."""
    values = {
        "val_bpb": None if result.val_bpb is None else f"{result.val_bpb:.6f}",
        "training_seconds": _fixed(result.training_seconds, 1),
        "total_seconds": _fixed(result.total_seconds, 1),
        "peak_memory_mb": _fixed(result.peak_memory_bytes, 1, 1 / 2**20),
        "data_wait_percent": _fixed(result.data_wait_share, 2, 100),
        "total_tokens_M": _fixed(result.tokens, 2, 1e-6),
        "num_steps": _fixed(result.steps, 0),
        "num_params_M": _fixed(result.parameters, 2, 1e-6),
    }
    return "\n".join(["---"] + [f"{name + ':':<19}{value}" for name, value in values.items() if value is not None])


def _fixed(value: float | None, digits: int, factor: float = 1.0) -> str | None:
    return None if value is None else f"{value * factor:.{digits}f}"


def run_by_hand(training_file: Path) -> None:
    """`python train_mlx.py`: the same smoke, training and scoring as in the loop, printed for a person.

    Started by `mlx.launch`, every process trains its share and the first one scores; the smoke run is left out, since
    its processes could not find each other twice.

    Raises:
        AutoresearchError: the file breaks the contract, or the run failed.
    """
    from mlx_autoresearch.dataset import open_dataset

    check_source(training_file.read_text(encoding="utf-8"))
    rank = int(os.environ.get("MLX_RANK", "0"))
    folder = runs_root() / "by-hand" / (time.strftime("%Y%m%d-%H%M%S") + (f"-process-{rank}" if rank else ""))
    folder.mkdir(parents=True)
    laboratory = Laboratory(open_dataset().folder, _budget_by_hand(), _print_progress if rank == 0 else lambda _: None)
    if "MLX_RANK" not in os.environ:
        failure = laboratory.smoke(training_file, folder / "smoke")
        if failure is not None:
            raise AutoresearchError(f"The smoke run failed ({failure.failure}): {failure.reason} See {folder}/smoke.")
    if rank == 0:
        result = laboratory.run(training_file, folder, seed=0)
        _clear_progress()
        if result.failure is not None:
            raise AutoresearchError(f"The run failed ({result.failure}): {result.reason} See {folder}/run.log.")
        print(summary_block(result))
        print(f"The model is in {folder}.")
    else:
        laboratory._train(training_file, folder, seed=0, smoke=False)


def _budget_by_hand() -> float:
    """TIME_BUDGET, or what MLX_AUTORESEARCH_BUDGET says, for practice.

    Raises:
        AutoresearchError: the variable is not a positive number.
    """
    text = os.environ.get("MLX_AUTORESEARCH_BUDGET", "")
    try:
        budget = float(text or DEFAULT_BUDGET_SECONDS)
    except ValueError:
        budget = 0.0
    if not budget > 0:
        raise AutoresearchError(f"MLX_AUTORESEARCH_BUDGET is {text!r}; it must be a number of seconds above 0.")
    return budget


def _print_progress(progress: Progress) -> None:
    if not sys.stderr.isatty():
        return
    loss = progress.point.get("loss")
    words = f"{progress.stage} {progress.seconds:5.0f} s"
    if progress.stage == "train" and loss is not None:
        words += f" of {progress.budget_seconds:.0f}   step {progress.point['step']}   loss {loss:.4f}"
        if progress.point.get("tokens") and progress.point["seconds"]:
            words += f"   {progress.point['tokens'] / progress.point['seconds']:,.0f} tokens/s"
    print(f"\r\x1b[K{words}", end="", file=sys.stderr, flush=True)


def _clear_progress() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
