"""Thinking costs no training time: an agent is asked ahead, in a thread, while the machine trains.

Notable: whatever goes wrong with an agent ends here. What may pass (overload, a usage limit, a lost network) is waited
out with a back-off of our own, and meanwhile the loop does something else; what only a person can mend stops the night
when the agent never answered (the person is still there), and otherwise retires the agent and lets the night go on.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from mlx_autoresearch.agents import (
    Agent,
    AgentUnavailableError,
    AgentUnusableError,
    NoProposalError,
    SpendingLimitError,
)
from mlx_autoresearch.agents.briefing import Briefing
from mlx_autoresearch.agents.refusal import refusal
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.proposals import ProposalQueue
from mlx_autoresearch.records import Proposal
from mlx_autoresearch.timeline import Timeline

QUEUE_LENGTH = 2
"""Proposals made ahead: one hides the thinking, the second bridges a short outage. More would know too little of what
came of the ones before them."""

PATIENCE_SECONDS = 2.0
"""How long the machine stands idle for a proposal before it does something else."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 20.0, 600.0
"""Pauses after failures in a row double from the first to the longest."""

LONGEST_WAIT_SECONDS = 3600.0
"""A server that asks for more patience than this is asked again after it: one refused request an hour is no harm."""

FRUITLESS_IN_A_ROW = 3
"""Answers without a usable edit, one after the other, after which the agent gets a pause too."""

PERSON_STAYS_SECONDS = 600.0
"""How long after the start the person is likely to be there still, and to want to hear that nothing works."""

GONE_SECONDS = 1800.0
"""An outage that has lasted so long, or will, is worth waking a person for."""

CLOSE_SECONDS = 10.0


@dataclass
class Researcher:
    """An agent with the patience that it needs.

    Attributes:
        agent: who is asked.
        say: shows the person a sentence.
        timeline: where thinking and what came of it is recorded.
        insisted: whether the person asked for this very agent, and wants the night to stop when it can't be used.
        retired: why it is never asked again, in a sentence; None while it works.
        closing: set when it is told to end, so that its last words are not taken for trouble.
        alarm: tells a person who is elsewhere that it is gone for long, or for good.
    """

    agent: Agent
    say: Callable[[str], None]
    timeline: Timeline
    insisted: bool = True
    retired: str | None = None
    closing: bool = False
    alarm: Callable[[str], None] = lambda sentence: None
    _started: float = field(default_factory=time.monotonic)
    _answered: bool = False
    _failures: int = 0
    _fruitless: int = 0
    _not_before: float = 0.0
    _given_up: set[int] = field(default_factory=set)
    _out_since: float | None = None
    _alarmed: bool = False

    def pause_seconds(self) -> float:
        """Seconds until it may be asked again; 0 when now."""
        return max(0.0, self._not_before - time.monotonic())

    def ask(self, briefing: Briefing) -> Proposal | None:
        """A proposal, or None with the reason said and a pause set.

        Raises:
            AgentUnusableError: it can't be used at all and never answered before.
            AutoresearchError: it has nothing left to propose.
        """
        if briefing.repair in self._given_up:
            briefing = replace(briefing, repair=None)
        with self.timeline.span("thinking", agent=self.agent.name, repairs=briefing.repair) as facts:
            proposal = self._ask(briefing, facts)
        mends = proposal is not None and proposal.repairs == briefing.repair
        if briefing.repair is not None and not mends and not self.pause_seconds():
            self._given_up.add(briefing.repair)
        return proposal

    def _ask(self, briefing: Briefing, facts: dict) -> Proposal | None:
        try:
            proposal = self.agent.propose(briefing)
            reason = refusal(briefing, proposal.source)
            if reason is not None:
                raise NoProposalError(reason)
        except AgentUnavailableError as error:
            if self.closing:
                facts["outcome"] = "closed"
                return None
            facts["outcome"] = "unavailable"
            self._failures += 1
            self._pause(error.retry_after)
            self.say(f"{self.agent.name} can't answer now ({error}); asking again in {self.pause_seconds():.0f} s.")
            self._alarm_when_gone()
            return None
        except NoProposalError as error:
            facts["outcome"] = "no proposal"
            self._note_answer()
            self._failures = 0
            self._fruitless += 1
            self.say(f"{self.agent.name} made no usable proposal: {error}")
            if self._fruitless >= FRUITLESS_IN_A_ROW:
                self._failures = self._fruitless - FRUITLESS_IN_A_ROW + 1
                self._pause(None)
            return None
        except SpendingLimitError as error:
            facts["outcome"] = "spending limit"
            self._retire(f"{error}, so {self.agent.name} is asked no more")
            return None
        except AgentUnusableError as error:
            facts["outcome"] = "unusable"
            somebody_is_there = time.monotonic() - self._started < PERSON_STAYS_SECONDS
            if self.insisted and not self._answered and somebody_is_there:
                raise
            self._retire(f"{self.agent.name} can't be used any more: {error}")
            return None
        except (AutoresearchError, OSError):
            raise
        except Exception as error:  # a fault of ours or of a library: the night is worth more than the agent
            facts.update(outcome="fault", traceback=traceback.format_exc())
            where = self.timeline.path
            self._retire(f"{self.agent.name} failed unexpectedly ({type(error).__name__}: {error}; see {where})")
            return None
        facts["outcome"] = "proposal"
        facts["description"] = proposal.description
        self._note_answer()
        self._failures, self._fruitless = 0, 0
        return proposal

    def _note_answer(self) -> None:
        self._answered, self._alarmed, self._out_since = True, False, None

    def _alarm_when_gone(self) -> None:
        """Once in an outage. What the agent said is left out: it could hold anything."""
        self._out_since = time.monotonic() if self._out_since is None else self._out_since
        minutes = (time.monotonic() - self._out_since + self.pause_seconds()) / 60
        if not self._alarmed and 60 * minutes >= GONE_SECONDS:
            self._alarmed = True
            self.alarm(f"{self.agent.name} does not answer, for {minutes:.0f} minutes at least; the night goes on.")

    def _pause(self, retry_after: float | None) -> None:
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures - 1, 10))
        pause = max(pause, min(LONGEST_WAIT_SECONDS, retry_after or 0.0))
        self._not_before = time.monotonic() + pause

    def _retire(self, sentence: str) -> None:
        self.retired = sentence
        self.say(f"{sentence.rstrip('.')}. The night goes on with the search agent.")
        self.alarm(f"{self.agent.name} is asked no more; the night goes on with the search agent.")


