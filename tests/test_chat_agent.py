"""The chat agent and its SEARCH/REPLACE conversation against a server that answers well, badly, or not at all."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from entries import entry_of
from fake_llm import FakeLLM, text, tool_use
from waiting import wait_until

from mlx_autoresearch.agents import (
    AgentOptions,
    AgentUnavailableError,
    AgentUnusableError,
    NoProposalError,
    SpendingLimitError,
    chat,
    conversation,
    proposing,
)
from mlx_autoresearch.agents.briefing import Briefing
from mlx_autoresearch.agents.chat import ChatAgent, Limits, completions_url
from mlx_autoresearch.agents.patience import Patience
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.records import CRASH, DISCARD, KEEP
from mlx_autoresearch.spending import Ledger, Price, PriceTable, SpendingLimits, Usage

SOURCE = """from prepare import hand_in, machine_class, run

M = machine_class()
DEPTH = (4, 3, 6, 8)[M]  # {2..12}
RATE = 0.15  # {0.005..0.2 log}


def build_model():
    return DEPTH, RATE


def main():
    hand_in(build_model())


run(main)
"""

PRICES = PriceTable("2026-11-25", {"known": Price(2.0, 10.0, 0.5, 2.0, 2.0)})

QUICK = Patience(tries=3, first_wait=0.01, longest_wait=0.05)


def brief(**changes: object) -> Briefing:
    history = [entry_of(0, None, SOURCE, "baseline", KEEP, 2.0)]
    values = {"source": SOURCE, "incumbent": 0, "incumbent_bpb": 2.0, "noise": 0.01, "history": history}
    return Briefing(**{"program": "Lower val_bpb.", "machine_class": 0, "budget_seconds": 300.0, **values, **changes})


def block(old: str, new: str) -> str:
    return f"<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n"


def edit(old: str, new: str) -> str:
    words = "DESCRIPTION: a smaller rate\nHYPOTHESIS: steps are too large\nEXPECTED: 0.02 lower\n\n"
    return words + block(old, new)


DEPTH_LINE, DEEPER_LINE = "DEPTH = (4, 3, 6, 8)[M]  # {2..12}", "DEPTH = (5, 3, 6, 8)[M]  # {2..12}"
RATE_LINE, LOWER_LINE = "RATE = 0.15  # {0.005..0.2 log}", "RATE = 0.05  # {0.005..0.2 log}"
GOOD = block(RATE_LINE, LOWER_LINE)
GOOD_ANSWER = edit(RATE_LINE, LOWER_LINE)
EDITED = SOURCE.replace(RATE_LINE, LOWER_LINE)


@pytest.fixture
def server() -> Iterator[FakeLLM]:
    with FakeLLM(lambda body, api: [text(GOOD_ANSWER)]) as fake:
        yield fake


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "spending.jsonl", PRICES)


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(chat.KEY_VARIABLE, raising=False)


def agent_for(server: FakeLLM, ledger: Ledger, limits: Limits | None = None, **options: str) -> ChatAgent:
    chosen = {"model": "known", "base_url": server.url, **options}
    return ChatAgent(AgentOptions(ledger, **chosen), QUICK, limits)


@contextmanager
def dripping_server() -> Iterator[str]:
    """Address of a server that sends one byte of its headers, then another, and so on."""
    ended = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nx-drip: ")
            while not ended.wait(0.02):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        ended.set()
        thread.join(5)


def answering(server: FakeLLM, *answers: str) -> None:
    """Let the server give these answers in turn, the last one for ever."""
    waiting = list(answers)
    server.policy = lambda body, api: [text(waiting.pop(0) if len(waiting) > 1 else waiting[0])]


def test_a_good_edit(server: FakeLLM, ledger: Ledger) -> None:
    proposal = agent_for(server, ledger).propose(brief())
    assert proposal.source == EDITED and proposal.agent == "chat" and proposal.parent == 0
    assert proposal.description == "a smaller rate" and proposal.hypothesis == "steps are too large"
    assert proposal.expected == "0.02 lower" and proposal.tokens == 15
    system, user = server.requests[0].body["messages"]
    assert (system["role"], user["role"]) == ("system", "user")
    assert "Lower val_bpb." in system["content"] and SOURCE.strip() in system["content"]
    assert "SEARCH" in user["content"] and "SEARCH" not in system["content"]
    assert "authorization" not in server.requests[0].headers and "reasoning_effort" not in server.requests[0].body


def test_key_effort_and_limit_are_sent(server: FakeLLM, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(chat.KEY_VARIABLE, "secret\n")
    agent_for(server, ledger, effort="high").propose(brief())
    request = server.requests[0]
    assert request.headers["authorization"] == "Bearer secret" and request.body["reasoning_effort"] == "high"
    assert request.body["max_tokens"] == chat.MAX_TOKENS and request.body["model"] == "known"


def test_what_can_not_be_applied_goes_back_and_is_mended(server: FakeLLM, ledger: Ledger) -> None:
    answering(server, edit("RATE = 0.99", "RATE = 0.05"), edit(RATE_LINE, f"import torch\n{RATE_LINE}"), GOOD_ANSWER)
    proposal = agent_for(server, ledger).propose(brief())
    assert proposal.source == EDITED and proposal.tokens == 3 * 15
    messages = server.requests[2].body["messages"]
    assert [message["role"] for message in messages] == ["system", "user", *["assistant", "user"] * 2]
    assert "does not occur" in messages[3]["content"] and "imports torch" in messages[5]["content"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("I would lower the rate.", "no SEARCH/REPLACE block"),
        ("", "no SEARCH/REPLACE block"),
        (edit("    return DEPTH, RATE", "    return DEPTH, RATE)"), "not valid Python in line"),
        (edit(RATE_LINE, "RATE =  0.15"), "changes nothing"),
        (edit("\n", "\n\n"), "occurs 4 times"),
        (GOOD_ANSWER.replace(">>>>>>> REPLACE", ""), "no SEARCH/REPLACE block"),
        (GOOD_ANSWER + "<<<<<<< SEARCH\nhalf", "not complete"),
        (f"<think>{GOOD_ANSWER}</think> That is my plan.", "no SEARCH/REPLACE block"),
        (f"<think>{GOOD_ANSWER}", "no SEARCH/REPLACE block"),
    ],
)
def test_three_answers_that_can_not_be_used(server: FakeLLM, ledger: Ledger, answer: str, reason: str) -> None:
    answering(server, answer)
    with pytest.raises(NoProposalError, match=reason):
        agent_for(server, ledger).propose(brief())
    assert len(server.requests) == conversation.ANSWERS and ledger.total.tokens == 3 * 15


def test_duplicates_are_told_the_earlier_result(server: FakeLLM, ledger: Ledger) -> None:
    answering(server, GOOD_ANSWER, edit(DEPTH_LINE, DEEPER_LINE))
    tried = entry_of(7, 0, EDITED + "# nothing\n", "rate down", DISCARD, 2.1)
    proposal = agent_for(server, ledger).propose(brief(history=[*brief().history, tried]))
    assert proposal.source == SOURCE.replace(DEPTH_LINE, DEEPER_LINE)
    assert "experiment 7 (rate down; discard, val_bpb 2.1000)" in server.requests[1].body["messages"][-1]["content"]


@pytest.mark.parametrize("stop", ["max_tokens", "refusal", "tool_use", "unheard_of"])
def test_nothing_of_an_answer_without_its_own_end_is_applied(server: FakeLLM, ledger: Ledger, stop: str) -> None:
    answering(server, GOOD_ANSWER + "a long tail that can be cut off " * 50)
    server.faults = [f"stop:{stop}"] * 3
    with pytest.raises(NoProposalError, match="own end"):
        agent_for(server, ledger).propose(brief())
    assert len(server.requests) == 3


def test_a_cut_answer_is_followed_by_a_whole_one(server: FakeLLM, ledger: Ledger) -> None:
    server.faults = ["stop:max_tokens"]
    assert agent_for(server, ledger).propose(brief()).source == EDITED
    assert "fewer words" in server.requests[1].body["messages"][-1]["content"]


def test_tool_calls_are_not_obeyed(server: FakeLLM, ledger: Ledger) -> None:
    server.policy = lambda body, api: [text(GOOD_ANSWER), tool_use("edit", old="RATE", new="rate")]
    with pytest.raises(NoProposalError):
        agent_for(server, ledger).propose(brief())


@pytest.mark.parametrize("thoughts", ["<think>Perhaps " + edit("a", "b") + "</think>\n", edit("a", "b") + "</think>\n"])
def test_thoughts_are_cut_away(server: FakeLLM, ledger: Ledger, thoughts: str) -> None:
    answering(server, thoughts + GOOD_ANSWER)
    assert agent_for(server, ledger).propose(brief()).source == EDITED
    assert len(server.requests) == 1


def test_markup_line_ends_and_fences_do_no_harm(server: FakeLLM, ledger: Ledger) -> None:
    words = "**Description:** a \x1b[31mred\x1b[0m rate\n- Hypothesis: long\n  story\n\nmore\n### EXPECTED: -0.02\n"
    answering(server, (words + "```python\n" + GOOD + "```\n").replace("\n", "\r\n"))
    proposal = agent_for(server, ledger).propose(brief())
    assert proposal.source == EDITED and proposal.expected == "-0.02"
    assert proposal.description == "a [31mred [0m rate" and proposal.hypothesis == "long story"


def test_labels_inside_blocks_are_code(server: FakeLLM, ledger: Ledger) -> None:
    answering(server, "DESCRIPTION: real\n" + block(RATE_LINE, f"# HYPOTHESIS: a comment\n{LOWER_LINE}"))
    proposal = agent_for(server, ledger).propose(brief())
    assert (proposal.description, proposal.hypothesis) == ("real", "")


def test_a_missing_description_is_made_from_the_edit(server: FakeLLM, ledger: Ledger) -> None:
    answering(server, GOOD + block("    return DEPTH, RATE", "    return RATE, DEPTH"))
    proposal = agent_for(server, ledger).propose(brief())
    assert proposal.description == "changes RATE 0.15 -> 0.05, build_model"
    assert proposal.hypothesis == proposal.expected == ""


def test_fields_are_bounded(server: FakeLLM, ledger: Ledger) -> None:
    answering(server, f"DESCRIPTION: {'long ' * 500}\nHYPOTHESIS: {'x' * 100_000}\n" + GOOD)
    proposal = agent_for(server, ledger).propose(brief())
    assert len(proposal.description) <= proposing.DESCRIPTION_CHARACTERS
    assert len(proposal.hypothesis) <= proposing.FIELD_CHARACTERS


def test_a_repair_edits_the_crashed_file(server: FakeLLM, ledger: Ledger) -> None:
    crashed = SOURCE.replace("return DEPTH, RATE", "return DEPTH / 0, RATE")
    answering(server, edit("    return DEPTH / 0, RATE", "    return DEPTH / 1, RATE"))
    history = [*brief().history, entry_of(4, 0, crashed, "halve", CRASH, None, log_tail="ZeroDivisionError")]
    proposal = agent_for(server, ledger).propose(brief(history=history, repair=4))
    assert "return DEPTH / 1, RATE" in proposal.source and proposal.parent == 0


PASSING = [
    "status:429", "status:500", "status:503", "status:529", "status:302", "reset", "close", "html", "badjson",
    "emptybody", "shape", "badgzip", "shortlen", "status:418",
]  # fmt: skip


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_asked_again(server: FakeLLM, ledger: Ledger, fault: str) -> None:
    server.faults = [fault] * 2
    assert agent_for(server, ledger).propose(brief()).source == EDITED
    server.faults = [fault] * 9
    with pytest.raises(AgentUnavailableError):
        agent_for(server, ledger).propose(brief())
    assert len(server.requests) == 3 + QUICK.tries and ledger.total.tokens == 15


def test_a_long_retry_after_is_passed_on_at_once(server: FakeLLM, ledger: Ledger) -> None:
    server.faults = ["status:429:7200"]
    started = time.monotonic()
    with pytest.raises(AgentUnavailableError, match="status 429: a made-up error 429") as caught:
        agent_for(server, ledger).propose(brief())
    assert caught.value.retry_after == 7200 and time.monotonic() - started < 5 and len(server.requests) == 1


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        ("status:401", chat.KEY_VARIABLE),
        ("status:402", "no credit"),
        ("status:403", chat.KEY_VARIABLE),
        ("status:404", "--base-url"),
        ("credit", "no credit"),
    ],
)
def test_what_only_a_person_can_mend(server: FakeLLM, ledger: Ledger, fault: str, advice: str) -> None:
    server.faults = [fault]
    with pytest.raises(AgentUnusableError, match=advice):
        agent_for(server, ledger).propose(brief())
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": {"message": "too\\nmuch", "code": "insufficient_quota"}}', "too much (insufficient_quota)"),
        (b'{"error": {"message": "no"}}', "no"),
        (b'{"error": "not\\u001b[1m here"}', "not [1m here"),
        (b"<html>\r\n<b>502</b>", "<html> <b>502</b>"),
        (b"[" * 5000, "[" * (chat.ERROR_CHARACTERS - 1) + "…"),
        (b"", ""),
    ],
)
def test_words_of_an_error(body: bytes, words: str) -> None:
    assert chat.error_words(body) == words


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_question_brings_no_proposal(server: FakeLLM, ledger: Ledger, status: int) -> None:
    server.faults = [f"status:{status}"]
    with pytest.raises(NoProposalError, match=f"made-up error {status}"):
        agent_for(server, ledger).propose(brief())


def test_a_stall_and_a_huge_answer_come_to_an_end(server: FakeLLM, ledger: Ledger) -> None:
    server.faults = ["hang:60", "stall:60", "huge:2000000", "huge:6000000"]
    limits = Limits(seconds=0.3)
    started = time.monotonic()
    assert agent_for(server, ledger, limits).propose(brief()).source == EDITED
    assert time.monotonic() - started < 20 and not server.faults
    assert len(server.requests[3].body["messages"][2]["content"]) == conversation.KEPT_CHARACTERS


def test_a_server_that_sends_byte_by_byte(ledger: Ledger) -> None:
    with dripping_server() as url:
        agent = ChatAgent(AgentOptions(ledger, model="known", base_url=url), Patience(1), Limits(seconds=0.3))
        with pytest.raises(AgentUnavailableError, match=r"did not answer within 0\.3 s"):
            agent.propose(brief())


def test_close_ends_a_request_that_waits(server: FakeLLM, ledger: Ledger) -> None:
    server.faults = ["hang:60"]
    agent, ends = agent_for(server, ledger), []

    def propose() -> None:
        try:
            agent.propose(brief())
        except AgentUnavailableError as error:
            ends.append(str(error))

    thread = threading.Thread(target=propose)
    thread.start()
    assert wait_until(lambda: bool(server.requests), 5)
    agent.close()
    agent.close()
    thread.join(5)
    assert ends == ["the agent was closed"] and len(server.requests) == 1
    with pytest.raises(AgentUnavailableError):
        agent.propose(brief())


def test_nobody_listens(ledger: Ledger) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        agent = ChatAgent(AgentOptions(ledger, model="known", base_url=url), QUICK)
        with pytest.raises(
            AgentUnavailableError, match=r"no connection to http://127\.0\.0\.1:\d+/v1.*is the server running"
        ):
            agent.propose(brief())


def test_costs(server: FakeLLM, ledger: Ledger, tmp_path: Path) -> None:
    server.usage = {"prompt_tokens": 1_000_000, "prompt_tokens_details": {"cached_tokens": 400_000}}
    answering(server, "no block", GOOD_ANSWER)
    proposal = agent_for(server, ledger).propose(brief())
    each = 0.6 * 2.0 + 0.4 * 0.5 + 5 * 10.0 / 1e6
    assert proposal.tokens == 2 * 1_000_005 and proposal.dollars == pytest.approx(2 * each)
    assert ledger.total.dollars == pytest.approx(2 * each)
    assert len((tmp_path / "spending.jsonl").read_text().splitlines()) == 2


def test_unknown_prices_stay_unknown(server: FakeLLM, ledger: Ledger) -> None:
    assert agent_for(server, ledger, model="mystery").propose(brief()).dollars is None


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, Usage()),
        ("many", Usage()),
        ({"prompt_tokens": None, "completion_tokens": -3, "prompt_tokens_details": None}, Usage()),
        ({"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 9}}, Usage(cache_read_tokens=3)),
    ],
)
def test_usage_in_other_shapes(usage: object, expected: Usage) -> None:
    assert chat.read_usage(usage) == expected


def test_the_spending_limit_is_kept_before_every_request(server: FakeLLM, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "spending.jsonl", PRICES, SpendingLimits(tokens=20))
    answering(server, "no block")
    agent = agent_for(server, ledger)
    with pytest.raises(SpendingLimitError, match="--max-tokens"):
        agent.propose(brief())
    assert len(server.requests) == 2
    with pytest.raises(SpendingLimitError):
        agent.propose(brief())
    assert len(server.requests) == 2


def test_a_limit_in_dollars_needs_a_price(server: FakeLLM, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "spending.jsonl", PRICES, SpendingLimits(dollars=1.0))
    with pytest.raises(AutoresearchError, match="price of mystery"):
        agent_for(server, ledger, model="mystery")


@pytest.mark.parametrize(
    "options", [{}, {"model": "m"}, {"base_url": "http://localhost"}, {"model": "m", "base_url": "localhost:80"}]
)
def test_what_is_missing_is_said(ledger: Ledger, options: dict[str, str]) -> None:
    with pytest.raises(AgentUnusableError, match=r"--base-url"):
        ChatAgent(AgentOptions(ledger, **options))


def test_a_key_that_no_header_can_carry(server: FakeLLM, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(chat.KEY_VARIABLE, "schlüssel")
    with pytest.raises(AgentUnusableError, match=chat.KEY_VARIABLE):
        agent_for(server, ledger)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1/chat/completions"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/v1/chat/completions"),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1/chat/completions"),
        ("https://openrouter.ai/api/v1/", "https://openrouter.ai/api/v1/chat/completions"),
        ("https://host/v1/chat/completions", "https://host/v1/chat/completions"),
        ("https://host/v1beta/openai", "https://host/v1beta/openai/chat/completions"),
    ],
)
def test_addresses(given: str, expected: str) -> None:
    assert str(completions_url(given)) == expected


def test_openai_gets_the_limit_by_its_new_name(ledger: Ledger) -> None:
    agent = ChatAgent(AgentOptions(ledger, model="known", base_url="https://api.openai.com/v1"))
    request = agent._request([])
    assert request["max_completion_tokens"] == chat.OPENAI_MAX_TOKENS and "max_tokens" not in request


def test_an_answer_that_never_comes_is_written_down_as_lost(server: FakeLLM, ledger: Ledger) -> None:
    answering(server, GOOD)
    server.faults = ["shortlen"] * 9
    with pytest.raises(AgentUnavailableError):
        agent_for(server, ledger).propose(brief())
    assert ledger.total.dollars is None and ledger.total.tokens == 0


def test_an_address_is_shown_without_its_secrets() -> None:
    url = completions_url("https://user:hunter2@example.org:8443/v1?key=sk-secret")
    assert chat.shown(url) == "https://example.org:8443/v1/chat/completions"
