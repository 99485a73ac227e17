"""The anthropic agent through the real SDK, against a made-up server: its tools, its account, and everything that can
go wrong on the way."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import anthropic
import pytest
from entries import entry_of
from fake_llm import FakeLLM, text, thinking, tool_use
from waiting import wait_until

from mlx_autoresearch.agents import (
    AgentOptions,
    AgentUnavailableError,
    AgentUnusableError,
    NoProposalError,
    SpendingLimitError,
)
from mlx_autoresearch.agents.anthropic import ANSWERS, DEFAULT_MODEL, AnthropicAgent, Desk, Limits, ToolCall
from mlx_autoresearch.agents.briefing import Briefing
from mlx_autoresearch.agents.patience import Patience, ask_patiently, retry_after
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.records import CRASH, DISCARD, KEEP, Proposal
from mlx_autoresearch.spending import Ledger, SpendingLimits, known_prices

SOURCE = """from prepare import hand_in, run

RATE = 0.5
DEPTH = 4


def build_model():
    return RATE, DEPTH


def main():
    hand_in(build_model())


run(main)
"""

QUICK = Patience(tries=3, first_wait=0.01, longest_wait=0.3)
SUBMIT = {"description": "halve the rate", "hypothesis": "it oscillates", "expected": "-0.02 bpb"}
USAGE_TOKENS = 11 + 7 + 100 + 5
"""Of one answer of the fake."""

EVENTS = 20
"""Server-sent events of the good answer, `message_delta` and `message_stop` the last of them."""


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("API_KEY", "AUTH_TOKEN", "BASE_URL", "PROFILE", "CONFIG_DIR"):
        monkeypatch.delenv(f"ANTHROPIC_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def fake() -> Iterator[FakeLLM]:
    with FakeLLM(scripted(good_answer())) as server:
        yield server


def scripted(*answers: list[dict]) -> Callable[[dict, str], list[dict]]:
    """A policy that gives these answers one after the other, and the last one for ever."""
    left = list(answers)
    return lambda body, api: left.pop(0) if len(left) > 1 else left[0]


def edit(old: str, new: str) -> dict:
    return tool_use("edit", old=old, new=new)


def submit() -> dict:
    return tool_use("submit", **SUBMIT)


def good_answer() -> list[dict]:
    return [text("The rate is too high."), edit("RATE = 0.5", "RATE = 0.25"), submit()]


def make_ledger(folder: Path, limits: SpendingLimits | None = None) -> Ledger:
    return Ledger(folder / "spending.jsonl", known_prices(), limits)


def make_agent(fake: FakeLLM, folder: Path, **options) -> AnthropicAgent:
    limits, patience = options.pop("limits", None), options.pop("patience", QUICK)
    ledger = options.pop("ledger", None) or make_ledger(folder)
    options.setdefault("model", DEFAULT_MODEL)
    return AnthropicAgent(AgentOptions(ledger, base_url=fake.url, **options), patience, limits)


def spent(folder: Path) -> list[dict]:
    path = folder / "spending.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def brief(**changes) -> Briefing:
    tried = SOURCE.replace("DEPTH = 4", "DEPTH = 3")
    history = [
        entry_of(0, None, SOURCE, "baseline", KEEP, 1.2),
        entry_of(1, 0, tried, "fewer layers", DISCARD, 1.3, "Worse by 0.1.", log_tail="the end of its log"),
    ]
    return replace(Briefing("Make it better.", SOURCE, 0, 1.2, 0.01, history, 0, 300.0), **changes)


def results(fake: FakeLLM, request: int) -> list[dict]:
    """The tool results, and texts, in the newest message of a request."""
    return fake.requests[request].body["messages"][-1]["content"]


def test_an_edit_after_a_look_at_an_experiment(fake: FakeLLM, tmp_path: Path) -> None:
    thought = thinking("What was tried?")
    fake.policy = scripted([thought, text("A look first."), tool_use("read_experiment", number=1)], good_answer())
    proposal = make_agent(fake, tmp_path).propose(brief())
    assert proposal.source == SOURCE.replace("0.5", "0.25")
    assert (proposal.description, proposal.hypothesis, proposal.expected) == tuple(SUBMIT.values())
    assert (proposal.agent, proposal.parent, proposal.repairs) == ("anthropic", 0, None)
    first, second = (request.body["messages"] for request in fake.requests)
    assert first[0] == second[0] and [message["role"] for message in second] == ["user", "assistant", "user"]
    assert second[1]["content"][:2] == [thought, {"type": "text", "text": "A look first."}]
    (result,) = second[2]["content"]
    assert result["tool_use_id"] == second[1]["content"][2]["id"] and not result["is_error"]
    assert "fewer layers" in result["content"] and "the end of its log" in result["content"]
    assert len(spent(tmp_path)) == 2 and proposal.tokens == 2 * USAGE_TOKENS


def test_what_is_sent_to_another_server_is_plain(fake: FakeLLM, tmp_path: Path) -> None:
    fake.policy = scripted([tool_use("read_experiment", number=0)], good_answer())
    make_agent(fake, tmp_path, model="my-model").propose(brief())
    for request in fake.requests:
        assert set(request.body) == {"model", "max_tokens", "system", "tools", "messages", "stream"}
        assert request.body["model"] == "my-model" and request.body["stream"] is True
        assert "cache_control" not in json.dumps(request.body)
        assert {tool["name"] for tool in request.body["tools"]} == {"edit", "read_experiment", "submit"}
        assert "no-key-needed" in str(request.headers)
    assert json.loads((tmp_path / "spending.jsonl").read_text().splitlines()[0])["dollars"] is None


def test_what_is_sent_to_anthropic(fake: FakeLLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-made-up")
    options = AgentOptions(make_ledger(tmp_path), effort="high")
    agent = AnthropicAgent(options, QUICK)
    assert str(agent._client.base_url).startswith("https://api.anthropic.com")
    agent._client = agent._client.with_options(base_url=fake.url)
    fake.policy = scripted([tool_use("read_experiment", number=1)], [edit("DEPTH = 4", "DEPTH = 5")], good_answer())
    agent.propose(brief())
    fake.policy = scripted(good_answer())
    later = brief(history=[*brief().history, entry_of(2, 0, SOURCE + "\n\nX = 1\n", "another", DISCARD, 1.4)])
    agent.propose(later)
    for request in fake.requests:
        body = request.body
        assert body["thinking"] == {"type": "adaptive"} and body["output_config"] == {"effort": "high"}
        assert "sk-made-up" in str(request.headers)
        first, *others = body["messages"]
        assert first["content"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
        newest = others[-1] if others else first
        assert newest["content"][-1]["cache_control"] == {"type": "ephemeral", "ttl": "5m"}
        assert json.dumps(body).count('"cache_control"') == 2
    stable = [
        json.dumps([request.body["tools"], request.body["system"], request.body["messages"][0]["content"][0]])
        for request in fake.requests
    ]
    assert len(stable) == 4 and len(set(stable)) == 1
    changing = {json.dumps(request.body["messages"][0]["content"][1]["text"]) for request in fake.requests}
    assert len(changing) == 2


def test_older_models_are_not_asked_to_think_adaptively(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-made-up")
    agent = AnthropicAgent(AgentOptions(make_ledger(tmp_path), model="claude-haiku-4-5-20251001"))
    assert "thinking" not in agent._request and "output_config" not in agent._request


REFUSED = {
    "a syntax error": ("RATE = 0.5", "RATE = = 0.25", "not valid Python in line 3"),
    "a forbidden import": ("RATE = 0.5", "import torch\nRATE = float(torch.e)", "imports torch"),
    "a duplicate": ("DEPTH = 4", "DEPTH = 3  # fewer", "tried before, as experiment 1 (fewer layers; discard"),
    "a knob that nothing reads": ("DEPTH = 4", "DEPTH = 4\nWIDTH = 7", "never reads WIDTH"),
    "a comment": ("DEPTH = 4", "DEPTH = 4  # four", "changes nothing that the program reads"),
}


@pytest.mark.parametrize(("old", "new", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused_goes_back_and_is_mended(
    fake: FakeLLM, tmp_path: Path, old: str, new: str, reason: str
) -> None:
    fake.policy = scripted(
        [edit(old, new), submit()], [edit(new, "RATE = 0.125" if "RATE" in new else "DEPTH = 6"), submit()]
    )
    proposal = make_agent(fake, tmp_path).propose(brief())
    told = results(fake, 1)
    assert [result["is_error"] for result in told] == [False, True] and reason in told[1]["content"]
    assert proposal.source == SOURCE.replace(old, "RATE = 0.125" if "RATE" in old else "DEPTH = 6")
    assert proposal.tokens == 2 * USAGE_TOKENS


MISTAKES = {
    "an unknown tool": (tool_use("bash", command="rm -rf /"), "no tool named 'bash'"),
    "a missing argument": (tool_use("edit", old="RATE = 0.5"), "Missing or not a text: new"),
    "an argument of another kind": (tool_use("edit", old=["RATE"], new=7), "Missing or not a text: old, new"),
    "no arguments": (tool_use("submit"), "Missing or not a text: description, hypothesis, expected"),
    "a passage that is not there": (edit("RATE = 0.7", "RATE = 1"), "does not occur"),
    "a passage that is there twice": (edit("RATE", "PACE"), "occurs 2 times"),
    "an experiment that is not there": (tool_use("read_experiment", number=77), "no experiment 77; there are 0 to 1"),
    "no number": (tool_use("read_experiment", number={"n": 1}), "There is no experiment"),
    "no change": (submit(), "Nothing was changed"),
    "an empty description": (tool_use("submit", **{**SUBMIT, "description": " \n"}), "description is empty"),
}


@pytest.mark.parametrize(("call", "reason"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_with_tools_are_told(fake: FakeLLM, tmp_path: Path, call: dict, reason: str) -> None:
    fake.policy = scripted([call], good_answer())
    assert make_agent(fake, tmp_path).propose(brief()).source == SOURCE.replace("0.5", "0.25")
    (told,) = results(fake, 1)
    assert told["is_error"] and reason in told["content"]


def test_a_submission_after_a_failed_edit_waits(fake: FakeLLM, tmp_path: Path) -> None:
    fake.policy = scripted(
        [edit("RATE = 0.5", "RATE = 0.25"), edit("WIDTH = 7", "WIDTH = 8"), submit()],
        [edit("DEPTH = 4", "DEPTH = 5"), submit(), edit("DEPTH = 5", "DEPTH = 6")],
    )
    proposal = make_agent(fake, tmp_path).propose(brief())
    assert [result["is_error"] for result in results(fake, 1)] == [False, True, True]
    assert proposal.source == SOURCE.replace("0.5", "0.25").replace("DEPTH = 4", "DEPTH = 5")


def test_a_model_that_never_gets_there_is_left(fake: FakeLLM, tmp_path: Path) -> None:
    fake.policy = lambda body, api: [submit()]
    with pytest.raises(NoProposalError, match="no usable edit in 30 answers; the last one: Nothing was changed"):
        make_agent(fake, tmp_path).propose(brief())
    assert len(fake.requests) == ANSWERS == len(spent(tmp_path))


def test_ending_without_a_submission_is_reminded_once(fake: FakeLLM, tmp_path: Path) -> None:
    fake.policy = scripted([edit("RATE = 0.5", "RATE = 0.25")], [text("All done!")], [submit()])
    assert make_agent(fake, tmp_path).propose(brief()).source == SOURCE.replace("0.5", "0.25")
    result, reminder = results(fake, 2)
    assert result["type"] == "tool_result" and "ended without `submit`" in reminder["text"]
    fake.policy = scripted([])
    with pytest.raises(NoProposalError, match="ended without a submission"):
        make_agent(fake, tmp_path).propose(brief())
    assert len(fake.requests) == 3 + 2


def test_mending_starts_from_the_crashed_file(fake: FakeLLM, tmp_path: Path) -> None:
    broken = SOURCE.replace("return RATE, DEPTH", "return RATE, DEPTH / 0")
    crash = entry_of(2, 0, broken, "divide", CRASH, None, "ZeroDivisionError", log_tail="Traceback: by zero")
    fake.policy = scripted([edit("DEPTH / 0", "DEPTH / 2"), submit()])
    proposal = make_agent(fake, tmp_path).propose(brief(history=[*brief().history, crash], repair=2))
    assert proposal.source == SOURCE.replace("return RATE, DEPTH", "return RATE, DEPTH / 2")
    assert (proposal.parent, proposal.repairs) == (0, 2)
    stable, changing = fake.requests[0].body["messages"][0]["content"]
    assert "DEPTH / 0" not in stable["text"]
    assert "DEPTH / 0" in changing["text"] and "Traceback: by zero" in changing["text"]


def test_words_of_a_submission_are_bounded_and_on_one_line(fake: FakeLLM, tmp_path: Path) -> None:
    fields = {"description": "a\nb\x1b[31m" + "c" * 5000, "hypothesis": "d " * 5000, "expected": "e\r\n" * 5000}
    fake.policy = scripted([edit("RATE = 0.5", "RATE = 0.25"), tool_use("submit", **fields)])
    proposal = make_agent(fake, tmp_path).propose(brief())
    assert len(proposal.description) <= 160 and len(proposal.hypothesis) <= 800 and len(proposal.expected) <= 800
    assert proposal.description.startswith("a b") and all(
        words.isprintable() for words in (proposal.description, proposal.hypothesis, proposal.expected)
    )


UNAVAILABLE = [
    *("status:429", "status:429:0.05", "status:500", "status:502", "status:503", "status:529", "status:408"),
    *("reset", "close", "midreset:0", "midreset:1", "midreset:4", "midreset:9", "stall:9"),
    *("cut:0", "cut:1", "cut:4", "cut:8", "cut:12", "cut:15"),
    *("badjson", "badsse", "badsse:0", "badinput", "html", "emptybody", "shape", "badgzip", "shortlen"),
    *("sse_error:overloaded_error", "sse_error:api_error", "hang:9", "slowdrip", "pings"),
]
"""What passes: asked again, it works; asked in vain, the agent is unavailable."""

BEFORE_THE_FIRST_EVENT = ("status", "reset", "close", "midreset:0", "cut:0", "badsse:0", "badjson", "html", "emptybody")
UNRECORDED = (*BEFORE_THE_FIRST_EVENT, "shape", "badgzip", "shortlen", "hang")
"""Faults after which nothing is known that could have cost something."""


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Names of the tools that are carried out, by answer."""
    carried_out: list[list[str]] = []
    original = Desk.carry_out

    def carry_out(desk: Desk, calls: tuple[ToolCall, ...]) -> list[dict]:
        carried_out.append([call.name for call in calls])
        return original(desk, calls)

    monkeypatch.setattr(Desk, "carry_out", carry_out)
    return carried_out


