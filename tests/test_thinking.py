"""Thinking ahead: the queue is filled while something else runs, and whatever goes wrong with an agent is contained."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from entries import entry_of
from small_project import small_source
from waiting import wait_until

from mlx_autoresearch import thinking
from mlx_autoresearch.agents import (
    AgentUnavailableError,
    AgentUnusableError,
    NoProposalError,
    SpendingLimitError,
)
from mlx_autoresearch.agents.briefing import Briefing
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.knobs import write_knobs
from mlx_autoresearch.proposals import ProposalQueue
from mlx_autoresearch.records import CRASH, KEEP, Proposal
from mlx_autoresearch.thinking import QUEUE_LENGTH, DirectThinking, Researcher, ThinkingAhead
from mlx_autoresearch.timeline import Timeline, read_spans

SOURCE = small_source()


def edited(rate: float) -> str:
    return write_knobs(SOURCE, {"MATRIX_LR": rate}, 0)


class Script:
    """Does what it is told, one thing for each question."""

    name = "script"
    thinks_ahead = True

    def __init__(self, acts: list):
        self.acts, self.briefings, self.closed = iter(acts), [], threading.Event()

    def propose(self, briefing: Briefing) -> Proposal:
        self.briefings.append(briefing)
        act = next(self.acts)
        if isinstance(act, Exception):
            raise act
        source = act(briefing) if callable(act) else edited(act)
        return Proposal(
            source, f"edit {len(self.briefings)}", agent=self.name, parent=briefing.incumbent, repairs=briefing.repair
        )

    def close(self) -> None:
        self.closed.set()


def briefing(**changes: object) -> Briefing:
    history = [entry_of(0, None, SOURCE, "baseline", KEEP, 1.0)]
    facts = {"incumbent": 0, "incumbent_bpb": 1.0, "noise": 0.01, "history": history, "machine_class": 0}
    return Briefing(program="", source=SOURCE, budget_seconds=300.0, **{**facts, **changes})


def researcher(tmp_path: Path, acts: list) -> tuple[Researcher, list[str]]:
    said: list[str] = []
    return Researcher(Script(acts), said.append, Timeline(tmp_path / "timeline.jsonl")), said


@pytest.fixture
def ahead(tmp_path: Path) -> Callable[[list], tuple[ThinkingAhead, Script, list[str]]]:
    started: list[ThinkingAhead] = []

    def start(acts: list) -> tuple[ThinkingAhead, Script, list[str]]:
        asked, said = researcher(tmp_path, acts)
        started.append(ThinkingAhead(asked, ProposalQueue(tmp_path / "queue")))
        return started[-1], asked.agent, said

    yield start
    for one in started:
        one.close()


def test_the_queue_is_filled_ahead_and_no_further(ahead: Callable) -> None:
    one, agent, _ = ahead([0.05, 0.06, 0.07, 0.08])
    one.brief(briefing())
    assert wait_until(lambda: len(agent.briefings) == QUEUE_LENGTH, 5)
    time.sleep(0.05)
    assert len(agent.briefings) == QUEUE_LENGTH
    assert [proposal.description for proposal in agent.briefings[1].waiting] == ["edit 1"]
    first = one.take(briefing())
    assert first.description == "edit 1" and first.repairs is None
    one.done_with(first)
    assert wait_until(lambda: len(agent.briefings) == QUEUE_LENGTH + 1, 5)
    assert one.take(briefing()).description == "edit 2"


def test_thinking_overlaps_with_what_the_caller_does(ahead: Callable, tmp_path: Path) -> None:
    def slowly(briefing: Briefing) -> str:
        time.sleep(0.3)
        return edited(0.05)

    one, _, _ = ahead([slowly, NoProposalError("x"), NoProposalError("x"), NoProposalError("x")])
    one.brief(briefing())
    time.sleep(0.5)  # the machine trains
    started = time.monotonic()
    assert one.take(briefing()) is not None and time.monotonic() - started < 0.1


def test_a_long_outage_is_told_to_whoever_is_elsewhere_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acts = [AgentUnavailableError("a secret")] * 3 + [0.05, AgentUnavailableError("limit", retry_after=7200.0)]
    asked, _ = researcher(tmp_path, [*acts, SpendingLimitError("$10 are spent")])
    told: list[str] = []
    asked.alarm = told.append
    asked.ask(briefing())
    assert told == []
    now = time.monotonic()
    monkeypatch.setattr(thinking.time, "monotonic", lambda: now + 3000)
    asked.ask(briefing())
    asked.ask(briefing())
    assert told == ["script does not answer, for 51 minutes at least; the night goes on."]
    asked.ask(briefing())  # it answers
    asked.ask(briefing())
    assert told[1:] == ["script does not answer, for 60 minutes at least; the night goes on."]
    asked.ask(briefing())
    assert told[2:] == ["script is asked no more; the night goes on with the search agent."]


def test_an_agent_that_is_out_is_waited_for_without_holding_anything_up(
    ahead: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thinking, "FIRST_PAUSE_SECONDS", 0.2)
    one, agent, said = ahead([AgentUnavailableError("529 overloaded"), 0.05, 0.06])
    one.brief(briefing())
    assert wait_until(lambda: bool(said), 5)
    assert "can't answer now (529 overloaded)" in said[0] and "0 s" in said[0]
    started = time.monotonic()
    assert one.take(briefing()) is None and time.monotonic() - started < 0.2
    assert wait_until(lambda: len(agent.briefings) == 3, 5)
    assert one.take(briefing()).description == "edit 2"


def test_a_short_retry_after_does_not_shorten_the_pauses_however_long_it_lasts(tmp_path: Path) -> None:
    asked, _ = researcher(tmp_path, [AgentUnavailableError("529", retry_after=1.0)] * 3)
    asked._failures = 5_000  # a week of overload
    for _ in range(3):
        assert asked.ask(briefing()) is None and asked.pause_seconds() > 500


def test_a_first_answer_hours_later_does_not_stop_the_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinking, "PERSON_STAYS_SECONDS", 0.0)
    asked, said = researcher(tmp_path, [AgentUnusableError("no credit")])
    assert asked.ask(briefing()) is None and asked.retired and "no credit. The night goes on" in said[0]


def test_an_agent_that_nobody_asked_for_does_not_stop_the_night(tmp_path: Path) -> None:
    asked, _ = researcher(tmp_path, [AgentUnusableError("not logged in")])
    asked.insisted = False
    assert asked.ask(briefing()) is None and DirectThinking(asked).is_over


def test_nothing_is_thought_up_that_no_time_is_left_for(ahead: Callable) -> None:
    one, agent, _ = ahead([0.05, 0.06, 0.07])
    running = (Proposal(edited(0.5), "running"),)
    one.brief(briefing(experiments_left=1, waiting=running))
    one.brief(briefing(hours_left=299 / 3600, waiting=running))
    time.sleep(0.1)
    assert agent.briefings == []
    one.brief(briefing(experiments_left=2, hours_left=301 / 3600, waiting=running))
    assert wait_until(lambda: len(agent.briefings) == 1, 5)
    time.sleep(0.1)
    assert len(agent.briefings) == 1


def test_pauses_double_up_to_a_bound_and_retry_after_is_heeded(tmp_path: Path) -> None:
    outages = [AgentUnavailableError("no network")] * 9
    asked, _ = researcher(tmp_path, [*outages, AgentUnavailableError("limit", retry_after=7200.0), 0.05])
    pauses = []
    for _ in range(10):
        assert asked.ask(briefing()) is None
        pauses.append(round(asked.pause_seconds()))
    assert pauses == [20, 40, 80, 160, 320, 600, 600, 600, 600, 3600]
    assert asked.ask(briefing()).description == "edit 11"
    spans = read_spans(tmp_path / "timeline.jsonl")
    assert [span["outcome"] for span in spans] == ["unavailable"] * 10 + ["proposal"]


def test_what_only_a_person_can_mend_stops_the_night_while_the_person_is_there(ahead: Callable) -> None:
    one, _, _ = ahead([AgentUnusableError("the key is wrong")])
    one.brief(briefing())
    with pytest.raises(AgentUnusableError, match="the key is wrong"):
        for _ in range(100):
            one.check()
            time.sleep(0.05)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (AgentUnusableError("credit is used up"), "credit is used up"),
        (SpendingLimitError("$5.00 of the $5.00 allowed by --max-usd are spent"), "--max-usd"),
        (KeyError("a fault"), "KeyError"),
    ],
)
def test_later_the_agent_is_retired_and_the_night_goes_on(tmp_path: Path, error: Exception, words: str) -> None:
    asked, said = researcher(tmp_path, [0.05, error])
    direct = DirectThinking(asked)
    assert direct.take(briefing()) is not None
    assert direct.take(briefing()) is None and words in asked.retired
    assert direct.take(briefing()) is None and len(asked.agent.briefings) == 2
    assert "goes on with the search agent" in said[-1]


def test_an_agent_with_nothing_left_says_so(tmp_path: Path) -> None:
    asked, _ = researcher(tmp_path, [AutoresearchError("everything was tried")])
    with pytest.raises(AutoresearchError, match="everything was tried"):
        DirectThinking(asked).take(briefing())


def test_fruitless_answers_lead_to_a_pause(tmp_path: Path) -> None:
    asked, said = researcher(tmp_path, [lambda b: b.source, lambda b: "def :", NoProposalError("no idea"), 0.05])
    for _ in range(3):
        assert asked.ask(briefing()) is None
    assert "exactly the file you were given" in said[0] and "not valid Python" in said[1] and "no idea" in said[2]
    assert asked.pause_seconds() > 0


def test_a_repair_is_asked_for_once_and_marked(tmp_path: Path) -> None:
    broken = edited(0.9)
    history = [*briefing().history, entry_of(1, 0, broken, "too fast", CRASH, None, "the loss is nan")]
    wanted = briefing(history=history, repair=1)
    asked, _ = researcher(tmp_path, [lambda b: b.base, 0.05, 0.06])
    assert asked.ask(wanted) is None  # unchanged: given up
    assert asked.ask(wanted).repairs is None and asked.agent.briefings[1].repair is None
    again, _ = researcher(tmp_path, [0.07])
    assert again.ask(wanted).repairs == 1


def test_closing_ends_the_thread(ahead: Callable) -> None:
    def until_closed(briefing: Briefing) -> str:
        agent.closed.wait(10)
        raise AgentUnavailableError("closed")

    one, agent, said = ahead([until_closed])
    one.brief(briefing())
    assert wait_until(lambda: bool(agent.briefings), 5)
    started = time.monotonic()
    one.close()
    assert time.monotonic() - started < 2 and not one._thread.is_alive() and said == []
