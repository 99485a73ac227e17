"""From what an agent says about its edit to the proposal that is recorded."""

from __future__ import annotations

from mlx_autoresearch.agents.briefing import Briefing
from mlx_autoresearch.records import Proposal
from mlx_autoresearch.spending import Cost
from mlx_autoresearch.text import shortened

DESCRIPTION_CHARACTERS, FIELD_CHARACTERS = 160, 800


def make_proposal(
    briefing: Briefing, agent: str, source: str, cost: Cost, description: str, hypothesis: str, expected: str
) -> Proposal:
    """The proposal of a language model; its words are cut to one bounded line each."""
    return Proposal(
        source=source,
        description=shortened(description, DESCRIPTION_CHARACTERS),
        hypothesis=shortened(hypothesis, FIELD_CHARACTERS),
        expected=shortened(expected, FIELD_CHARACTERS),
        agent=agent,
        parent=briefing.parent,
        tokens=cost.tokens,
        dollars=cost.dollars,
        repairs=briefing.repair,
    )
