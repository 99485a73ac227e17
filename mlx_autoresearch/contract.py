"""What `train_mlx.py` may import, by way of `prepare`: its data, its clock, its log, its hand-in.

Notable: everything is read from the run's settings, a file that the harness names in the environment. Where several
processes train together, the first one's clock decides for all, because they must take the same steps.
"""

from __future__ import annotations

import json
import math
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_autoresearch.curve import CURVE_FILE
from mlx_autoresearch.machine import awake_seconds
from mlx_autoresearch.settings import CHECKPOINT_FILE, DEFAULT_BUDGET_SECONDS, SMOKE_STEPS, RunSettings

if TYPE_CHECKING:
    import mlx.nn as nn
    from tokenizers import Tokenizer

    from mlx_autoresearch.checkpoints import Checkpoints
    from mlx_autoresearch.dataset import Dataset
    from mlx_autoresearch.tokens.batches import Batches

RECENT_STEPS = 8
"""Steps whose mean duration tells how long the next one will take."""

STEPS_UNDER_WAY = 2
"""Steps that may not be finished when the last one is decided on."""

CALLS_BEFORE_STEADY = 2
"""Calls of `Clock.running` whose steps are not representative: the first step compiles."""


def time_budget() -> float:
    """Seconds of training, counted from the start of the process."""
    settings = RunSettings.from_environment()
    return DEFAULT_BUDGET_SECONDS if settings is None else settings.budget_seconds


def seed() -> int:
    """The seed of this run: it decides weights and data order, and the harness varies it to measure noise."""
    settings = RunSettings.from_environment()
    return 0 if settings is None else settings.seed


def load_tokenizer(vocab_size: int) -> Tokenizer:
    """The tokenizer of one of VOCAB_SIZES. Id 0 is the separator before every document, ids 1 to 255 are bytes.

    Raises:
        AutoresearchError: no such vocabulary, or no dataset prepared.
    """
    return _dataset().tokenizer(vocab_size)


def batches(vocab_size: int, batch_size: int, sequence_length: int) -> Batches:
    """Endless (inputs, targets) of the train split: int32 (batch_size, sequence_length) each, targets one token on.

    Rows hold no padding and begin anywhere in the text, as the scored ones do; the order is that of SEED. Batches are
    gathered ahead by a thread; `wait_seconds` is the time spent waiting for it, `epoch` the passes over the text,
    `close()` ends it. With several processes `batch_size` is the rows of one, and no two get the same rows.

    Raises:
        AutoresearchError: no such vocabulary, no dataset prepared, or the text is shorter than a row.
    """
    from mlx_autoresearch.tokens.batches import Batches

    tokens = _dataset().tokens("train", vocab_size)
    rank, ranks = _rank_and_size()
    return Batches(tokens, batch_size, sequence_length, seed(), rank, ranks, _batches_taken())


