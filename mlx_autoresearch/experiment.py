"""One experiment's runs, from a training file to a score: smoke, train, score, each in child processes.

The parent owns the clock: a run whose process has not ended LATE_SECONDS after its budget is a failure, and after
GRACE_SECONDS it is killed. A run that fails is a result like any other, with a class of failure and a sentence, never a
number. All processes run in the laboratory's sandbox, where it has one; what training left is checked before anybody
reads it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from mlx_autoresearch import blas
from mlx_autoresearch.curve import CURVE_FILE, last_point
from mlx_autoresearch.dataset import MANIFEST, open_dataset
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.evidence import LOG_FILE, SETTINGS_FILE, clear_up
from mlx_autoresearch.failures import read_outcome
from mlx_autoresearch.files import remove_tree, write_json
from mlx_autoresearch.gate import check_source
from mlx_autoresearch.judge import RefusedError, judge
from mlx_autoresearch.launch import launch_command
from mlx_autoresearch.machine import awake_seconds, backend
from mlx_autoresearch.paths import runs_root
from mlx_autoresearch.process import Outcome
from mlx_autoresearch.records import LATE, REFUSED, RunResult
from mlx_autoresearch.rehearsal import rehearsal_of
from mlx_autoresearch.resuming import prepare_to_resume
from mlx_autoresearch.sandbox import NO_SANDBOX, Sandbox, confine, require_working, run_confined
from mlx_autoresearch.sandbox.jobs import (
    copy_kernels,
    file_to_share,
    has_kernels,
    kernels_of,
    passing_folder,
    scoring_policy,
    share_kernels,
    training_policy,
    unconfined_policy,
)
from mlx_autoresearch.sandbox.policy import Limits, Policy, limits_of_this_machine
from mlx_autoresearch.scoring import ScoringRun
from mlx_autoresearch.settings import (
    CHECKPOINT_FILE,
    DEFAULT_BUDGET_SECONDS,
    GRAPH_FILE,
    SETTINGS_VARIABLE,
    RunSettings,
)

LATE_SECONDS = 5.0
"""Time after the budget to finish the last step, export the model and end. A run that ends later is a failure: it may
have trained on. Whoever trains through all of it wins 5 s of 300, which moves a score by about 0.002 bits per byte,
where the noise of one run is 0.01."""

GRACE_SECONDS = 15.0
"""Time after the budget until the process is killed."""

SMOKE_SECONDS = 180.0
"""Limit of a smoke run. Two steps take seconds, but where MLX compiles with g++ the first ones ever take a minute."""

SMOKE_SECONDS_ON_CUDA = 900.0
"""MLX compiles every fused kernel there with NVRTC, one after the other and some seconds each."""

MINIMUM_SCORE_SECONDS = 180.0
"""A model that takes longer to score than both this and its training budget is refused."""

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
        folder: where that curve is.
    """

    stage: str
    seconds: float
    budget_seconds: float
    point: dict
    folder: Path


