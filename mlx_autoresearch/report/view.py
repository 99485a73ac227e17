"""A night in a dozen lines, for a terminal: what is going on, the best so far, the machine, the last verdicts.

`NightReader.view` puts together what is shown, `picture` draws it. The loop's own live view and `--watch` use both, so
they show the same. Every text of an agent or a run is shown literally, on one line, and cut to the width.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from mlx_autoresearch.conditions import CONDITIONS_FILE, ConditionsLog, Entry
from mlx_autoresearch.curve import CURVE_FILE, last_point, read_points
from mlx_autoresearch.history import Experiment, Night
from mlx_autoresearch.machine import THERMAL_LEVELS, awake_seconds
from mlx_autoresearch.proposals import QUEUE_FILE, QUEUE_FOLDER
from mlx_autoresearch.records import CRASH, INCONCLUSIVE, KEEP
from mlx_autoresearch.report.gather import Spending, read_spending
from mlx_autoresearch.spending import SPENDING_FILE, Cost, cost_text
from mlx_autoresearch.status import BY_HAND, OVER, STATUS_FILE, Status
from mlx_autoresearch.text import one_line

STYLES = {KEEP: "bold green", INCONCLUSIVE: "yellow", CRASH: "red"}

PHASES = {
    "": "getting ready",
    "smoke": "two steps",
    "train": "training",
    "score": "scoring",
    "sample": "writing samples",
}

LAST_VERDICTS = 3

CURVE_POINTS = 600
"""Points of a curve that are kept: at one a second, a run of five minutes has half as many."""

SPEED_POINTS = 15
"""Tokens per second are those since so many points ago."""

LABEL_WIDTH, BAR_WIDTH, SPARK_WIDTH, RULE_WIDTH = 8, 20, 24, 72
WIDE = 80
"""From this width on a verdict's line has its score."""

BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class View:
    """What is shown of a night.

    Attributes:
        night: its experiments.
        status: what its loop does, or did last; None where nothing tells.
        working: whether that loop is at work.
        points: the learning curve of what runs, the newest last; empty where there is none.
        conditions: the machine around the last finished run; None before the first.
        queue: proposals that wait; None where the researcher is asked when one is wanted.
        spending: what language models cost.
        now: `machine.awake_seconds()` of this moment.
    """

    night: Night
    status: Status | None
    working: bool
    points: Sequence[dict]
    conditions: Entry | None
    queue: int | None
    spending: Spending
    now: float


