"""Errors that speak to a person, and the wrapper that shows them at the command line."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable


class AutoresearchError(Exception):
    """Something a person can act on: the message says what happened, where, and what to do next."""


def file_trouble(error: OSError, what: str) -> AutoresearchError:
    """What to tell a person when `what` could not be written."""
    mend = {errno.ENOSPC: "Make room on that disk", errno.EDQUOT: "Make room within your quota"}
    mend |= dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "Make that folder writable, or name another one")
    name = error.filename2 or error.filename  # of a copy, the file that is written
    where = f"{name}: {error.strerror}" if name else str(error)
    return AutoresearchError(
        f"{what} ({where}). {mend.get(error.errno, 'Mend this')} and start the same command again."
    )


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
