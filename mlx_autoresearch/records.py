"""The plain data that rooms hand to each other: a proposal, one run, a verdict. Everything here is JSON on disk."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

KEEP, DISCARD, INCONCLUSIVE, CRASH = "keep", "discard", "inconclusive", "crash"
"""Statuses of a finished experiment. `crash` covers every way in which there is no score to compare."""

NAN, TIMED_OUT, LATE, OUT_OF_MEMORY = "nan", "timeout", "late", "out of memory"
PYTHON_ERROR, NOT_PERMITTED, ABORTED = "python error", "not permitted", "aborted"
KILLED, NO_HAND_IN, REFUSED, STOPPED_EARLY = "killed", "no hand-in", "refused", "stopped early"
"""Classes of failure of a run: a loss that is no number; no hand-in in time; one after its time; memory of the run's
own making; an exception; one that says that the system or the sandbox refused something; `abort()`, how Metal's errors
end; stopped or killed for anything else; ended without a model; a model that is not scored; stopped for having no
chance left, which is no crash, but a discard."""


@dataclass(frozen=True)
class Proposal:
    """One edit of train_mlx.py, as an agent proposes it.

    Attributes:
        source: the whole new text of train_mlx.py.
        description: one line for tables and commit messages.
        hypothesis: why it should help.
        expected: the effect the agent predicts.
        agent: which agent proposed it ("search", "person", ...).
        parent: number of the incumbent that it changes, also where it mends a failed one; None for the baseline.
        tokens: language-model tokens it cost.
        dollars: what it cost; None when unknown.
        repairs: number of the failed experiment that it mends; None for a new idea.
    """

    source: str
    description: str
    hypothesis: str = ""
    expected: str = ""
    agent: str = ""
    parent: int | None = None
    tokens: int = 0
    dollars: float | None = 0.0
    repairs: int | None = None


STATE_SECONDS = 10_000 * 3600.0
"""By so much later does a run count as begun whenever the machine has changed its state: another program that computes
all night, another room. Levels walk in time (noise.py), so what was measured before then says next to nothing."""


def in_state(when: float, state: int) -> float:
    """A time in seconds as it counts in comparisons, in a state of the machine."""
    return when + state * STATE_SECONDS


@dataclass(frozen=True)
class RunResult:
    """What came of one training run: either a score, or the reason why there is none.

    Attributes:
        seed: the seed of this run.
        failure: None when scored; else a class of failure, one of those above.
        reason: one sentence about the failure, empty when scored.
        val_bpb, test_bpb: bits per byte on held-out text; None when not scored (test is scored for keeps only).
        training_seconds: from start of the process to the hand-in, on the parent's clock.
        overtime_seconds: how long after its budget the process ended; 0 when it ended before, None when not recorded.
        total_seconds: wall time of the run with start-up, hand-in and scoring.
        steps, tokens: optimizer steps and training tokens.
        parameters: number of trainable parameters.
        vocab_size: vocabulary of the scored model.
        peak_memory_bytes: peak of MLX's own allocator in the training process.
        footprint_bytes: the most memory that all processes of the run were seen to hold, looked at twice a second.
        data_wait_share: share of the training time spent waiting for data, 0 to 1.
        sandbox: name of the sandbox that it ran in, "none" for the person's own rights; None when not recorded.
        threads: threads that the BLAS was given; None where it chooses itself, and where that was not recorded.
        started: when it began, in seconds since 1970 on the night's clock; None when not recorded. Only order and
            distance matter.
        resumed_seconds: it was cut off, and went on from a checkpoint of this second; None for a run in one piece.
        state: which of the states that the machine was in tonight, from 0, see `conditions.ConditionsLog.state`.
    """

    seed: int
    failure: str | None = None
    reason: str = ""
    val_bpb: float | None = None
    test_bpb: float | None = None
    training_seconds: float | None = None
    overtime_seconds: float | None = None
    total_seconds: float | None = None
    steps: int | None = None
    tokens: int | None = None
    parameters: int | None = None
    vocab_size: int | None = None
    peak_memory_bytes: int | None = None
    footprint_bytes: int | None = None
    data_wait_share: float | None = None
    sandbox: str | None = None
    threads: int | None = None
    started: float | None = None
    resumed_seconds: float | None = None
    state: int = 0

    @property
    def when(self) -> float:
        """When it began, for comparisons: what was measured in another state of the machine is far away in time."""
        return in_state(self.started or 0.0, self.state)


@dataclass(frozen=True)
class Measurement:
    """A score and when its run began, see `RunResult.when`; 0, before all others, where that was not recorded."""

    bpb: float
    when: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """What was decided about an experiment, and why.

    Attributes:
        status: one of KEEP, DISCARD, INCONCLUSIVE, CRASH.
        sentence: the decision in one sentence with its numbers.
        val_bpb: mean over the experiment's runs when it was decided; None for a crash.
        interval: half-width of its 95 % interval in bits per byte; None when unknown.
        incumbent: number of the experiment it was compared with; None for the baseline.
        incumbent_bpb: what the incumbent scores around the time of the experiment's runs, estimated from its own.
        probability_better: posterior probability that it is better than the incumbent; None when not computed.
        noise: the machine's pooled standard deviation of val_bpb at that time.
        expected_gain: how much better it is expected to be, the luck of what is kept taken off; None when unknown.
        gain_error: standard deviation of what is believed about the gain; None when unknown.
        runs: how many of its runs the verdict rests on; None when unknown.
        promising: it is not kept, but expected to be better: the next edits build on it.
        details: anything else worth keeping.
    """

    status: str
    sentence: str
    val_bpb: float | None = None
    interval: float | None = None
    incumbent: int | None = None
    incumbent_bpb: float | None = None
    probability_better: float | None = None
    noise: float | None = None
    expected_gain: float | None = None
    gain_error: float | None = None
    runs: int | None = None
    promising: bool = False
    details: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """How much better the last keep is said to be than the baseline, the luck of what is kept taken off.

    Attributes:
        gain: the sum of what each keep was expected to gain, in bits per byte.
        half_width: of its 95 % interval. The errors of the keeps are added as if they were independent. They are not:
            what one keep has too much the next one has too little, so the interval is rather too wide.
    """

    gain: float
    half_width: float

    def __str__(self) -> str:
        return f"{self.gain:.4f} ± {self.half_width:.4f} bits per byte"


def claimed(verdicts: Iterable[Verdict]) -> Claim | None:
    """What all keeps claim together; None where there is none but the baseline, or one doesn't tell its claim."""
    keeps = [verdict for verdict in verdicts if verdict.status == KEEP and verdict.incumbent is not None]
    if not keeps or any(verdict.expected_gain is None or verdict.gain_error is None for verdict in keeps):
        return None
    error = math.hypot(*(verdict.gain_error for verdict in keeps))
    return Claim(math.fsum(verdict.expected_gain for verdict in keeps), 1.96 * error)