class Clock:
    """The time budget of a run. It starts with the process, so that imports and building the model count.

    A smoke run ends after two steps, whatever the time.
    """

    def __init__(self) -> None:
        settings = RunSettings.from_environment()
        self._started = awake_seconds() if settings is None else settings.started
        self._budget = DEFAULT_BUDGET_SECONDS if settings is None else settings.budget_seconds
        self._smoke = settings is not None and settings.smoke
        self._rank, self._ranks = _rank_and_size()
        self._calls = 0
        self._last_call = 0.0
        self._steps = 0
        self._recent: deque[float] = deque(maxlen=RECENT_STEPS)
        self._common_progress = 0.0
        self._checkpoints: Checkpoints | None = None

    def resume(self, data: Batches, *state: Any) -> int:
        """How many steps were made already: 0 in a run of a night, which is too short to be cut off and go on.

        In a training of hours `running` writes checkpoints from now on, and one that was cut off goes on from the last.

        Args:
            data: the batches, made just before.
            state: modules, dictionaries and lists with all arrays that training carries from step to step.

        Raises:
            AutoresearchError: the checkpoint is damaged, or holds other arrays.
        """
        settings = RunSettings.from_environment()
        if settings is not None and settings.checkpoint_seconds is not None and self._ranks == 1:
            from mlx_autoresearch.checkpoints import Checkpoints

            self._checkpoints = Checkpoints.of(settings, data, state)
            self._steps = self._checkpoints.restore()
        return self._steps

    def running(self) -> bool:
        """Whether there is time for one more step; call it once before every optimizer step.

        False once the budget is spent, or when a step as long as the last ones would overrun it. The one before it
        may still be under way, because a loss is read a step late: so there must be time for two.
        """
        now = self.elapsed()
        if self._calls >= CALLS_BEFORE_STEADY:
            self._recent.append(now - self._last_call)
        self._last_call = now
        if self._checkpoints is not None:
            self._checkpoints.save_when_due(now, self._steps)
        self._calls += 1
        self._steps += 1
        if self._smoke:
            return self._calls <= SMOKE_STEPS
        next_step = sum(self._recent) / len(self._recent) if self._recent else 0.0
        running = now < self._budget and now + STEPS_UNDER_WAY * next_step <= self._budget
        if self._ranks > 1:
            running, self._common_progress = self._of_first_process(running, min(1.0, now / self._budget))
        return running

    def progress(self) -> float:
        """Share of the budget that is used, 0 to 1: schedules hang on it. The same in all processes of a run."""
        if self._smoke:
            return min(1.0, max(0, self._calls - 1) / SMOKE_STEPS)
        return self._common_progress if self._ranks > 1 else min(1.0, self.elapsed() / self._budget)

    def elapsed(self) -> float:
        """Seconds since the start of the run, sleep of the machine not counted."""
        return awake_seconds() - self._started

    def _of_first_process(self, running: bool, progress: float) -> tuple[bool, float]:
        import mlx.core as mx

        mine = mx.array([float(running), progress] if self._rank == 0 else [0.0, 0.0])
        common = mx.distributed.all_sum(mine).tolist()
        return common[0] > 0, common[1]


def log(step: int, **numbers: float) -> None:
    """Record a point of the learning curve: the step, the seconds since the start, and any numbers by name.

    It goes to `curve.jsonl` in the run's folder, one JSON object a line, NaN and infinity as null; without a run it is
    printed. With several processes only the first one records. Reading an mx.array's value waits for it.
    """
    if _rank_and_size()[0] != 0:
        return
    settings = RunSettings.from_environment()
    if settings is None:
        print(f"step {step}  " + "  ".join(f"{name} {value:.6g}" for name, value in _plain(numbers).items()))
        return
    point = {"step": int(step), "seconds": round(awake_seconds() - settings.started, 3), **_plain(numbers)}
    line = json.dumps({name: value if math.isfinite(value) else None for name, value in point.items()})
    with (Path(settings.folder) / CURVE_FILE).open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def hand_in(model: nn.Module) -> None:
    """Hand the trained model in for scoring: once, at the end. With several processes the first one's is taken.

    Raises:
        AutoresearchError: called twice, the model can't be exported, or there is no run to hand it in to.
    """
    from mlx_autoresearch.errors import AutoresearchError
    from mlx_autoresearch.handin import hand_in as export

    settings = RunSettings.from_environment()
    if settings is None:
        raise AutoresearchError("there is no run to hand a model in to: start the file through `run(main)`")
    if _rank_and_size()[0] == 0:
        export(model, settings)


def run(main: Callable[[], None]) -> None:
    """Run a training file's `main`: directly when the harness started it, else as a run by hand with its scoring."""
    from mlx_autoresearch.errors import run_command_line

    if RunSettings.from_environment() is not None:
        main()
        return
    from mlx_autoresearch.experiment import run_by_hand

    run_command_line(lambda: run_by_hand(Path(sys.argv[0])))


def _dataset() -> Dataset:
    from mlx_autoresearch.dataset import open_dataset

    settings = RunSettings.from_environment()
    return open_dataset(None if settings is None else settings.dataset, splits=("train",))


def _batches_taken() -> int:
    """Batches that the checkpoint has seen from which this run goes on; 0 for a run from the start."""
    settings = RunSettings.from_environment()
    if settings is None or settings.resumed_seconds == 0:
        return 0
    from mlx_autoresearch.checkpoints import read_position

    return read_position(Path(settings.folder) / CHECKPOINT_FILE).batches


def _rank_and_size() -> tuple[int, int]:
    """Which of how many processes this is; (0, 1) without `mlx.launch`."""
    import mlx.core as mx

    group = mx.distributed.init()
    return group.rank(), group.size()


def _plain(numbers: dict[str, float]) -> dict[str, float]:
    """Numbers as JSON knows them: MLX and numpy scalars become Python's."""
    return {name: value if isinstance(value, int) else float(value) for name, value in numbers.items()}
