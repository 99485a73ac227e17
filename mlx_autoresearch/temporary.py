"""Temporary folders that no kill leaves for good: a name says whose it is, and the next user clears it away."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlx_autoresearch.files import remove_tree


@contextmanager
def temporary_folder(root: Path, name: str) -> Iterator[Path]:
    """An empty folder `<name>-<process>-...` in `root`, gone afterwards; what dead processes left there goes first.

    Raises:
        OSError: it can't be made.
    """
    remove_leftovers(root, name)
    prefix = f"{name}-{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=root, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def remove_leftovers(root: Path, name: str) -> None:
    """Remove from `root` what is called `<name>-<process>-...` and whose process is gone: killed, or the power cut."""
    for path in root.glob(f"{name}-*-*"):
        number = path.name.removeprefix(f"{name}-").split("-")[0]
        if number.isdecimal() and not is_alive(int(number)):
            with suppress(OSError):
                remove_tree(path)


def is_alive(number: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True