@pytest.mark.parametrize("fault", UNAVAILABLE)
def test_what_passes_is_tried_again(fake: FakeLLM, tmp_path: Path, watched: list[list[str]], fault: str) -> None:
    fake.faults = [fault]
    slow = fault.startswith(("stall", "hang", "slowdrip", "pings"))
    agent = make_agent(fake, tmp_path, limits=Limits(seconds=1.5 if slow else 60.0))
    proposal = agent.propose(brief())
    assert proposal.source == SOURCE.replace("0.5", "0.25")
    assert watched == [["edit", "submit"]]
    assert [request.fault for request in fake.requests] == [fault, "ok"]
    assert fake.requests[0].body == fake.requests[1].body
    records = spent(tmp_path)
    assert len(records) == (1 if fault.startswith(UNRECORDED) else 2)
    assert proposal.tokens == sum(record["tokens"] for record in records)
    assert records[0]["input_tokens"] == 11 and records[-1]["output_tokens"] == 5


@pytest.mark.parametrize("missing", ["id", "name"])
def test_tool_calls_of_another_shape(fake: FakeLLM, tmp_path: Path, watched: list[list[str]], missing: str) -> None:
    call = edit("RATE = 0.5", "RATE = 0.25")
    del call[missing]
    fake.policy = scripted([call], good_answer())
    assert make_agent(fake, tmp_path).propose(brief()).source == SOURCE.replace("0.5", "0.25")
    assert watched == [["edit", "submit"]] and len(spent(tmp_path)) == 2


