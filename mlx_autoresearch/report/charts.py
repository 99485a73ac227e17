"""The pictures of the report, drawn by matplotlib without a screen: SVG for the page, a PNG for everywhere else.

An SVG takes its colours from the page's style sheet, so it is right in light and dark, and every point of it is a link
to the experiment's row: it can be followed without JavaScript. Text of strangers is only in the PNG, as pixels.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from mlx_autoresearch.records import CRASH, DISCARD, INCONCLUSIVE, KEEP
from mlx_autoresearch.report.gather import RUNNING, NightFacts, Row, Span
from mlx_autoresearch.text import shortened

LABELLED_KEEPS = 14
"""More labels than this would lie on each other in the PNG."""


@dataclass(frozen=True)
class Palette:
    """Colours by their use, as #rrggbb."""

    ink: str
    muted: str
    faint: str
    accent: str
    soft: str
    trouble: str
    paper: str


LIGHT = Palette("#1d2127", "#6a717c", "#cdd2da", "#1a6b87", "#9cc3d1", "#b4540a", "#ffffff")
OF_THE_PAGE = Palette(*(f"#0000{number:02x}" for number in range(1, 8)))
"""Stand-ins that no drawing uses otherwise; `svg` turns them into the page's own colours."""


@dataclass(frozen=True)
class Look:
    """How large a picture is, in points, and with what it is drawn.

    Attributes:
        headroom: room above the plot for the legend and, in the PNG, a title.
        labelled: whether descriptions stand beside kept points.
    """

    width: float
    height: float
    headroom: float = 20.0
    font: float = 9.0
    palette: Palette = OF_THE_PAGE
    labelled: bool = False

    @property
    def is_narrow(self) -> bool:
        """Whether it is made for a phone."""
        return self.width < 400


Chart = Callable[[NightFacts, Look], Figure]


def staircase(facts: NightFacts, look: Look) -> Figure:
    """Every experiment as a point with its 95 % interval, and the best so far as a line."""
    figure, (axes,) = _figure(look, 1)
    axes.set_ylabel("bits per byte on held-out text, lower is better")
    axes.set_xlabel("experiment")
    scored = [row for row in facts.rows if row.val is not None]
    if facts.baseline is None or not scored:
        axes.text(0.5, 0.5, "Nothing is measured yet.", transform=axes.transAxes, ha="center", color=look.palette.muted)
        return figure
    low, high = _score_limits(scored, facts)
    axes.set_ylim(low, high)
    last = max(row.number for row in facts.rows)
    axes.set_xlim(-0.02 * last - 0.5, 1.02 * last + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(5 if look.is_narrow else 10, integer=True))
    _steps(axes, facts, last, look)
    _points(axes, facts.rows, high, look)
    _legend(axes, 3 if look.is_narrow else 6)
    return figure


