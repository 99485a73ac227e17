"""Errors that speak to a person, and the wrapper that shows them at the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable


class AutoresearchError(Exception):
    """Something a person can act on: the message says what happened, where, and what to do next."""


def run_command_line(main: Callable[[], int | None]) -> None:
    """Run `main` and exit with its status; an `AutoresearchError` becomes one sentence on stderr, not a traceback.

    Exit status: what `main` returns (None is 0), 1 for an `AutoresearchError`, 130 after Ctrl-C.
    """
    try:
        sys.exit(main() or 0)
    except AutoresearchError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        sys.exit(130)