@pytest.mark.parametrize(
    "fault", ["status:529", "reset", "cut:15", "midreset:9", "html", "badsse", "sse_error:api_error"]
)
def test_what_does_not_pass_makes_the_agent_unavailable(
    fake: FakeLLM, tmp_path: Path, watched: list[list[str]], fault: str
) -> None:
    fake.faults = [fault] * 9
    with pytest.raises(AgentUnavailableError) as caught:
        make_agent(fake, tmp_path).propose(brief())
    assert len(fake.requests) == QUICK.tries and watched == [] and str(caught.value)
    assert len(spent(tmp_path)) == (0 if fault.startswith(UNRECORDED) else QUICK.tries)


def test_wherever_a_stream_is_cut(fake: FakeLLM, tmp_path: Path, watched: list[list[str]]) -> None:
    """Before the stop reason nothing is carried out, although the tool calls are whole; after it everything."""
    agent = make_agent(fake, tmp_path, patience=Patience(tries=1))
    for events in range(EVENTS - 1):
        fake.faults = [f"cut:{events}"]
        with pytest.raises(AgentUnavailableError):
            agent.propose(brief())
    assert watched == []
    fake.faults = [f"cut:{EVENTS - 1}"]
    assert agent.propose(brief()).source == SOURCE.replace("0.5", "0.25")
    assert watched == [["edit", "submit"]]