def _legend(axes: Axes, columns: int) -> None:
    """A legend above the plot, for what has a label."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, columnspacing=1.2)


def _score_limits(scored: Sequence[Row], facts: NightFacts) -> tuple[float, float]:
    """The range of scores to draw: from the best to a little above the baseline, whatever the worst edit did."""
    low = min(row.val.mean - row.kept * row.val.half_width for row in scored)
    top = facts.baseline.val.mean + facts.baseline.val.half_width
    span = top - low
    return low - 0.08 * span, top + 0.5 * span


def _steps(axes: Axes, facts: NightFacts, last: int, look: Look) -> None:
    kept = [row for row in facts.rows if row.kept and row.val is not None]
    numbers, values = [row.number for row in kept], [row.val.mean for row in kept]
    axes.axhline(values[0], color=look.palette.faint, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    axes.step([*numbers, last + 0.5], [*values, values[-1]], where="post", color=look.palette.accent, linewidth=1.4)
    if look.labelled:
        for row in kept[1:][-LABELLED_KEEPS:]:
            early = row.number < 0.6 * last  # there is room above the line, on the right
            label = axes.annotate(
                f"{row.number}: {shortened(row.experiment.proposal.description, 44)}",
                (row.number, row.val.mean),
                xytext=(6, 8) if early else (-6, -4),
                textcoords="offset points",
                ha="left" if early else "right",
                va="bottom" if early else "top",
                rotation=25 if early else 0,
                rotation_mode="anchor",
                fontsize=8,
                parse_math=False,
                zorder=4,
            )
            label.set_path_effects([withStroke(linewidth=2.5, foreground=look.palette.paper)])


def _points(axes: Axes, rows: Sequence[Row], high: float, look: Look) -> None:
    colours = look.palette
    shown = [row for row in rows if row.val is not None and row.val.mean <= high]
    _intervals(axes, [row for row in shown if not row.kept], colours.faint)
    _intervals(axes, [row for row in shown if row.kept], colours.soft)
    size = 9 if look.is_narrow or len(rows) > 150 else 16
    kinds = (
        ("kept", [row for row in shown if row.status == KEEP or row.kept], "o", colours.accent, colours.accent, 2.2),
        ("worse", [row for row in shown if row.status == DISCARD], "o", colours.muted, "none", 1.0),
        ("in doubt", [row for row in shown if row.status == INCONCLUSIVE], "o", "none", colours.muted, 1.2),
        ("running", [row for row in shown if row.status == RUNNING], "o", "none", colours.accent, 1.2),
    )
    for label, members, marker, face, edge, scale in kinds:
        places = [row.number for row in members], [row.val.mean for row in members]
        points = axes.scatter(*places, s=scale * size, marker=marker, facecolor=face, edgecolor=edge, linewidth=1)
        _name(points, label, members)
    far = [row for row in rows if row.val is not None and row.val.mean > high]
    failed = [row for row in rows if row.status == CRASH]
    for label, members, marker, colour, height in (
        ("far worse", far, "^", colours.muted, 0.985),
        ("no score", failed, "x", colours.trouble, 0.015),
    ):
        places = [row.number for row in members], [height] * len(members)
        points = axes.scatter(
            *places, s=1.2 * size, marker=marker, color=colour, linewidth=1, transform=axes.get_xaxis_transform()
        )
        _name(points, label, members)


def _name(points: matplotlib.collections.PathCollection, label: str, members: Sequence[Row]) -> None:
    points.set(urls=[f"#e{row.number}" for row in members], clip_on=False, zorder=3)
    edits = sum(row.number > 0 for row in members)
    if edits:
        points.set_label(f"{label} ({edits})")


def _intervals(axes: Axes, rows: Sequence[Row], colour: str) -> None:
    """All intervals as one line with gaps: one element of the SVG."""
    numbers = [number for row in rows for number in (row.number, row.number, np.nan)]
    ends = [
        end for row in rows for end in (row.val.mean - row.val.half_width, row.val.mean + row.val.half_width, np.nan)
    ]
    axes.plot(numbers, ends, color=colour, linewidth=1, zorder=1)


def learning_curves(facts: NightFacts, look: Look) -> Figure:
    """The training loss of the baseline and of the best, in bits per byte: at equal time and at equal tokens."""
    figure, (by_time, by_tokens) = _figure(look, 2)
    by_time.set_xlabel("seconds of training")
    by_tokens.set_xlabel("million tokens read")
    by_time.set_ylabel("bits per byte, training text")
    for curve in facts.curves:
        first = curve.number == 0
        line = {
            "color": look.palette.muted if first else look.palette.accent,
            "linestyle": (0, (4, 2)) if first else "-",
            "label": "baseline" if first else f"best (experiment {curve.number})",
            "linewidth": 1.5,
        }
        by_time.plot(curve.seconds, curve.bpb, **line)
        by_tokens.plot([tokens / 1e6 for tokens in curve.tokens], curve.bpb, **line)
    ends = [curve.bpb[-1] for curve in facts.curves]
    starts = [curve.bpb[len(curve.bpb) // 12] for curve in facts.curves]  # the first fall would flatten all the rest
    for axes in (by_time, by_tokens):
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(3 if look.is_narrow else 6))
        axes.set_ylim(min(ends) - 0.05 * (max(starts) - min(ends)), max(max(starts), max(ends) + 0.01))
    by_time.legend(loc="upper right")
    return figure


MACHINE, RESEARCHER, HEAT, VOID = "machine", "researcher", "heat", "invalid"


def timeline(facts: NightFacts, look: Look) -> Figure:
    """What the machine and the researcher did when, how hot it was, and which runs do not count."""
    figure, (axes,) = _figure(look, 1, left=60)
    colours = look.palette
    lanes = (MACHINE, RESEARCHER, HEAT, VOID)
    axes.set_yticks([-lane for lane in range(len(lanes))], lanes)
    axes.set_ylim(-len(lanes) + 0.4, 0.6)
    axes.tick_params(axis="y", length=0, labelcolor=colours.ink)
    axes.grid(False)
    begin, end = facts.spans[0].start, max(span.end for span in facts.spans)
    axes.set_xlim(_day(begin), _day(end))
    locator = AutoDateLocator(maxticks=5 if look.is_narrow else 10)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    thinking = [span for span in facts.spans if span.what == "thinking"]
    at_work = [span for span in facts.spans if span.what != "thinking"]
    runs = {(span.experiment, span.run): span for span in at_work if span.what == "training"}
    measured = [(runs[key], told) for told in facts.conditions if (key := (told.experiment, told.run)) in runs]
    heat = [(span, told.conditions.worst_level) for span, told in measured]
    bars: tuple[tuple[int, str, str, Iterable[Span]], ...] = (
        (0, "training", colours.accent, (span for span in at_work if span.what == "training")),
        (0, "checking and scoring", colours.soft, (span for span in at_work if span.what != "training")),
        (1, "thinking", colours.muted, (span for span in thinking if span.outcome == "proposal")),
        (1, "no usable answer", colours.trouble, (span for span in thinking if span.outcome != "proposal")),
        (2, "", colours.faint, (span for span, level in heat if level == 0)),
        (2, "", colours.trouble, (span for span, level in heat if level is not None and level > 0)),
        (3, "", colours.trouble, (span for span, told in measured if told.invalid is not None)),
    )
    for lane, label, colour, spans in bars:
        _bars(axes, -lane, list(spans), begin, end - begin, colour, label)
    if all(level is None for _, level in heat):
        axes.text(0.01, -2, "not measured", transform=axes.get_yaxis_transform(), va="center", color=colours.muted)
    _legend(axes, 2 if look.is_narrow else 4)
    return figure


def _bars(
    axes: Axes, height: float, spans: Sequence[Span], first: float, whole: float, colour: str, label: str
) -> None:
    """All spans of one kind as one outline: one element of the SVG; each is wide enough to be seen.

    `first` is when the picture begins, `whole` how long it is, in seconds.
    """
    if not spans:
        return
    starts = np.array([span.start for span in spans])
    ends = np.maximum([span.end for span in spans], starts + whole / 1200)
    left, right = (_day(first) + (times - first) / 86400 for times in (starts, ends))
    low, high = np.full((2, len(spans)), [[height - 0.32], [height + 0.32]])
    corners = np.stack([left, low, right, low, right, high, left, high, left, low], axis=1).reshape(-1, 2)
    codes = [Outline.MOVETO, Outline.LINETO, Outline.LINETO, Outline.LINETO, Outline.CLOSEPOLY] * len(spans)
    # Not add_patch: it would look for the limits of thousands of corners, and they are known.
    bars = PathPatch(Outline(corners, codes), facecolor=colour, edgecolor="none", label=label or "_")
    axes.add_artist(bars).set_transform(axes.transData)


def _day(seconds: float) -> float:
    """Local time as matplotlib counts it, in days."""
    return date2num(datetime.fromtimestamp(seconds))


def svg(chart: Chart, facts: NightFacts, look: Look, name: str) -> str:
    """A chart as an SVG element for the page; `name` is its class, and keeps its ids apart from other charts'."""
    buffer = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with _drawing(look), matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        chart(facts, look).savefig(buffer, format="svg", transparent=True, metadata=metadata)
    text = buffer.getvalue()
    view = re.search(r'viewBox="([^"]+)"', text)[1]
    body = text[text.index(">", text.index("<svg")) + 1 :]
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)  # several charts are on one page
    body = body.replace("xlink:href", "href").replace(' target="_blank"', "")
    for use, colour in asdict(OF_THE_PAGE).items():
        body = body.replace(colour, f"var(--{use})")
    return f'<svg class="{name}" viewBox="{view}">{body}'


