"""Everything that the report says, read from the night's folder alone and without changing it.

A night may be running, cut short or damaged: what can't be read is unknown, which is None or missing, never zero.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_autoresearch.conditions import CONDITIONS_FILE, ConditionsLog, Entry
from mlx_autoresearch.curve import CURVE_FILE, read_points
from mlx_autoresearch.history import Experiment, Night, RunIdentity
from mlx_autoresearch.noise import Noise, pooled_noise, spread
from mlx_autoresearch.program_texts import SharedText
from mlx_autoresearch.records import CRASH, Claim, Measurement, RunResult
from mlx_autoresearch.report.areas import touched_areas
from mlx_autoresearch.report.samples import Samples, read_samples
from mlx_autoresearch.spending import SPENDING_FILE
from mlx_autoresearch.timeline import TIMELINE_FILE, read_spans

DATASET_FILE = "dataset.json"
"""A copy of the dataset's manifest, so that a night can be read where its dataset is not."""

RUNNING = "running"
"""Status of an experiment without a verdict, beside the four of records.py."""

CURVE_POINTS = 200
PATCH_CHARACTERS = 20_000


@dataclass(frozen=True)
class Estimate:
    """A mean of `runs` scores in bits per byte with the half-width of its 95 % interval."""

    mean: float
    half_width: float
    runs: int


@dataclass(frozen=True)
class Row:
    """One experiment of the night.

    Attributes:
        experiment: as it is on disk.
        status: that of its verdict, or RUNNING.
        kept: whether it ever was the incumbent.
        val, test: bits per byte over all its runs by now; None where there is no score.
        gain: bits per byte better than the incumbent when it was decided; None for the baseline and for crashes.
        areas: what part of train_mlx.py it changed.
        patch: the diff, cut where it is enormous; empty for the baseline.
    """

    experiment: Experiment
    status: str
    kept: bool
    val: Estimate | None
    test: Estimate | None
    gain: float | None
    areas: tuple[str, ...]
    patch: str

    @property
    def number(self) -> int:
        """Its number; 0 is the baseline."""
        return self.experiment.number


@dataclass(frozen=True)
class Span:
    """Something that took time.

    Attributes:
        what: "thinking", "smoke run", "training", "scoring", "closer look", or what else the timeline says.
        start, end: seconds since 1970.
        experiment: its number, None where it belongs to none.
        run: number of the run, None for what is no run.
        outcome: of thinking: "proposal", or why there was none.
    """

    what: str
    start: float
    end: float
    experiment: int | None = None
    run: int | None = None
    outcome: str = ""


@dataclass(frozen=True)
class LearningCurve:
    """The training loss of one run in bits per byte, against seconds and tokens; three lists of one length."""

    number: int
    seconds: list[float]
    tokens: list[float]
    bpb: list[float]


@dataclass(frozen=True)
class Spending:
    """What language models cost: tokens, known dollars, and the number of requests whose price is unknown."""

    tokens: int = 0
    dollars: float = 0.0
    unknown: int = 0
    requests: int = 0


@dataclass(frozen=True)
class NightFacts:
    """A night as the report tells it.

    Attributes:
        tag: its name.
        running: whether a loop works on it now.
        written: when this was read, seconds since 1970.
        rows: experiments in order, the baseline first.
        noise, test_noise: pooled noise of val_bpb and test_bpb between runs of one file.
        claim: how much better the best is than the baseline, the luck of what is kept taken off; None when unknown.
        conditions: the machine around every finished run, as far as it was measured.
        dataset: the dataset's manifest, empty when unknown.
        damage: a sentence for everything that could not be read.
    """

    tag: str
    running: bool
    written: float
    identity: RunIdentity
    rows: list[Row]
    noise: Noise
    test_noise: Noise
    claim: Claim | None
    spans: list[Span]
    conditions: list[Entry]
    curves: list[LearningCurve]
    samples: Samples | None
    spending: Spending
    dataset: dict[str, Any]
    damage: list[str]

    @property
    def baseline(self) -> Row | None:
        """The unchanged file, once it is decided."""
        return next((row for row in self.rows if row.number == 0 and row.kept), None)

    @property
    def best(self) -> Row | None:
        """The incumbent: the last one that was kept; the baseline while nothing else was."""
        return next((row for row in reversed(self.rows) if row.kept), None)

    @property
    def keeps(self) -> list[Row]:
        """Kept edits, the baseline not among them."""
        return [row for row in self.rows if row.kept and row.number > 0]

    def built_on(self, row: Row) -> list[Row]:
        """The promising experiments, not kept themselves, whose changes an edit holds too; the oldest first."""
        by_number, held = {each.number: each for each in self.rows}, []
        parent = by_number.get(row.experiment.proposal.parent)
        while parent is not None and not parent.kept and parent.number < (held[0] if held else row).number:
            held.insert(0, parent)
            parent = by_number.get(parent.experiment.proposal.parent)
        return held

    @property
    def runs(self) -> list[RunResult]:
        """All finished runs."""
        return [run for row in self.rows for run in row.experiment.runs]