def test_server_that_asks_for_hours_is_left_at_once(fake: FakeLLM, tmp_path: Path) -> None:
    fake.faults = ["status:429:7200"] * 9
    started = time.monotonic()
    with pytest.raises(AgentUnavailableError) as caught:
        make_agent(fake, tmp_path, patience=Patience()).propose(brief())
    assert caught.value.retry_after == 7200 and len(fake.requests) == 1 and time.monotonic() - started < 5


@pytest.mark.parametrize("fault", ["stop:max_tokens", "stop:model_context_window_exceeded", "huge:2000000"])
def test_cut_answers_are_dropped_whole(fake: FakeLLM, tmp_path: Path, watched: list[list[str]], fault: str) -> None:
    fake.faults = [fault]
    proposal = make_agent(fake, tmp_path).propose(brief())
    assert proposal.source == SOURCE.replace("0.5", "0.25") and watched == [["edit", "submit"]]
    assert "cut off" in results(fake, 1)[-1]["text"] and len(fake.requests[1].body["messages"]) == 1
    records = spent(tmp_path)
    assert len(records) == 2 and proposal.tokens == sum(record["tokens"] for record in records)
    if fault.startswith("huge"):
        assert records[0]["output_tokens"] >= 100_000  # an estimate: the count was to come at the end
    fake.faults = [fault] * 2
    with pytest.raises(NoProposalError, match="cut off at their length"):
        make_agent(fake, tmp_path).propose(brief())
    assert len(watched) == 1


