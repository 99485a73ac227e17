"""The night at the terminal: a bar while something runs, a line for every experiment, a table at the end.

Where the output is not a terminal (a log file, a pipe) only the lines and the table appear. The lines go to
runs/<tag>/loop.log as well, with the time: a closed terminal loses nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from mlx_autoresearch import experiment as running
from mlx_autoresearch.history import Experiment, Night
from mlx_autoresearch.records import CRASH, INCONCLUSIVE, KEEP
from mlx_autoresearch.spending import Cost, cost_text
from mlx_autoresearch.text import one_line

LOG_WIDTH = 200

STYLES = {KEEP: "bold green", INCONCLUSIVE: "yellow", CRASH: "red"}


class LastingOutput:
    """Standard output that outlives its terminal: what a closed window or a broken pipe refuses is dropped."""

    def write(self, text: str) -> int:
        """Write, if anybody is still there."""
        with suppress(OSError, ValueError):
            return sys.stdout.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, if anybody is still there."""
        with suppress(OSError, ValueError):
            sys.stdout.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return sys.stdout.isatty()

    def fileno(self) -> int:
        """Its descriptor, which rich asks for the width."""
        return sys.stdout.fileno()

    @property
    def encoding(self) -> str:
        """Its encoding, which decides what rich may draw."""
        return sys.stdout.encoding


class Terminal:
    """Prints a night as it happens; all text from agents is escaped, so that it can't format anything."""

    def __init__(self, console: Console | None = None):
        # A log file has no width of its own; 80 columns would fold the table.
        width = None if sys.stdout.isatty() else LOG_WIDTH
        self.console = console or Console(file=LastingOutput(), highlight=False, soft_wrap=True, width=width)
        self._bar: Progress | None = None
        self._task = None
        self._log: Path | None = None

    def log_to(self, path: Path) -> None:
        """Write every line from now on to the end of this file as well."""
        self._log = path

    def say(self, sentence: str) -> None:
        """A plain sentence on a line of its own."""
        self.log(sentence)
        self.console.print(plain(sentence))

    def log(self, line: str) -> None:
        """A line for the log file only; on a full disk it is dropped, since what matters more will tell."""
        if self._log is not None:
            with suppress(OSError), self._log.open("a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {one_line(line)}\n")

    @contextmanager
    def showing(self, title: str) -> Iterator[None]:
        """Show a progress bar titled `title` while the block runs, where there is a terminal."""
        if not self.console.is_terminal:
            yield
            return
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[numbers]}"))
        with Progress(*columns, console=self.console, transient=True) as bar:
            self._bar, self._task = bar, bar.add_task(plain(title), total=1.0, numbers="")
            try:
                yield
            finally:
                self._bar = None

    def progress(self, progress: running.Progress) -> None:
        """Move the bar, if one is shown."""
        if self._bar is None:
            return
        share = progress.seconds / progress.budget_seconds if progress.stage == "train" else 0.0
        self._bar.update(self._task, completed=min(1.0, share), numbers=plain(progress_numbers(progress)))

    def verdict(self, experiment: Experiment) -> None:
        """One line about a decided experiment, and the reason below it where there is no score."""
        verdict = experiment.verdict
        style = STYLES.get(verdict.status, "")
        line = f"{experiment.number:04d}  {verdict.status:<12} {score_text(experiment):<20} {gain_text(experiment):<9}"
        proposal = experiment.proposal
        cost = f" ({cost_text(Cost(proposal.tokens, proposal.dollars))})" if proposal.tokens else ""
        self.log(f"{line} {proposal.description}{cost}: {verdict.sentence}")
        self.console.print(f"[{style}]{line}[/]" if style else line, plain(proposal.description + cost))
        if verdict.status == CRASH:
            self.console.print(f"      {plain(verdict.sentence)}", style="dim")

    def table(self, night: Night) -> None:
        """All decided experiments, the baseline first."""
        table = Table(box=None, pad_edge=False)
        for heading, justify in (
            ("nr", "right"), ("status", "left"), ("val_bpb", "right"), ("gain", "right"), ("test_bpb", "right"),
            ("runs", "right"), ("Mtokens", "right"), ("change", "left"),
        ):  # fmt: skip
            table.add_column(heading, justify=justify, no_wrap=heading != "change")
        for experiment in night.experiments:
            if experiment.verdict is None:
                continue
            tokens = [run.tokens for run in experiment.runs if run.tokens is not None]
            table.add_row(
                str(experiment.number),
                experiment.verdict.status,
                score_text(experiment),
                gain_text(experiment),
                "" if experiment.test_bpb is None else f"{experiment.test_bpb:.4f}",
                str(len(experiment.runs)),
                f"{sum(tokens) / len(tokens) / 1e6:.2f}" if tokens else "",
                plain(experiment.proposal.description),
                style=STYLES.get(experiment.verdict.status, ""),
            )
        self.console.print(table)


def plain(text: str) -> str:
    """Text as rich shows it literally: no markup, no control characters, one line."""
    return escape(one_line(text))


def progress_numbers(progress: running.Progress) -> str:
    """The numbers beside the bar: stage, time, loss, speed."""
    if progress.stage != "train":
        return f"{progress.stage} {progress.seconds:.0f} s"
    text = f"{progress.seconds:.0f} of {progress.budget_seconds:.0f} s"
    point = progress.point
    if point.get("loss") is not None:
        text += f"  step {point['step']}  loss {point['loss']:.3f}"
        if point.get("tokens") and point["seconds"]:
            text += f"  {point['tokens'] / point['seconds']:,.0f} tokens/s"
    return text


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