@dataclass(frozen=True)
class Laboratory:
    """Where experiments run: everything that is equal for all of them.

    Attributes:
        dataset: folder of the prepared dataset.
        budget_seconds: training time of every run.
        on_progress: called a few times a second while something runs.
        sandbox: where training and scoring run; without one they have the person's own rights.
        limits: what training and scoring may use up; None for what this machine can spare.
    """

    dataset: Path
    budget_seconds: float = DEFAULT_BUDGET_SECONDS
    on_progress: Callable[[Progress], None] = lambda progress: None
    sandbox: Sandbox = NO_SANDBOX
    limits: Limits | None = None

    def smoke(self, training_file: Path, folder: Path) -> RunResult | None:
        """Two steps, a hand-in and a score on a sliver; returns the failure, or None when all is well.

        `folder` is made for it and removed again, unless it failed: then its logs stay.

        Raises:
            AutoresearchError: the sandbox can't be made any more.
        """
        remove_tree(folder)
        folder.mkdir(parents=True)
        if self.sandbox.confines and (own := file_to_share()) is not None:
            self._compile_kernels(own, folder)
            share_kernels(own)
        result = self._train(training_file, folder, seed=0, smoke=True)
        if result.failure is None:
            result = self.score(folder, result, ["val"], max_rows=SMOKE_SCORE_ROWS)
        if result.failure is not None:
            return result
        if self.sandbox.confines:
            share_kernels(training_file)
        remove_tree(folder)
        return None

    def run(
        self,
        training_file: Path,
        folder: Path,
        seed: int,
        splits: Sequence[str] = ("val",),
        hopeless: Callable[[], str | None] = lambda: None,
        checkpoint_seconds: float | None = None,
    ) -> RunResult:
        """Train once for the whole budget in `folder` (which exists and is empty) and score what is handed in.

        `hopeless` is called often while it trains, and says why it should be stopped early; None while it may go on.
        With `checkpoint_seconds` the run keeps a checkpoint, and goes on from one that an interrupted run has left in
        `folder`, which is not empty then.

        Raises:
            AutoresearchError: the sandbox can't be made any more.
        """
        started = awake_seconds()
        if self.sandbox.confines and not has_kernels(training_file):
            self._compile_kernels(training_file, folder)
        threads = threads_for_a_run()
        result = self._train(training_file, folder, seed, False, threads, hopeless, checkpoint_seconds)
        if result.failure is None:
            result = self.score(folder, result, splits)
        return replace(result, threads=threads, total_seconds=round(awake_seconds() - started, 2))

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
        deadline = awake_seconds() + self._scoring_limit()
        run = ScoringRun(
            folder=folder.absolute(),
            limits=self.limits or limits_of_this_machine(folder),
            start=lambda target, policy, log, tick: self._run(target, policy, log, deadline - awake_seconds(), tick),
            on_tick=self._ticker("score", folder),
            footprint_bytes=result.footprint_bytes or 0,
        )
        dataset = open_dataset(self.dataset, splits)
        rng = np.random.default_rng()  # not reproducible on purpose: a model can't know the cuts beforehand
        try:
            scores = judge(dataset, splits, run.ask, rng, max_rows, every_cut)
        except RefusedError as refusal:
            reason = f"{str(refusal)[:1].upper()}{str(refusal)[1:]}."
            footprint = run.most_memory()
            return replace(result, failure=refusal.failure, reason=reason, footprint_bytes=footprint)
        result = replace(result, footprint_bytes=run.most_memory())
        bpb = {split: round(score.bpb, 6) for split, score in scores.items()}
        return replace(
            result,
            val_bpb=bpb.get("val", result.val_bpb),
            test_bpb=bpb.get("test", result.test_bpb),
            vocab_size=scores[splits[0]].vocab_size,
        )

    def read_model(self, target: list[str], folder: Path, log: Path, seconds: float) -> Outcome:
        """Run `target` of ours (as for `launch_command`), which reads the model in `folder`, where scoring runs.

        It sees the tokenizers, but no text of the dataset.
        """
        with passing_folder((folder / "reading").absolute()) as work:
            policy = scoring_policy(folder.absolute() / GRAPH_FILE, work, {}, self.limits)
            tokenizers = (self.dataset.absolute() / MANIFEST, self.dataset.absolute() / "tokenizers")
            policy = replace(policy, readable=(*policy.readable, *tokenizers))
            return self._run(target, policy, log, seconds, self._ticker("sample", folder))

    def _scoring_limit(self) -> float:
        return max(MINIMUM_SCORE_SECONDS, self.budget_seconds)

    def _train(
        self,
        training_file: Path,
        folder: Path,
        seed: int,
        smoke: bool,
        threads: int | None = None,
        hopeless: Callable[[], str | None] = lambda: None,
        checkpoint_seconds: float | None = None,
    ) -> RunResult:
        # A smoke run may take long, and what it compiled is kept: on real text it could train and hide what it learned.
        dataset = (rehearsal_of(open_dataset(self.dataset)) if smoke else self.dataset).absolute()
        resumed = 0.0 if checkpoint_seconds is None else prepare_to_resume(folder)  # first: it clears the folder
        kernels = self._kernels(training_file, folder, smoke)  # before the clock starts
        settings = RunSettings(
            dataset=str(dataset),
            folder=str(folder.absolute()),
            budget_seconds=self.budget_seconds,
            seed=seed,
            started=awake_seconds() - resumed,
            smoke=smoke,
            checkpoint_seconds=checkpoint_seconds,
            resumed_seconds=resumed,
        )
        settings.save(folder / SETTINGS_FILE)
        limit = smoke_seconds(backend()) if smoke else self.budget_seconds - resumed + GRACE_SECONDS
        ticker = self._ticker("smoke" if smoke else "train", folder)
        policy = self._training_policy(training_file, folder, dataset, kernels, threads)
        outcome = self._run([str(training_file.absolute())], policy, folder / LOG_FILE, limit, ticker, hopeless)
        complaint = clear_up(folder, whole=self.sandbox.confines)
        remove_tree(folder / CHECKPOINT_FILE)
        outcome = replace(outcome, seconds=outcome.seconds + resumed)
        result = replace(
            read_outcome(outcome, folder, seed), sandbox=self.sandbox.name, resumed_seconds=resumed or None
        )
        if complaint is not None and result.failure is None:
            return replace(result, failure=REFUSED, reason=complaint)
        return result if smoke else with_overtime(result, outcome.seconds, self.budget_seconds)

    def _run(
        self,
        target: list[str],
        policy: Policy,
        log: Path,
        seconds: float,
        on_tick: Callable[[], None],
        hopeless: Callable[[], str | None] = lambda: None,
    ) -> Outcome:
        """Run a file or module of the project as `policy` allows. A sandbox that can't be made is nobody's crash."""
        confined = confine(launch_command(target), policy, self.sandbox)
        outcome = run_confined(confined, log, seconds, on_tick, hopeless)
        if self.sandbox.confines and outcome.exit_status > 0:
            require_working(self.sandbox)
        return outcome

    def _kernels(self, training_file: Path, folder: Path, smoke: bool) -> Path | None:
        """Where a run's compiled kernels lie; None without a sandbox, where all share one folder."""
        if not self.sandbox.confines:
            return None
        return kernels_of(training_file) if smoke else copy_kernels(training_file, folder.absolute() / "kernels")

    def _training_policy(
        self, training_file: Path, folder: Path, dataset: Path, kernels: Path | None, threads: int | None
    ) -> Policy:
        settings_file = (folder / SETTINGS_FILE).absolute()
        variables = {SETTINGS_VARIABLE: str(settings_file)}
        if threads is not None:
            variables[blas.THREADS_VARIABLE] = str(threads)
        if kernels is None:
            return unconfined_policy(folder, variables, self.limits)
        files = (training_file.absolute(), folder.absolute(), settings_file, dataset, kernels)
        return training_policy(*files, variables, self.limits)

    def _ticker(self, stage: str, folder: Path) -> Callable[[], None]:
        started = awake_seconds()

        def tick() -> None:
            point = last_point(folder / CURVE_FILE)
            self.on_progress(Progress(stage, awake_seconds() - started, self.budget_seconds, point, folder))

        return tick