def test_huge_tool_call_is_dropped(fake: FakeLLM, tmp_path: Path, watched: list[list[str]]) -> None:
    fake.policy = scripted([edit("RATE = 0.5", "RATE = 0.25\n" + "#" * 2_000_000)], good_answer())
    assert make_agent(fake, tmp_path).propose(brief()).source == SOURCE.replace("0.5", "0.25")
    assert watched == [["edit", "submit"]]


@pytest.mark.parametrize("reason", ["end_turn", "stop_sequence", "pause_turn", "something_new"])
def test_tools_run_only_where_the_answer_ended_for_them(
    fake: FakeLLM, tmp_path: Path, watched: list[list[str]], reason: str
) -> None:
    fake.faults = [f"stop:{reason}"] * 2
    with pytest.raises(NoProposalError, match=reason):
        make_agent(fake, tmp_path).propose(brief())
    assert watched == [] and len(spent(tmp_path)) == 2


def test_a_refusal_is_no_proposal(fake: FakeLLM, tmp_path: Path, watched: list[list[str]]) -> None:
    fake.faults = ["stop:refusal"]
    with pytest.raises(NoProposalError, match="refused"):
        make_agent(fake, tmp_path).propose(brief())
    assert watched == [] and len(spent(tmp_path)) == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("status:401", "ANTHROPIC_API_KEY"),
        ("status:402", "no credit"),
        ("status:403", "may not be used"),
        ("status:404", "--model"),
        ("credit", "no credit"),
        ("usage_limit", "reached its limit"),
    ],
)
def test_what_only_a_person_can_mend(fake: FakeLLM, tmp_path: Path, fault: str, words: str) -> None:
    fake.faults = [fault]
    with pytest.raises(AgentUnusableError, match=words):
        make_agent(fake, tmp_path).propose(brief())
    assert len(fake.requests) == 1 and spent(tmp_path) == []