def write_png(facts: NightFacts, path: Path) -> None:
    """The staircase as a picture for everywhere else, 1600 pixels wide, with the kept edits' descriptions."""
    look = Look(800, 450, 56, 10, LIGHT, labelled=True)
    with _drawing(look):
        figure = staircase(facts, look)
        figure.set_facecolor(look.palette.paper)
        figure.suptitle(_title(facts), x=0.065, y=0.97, ha="left", fontsize=13, parse_math=False)
        figure.savefig(path, format="png", dpi=144, metadata={"Software": None})


def _title(facts: NightFacts) -> str:
    first, best = facts.baseline, facts.best
    if first is None or first.val is None or best.val is None:
        return facts.tag
    decided = len([row for row in facts.rows if row.number > 0 and row.status != RUNNING])
    edits = "1 edit" if decided == 1 else f"{decided} edits"
    return f"{facts.tag}: {first.val.mean:.4f} → {best.val.mean:.4f}, {edits} decided, {len(facts.keeps)} kept"


def _figure(look: Look, count: int, left: float = 52) -> tuple[Figure, list[Axes]]:
    """A figure with `count` plots side by side, or below each other where it is narrow.

    Margins are set by hand: matplotlib's own layout draws everything twice. `left` is room for labels, in points.
    """
    figure = Figure((look.width / 72, look.height / 72))
    rows, columns = (count, 1) if look.is_narrow else (1, count)
    figure.subplots_adjust(
        left=left / look.width,
        right=1 - 6 / look.width,
        bottom=3.9 * look.font / look.height,
        top=1 - look.headroom / look.height,
        wspace=0.15,
        hspace=0.35,
    )
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


@contextmanager
def _drawing(look: Look) -> Iterator[None]:
    """matplotlib's own defaults, whatever the person has configured, and ours on top of them."""
    colours = look.palette
    with matplotlib.rc_context(), warnings.catch_warnings():
        # A letter that the font lacks, a short time axis: nothing that a person at the terminal could act on.
        warnings.simplefilter("ignore")
        matplotlib.rcdefaults()
        matplotlib.rcParams |= {
            "font.size": look.font,
            "font.sans-serif": ["DejaVu Sans"],
            "text.color": colours.ink,
            "axes.edgecolor": colours.faint,
            "axes.labelcolor": colours.muted,
            "axes.facecolor": "none",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.grid.axis": "y",
            "axes.axisbelow": True,
            "grid.color": colours.faint,
            "grid.alpha": 0.5,
            "xtick.color": colours.faint,
            "ytick.color": colours.faint,
            "xtick.labelcolor": colours.muted,
            "ytick.labelcolor": colours.muted,
            "legend.handlelength": 1,
            "legend.borderaxespad": 0.2,
            "legend.frameon": False,
        }
        yield
