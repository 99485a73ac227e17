"""Why a proposal is not worth running, told to its author before it costs anything."""

from __future__ import annotations

from mlx_autoresearch.agents.briefing import Briefing, HistoryEntry
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.gate import GateError, check_source, fingerprint_or_none
from mlx_autoresearch.knobs import read_knobs


def refusal(briefing: Briefing, source: str) -> str | None:
    """The reason in a sentence or two, None for a program that is new and can be run.

    Refused are: the text that was given, files that break the contract, programs equal to one that was tried or
    waits for its turn (formatting, comments and code that nothing reads don't count), with the earlier result.
    """
    if source == briefing.base:
        return "Nothing was changed: train_mlx.py is exactly the file you were given."
    try:
        check_source(source)
    except GateError as error:
        return str(error)
    own = fingerprint_or_none(source, briefing.machine_class)
    if own is None:
        return "The program is nested too deeply to be compared with earlier ones; write it with fewer levels."
    try:
        read_knobs(source, briefing.machine_class)
    except AutoresearchError as error:
        return f"{error}. Braces at the end of a knob's comment are a range for the search agent."
    if own == fingerprint_or_none(briefing.base, briefing.machine_class):
        return (
            "The edit changes nothing that the program reads: formatting, comments and code that nothing uses don't "
            "count, nor do the columns of other machines in the knob table."
        )
    for entry in briefing.history:
        if fingerprint_or_none(entry.source, briefing.machine_class) == own:
            return f"The same program was tried before, as {earlier_result(entry)} Propose something else."
    for proposal in briefing.waiting:
        if fingerprint_or_none(proposal.source, briefing.machine_class) == own:
            return f"The same program already waits for its turn: {proposal.description}. Propose something else."
    return None


def earlier_result(entry: HistoryEntry) -> str:
    """What came of an earlier experiment, in one or two sentences."""
    score = "" if entry.val_bpb is None else f", val_bpb {entry.val_bpb:.4f}"
    return f"experiment {entry.number} ({entry.description}; {entry.status}{score}). {entry.reason}"