@dataclass
class NightReader:
    """Reads what a view needs from `root` (runs/<tag>), and nothing twice that has not changed."""

    root: Path
    _known: dict[Path, tuple[Any, Any]] = field(default_factory=dict)
    _curve: tuple[Path | None, list[dict]] = (None, [])

    def view(self, night: Night, status: Status | None, working: bool) -> View:
        """The view of a night that is known already."""
        return View(
            night=night,
            status=status,
            working=working,
            points=self._points(self.root / status.folder) if working and status.folder else (),
            conditions=self._unless_known(self.root / CONDITIONS_FILE, lambda: _last_run(self.root)),
            queue=_waiting(self.root / QUEUE_FOLDER),
            spending=self._unless_known(self.root / SPENDING_FILE, lambda: read_spending(self.root)),
            now=awake_seconds(),
        )

    def night(self) -> Night:
        """The night as it is on disk.

        Raises:
            AutoresearchError: there is none, or its identity can't be read.
        """
        # A verdict is followed by the table, a run by the next stage.
        changes = [_signature(self.root / name) for name in ("results.tsv", "experiments", STATUS_FILE)]
        return self._unless_known(self.root, lambda: Night.read(self.root), changes)

    def _unless_known(self, path: Path, read: Callable[[], Any], signature: Any = None) -> Any:
        signature = signature or _signature(path)
        if path not in self._known or self._known[path][0] != signature:
            self._known[path] = signature, read()
        return self._known[path][1]

    def _points(self, folder: Path) -> list[dict]:
        """The curve in `folder`: what is there at the first look, and its newest point at every later one."""
        path = folder / CURVE_FILE
        known, points = self._curve
        if path != known or not points:
            points = read_points(path)
        elif (point := last_point(path)) and point["step"] != points[-1]["step"]:
            points.append(point)
        if len(points) > CURVE_POINTS:
            points = points[::-1][:: 1 + len(points) // CURVE_POINTS][::-1]
        self._curve = path, points
        return points


def _signature(path: Path) -> tuple[int, int] | None:
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size


def _last_run(root: Path) -> Entry | None:
    return next(reversed(ConditionsLog.open(root / CONDITIONS_FILE).entries), None)


def _waiting(folder: Path) -> int | None:
    try:
        return sum(1 for name in os.listdir(folder) if QUEUE_FILE.fullmatch(name))
    except OSError:
        return None


def picture(view: View, width: int) -> Text:
    """The view as lines of at most `width` cells."""
    rows = [
        ("", _headline(view)),
        ("now", _now(view)),
        ("", _phase(view)),
        ("", _curve(view.points)),
        ("best", _best(view.night)),
        ("machine", _machine(view.conditions)),
        ("queue", _queue(view)),
        ("money", _money(view.spending)),
    ]
    lines = [Text("─" * min(width, RULE_WIDTH), "dim")]
    for label, parts in rows:
        lines += _flow(label, [part for part in parts if part], width)
    for index, experiment in enumerate(_last_decided(view.night)):
        lines += _flow("" if index else "last", [_verdict(experiment, width)], width)
    return Text("\n", no_wrap=True, overflow="ellipsis").join(lines)


def _flow(label: str, parts: Sequence[Text], width: int) -> list[Text]:
    """The parts side by side where they fit, else below each other, all to the right of the label if there is room."""
    indent = LABEL_WIDTH if width > 2 * LABEL_WIDTH else 0
    room = max(1, width - indent)
    lines: list[Text] = []
    for part in parts:
        if lines and cell_len(lines[-1].plain) + 3 + cell_len(part.plain) <= room:
            lines[-1].append(" · ", "dim").append_text(part)
        else:
            lines.append(Text().append_text(part))  # a style of its own would cover what follows
    for number, line in enumerate(lines):
        line.truncate(room, overflow="ellipsis")
        heading = (label if number == 0 else "").ljust(indent)[:indent]
        lines[number] = Text().append(heading, "dim").append_text(line)
    return lines


def _headline(view: View) -> list[Text]:
    night, status = view.night, view.status
    decided, kept = night.decided_edits(), sum(1 for experiment in night.experiments[1:] if experiment.kept)
    limit = f" of {status.experiments}" if status is not None and status.experiments is not None else ""
    return [
        Text(one_line(night.root.name), "bold"),
        Text(f"{decided}{limit} edits decided, {kept} kept"),
        Text(_time_left(view, decided)),
    ]


def _time_left(view: View, decided: int) -> str:
    """Until the loop's limits; with a number of experiments it is an estimate from those that were."""
    if not view.working:
        return ""
    seconds = [] if view.status.ends is None else [view.status.ends - view.now]
    if seconds and seconds[0] <= 0:
        return "the time is over: this is the last experiment"
    words = f"{duration(seconds[0])} left" if seconds else ""
    pace = _seconds_of_an_edit(view.night)
    if view.status.experiments is not None and pace is not None:
        left = max(0, view.status.experiments - decided) * pace
        if not seconds or left < seconds[0]:
            words = f"about {duration(left)} left"
    return words


def _seconds_of_an_edit(night: Night) -> float | None:
    """How long an edit usually takes, from when the last ones were added; None before there are three."""
    times = []
    for experiment in night.experiments[-21:]:
        try:
            times.append(datetime.fromisoformat(experiment.created).timestamp())
        except ValueError:
            continue
    between = [later - earlier for earlier, later in pairwise(times)]
    return max(0.0, statistics.median(between)) if len(between) >= 2 else None


def duration(seconds: float) -> str:
    """A time for a person: "45 s", "12 min", "7 h 05 min"."""
    if seconds < 90:
        return f"{max(0.0, seconds):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _now(view: View) -> list[Text]:
    status = view.status
    if not view.working:
        return [Text(_why_nothing_runs(status), "yellow")]
    if status.experiment is None:
        return [Text(f"{one_line(status.stage)}, {duration(view.now - status.since)}")]
    experiment = next((e for e in view.night.experiments if e.number == status.experiment), None)
    words = f"{status.experiment:04d} {one_line(status.stage)}"
    if experiment is not None:
        words += f": {one_line(experiment.proposal.description)}"
    return [Text(words, "bold")]


def _why_nothing_runs(status: Status | None) -> str:
    if status is None:
        return "nothing is known to run"
    if status.ended == OVER:
        return "nothing runs: the night is over"
    if status.ended == BY_HAND:
        return "nothing runs: the night was stopped; the same command goes on"
    if status.ended:
        return f"nothing runs: the night has {one_line(status.ended)}. {one_line(status.reason)}"
    return f"nothing runs: the loop (process {status.pid}) is gone; the same command goes on"


def _phase(view: View) -> list[Text]:
    """How far the stage of an experiment is."""
    status = view.status
    if not view.working or status.experiment is None:
        return []
    seconds = max(0.0, view.now - status.since)
    words = PHASES.get(status.phase, one_line(status.phase))
    if status.phase != "train":
        return [Text(f"{words}, {duration(seconds)}")]
    left = status.budget_seconds - seconds
    if left <= 0:
        return [Text("handing in")]
    full = round(BAR_WIDTH * seconds / status.budget_seconds)
    bar = Text.assemble(("━" * full, "green"), ("─" * (BAR_WIDTH - full), "dim"))
    return [Text(f"{words}, {left:.0f} of {status.budget_seconds:.0f} s left"), bar]


def _curve(points: Sequence[dict]) -> list[Text]:
    if not points:
        return []
    point = points[-1]
    loss, speed = point.get("loss"), _tokens_per_second(points)
    return [
        Text(f"step {point['step']}"),
        Text("loss unknown" if loss is None else f"loss {loss:.3f}"),
        Text("" if speed is None else f"{speed:,.0f} tokens/s"),
        Text(sparkline([point.get("loss") for point in points], SPARK_WIDTH), "cyan"),
    ]


def _tokens_per_second(points: Sequence[dict]) -> float | None:
    counted = [point for point in points[-SPEED_POINTS:] if point.get("tokens") is not None]
    if not counted:
        return None
    first, last = counted[0], counted[-1]
    if first is last:
        first = {"tokens": 0, "seconds": 0}
    seconds, tokens = last["seconds"] - first["seconds"], last["tokens"] - first["tokens"]
    return tokens / seconds if seconds > 0 else None


def sparkline(values: Sequence[float | None], width: int) -> str:
    """Values as a row of at most `width` block characters, the lowest one lowest; a blank where nothing is known.

    A loss falls far in its first steps and little afterwards, so what is above all values after the first tenth is cut.
    """
    size = max(1, -(-len(values) // width))
    pieces = [[v for v in values[i : i + size] if v is not None] for i in range(0, len(values), size)]
    means = [statistics.fmean(piece) if piece else None for piece in pieces]
    known = [mean for mean in means if mean is not None]
    if not known:
        return ""
    tenth = min(-(-len(known) // 10), len(known) - 1)
    low, high = min(known), max(known[tenth:])
    steps = len(BLOCKS) - 1
    heights = [None if m is None else round(steps * (min(m, high) - low) / (high - low or 1)) for m in means]
    return "".join(" " if height is None else BLOCKS[height] for height in heights)


def _best(night: Night) -> list[Text]:
    incumbent = night.incumbent()
    if incumbent is None or incumbent.mean_bpb is None:
        return [Text("the baseline is not measured yet")]
    if incumbent.number == 0:
        return [Text(f"{incumbent.mean_bpb:.4f} val_bpb", "bold"), Text("the baseline: nothing is kept yet")]
    baseline = night.experiments[0].mean_bpb
    return [
        Text.assemble((f"{incumbent.mean_bpb:.4f} val_bpb", "bold green"), f" by {incumbent.number:04d}"),
        Text("" if baseline is None else f"baseline {baseline:.4f}"),
        Text("" if night.claim is None else f"claimed gain {night.claim.gain:.4f} ± {night.claim.half_width:.4f}"),
    ]


def _machine(entry: Entry | None) -> list[Text]:
    """What was unusual around the last finished run, and its heat where the system tells it."""
    if entry is None:
        return []
    known = entry.conditions
    heat, pressure = known.hottest, known.memory_pressure
    others = known.other_cores is not None and known.cores
    parts = [
        "" if heat is None or not 0 <= heat < len(THERMAL_LEVELS) else f"heat {THERMAL_LEVELS[heat]}",
        f"others used {known.other_cores:.1f} of {known.cores} cores" if others else "",
        "on battery" if known.on_ac_power is False else "",
        "low-power mode" if known.low_power_mode else "",
        "memory is short" if pressure is not None and pressure > 1 else "",
    ]
    told = [Text(part, "yellow" if part.endswith(("battery", "mode", "short")) else "") for part in parts]
    if entry.invalid is not None:
        told.append(Text(f"the last run did not count: {one_line(entry.invalid)}", "yellow"))
    return told


def _queue(view: View) -> list[Text]:
    if view.queue is None or view.status is None:
        return []
    return [Text(f"{view.queue} waiting"), Text(one_line(view.status.agent))]


def _money(spending: Spending) -> list[Text]:
    if not spending.requests:
        return []
    unknown = f"{spending.unknown} answers of unknown price" if spending.unknown else ""
    return [Text(cost_text(Cost(spending.tokens, spending.dollars))), Text(unknown)]


def _last_decided(night: Night) -> list[Experiment]:
    decided = [experiment for experiment in night.experiments if experiment.verdict is not None]
    return decided[: -LAST_VERDICTS - 1 : -1]


def _verdict(experiment: Experiment, width: int) -> Text:
    status, gain = experiment.verdict.status, gain_text(experiment)
    numbers = f"{status:<12} {score_text(experiment):<16} {gain:<7}" if width >= WIDE else f"{status} {gain}".rstrip()
    result = f"{experiment.number:04d} {numbers} "
    return Text.assemble((result, STYLES.get(status, "")), one_line(experiment.proposal.description))


def score_text(experiment: Experiment) -> str:
    """val_bpb with its interval as decided, empty where there is no score."""
    verdict = experiment.verdict
    if verdict.val_bpb is None:
        return ""
    return f"{verdict.val_bpb:.4f}" + ("" if verdict.interval is None else f" ± {verdict.interval:.4f}")


def gain_text(experiment: Experiment) -> str:
    """Change of val_bpb against the incumbent of that time; negative is better."""
    verdict = experiment.verdict
    if verdict.val_bpb is None or verdict.incumbent_bpb is None:
        return ""
    return f"{verdict.val_bpb - verdict.incumbent_bpb:+.4f}"
