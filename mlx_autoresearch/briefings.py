"""The night on disk as the briefing that an agent gets.

Notable: test scores are left out, here and in everything that agents are told: what nobody optimises stays honest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from mlx_autoresearch.agents.briefing import Briefing, CurvePoint, HistoryEntry, Measured, Memory
from mlx_autoresearch.curve import CURVE_FILE, read_points
from mlx_autoresearch.dataset import Dataset
from mlx_autoresearch.evidence import LOG_FILE
from mlx_autoresearch.history import Experiment, Night, change_patch
from mlx_autoresearch.machine import main_memory_bytes
from mlx_autoresearch.paths import PROJECT
from mlx_autoresearch.process import tail
from mlx_autoresearch.records import CRASH, KILLED, OUT_OF_MEMORY, RunResult
from mlx_autoresearch.sandbox.policy import memory_limit
from mlx_autoresearch.tokens.tokenizer import VOCAB_SIZES

CURVE_POINTS = 40
"""Points of a learning curve that are kept for a briefing."""

REPAIRS = 2
"""Tries to mend one idea that gave no score."""

FRESH = 4
"""A crash is mended while it is among the newest so many experiments; later the night has moved on."""

UNMENDABLE = (KILLED,)
"""Classes of failure that say nothing about the edit."""


class Briefer:
    """Makes briefings of one night; what is read from disk for a decided experiment is read once."""

    def __init__(self, night: Night, dataset: Dataset, machine: str, machine_class: int, budget_seconds: float) -> None:
        self._night, self._machine, self._machine_class = night, machine, machine_class
        self._budget_seconds, self._bytes_per_token = budget_seconds, bytes_per_token(dataset)
        self._entries: dict[tuple[int, int], HistoryEntry] = {}

    def briefing(
        self, noise: float, agent: str, hours_left: float | None = None, experiments_left: int | None = None
    ) -> Briefing:
        """Where the night stands now. Before the baseline is decided its file is the incumbent, without a score.

        Args:
            noise: standard deviation of val_bpb between runs of one file.
            agent: name of the agent it is for, which mends what it broke itself.
            hours_left, experiments_left: until the night's limits; None for no limit.
        """
        experiments = self._night.experiments
        incumbent = self._night.base() or experiments[0]
        decided = [experiment for experiment in experiments if experiment.verdict is not None]
        return Briefing(
            program=_text(PROJECT / "program.md"),
            source=incumbent.source,
            incumbent=incumbent.number,
            incumbent_bpb=incumbent.mean_bpb if incumbent.verdict else None,
            noise=noise if decided else None,
            history=[self._entry(experiment) for experiment in decided],
            machine_class=self._machine_class,
            budget_seconds=self._budget_seconds,
            machine=self._machine,
            ideas=_text(PROJECT / "ideas.md"),
            hours_left=hours_left,
            experiments_left=experiments_left,
            waiting=tuple(e.proposal for e in experiments[1:] if e.verdict is None),
            repair=wanted_repair(experiments, agent),
            memory=known_memory(incumbent, decided),
            claim=self._night.claim,
        )

    def _entry(self, experiment: Experiment) -> HistoryEntry:
        key = experiment.number, len(experiment.results)
        if key not in self._entries:
            parent = next((e for e in self._night.experiments if e.number == experiment.proposal.parent), None)
            self._entries[key] = history_entry(experiment, parent, self._bytes_per_token)
        return self._entries[key]


def known_memory(incumbent: Experiment, experiments: list[Experiment]) -> Memory:
    """What the runs so far tell about memory. A smoke run's failure is in its verdict's details."""
    held = max((run.footprint_bytes or 0 for run in incumbent.runs), default=0)
    out = [failed.footprint_bytes for e in experiments if (failed := _out_of_memory(e))]
    # One that held no more than the incumbent asked for too much at once, or other programs had taken the rest.
    ceiling = min((size for size in out if isinstance(size, int) and size > held), default=None)
    return Memory(memory_limit(main_memory_bytes()), held or None, len(out), ceiling)


def _out_of_memory(experiment: Experiment) -> RunResult | None:
    """The run that had too little memory, if one had."""
    details = experiment.verdict.details
    smoke = RunResult(0, failure=details.get("failure"), footprint_bytes=details.get("footprint_bytes"))
    return next((run for run in (*experiment.runs, smoke) if run.failure == OUT_OF_MEMORY), None)


def wanted_repair(experiments: list[Experiment], agent: str) -> int | None:
    """Number of the newest failed experiment of this agent that may be mended and is not being mended."""
    mended = {experiment.proposal.repairs for experiment in experiments}
    for experiment in reversed(experiments[-FRESH:]):
        failed = experiment.verdict is not None and experiment.verdict.status == CRASH
        if not failed or experiment.proposal.agent != agent or experiment.number in mended:
            continue
        if any(run.failure in UNMENDABLE for run in experiment.runs):
            continue
        if _tries(experiment, experiments) < REPAIRS:
            return experiment.number
    return None


def _tries(experiment: Experiment, experiments: list[Experiment]) -> int:
    """How many repairs in a row led to this experiment."""
    by_number = {other.number: other for other in experiments}
    tries = 0
    while experiment.proposal.repairs in by_number and tries < REPAIRS:
        experiment = by_number[experiment.proposal.repairs]
        tries += 1
    return tries


def bytes_per_token(dataset: Dataset) -> dict[int, float]:
    """Bytes of text for each token of the training split, by vocabulary size; separators count as tokens."""
    train = dataset.manifest["splits"]["train"]
    return {size: train["text_bytes"] / train["tokens"][str(size)] for size in VOCAB_SIZES}


def history_entry(
    experiment: Experiment, parent: Experiment | None, bytes_per_token: Mapping[int, float]
) -> HistoryEntry:
    """A decided experiment as agents see it."""
    verdict, proposal = experiment.verdict, experiment.proposal
    known = verdict.status != CRASH
    compared = known and verdict.val_bpb is not None and verdict.incumbent_bpb is not None
    return HistoryEntry(
        number=experiment.number,
        parent=proposal.parent,
        text=experiment.text,
        description=proposal.description,
        status=verdict.status,
        val_bpb=experiment.mean_bpb if known else None,
        reason=verdict.sentence,
        hypothesis=proposal.hypothesis,
        expected=proposal.expected,
        agent=proposal.agent,
        interval=verdict.interval,
        gain=verdict.incumbent_bpb - verdict.val_bpb if compared else None,
        patch=change_patch(parent.source, experiment.source) if parent else "",
        log_tail="" if known else _log_tail(experiment),
        measured=_measured(experiment, bytes_per_token),
    )


def _log_tail(experiment: Experiment) -> str:
    """The end of the newest log of a failed experiment: of its last run, else of its smoke run."""
    folders = [experiment.run_folder(index) for index in sorted(experiment.results, reverse=True)]
    return next((text for folder in [*folders, experiment.folder / "smoke"] if (text := tail(folder / LOG_FILE))), "")


def _measured(experiment: Experiment, bytes_per_token: Mapping[int, float]) -> Measured | None:
    scored = [index for index, run in sorted(experiment.results.items()) if run.failure is None]
    index = scored[0] if scored else max(experiment.results, default=None)
    if index is None:
        return None
    run = experiment.results[index]
    points = [point for point in read_points(experiment.run_folder(index) / CURVE_FILE) if _is_point(point)]
    rate = bytes_per_token.get(run.vocab_size)
    return Measured(
        steps=run.steps,
        tokens=run.tokens,
        parameters=run.parameters,
        vocab_size=run.vocab_size,
        training_seconds=run.training_seconds,
        overtime_seconds=run.overtime_seconds,
        peak_memory_bytes=run.peak_memory_bytes,
        gradient_norm=_last(points, "gradient_norm"),
        update_norm=_last(points, "update_norm"),
        curve=tuple(_curve_point(point, rate) for point in _thinned(points)),
    )


def _thinned(points: list[dict]) -> list[dict]:
    """At most about `CURVE_POINTS` of them, the last one included."""
    stride = max(1, len(points) // CURVE_POINTS)
    return points[::-1][::stride][::-1]


def _is_point(point: dict) -> bool:
    return all(_is_number(point.get(name)) for name in ("seconds", "tokens"))


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats: a run can write what it likes
        return False


def _curve_point(point: dict, bytes_per_token: float | None) -> CurvePoint:
    loss = point.get("loss")
    known = bytes_per_token is not None and _is_number(loss)
    return CurvePoint(point["seconds"], int(point["tokens"]), loss / math.log(2) / bytes_per_token if known else None)


def _last(points: list[dict], name: str) -> float | None:
    return next((point[name] for point in reversed(points) if _is_number(point.get(name))), None)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # none there, or none that can be read: the night goes on without it
        return ""
