"""Who proposes the next edit of train_mlx.py: what an agent is told, what it returns, and which one is taken.

Notable: an agent is anything with a name and `propose`; it gets plain data and returns plain data. It runs nothing,
writes nothing and never sees the validation text. Agents are imported when they are chosen, not before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.records import Proposal


@dataclass(frozen=True)
class HistoryEntry:
    """One finished experiment, as an agent sees it.

    Attributes:
        number: the experiment's number.
        parent: number of the experiment whose file it edited; None for the baseline.
        source: its train_mlx.py.
        description: one line about the edit.
        status: one of the statuses in `records`.
        val_bpb: mean over its runs in bits per byte; None when there is no score.
        reason: the verdict, or why there is no score, in one sentence.
    """

    number: int
    parent: int | None
    source: str
    description: str
    status: str
    val_bpb: float | None
    reason: str = ""


@dataclass(frozen=True)
class Briefing:
    """Everything an agent is told before it proposes.

    Attributes:
        program: text of program.md.
        source: the incumbent's train_mlx.py, the file to edit.
        incumbent: number of the incumbent's experiment.
        incumbent_bpb: its mean score in bits per byte.
        noise: standard deviation of val_bpb between runs of one file on this machine; None when unknown.
        history: every finished experiment, oldest first, the incumbent and the baseline included.
        machine_class: column of the machine in the rows of knobs.
        budget_seconds: training time of an experiment.
    """

    program: str
    source: str
    incumbent: int
    incumbent_bpb: float
    noise: float | None
    history: list[HistoryEntry]
    machine_class: int
    budget_seconds: float


class Agent(Protocol):
    """Proposes edits; `name` goes into every proposal's record."""

    name: str

    def propose(self, briefing: Briefing) -> Proposal:
        """The next edit of the incumbent's file.

        Raises:
            AutoresearchError: it has nothing to propose, with the reason.
        """
        ...


@dataclass(frozen=True)
class AgentKind:
    """An agent that can be chosen: what it is in a few words, and how it is made from a seed."""

    summary: str
    make: Callable[[int], Agent]


def _make_search(seed: int) -> Agent:
    from mlx_autoresearch.agents.search import SearchAgent

    return SearchAgent(seed)


AGENTS: dict[str, AgentKind] = {
    "search": AgentKind("Optuna over the knobs of train_mlx.py", _make_search),
}
"""The agents by name."""


def choose_agent(name: str | None = None, seed: int = 0) -> tuple[Agent, str]:
    """The agent of this name, or the best one available, and a sentence that says which it is and why.

    Args:
        name: a name in `AGENTS`, or None for the best available.
        seed: seed of the agent's own random choices.

    Raises:
        AutoresearchError: there is no agent of this name.
    """
    if name is not None and name not in AGENTS:
        raise AutoresearchError(f"There is no agent named {name!r}; choose one of: {', '.join(sorted(AGENTS))}")
    chosen = name or "search"
    why = "chosen by name" if name else "no language-model researcher is set up"
    return AGENTS[chosen].make(seed), f"{chosen} ({AGENTS[chosen].summary}): {why}"
