"""A training of hours that was cut off: how far it had come, and what of its folder it goes on from.

This is the parent's side. It believes nothing that a run wrote: how long a run has trained already is told by the dates
of its files.
"""

from __future__ import annotations

from pathlib import Path

from mlx_autoresearch.curve import CURVE_FILE, read_points, write_points
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.evidence import SETTINGS_FILE, clear_up
from mlx_autoresearch.files import remove_tree
from mlx_autoresearch.settings import CHECKPOINT_FILE, RunSettings


def seconds_trained(folder: Path) -> float:
    """How much of its budget the interrupted run in `folder` had used when it wrote its checkpoint; 0 without one.

    Told by the dates of its checkpoint and of its settings, which the parent writes when the run begins or goes on.
    """
    settings_file, checkpoint = folder / SETTINGS_FILE, folder / CHECKPOINT_FILE
    try:
        settings = RunSettings.read(settings_file)
        since = checkpoint.lstat().st_mtime - settings_file.lstat().st_mtime
    except (OSError, AutoresearchError):
        return 0.0
    return min(settings.budget_seconds, settings.resumed_seconds + max(0.0, since))


def prepare_to_resume(folder: Path) -> float:
    """Leave in `folder` what an interrupted run goes on from: its checkpoint, and its curve up to then.

    Returns the seconds of its budget that are used; 0 where there is nothing to go on from, and nothing is changed.
    """
    seconds = seconds_trained(folder)
    if seconds == 0:
        return 0.0
    clear_up(folder, whole=False)
    write_points(
        folder / CURVE_FILE, [point for point in read_points(folder / CURVE_FILE) if point["seconds"] <= seconds]
    )
    for entry in list(folder.iterdir()):
        if entry.name not in (CHECKPOINT_FILE, SETTINGS_FILE, CURVE_FILE):
            remove_tree(entry)
    return seconds
