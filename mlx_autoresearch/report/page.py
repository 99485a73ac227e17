"""report.html: one file with everything in it, from a template that escapes every text.

Notable: the page allows no script but its own, by its hash, and loads nothing: whatever an agent writes stays text.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from mlx_autoresearch.files import write_text, written_atomically
from mlx_autoresearch.report import charts, summary
from mlx_autoresearch.report.charts import Chart, Look
from mlx_autoresearch.report.gather import Estimate, NightFacts, gather
from mlx_autoresearch.report.summary import Gain
from mlx_autoresearch.text import shortened

REPORT_FILE, PICTURE_FILE = "report.html", "progress.png"

FOLDER = Path(__file__).parent

LINE_CHARACTERS = 1000
"""Longer texts are cut: descriptions and sentences are a line or two, unless somebody means harm."""

PATIENCE_SECONDS = 1800.0
"""A page that claims to be of a running night and is older than this and three runs says that the loop may be dead."""


def write_report(root: Path, running: bool) -> None:
    """Write report.html and progress.png of the night in `root` (runs/<tag>), each whole or not at all.

    Args:
        root: the night's folder.
        running: whether a loop works on it: then the page refreshes itself.

    Raises:
        AutoresearchError: there is no night in `root`, or its identity can't be read.
        OSError: a file can't be written.
    """
    facts = gather(root, running)
    write_text(root / REPORT_FILE, render(facts))
    with written_atomically(root / PICTURE_FILE) as path:
        charts.write_png(facts, path)


def render(facts: NightFacts) -> str:
    """The page as text."""
    script = (FOLDER / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _template().render(
        facts=facts,
        summary=summary,
        words=summary.WORDS,
        conditions={(entry.experiment, entry.run): entry for entry in facts.conditions},
        splits={name: _split(facts, name) for name in ("train", "val", "test")},
        claimed=summary.claimed(facts),
        val_gain=_gain(facts, "val"),
        test_gain=_gain(facts, "test"),
        patience=PATIENCE_SECONDS + 3 * facts.identity.budget_seconds,
        style=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        staircase=_both(charts.staircase, facts, "staircase", 400, 330),
        curves=_both(charts.learning_curves, facts, "curves", 260, 440) if facts.curves else None,
        timeline=_both(charts.timeline, facts, "timeline", 190, 240) if facts.spans else None,
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "line": lambda text: shortened(text, LINE_CHARACTERS),
        "block": block,
        "diff": diff,
        "estimate": estimate,
        "gain": gain_text,
        "signed": signed,
        "clock": clock,
        "hours": hours,
        "mega": lambda number: "unknown" if number is None else f"{number / 1e6:,.2f} M",
        "bytes": lambda number: "unknown" if number is None else f"{number / 2**30:.2f} GiB",
    }
    return environment.get_template("page.html")


@dataclass(frozen=True)
class Split:
    """Size of one part of the dataset."""

    documents: int
    text_bytes: int


def _split(facts: NightFacts, name: str) -> Split | None:
    """What the dataset's manifest says of a part of it; None when unknown."""
    try:
        split = facts.dataset["splits"][name]
        return Split(int(split["documents"]), int(split["text_bytes"]))
    except (KeyError, TypeError, ValueError):
        return None


def _gain(facts: NightFacts, split: str) -> Gain | None:
    if facts.baseline is None or not facts.keeps:
        return None
    noise = facts.noise if split == "val" else facts.test_noise
    return summary.gain(getattr(facts.baseline, split), getattr(facts.best, split), noise)


def _both(chart: Chart, facts: NightFacts, name: str, height: float, narrow_height: float) -> Markup:
    """A chart for wide and for narrow screens; the style sheet shows one of them. Texts of links are escaped here."""
    wide = charts.svg(chart, facts, Look(760, height), f"{name}-wide")
    narrow = charts.svg(chart, facts, Look(330, narrow_height, headroom=34), f"{name}-narrow")
    rows = {row.number: row for row in facts.rows}

    def with_label(found: re.Match[str]) -> str:
        row = rows[int(found[1])]
        what = shortened(row.experiment.proposal.description, 200)
        words = f"experiment {row.number}, {summary.WORDS[row.status]}: {what}"
        # A reader of the page by keyboard or ear gets the steps; all points are in the table.
        hidden = Markup("") if row.kept else Markup(' tabindex="-1" aria-hidden="true"')
        return Markup('<a href="#e{}" aria-label="{}"{}>').format(row.number, words, hidden)

    return Markup(re.sub(r'<a href="#e(\d+)">', with_label, wide + narrow))


def block(text: str) -> str:
    """Text of several lines with every character that doesn't print made visible."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def diff(patch: str) -> Markup:
    """A patch from its first hunk on, with its added and removed lines marked."""
    marks = {"+": Markup("<ins>{}</ins>"), "-": Markup("<del>{}</del>")}
    hunks = patch[max(0, patch.find("@@")) :].rstrip("\n").split("\n")
    return Markup("\n").join(marks.get(line[:1], Markup("{}")).format(block(line)) for line in hunks)


def estimate(value: Estimate | None) -> str:
    """A score with its interval, or "unknown"."""
    return "unknown" if value is None else f"{value.mean:.4f} ± {value.half_width:.4f}"


def gain_text(value: Gain | None) -> str:
    """A gain as the change of the score, with its interval, or "unknown"."""
    return "unknown" if value is None else f"{signed(-value.mean)} ± {value.half_width:.4f}"


def signed(number: float) -> str:
    """A difference of scores with its sign; a minus is better."""
    return f"{number:+.4f}".replace("-", "\u2212")


def clock(seconds: float) -> str:
    """Day and time of seconds since 1970, in this machine's time zone."""
    return datetime.fromtimestamp(seconds).strftime("%d %b %H:%M")


def hours(seconds: float) -> str:
    """A duration: "43 s", "12 min", "7 h 05 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