@pytest.mark.parametrize("fault", ["status:400", "status:413", "status:422"])
def test_question_that_the_server_does_not_want(fake: FakeLLM, tmp_path: Path, fault: str) -> None:
    fake.faults = [fault]
    with pytest.raises(NoProposalError, match=f"answers {fault[-3:]}"):
        make_agent(fake, tmp_path).propose(brief())
    assert len(fake.requests) == 1


def test_nobody_listens(tmp_path: Path) -> None:
    with FakeLLM(scripted(good_answer())) as fake:
        pass
    with pytest.raises(AgentUnavailableError, match="refused"):
        make_agent(fake, tmp_path).propose(brief())


def test_without_a_key_the_person_is_told_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = AgentOptions(make_ledger(tmp_path))
    with pytest.raises(AgentUnusableError, match="export ANTHROPIC_API_KEY"):
        AnthropicAgent(options)
    for key in ("sk made-up", "sk-made-up\n", "sk-«made-up»"):
        monkeypatch.setenv("ANTHROPIC_API_KEY", key)
        with pytest.raises(AgentUnusableError, match="ANTHROPIC_API_KEY holds") as caught:
            AnthropicAgent(options)
        assert "made-up" not in str(caught.value)
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "a-token")
    assert AnthropicAgent(options).name == "anthropic"
    monkeypatch.setenv("ANTHROPIC_PROFILE", "nowhere")
    monkeypatch.delenv("ANTHROPIC_AUTH_TOKEN")
    with pytest.raises(AgentUnusableError, match="nowhere"):
        AnthropicAgent(options)


def test_addresses(fake: FakeLLM, tmp_path: Path) -> None:
    with pytest.raises(AgentUnusableError, match="http://"):
        AnthropicAgent(AgentOptions(make_ledger(tmp_path), base_url="localhost:8080"))
    agent = AnthropicAgent(AgentOptions(make_ledger(tmp_path), base_url=fake.url + "/v1/"))
    assert agent.propose(brief()).description == SUBMIT["description"]


def test_costs_with_the_prompt_cache(fake: FakeLLM, tmp_path: Path) -> None:
    written = {"ephemeral_5m_input_tokens": 2_000_000, "ephemeral_1h_input_tokens": 1_000_000}
    fake.usage = {
        "input_tokens": 1_000_000,
        "output_tokens": 1_000_000,
        "cache_read_input_tokens": 10_000_000,
        "cache_creation_input_tokens": 3_000_000,
        "cache_creation": written,
    }
    proposal = make_agent(fake, tmp_path).propose(brief())
    assert proposal.tokens == 15_000_000
    assert proposal.dollars == pytest.approx(4 + 20 + 10 * 0.2 + 2 * 5 + 8)
    (record,) = spent(tmp_path)
    assert (record["cache_write_tokens"], record["cache_write_hour_tokens"]) == (2_000_000, 1_000_000)
    assert (record["agent"], record["model"]) == ("anthropic", DEFAULT_MODEL)


def test_usage_with_holes_counts_as_far_as_it_goes(fake: FakeLLM, tmp_path: Path) -> None:
    holes = dict.fromkeys(("cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation"))
    fake.usage = {**holes, "input_tokens": None}
    assert make_agent(fake, tmp_path).propose(brief()).tokens == 5


