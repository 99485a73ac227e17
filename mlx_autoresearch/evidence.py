"""What a training run left behind, checked before anybody reads it.

A run writes its own folder, so anything can lie there: a link to a private file under the name of a log, a pipe that
makes its reader wait for ever, a model of 50 GB that takes no disk, folders nested ten thousand deep. The parent calls
`clear_up` when the run's processes are gone; afterwards a name that the harness uses is a plain file of a bounded size,
or absent.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from mlx_autoresearch.curve import CURVE_FILE, MOST_BYTES
from mlx_autoresearch.files import open_plain, read_json, remove_tree
from mlx_autoresearch.launch import FAILURE_FILE
from mlx_autoresearch.process import LOG_LIMIT_BYTES
from mlx_autoresearch.settings import GRAPH_FILE, SUMMARY_FILE, WEIGHTS_FILE

SETTINGS_FILE, LOG_FILE = "run.json", "run.log"

MODEL_BYTES = 8 << 30

SIZE_LIMITS = {
    SETTINGS_FILE: 1 << 16,
    LOG_FILE: 32 * LOG_LIMIT_BYTES,  # it is looked at ten times a second, and disks are fast
    CURVE_FILE: MOST_BYTES,
    FAILURE_FILE: 1 << 16,
    SUMMARY_FILE: 1 << 16,
    GRAPH_FILE: MODEL_BYTES,
    WEIGHTS_FILE: MODEL_BYTES,
}
"""What a run's folder may hold, and the largest size that such a file may claim to have, holes included."""


def clear_up(folder: Path, whole: bool) -> str | None:
    """Remove from a run's folder what is no plain file of a bounded size; with `whole` also all names not used here.

    Returns one sentence when something lay under a name of the harness, for it can't have got there by accident.
    """
    folder.chmod(0o700)
    complaint = None
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        fault = _fault(entry)
        if fault is not None and entry.name in SIZE_LIMITS:
            complaint = f"Its {entry.name} {fault}."
        if fault is not None or (whole and entry.name not in SIZE_LIMITS):
            remove_tree(folder / entry.name)
    return complaint


def _fault(entry: os.DirEntry) -> str | None:
    facts = entry.stat(follow_symlinks=False)
    if stat.S_ISDIR(facts.st_mode) and entry.name not in SIZE_LIMITS:
        return None
    if not stat.S_ISREG(facts.st_mode):
        return "is a link, a folder or a device, not a file"
    if facts.st_nlink > 1:
        return "is a hard link to another file"
    if facts.st_size > SIZE_LIMITS.get(entry.name, MODEL_BYTES):
        return f"claims {facts.st_size:,} bytes, more than such a file may have"
    if not facts.st_mode & stat.S_IRUSR:
        os.chmod(entry.path, 0o600)
    return None


def read_summary(folder: Path) -> tuple[int | None, int | None]:
    """Parameters and peak memory in bytes, as the run reports them; None for what is no sensible number."""
    try:
        with open_plain(folder / SUMMARY_FILE):
            summary = read_json(folder / SUMMARY_FILE)
    except (OSError, ValueError, RecursionError):
        return None, None
    values = [summary.get(name) for name in ("parameters", "peak_memory_bytes")] if isinstance(summary, dict) else []
    known = [value if type(value) is int and 0 <= value < 1 << 60 else None for value in values]
    return (known[0], known[1]) if known else (None, None)
