"""results.tsv: a night's experiments as a table, a row each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlx_autoresearch.text import one_line

if TYPE_CHECKING:
    from mlx_autoresearch.history import Experiment

RESULTS_COLUMNS = (
    *("commit", "val_bpb", "memory_gb", "status", "description"),
    *("experiment", "test_bpb", "interval", "runs", "steps", "tokens_M", "parameters_M", "seconds", "agent"),
    *("llm_tokens", "usd"),
)


def results_table(decided: Sequence[Experiment], skipped: Mapping[int, str]) -> str:
    """The table's text: decided experiments and skipped ones, by number, unknown values empty.

    val_bpb and interval are those of the verdict. steps, tokens_M and parameters_M are means over the scored runs,
    memory_gb (GiB) the peak of all runs, seconds the wall time of all runs together.
    """
    rows = {experiment.number: _row(experiment) for experiment in decided}
    for number, sentence in skipped.items():
        rows[number] = {"status": "damaged", "description": sentence, "experiment": f"{number:04d}"}
    lines = ["\t".join(RESULTS_COLUMNS)]
    for _, row in sorted(rows.items()):
        # A double quote would open a quoted field for spreadsheets and pandas.
        cells = [one_line(row.get(column, "")).replace('"', "'") for column in RESULTS_COLUMNS]
        lines.append("\t".join(cells))
    return "\n".join(lines) + "\n"


def mean_of_known(values: list[Any]) -> float | None:
    """Mean of those that are not None; None when all are."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _row(experiment: Experiment) -> dict[str, str]:
    verdict = experiment.verdict
    scored = [run for run in experiment.runs if run.failure is None and run.val_bpb is not None]
    peaks = [run.peak_memory_bytes for run in experiment.runs if run.peak_memory_bytes is not None]
    seconds = [run.total_seconds for run in experiment.runs if run.total_seconds is not None]
    return {
        "commit": (experiment.commit or "")[:7],
        "val_bpb": _number(verdict.val_bpb, ".6f"),
        "memory_gb": _number(max(peaks, default=None), ".1f", 2**30),
        "status": verdict.status,
        "description": experiment.proposal.description,
        "experiment": f"{experiment.number:04d}",
        "test_bpb": _number(experiment.test_bpb, ".6f"),
        "interval": _number(verdict.interval, ".6f"),
        "runs": str(len(scored)),
        "steps": _number(mean_of_known([run.steps for run in scored]), ".0f"),
        "tokens_M": _number(mean_of_known([run.tokens for run in scored]), ".2f", 1e6),
        "parameters_M": _number(mean_of_known([run.parameters for run in scored]), ".2f", 1e6),
        "seconds": _number(math.fsum(seconds) if seconds else None, ".0f"),
        "agent": experiment.proposal.agent,
        "llm_tokens": str(experiment.proposal.tokens),
        "usd": "unknown" if experiment.proposal.dollars is None else f"{experiment.proposal.dollars:.4f}",
    }


def _number(value: float | None, form: str, unit: float = 1) -> str:
    return "" if value is None else format(value / unit, form)