def test_limits_stop_the_spending(fake: FakeLLM, tmp_path: Path) -> None:
    ledger = make_ledger(tmp_path, SpendingLimits(tokens=2 * USAGE_TOKENS))
    fake.policy = lambda body, api: [tool_use("read_experiment", number=1)]
    with pytest.raises(SpendingLimitError, match="--max-tokens"):
        make_agent(fake, tmp_path, ledger=ledger).propose(brief())
    assert len(fake.requests) == 2
    with pytest.raises(AutoresearchError, match="price of my-model is not known"):
        make_agent(fake, tmp_path, ledger=make_ledger(tmp_path, SpendingLimits(dollars=1.0)), model="my-model")


@pytest.mark.parametrize("fault", ["hang:30", "stall:30", "slowdrip", "pings", "status:503"])
def test_closing_ends_it_soon(fake: FakeLLM, tmp_path: Path, fault: str) -> None:
    fake.faults = [fault] * 3
    agent = make_agent(fake, tmp_path, patience=Patience(first_wait=30.0))
    outcome: list[Exception | Proposal] = []

    def propose() -> None:
        try:
            outcome.append(agent.propose(brief()))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=propose)
    thread.start()
    assert wait_until(lambda: len(fake.requests) == 1, 10)
    time.sleep(0.1)
    started = time.monotonic()
    agent.close()
    agent.close()
    thread.join(10)
    assert time.monotonic() - started < 2 and isinstance(outcome[0], AgentUnavailableError)
    with pytest.raises(AgentUnavailableError, match="closed"):
        agent.propose(brief())
    assert len(fake.requests) == 1
    if fault != "hang:30":  # without an answer there is nothing to shut down: that thread ends with its timeout
        assert wait_until(lambda: not any(t.name == "model's answer" for t in threading.enumerate()), 5)


def test_a_slow_stream_has_a_limit(fake: FakeLLM, tmp_path: Path) -> None:
    fake.faults = ["pings"] * 3
    started = time.monotonic()
    with pytest.raises(AgentUnavailableError, match=r"no end of the answer after 0.2 s"):
        make_agent(fake, tmp_path, limits=Limits(seconds=0.2)).propose(brief())
    assert time.monotonic() - started < 5
    assert wait_until(lambda: not any(t.name == "model's answer" for t in threading.enumerate()), 5)


def test_patience() -> None:
    waits: list[float] = []

    class Closing(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            return False

    errors = iter([AgentUnavailableError("a"), AgentUnavailableError("b", 20), AgentUnavailableError("c", 0)])

    def ask() -> str:
        for error in errors:
            raise error
        return "answer"

    assert ask_patiently(ask, Patience(tries=4, first_wait=8, longest_wait=20), Closing()) == "answer"
    assert waits == [8, 20, 20]
    errors = iter([NoProposalError("not mine")])
    with pytest.raises(NoProposalError):
        ask_patiently(ask, Patience(), Closing())


def test_retry_after_in_its_forms() -> None:
    assert retry_after({"retry-after": "12.5"}) == 12.5 and retry_after({"retry-after": "-3"}) == 0.0
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    assert retry_after({"retry-after": "Wed, 21 Oct 2099 07:28:00 GMT"}) > 1e9
    for value in ({}, {"retry-after": "soon"}, {"retry-after": "nan"}, {"retry-after": ""}, {"retry-after": "inf"}):
        assert retry_after(value) is None


def test_the_default_model_is_one_that_the_sdk_knows() -> None:
    assert DEFAULT_MODEL in str(anthropic.types.Model) and DEFAULT_MODEL in known_prices().models


def test_the_key_stays_away_from_a_server_named_for_the_night(
    fake: FakeLLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret")
    make_agent(fake, tmp_path).propose(brief())
    assert "sk-secret" not in str(fake.requests[-1].headers)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", fake.url)  # here the person paired the two
    AnthropicAgent(AgentOptions(make_ledger(tmp_path)), QUICK).propose(brief())
    assert "sk-secret" in str(fake.requests[-1].headers)
