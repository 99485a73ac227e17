"""What an agent is told before it proposes: plain data, and that data as text of bounded size.

Notable: the text comes in two parts. The first (program.md, the contract, the file to edit) stays the same until the
incumbent changes, so that a prompt cache pays for it once; the second (what was tried and what came of it) changes with
every experiment. Whatever a training run printed is data from a stranger: it is fenced, escaped and capped.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlx_autoresearch.program_texts import SharedText
from mlx_autoresearch.records import Claim, Proposal


@dataclass(frozen=True)
class CurvePoint:
    """One point of a learning curve.

    Attributes:
        seconds: since the start of the run.
        tokens: training tokens so far.
        train_bpb: smoothed training loss in bits per byte of training text; None when it can't be known.
    """

    seconds: float
    tokens: int
    train_bpb: float | None


@dataclass(frozen=True)
class Measured:
    """What was measured in one run of an experiment; None where it is unknown.

    Attributes:
        steps, tokens, parameters, vocab_size: as in `records.RunResult`.
        training_seconds: from the start of the process to its end.
        peak_memory_bytes: peak of MLX's allocator.
        gradient_norm, update_norm: of all parameters together, as last logged.
        curve: the learning curve, thinned.
        overtime_seconds: how much of the training time was after the budget.
    """

    steps: int | None = None
    tokens: int | None = None
    parameters: int | None = None
    vocab_size: int | None = None
    training_seconds: float | None = None
    peak_memory_bytes: int | None = None
    gradient_norm: float | None = None
    update_norm: float | None = None
    curve: tuple[CurvePoint, ...] = ()
    overtime_seconds: float | None = None


@dataclass(frozen=True)
class HistoryEntry:
    """One finished experiment, as an agent sees it.

    Attributes:
        number: the experiment's number.
        parent: number of the experiment whose file it edited; None for the baseline.
        text: its train_mlx.py.
        description: one line about the edit.
        status: one of the statuses in `records`.
        val_bpb: mean over its runs in bits per byte; None when there is no score.
        reason: the verdict, or why there is no score, in one sentence.
        hypothesis, expected, agent: as in `records.Proposal`.
        interval: half-width of the 95 % interval of `val_bpb`.
        gain: how much better than the incumbent of that time in bits per byte; None when not compared.
        patch: its change against its parent as a unified diff.
        log_tail: the end of what a failed run printed; untrusted text.
        measured: of its first scored run, or its last failed one; None when nothing was run.
    """

    number: int
    parent: int | None
    text: SharedText
    description: str
    status: str
    val_bpb: float | None
    reason: str = ""
    hypothesis: str = ""
    expected: str = ""
    agent: str = ""
    interval: float | None = None
    gain: float | None = None
    patch: str = ""
    log_tail: str = ""
    measured: Measured | None = None

    @property
    def source(self) -> str:
        """Its train_mlx.py."""
        return str(self.text)


@dataclass(frozen=True)
class Memory:
    """What is known about memory on this machine, in bytes of all processes of a run together.

    Attributes:
        limit: a run that holds more is stopped.
        incumbent: the most that a run of the incumbent was seen to hold; None when unknown.
        runs_out: number of experiments that ran out of memory.
        ceiling: the least that one of them held when it did, above what the incumbent holds; None when unknown.
    """

    limit: int
    incumbent: int | None = None
    runs_out: int = 0
    ceiling: int | None = None


@dataclass(frozen=True)
class Briefing:
    """Everything an agent is told before it proposes.

    Attributes:
        program: text of program.md.
        source: its train_mlx.py.
        incumbent: number of the experiment that edits start from: the last keep, or a promising one built on it.
        incumbent_bpb: its mean score in bits per byte; None while the baseline still runs.
        claim: how much better it is than the baseline, the luck of what is kept taken off; None when unknown.
        noise: standard deviation of val_bpb between runs of one file on this machine; None when unknown.
        history: every finished experiment, oldest first, the incumbent and the baseline included.
        machine_class: column of the machine in the rows of knobs.
        budget_seconds: training time of an experiment.
        machine: the machine in words.
        ideas: text of the person's own ideas.md, empty when there is none.
        hours_left, experiments_left: until the night's limits; None for no limit.
        waiting: proposals that are not measured yet: the one that runs and those in the queue.
        repair: number of the crashed experiment in `history` that is to be mended; None for a new idea.
        memory: what is known about memory; None for nothing.
    """

    program: str
    source: str
    incumbent: int
    incumbent_bpb: float | None
    noise: float | None
    history: list[HistoryEntry]
    machine_class: int
    budget_seconds: float
    machine: str = ""
    ideas: str = ""
    hours_left: float | None = None
    experiments_left: int | None = None
    waiting: tuple[Proposal, ...] = ()
    repair: int | None = None
    memory: Memory | None = None
    claim: Claim | None = None

    @property
    def base(self) -> str:
        """The text to edit: the incumbent's file, or the crashed one that is to be mended."""
        return self.source if self.repair is None else self.entry(self.repair).source

    @property
    def parent(self) -> int | None:
        """Number of the experiment that `base` changes, or is: what a proposal names as its parent."""
        return self.incumbent if self.repair is None else self.entry(self.repair).parent

    def entry(self, number: int) -> HistoryEntry:
        """The experiment of this number.

        Raises:
            KeyError: there is none in the history.
        """
        for entry in self.history:
            if entry.number == number:
                return entry
        raise KeyError(number)

    @property
    def since_keep(self) -> int:
        """Experiments that were decided since the last keep (or the baseline)."""
        statuses = [entry.status for entry in self.history]
        return statuses[::-1].index("keep") if "keep" in statuses else len(statuses)
