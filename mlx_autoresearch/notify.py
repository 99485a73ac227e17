"""Tells a person who is elsewhere that the night is over or in trouble: a notification on a Mac, or a webhook.

Notable: it happens in threads, so that a server that hangs delays nothing, and what goes wrong is one line. A message
holds names and numbers of the night only. What an error or a researcher said is left out, for it could hold a path or
a key, and so is the webhook's address, which often is a secret itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from urllib.parse import urlsplit

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.history import Night
from mlx_autoresearch.status import OVER
from mlx_autoresearch.text import one_line

ON_THIS_MAC = "mac"
"""The target that means a notification of macOS; every other one is the address of a webhook."""

SEND_SECONDS = 5.0
"""For every step of sending a message."""

CLOSE_SECONDS = 8.0
"""How long the end of a night waits for its messages."""

SCRIPT = ("on run argv", "display notification (item 2 of argv) with title (item 1 of argv)", "end run")
"""AppleScript that gets its texts as arguments, so that nothing in them can be taken for script (osascript(1))."""


class Notifier:
    """Sends messages to `target`, which is ON_THIS_MAC, the address of a webhook, or None for nobody."""

    def __init__(self, target: str | None, say: Callable[[str], None]) -> None:
        self._target, self._say = target, say
        self._threads: list[threading.Thread] = []

    def tell(self, title: str, text: str) -> None:
        """Send a message; returns at once."""
        if self._target is None:
            return
        thread = threading.Thread(target=self._send, args=(self._target, title, text), name="notify", daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Wait for messages that are under way, for a few seconds at most."""
        end = time.monotonic() + CLOSE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _send(self, target: str, title: str, text: str) -> None:
        try:
            if target == ON_THIS_MAC:
                show_on_mac(title, text)
            else:
                post(target, f"{title}: {text}")
        except Exception as error:  # of the network, of a server's answer, of the system: all worth less than the night
            self._say(f"Note: a notification could not be sent ({what_failed(error)}).")


def check_target(target: str | None) -> None:
    """Refuse a target that no message can reach.

    Raises:
        AutoresearchError: with what to do instead.
    """
    if target is None:
        return
    if target == ON_THIS_MAC:
        if sys.platform != "darwin":
            raise AutoresearchError(
                "--notify alone shows a notification on macOS, which this is not; give it the address of a webhook: "
                "--notify https://..."
            )
        return
    try:
        parts = urlsplit(target)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        fits = False
    if not fits or not target.isascii() or not target.isprintable() or " " in target:
        raise AutoresearchError("--notify takes the address of a webhook that starts with https:// or http://")


def post(url: str, text: str) -> None:
    """POST {"text": text} as JSON.

    Raises:
        OSError: the server can't be reached, refuses, or takes too long.
    """
    body = json.dumps({"text": one_line(text)}).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "mlx-autoresearch"}
    request = urllib.request.Request(url, body, headers, method="POST")
    with urllib.request.urlopen(request, timeout=SEND_SECONDS):
        pass


def show_on_mac(title: str, text: str) -> None:
    """A notification of macOS. Not yet run on a Mac.

    Raises:
        OSError, subprocess.SubprocessError: osascript is missing, fails or hangs.
    """
    subprocess.run(mac_command(title, text), capture_output=True, timeout=SEND_SECONDS, check=True)


def mac_command(title: str, text: str) -> list[str]:
    """The command that shows a notification; `title` is ours, and ends the options, whatever `text` starts with."""
    lines = [word for line in SCRIPT for word in ("-e", line)]
    return ["osascript", *lines, one_line(title), one_line(text)]


def what_failed(error: Exception) -> str:
    """A few words about an error, without the address that it may hold."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code}"
    if isinstance(error, TimeoutError | subprocess.TimeoutExpired):
        return "it took too long"
    if isinstance(error, urllib.error.URLError):
        return one_line(str(error.reason))
    return type(error).__name__


def end_of_night(night: Night, ended: str) -> str:
    """What to tell when a loop ended, OVER or BY_ITSELF."""
    baseline = next((experiment for experiment in night.experiments if experiment.number == 0), None)
    if ended == OVER:
        return f"The night is over. {night_in_numbers(night)}"
    if baseline is not None and baseline.verdict is not None and not baseline.kept:
        return "The night has stopped: the baseline fails, so there is nothing to improve. loop.log says why."
    return f"The night has stopped by itself; loop.log in its folder says why. {night_in_numbers(night)}"


def night_in_numbers(night: Night) -> str:
    """What has come of a night so far, in a sentence."""
    decided, kept = night.decided_edits(), sum(1 for experiment in night.experiments[1:] if experiment.kept)
    incumbent = night.incumbent()
    if incumbent is None or incumbent.mean_bpb is None:
        return "The baseline has no score."
    words = f"{decided} edits decided, {kept} kept"
    first = night.experiments[0].mean_bpb
    if incumbent.number == 0 or first is None:
        return f"{words}; val_bpb {incumbent.mean_bpb:.4f}."
    if night.claim is None:
        return f"{words}; val_bpb {first:.4f} before, {incumbent.mean_bpb:.4f} now."
    return f"{words}; gained {night.claim}, the luck of what is kept taken off, from val_bpb {first:.4f}."