def gather(root: Path, running: bool) -> NightFacts:
    """Read the night in `root` (runs/<tag>); `running` says whether a loop works on it.

    Raises:
        AutoresearchError: there is no night in `root`, or its identity can't be read.
    """
    night = Night.read(root)
    noise = pooled_noise([spread(experiment.measurements) for experiment in night.experiments])
    test_noise = pooled_noise([spread(_test_measurements(experiment)) for experiment in night.experiments])
    texts = {experiment.number: experiment.text for experiment in night.experiments}
    rows = [_row(experiment, texts, noise, test_noise) for experiment in night.experiments]
    dataset = _read_object(root / DATASET_FILE)
    return NightFacts(
        tag=root.name,
        running=running,
        written=time.time(),
        identity=night.identity,
        rows=rows,
        noise=noise,
        test_noise=test_noise,
        claim=night.claim,
        spans=sorted(_spans(root, night), key=lambda span: span.start),
        conditions=ConditionsLog.open(root / CONDITIONS_FILE).entries,
        curves=list(_learning_curves([row.experiment for row in rows if row.kept], dataset)),
        samples=read_samples(root),
        spending=read_spending(root),
        dataset=dataset,
        damage=night.damage,
    )


def _row(experiment: Experiment, texts: Mapping[int, SharedText], noise: Noise, test_noise: Noise) -> Row:
    verdict, proposal = experiment.verdict, experiment.proposal
    compared = verdict is not None and verdict.val_bpb is not None and verdict.incumbent_bpb is not None
    failed = verdict is not None and verdict.status == CRASH  # one that was refused in the end has runs with scores
    patch = _patch(experiment.folder / "change.patch")
    return Row(
        experiment=experiment,
        status=RUNNING if verdict is None else verdict.status,
        kept=experiment.kept,
        val=None if failed else _estimate(experiment.scores, noise),
        test=None if failed else _estimate([run.bpb for run in _test_measurements(experiment)], test_noise),
        gain=verdict.incumbent_bpb - verdict.val_bpb if compared else None,
        areas=touched_areas(patch, str(texts.get(proposal.parent, ""))),
        patch=patch,
    )


def _test_measurements(experiment: Experiment) -> list[Measurement]:
    scored = [run for run in experiment.runs if run.failure is None and run.test_bpb is not None]
    return [Measurement(run.test_bpb, run.when) for run in scored]


def _estimate(scores: Sequence[float], noise: Noise) -> Estimate | None:
    if not scores:
        return None
    return Estimate(math.fsum(scores) / len(scores), noise.half_width(len(scores)), len(scores))


def _patch(path: Path) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(4 * PATCH_CHARACTERS).decode("utf-8", errors="replace")
    except OSError:
        return ""
    if len(text) <= PATCH_CHARACTERS:
        return text
    return text[:PATCH_CHARACTERS] + f"\n… the rest is in {path.parent.name}/{path.name}"


def _learning_curves(kept: Sequence[Experiment], dataset: Mapping[str, Any]) -> Iterator[LearningCurve]:
    """The curves of the first and the last of the kept experiments, where their bits per byte can be told."""
    for experiment in kept[:1] + kept[1:][-1:]:
        index = next((index for index, run in sorted(experiment.results.items()) if run.failure is None), None)
        if index is None:
            continue
        rate = _bytes_per_token(dataset, experiment.results[index].vocab_size)
        points = [point for point in read_points(experiment.run_folder(index) / CURVE_FILE) if _is_point(point)]
        if rate is not None and len(points) > 1:
            stride = max(1, len(points) // CURVE_POINTS)
            points = points[::-1][::stride][::-1]  # the last one included
            yield LearningCurve(
                experiment.number,
                [point["seconds"] for point in points],
                [point["tokens"] for point in points],
                [point["loss"] / math.log(2) / rate for point in points],
            )


def _is_point(point: Mapping[str, Any]) -> bool:
    return point.get("loss") is not None and point.get("tokens") is not None


def _bytes_per_token(dataset: Mapping[str, Any], vocab_size: int | None) -> float | None:
    """Bytes of training text for each token, separators counted as tokens; None when unknown."""
    try:
        train = dataset["splits"]["train"]
        return float(train["text_bytes"] / train["tokens"][str(vocab_size)])
    except (KeyError, TypeError, ZeroDivisionError):
        return None


def _spans(root: Path, night: Night) -> Iterator[Span]:
    """The spans of the timeline; a run is split where its training ended, if that is known."""
    experiments = {experiment.number: experiment for experiment in night.experiments}
    for entry in read_spans(root / TIMELINE_FILE):
        what, start, end = str(entry.get("what")), entry["start"], entry["end"]
        number = entry.get("experiment") if type(entry.get("experiment")) is int else None
        if not (math.isfinite(start) and math.isfinite(end) and start <= end):
            continue
        if not what.startswith("run "):
            yield Span(what, start, end, number, outcome=str(entry.get("outcome") or ""))
            continue
        run = int(what[4:]) if what[4:].isdecimal() else None
        result = experiments[number].results.get(run) if number in experiments else None
        seconds = result.training_seconds if result is not None else None
        trained = end if seconds is None else min(end, start + seconds)
        yield Span("training", start, trained, number, run)
        if trained < end:
            yield Span("scoring", trained, end, number, run)


def read_spending(root: Path) -> Spending:
    """What language models cost in the night in `root`."""
    tokens, dollars, unknown, requests = 0, 0.0, 0, 0
    for entry in _read_json_lines(root / SPENDING_FILE):
        requests += 1
        tokens += entry["tokens"] if type(entry.get("tokens")) is int else 0
        if isinstance(entry.get("dollars"), float | int):
            dollars += entry["dollars"]
        else:
            unknown += 1
    return Spending(tokens, dollars, unknown, requests)


def _read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects in a file of lines; none where it is absent, and torn or damaged lines are passed over."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return
    for line in lines:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            yield entry


def _read_object(path: Path) -> dict[str, Any]:
    """A JSON object, empty where it is absent or damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