def threads_for_a_run() -> int | None:
    """How many threads of the BLAS a run gets: as many as there are free cores, settled before its clock starts.

    None where the BLAS chooses itself: not on Linux, or not on the CPU, or the person has said how many.
    """
    if sys.platform != "linux" or backend() != "cpu" or os.environ.get(blas.THREADS_VARIABLE):
        return None
    return blas.lasting_free_cores(os.sched_getaffinity(0))


def smoke_seconds(backend_name: str) -> float:
    """Limit of a smoke run on "metal", "cuda" or "cpu"."""
    return SMOKE_SECONDS_ON_CUDA if backend_name == "cuda" else SMOKE_SECONDS


def with_overtime(result: RunResult, seconds: float, budget_seconds: float) -> RunResult:
    """The result with its seconds after the budget; a scored-to-be one that ended too late becomes a failure."""
    overtime = round(max(0.0, seconds - budget_seconds), 2)
    result = replace(result, overtime_seconds=overtime)
    if result.failure is not None or overtime <= LATE_SECONDS:
        return result
    reason = (
        f"It ended {overtime:.1f} s after its {budget_seconds:g} s were over; {LATE_SECONDS:g} s are allowed for the "
        "last step, the export and the exit. Either it worked on after Clock.running() said no, or a single step or "
        "the export takes too long, or this machine was busy with something else."
    )
    return replace(result, failure=LATE, reason=reason)


def summary_block(result: RunResult) -> str:
    """The block of `name: value` lines that people and coding agents know; unknown values are left out."""
    values = {
        "val_bpb": None if result.val_bpb is None else f"{result.val_bpb:.6f}",
        "training_seconds": _fixed(result.training_seconds, 1),
        "overtime_seconds": _fixed(result.overtime_seconds, 1),
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
    check_source(training_file.read_text(encoding="utf-8"))
    rank = int(os.environ.get("MLX_RANK", "0"))
    folder = runs_root() / "by-hand" / (time.strftime("%Y%m%d-%H%M%S") + (f"-process-{rank}" if rank else ""))
    folder.mkdir(parents=True)
    laboratory = Laboratory(open_dataset().folder, _budget_by_hand(), print_progress if rank == 0 else lambda _: None)
    if "MLX_RANK" not in os.environ:
        failure = laboratory.smoke(training_file, folder / "smoke")
        if failure is not None:
            raise AutoresearchError(f"The smoke run failed ({failure.failure}): {failure.reason} See {folder}/smoke.")
    if rank == 0:
        result = laboratory.run(training_file, folder, seed=0)
        clear_progress()
        if result.failure is not None:
            raise AutoresearchError(f"The run failed ({result.failure}): {result.reason} See {folder / LOG_FILE}.")
        write_json(folder / "result.json", asdict(result))
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


def print_progress(progress: Progress) -> None:
    """Show on standard error what a run is doing, on one line, where that is a terminal."""
    if not sys.stderr.isatty():
        return
    loss = progress.point.get("loss")
    words = f"{progress.stage} {progress.seconds:5.0f} s"
    if progress.stage == "train" and loss is not None:
        words += f" of {progress.budget_seconds:.0f}   step {progress.point['step']}   loss {loss:.4f}"
        if progress.point.get("tokens") and progress.point["seconds"]:
            words += f"   {progress.point['tokens'] / progress.point['seconds']:,.0f} tokens/s"
    print(f"\r\x1b[K{words}", end="", file=sys.stderr, flush=True)


def clear_progress() -> None:
    """Take that line away."""
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
