"""The night at the terminal: lines as things happen, a live view of the night below them, a table at the end.

Where the output is not a terminal (a log file, a pipe) only the lines and the table appear. The lines go to
runs/<tag>/loop.log as well, with the time: a closed terminal loses nothing.

Notable: the live view is drawn by a thread once a second, from files and from what the loop holds anyway. What goes
wrong with it is shown in its place and concerns nobody else.
"""

from __future__ import annotations

import atexit
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mlx_autoresearch.experiment import Progress
from mlx_autoresearch.history import Experiment, Night
from mlx_autoresearch.process import signals_held_back
from mlx_autoresearch.records import CRASH
from mlx_autoresearch.report.view import STYLES, NightReader, gain_text, picture, score_text
from mlx_autoresearch.spending import Cost, cost_text
from mlx_autoresearch.status import StatusBoard
from mlx_autoresearch.text import one_line

LOG_WIDTH = 200

REFRESHES_PER_SECOND = 1


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

    def __init__(self, console: Console | None = None, plain: bool = False):
        """`plain` leaves the live view out where there could be one."""
        # A log file has no width of its own; 80 columns would fold the table.
        width = None if sys.stdout.isatty() else LOG_WIDTH
        self.console = console or Console(file=LastingOutput(), highlight=False, soft_wrap=True, width=width)
        self._draws = not plain and can_draw(self.console)
        self._board: StatusBoard | None = None
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

    def follow(self, board: StatusBoard) -> None:
        """Tell this board from now on what is going on."""
        self._board = board

    def stage(self, stage: str, experiment: Experiment | None = None) -> None:
        """Something new is going on: a stage of an experiment, or something else in words."""
        if self._board is not None:
            self._board.stage(stage, None if experiment is None else experiment.number)

    def progress(self, progress: Progress) -> None:
        """What a stage's child process is at."""
        if self._board is not None:
            self._board.progress(progress)

    @contextmanager
    def live(self, night: Night) -> Iterator[None]:
        """While the block runs, show the night below the lines, where there is a terminal that can."""
        board, reader = self._board, NightReader(night.root)
        if board is None or not self._draws:
            yield
            return

        def draw() -> Text:
            try:
                return picture(reader.view(night, board.status, working=True), self.console.width)
            except Exception as error:  # a fault in here is worth less than the night
                return Text(shown_fault(error), "dim", no_wrap=True, overflow="ellipsis")

        # sys.stdout stays as it is: the console writes to it.
        options = {"transient": True, "redirect_stdout": False, "vertical_overflow": "crop"}
        live = Live(console=self.console, get_renderable=draw, refresh_per_second=REFRESHES_PER_SECOND, **options)
        atexit.register(self.console.show_cursor, True)  # for a second Ctrl-C in the very moment of the first
        try:
            with signals_held_back():
                live.start()
            yield
        finally:
            with signals_held_back():
                live.stop()

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
            ("nr", "right"), ("status", "left"), ("val_bpb", "right"), ("vs best", "right"), ("test_bpb", "right"),
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


def can_draw(console: Console) -> bool:
    """Whether a view can be drawn again and again in the same place."""
    return console.is_terminal and not console.is_dumb_terminal and console.encoding.lower().startswith("utf")


def shown_fault(error: Exception) -> str:
    """What is shown in the place of a view that can't be drawn."""
    return one_line(f"the view can't be drawn at the moment ({type(error).__name__}: {error})")
