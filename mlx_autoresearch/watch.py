"""`python -m mlx_autoresearch.loop --watch`: look at a night from another terminal, without touching it.

It reads files of runs/<tag> and asks the system whether the loop's process is there. It takes no lock and writes
nothing, so the night can't notice.
"""

from __future__ import annotations

import sys
import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.machine import awake_seconds
from mlx_autoresearch.paths import runs_root
from mlx_autoresearch.process import signals_held_back
from mlx_autoresearch.report.__main__ import night_worked_on_last
from mlx_autoresearch.report.terminal import REFRESHES_PER_SECOND, can_draw, shown_fault
from mlx_autoresearch.report.view import NightReader, View, picture
from mlx_autoresearch.status import Status, is_working, read_status

LOOK_SECONDS = 5.0
"""Between two looks at the processes of the system, unless the status has changed."""

HINT = "Ctrl-C leaves; the night is not touched."


class Watcher:
    """Looks at the night in `reader.root` again and again."""

    def __init__(self, reader: NightReader) -> None:
        self._reader = reader
        self._looked: tuple[Status | None, float, bool] = (None, -LOOK_SECONDS, False)

    def view(self) -> View:
        """The night as it is on disk now.

        Raises:
            AutoresearchError: there is none, or its identity can't be read.
        """
        status = read_status(self._reader.root)
        before, when, working = self._looked
        if status != before or awake_seconds() - when >= LOOK_SECONDS:
            working = is_working(status)
            self._looked = status, awake_seconds(), working
        return self._reader.view(self._reader.night(), status, working)


def watch(tag: str | None, plain: bool = False) -> None:
    """Show the night `tag` (the one worked on last where it is None) until Ctrl-C; once where nothing can be redrawn.

    Raises:
        AutoresearchError: there is no such night, or it can't be read.
    """
    root = night_worked_on_last() if tag is None else runs_root() / tag
    watcher = Watcher(NightReader(root))
    try:
        first = watcher.view()
    except OSError as error:
        raise AutoresearchError(f"The night in {root} can't be read: {error.strerror or error}.") from None
    sys.stdout.reconfigure(errors="replace")
    console = Console(highlight=False)
    if plain or not can_draw(console):
        console.print(picture(first, console.width))
        return

    def draw() -> RenderableType:
        try:
            shown = picture(watcher.view(), console.width)
        except Exception as error:  # somebody may be moving the folder; the next look tells
            shown = Text(shown_fault(error))
        return Group(shown, Text(HINT, "dim", no_wrap=True, overflow="ellipsis"))

    live = Live(console=console, screen=True, get_renderable=draw, refresh_per_second=REFRESHES_PER_SECOND)
    try:
        with signals_held_back():
            live.start(refresh=True)
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        return
    finally:
        with signals_held_back():
            live.stop()