class DirectThinking:
    """Asks when a proposal is wanted: for agents that need the machine for themselves, or no time worth hiding."""

    def __init__(self, researcher: Researcher) -> None:
        self._researcher = researcher

    @property
    def is_over(self) -> bool:
        """Whether nothing will come from the agent any more."""
        return self._researcher.retired is not None

    def brief(self, briefing: Briefing) -> None:
        """Nothing: this agent is told when it is asked."""

    def take(self, briefing: Briefing) -> Proposal | None:
        """A proposal now, or None when there is none for the moment."""
        researcher = self._researcher
        if researcher.retired is not None or researcher.pause_seconds():
            return None
        return researcher.ask(briefing)

    def done_with(self, proposal: Proposal) -> None:
        """Nothing: there is no queue."""

    def check(self) -> None:
        """Nothing happens behind the loop's back."""

    def close(self) -> None:
        """End the agent's work."""
        self._researcher.closing = True
        self._researcher.agent.close()


class ThinkingAhead:
    """Keeps the queue filled from a thread of its own."""

    def __init__(self, researcher: Researcher, queue: ProposalQueue) -> None:
        self._researcher, self._queue = researcher, queue
        self._briefing: Briefing | None = None
        self._trouble: BaseException | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="thinking", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether nothing will come from the agent any more; what is in the queue still may."""
        return self._researcher.retired is not None

    def brief(self, briefing: Briefing) -> None:
        """Tell where the night stands; the next question is asked about the newest briefing."""
        with self._changed:
            self._briefing = briefing
            self._changed.notify_all()

    def take(self, briefing: Briefing) -> Proposal | None:
        """The next proposal, None when none comes in `PATIENCE_SECONDS`; call `done_with` when it is recorded.

        Raises:
            AutoresearchError: what ended the thinking.
        """
        self.brief(briefing)
        is_out = self._researcher.retired is not None or self._researcher.pause_seconds() > 0
        proposal = self._queue.first(0.0 if is_out else PATIENCE_SECONDS)
        if proposal is None:
            self.check()
        return proposal

    def done_with(self, proposal: Proposal) -> None:
        """A proposal became an experiment or was dropped: its place in the queue is free."""
        self._queue.remove(proposal)
        with self._changed:
            self._changed.notify_all()

    def check(self) -> None:
        """Raise here what went wrong in the thread."""
        if self._trouble is not None:
            raise self._trouble

    def close(self) -> None:
        """End the thread and whatever the agent is doing."""
        with self._changed:
            self._closed = self._researcher.closing = True
            self._changed.notify_all()
        self._researcher.agent.close()
        self._thread.join(CLOSE_SECONDS)

    def _work(self) -> None:
        try:
            while (briefing := self._next_briefing()) is not None:
                proposal = self._researcher.ask(briefing)
                if proposal is not None:
                    self._queue.put(proposal)
        except BaseException as error:  # whatever it is, the loop must hear of it
            if not self._closed:
                self._trouble = error

    def _next_briefing(self) -> Briefing | None:
        """Wait until there is something to ask; None when there never will be."""
        with self._changed:
            while not self._closed and self._researcher.retired is None:
                pause = self._researcher.pause_seconds()
                waiting = self._queue.waiting()
                if self._briefing is not None and not pause and _has_room(self._briefing, waiting):
                    mended = {proposal.repairs for proposal in waiting}
                    repair = None if self._briefing.repair in mended else self._briefing.repair
                    return replace(self._briefing, waiting=(*self._briefing.waiting, *waiting), repair=repair)
                self._changed.wait(pause or None)
            return None


def _has_room(briefing: Briefing, waiting: tuple[Proposal, ...]) -> bool:
    """Whether one more proposal fits in the queue and would still be tried before the night's limits."""
    ahead = len(briefing.waiting) + len(waiting)
    enough_left = briefing.experiments_left is None or ahead < briefing.experiments_left
    seconds = None if briefing.hours_left is None else 3600 * briefing.hours_left
    in_time = seconds is None or ahead * briefing.budget_seconds < seconds
    return len(waiting) < QUEUE_LENGTH and enough_left and in_time
