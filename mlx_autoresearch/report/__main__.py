"""`python -m mlx_autoresearch.report --tag T`: write report.html and progress.png of a night, running or not."""

from __future__ import annotations

import argparse
import fcntl
from pathlib import Path

from mlx_autoresearch.errors import AutoresearchError, run_command_line
from mlx_autoresearch.paths import runs_root
from mlx_autoresearch.report.page import PICTURE_FILE, REPORT_FILE, write_report


def is_running(root: Path) -> bool:
    """Whether a loop holds the night's lock."""
    try:
        with (root / "lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock was ever made, or this file system has none
        return False
    return False


def night_worked_on_last() -> Path:
    """The folder of the night that was worked on last.

    Raises:
        AutoresearchError: there is none.
    """
    nights = [path.parent for path in runs_root().glob("*/identity.json")]
    if not nights:
        raise AutoresearchError(
            f"There is no night under {runs_root()}; start one with `python -m mlx_autoresearch.loop`."
        )
    return max(nights, key=lambda root: max(path.stat().st_mtime for path in (root, root / "experiments")))


def main() -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m mlx_autoresearch.report",
        description="Write report.html and progress.png of a night into its folder. The loop does so itself after "
        "every experiment; this is for a night of another time or another machine.",
    )
    parser.add_argument("--tag", help="name of the night (default: the one worked on last)")
    tag = parser.parse_args().tag
    root = night_worked_on_last() if tag is None else runs_root() / tag
    try:
        write_report(root, is_running(root))
    except OSError as error:
        raise AutoresearchError(f"The report in {root} can't be written: {error.strerror or error}.") from None
    print(f"The night as a page: {root / REPORT_FILE}\nand as a picture: {root / PICTURE_FILE}")


if __name__ == "__main__":
    run_command_line(main)
