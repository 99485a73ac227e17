"""The loop's way to the report: whatever goes wrong with it is a sentence in the log and never stops the night."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_autoresearch.files import read_json, write_json
from mlx_autoresearch.report.samples import update_samples

if TYPE_CHECKING:
    from mlx_autoresearch.experiment import Laboratory
    from mlx_autoresearch.history import Night


def update_report(night: Night, laboratory: Laboratory, say: Callable[[str], None]) -> None:
    """After an experiment: let a new best model write its samples, then write report.html and progress.png anew."""
    try:
        _copy_manifest(night.root, laboratory.dataset)
        trouble = update_samples(night, laboratory)
        if trouble is not None:
            say(f"Note: {trouble}.")
    except Exception as error:  # a fault in here is worth less than the night
        say(f"Note: there are no new samples for the report ({type(error).__name__}: {error}).")
    rewrite_report(night.root, running=True, say=say)


def rewrite_report(root: Path, running: bool, say: Callable[[str], None]) -> None:
    """Write report.html and progress.png of the night in `root` anew; `running` makes the page refresh itself."""
    try:
        # The charts' library takes a second to import and is not needed before there is something to draw.
        from mlx_autoresearch.report.page import write_report

        write_report(root, running)
    except Exception as error:
        say(f"Note: the report in {root} could not be written ({type(error).__name__}: {error}).")


def _copy_manifest(root: Path, dataset: Path) -> None:
    """So that the night's folder can be read where the dataset is not."""
    from mlx_autoresearch.dataset import MANIFEST
    from mlx_autoresearch.report.gather import DATASET_FILE

    if not (root / DATASET_FILE).exists():
        write_json(root / DATASET_FILE, read_json(dataset / MANIFEST))
