"""Whose code may run in which sandbox, and what is said about it: before the night and at its end.

Code of a language model runs in a sandbox or not at all, unless a person types --no-sandbox. The search agent is the
exception where no sandbox works: it writes no code, it combines edits of this project's own catalogue, and a machine
without bubblewrap should be able to run the demonstration.
"""

from __future__ import annotations

from collections.abc import Callable

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.history import Night
from mlx_autoresearch.sandbox import NO_SANDBOX, NOTHING, Sandbox
from mlx_autoresearch.sandbox.choice import Choice

OWN_AGENTS = ("search", "person")
"""Whose edits are nobody else's code: the search agent's are put together here, the baseline is the person's file."""


def choose_sandbox(choice: Choice, agent: str, night: Night, say: Callable[[str], None]) -> Sandbox:
    """The sandbox for this night, with a word about it.

    Where none works, the search agent may go on without, because it puts together its edits from this project's own
    code; but not in a night that holds an edit of anybody else, which would be run again.

    Raises:
        AutoresearchError: none works, and somebody else's code would run.
    """
    if choice.works:
        weaker = f" ({'; '.join(choice.problems)})" if choice.problems else ""
        say(f"Sandbox: {choice.sandbox.name}, tested: MLX computes in it, and what it must refuse was refused{weaker}.")
        return choice.sandbox
    why = "; ".join(choice.problems)
    foreign = sorted({e.proposal.agent or "unknown" for e in night.experiments} - set(OWN_AGENTS))
    if agent == "search" and not foreign:
        say(
            f"Note: no sandbox works here ({why}). The search agent's edits come from this project's own catalogue, so "
            f"it runs without one. A language model's edits would need it: {choice.advice}"
        )
        return NO_SANDBOX
    who = agent if agent != "search" else f"{', '.join(foreign)}, who proposed edits earlier in this night,"
    raise AutoresearchError(
        f"no sandbox works here ({why}), and code from {who} would run with your own rights all night. To get one: "
        f"{choice.advice}. Or go without: --no-sandbox. Or take --agent search, whose edits come from this project."
    )


def sandbox_line(night: Night) -> str:
    """In what the night's runs ran, for the last lines; empty where no run says."""
    names = [run.sandbox for experiment in night.experiments for run in experiment.runs if run.sandbox is not None]
    counts = {name: names.count(name) for name in dict.fromkeys(names)}
    confined = [f"{name} ({count} run{'s' if count > 1 else ''})" for name, count in counts.items() if name != NOTHING]
    bare = counts.get(NOTHING, 0)
    parts = [f"Sandbox: {', '.join(confined)}."] if confined else []
    if bare:
        parts.append(f"WITHOUT a sandbox, with your own rights: {bare} of {len(names)} runs.")
    return " ".join(parts)
