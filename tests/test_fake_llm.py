"""The made-up language-model server: chat completions and responses, as JSON and as streams. (Messages are shown by the
real SDK in test_anthropic_agent.py.)"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from fake_llm import FakeLLM, custom_tool_use, text, tool_use

WORDS = "An answer of more than twenty characters, in pieces."
ANSWER = [text(WORDS), tool_use("edit", old="a", new="b")]


@pytest.fixture
def fake() -> Iterator[FakeLLM]:
    with FakeLLM(lambda body, api: ANSWER) as server:
        yield server


def post(fake: FakeLLM, path: str, **body: object) -> bytes:
    request = urllib.request.Request(fake.url + path, json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()


def events(raw: bytes) -> list[dict]:
    data = [line.removeprefix("data: ") for line in raw.decode().split("\n") if line.startswith("data: ")]
    return [json.loads(words) for words in data if words != "[DONE]"]


def test_chat_completions(fake: FakeLLM) -> None:
    fake.usage = {"prompt_tokens": 99}
    whole = json.loads(post(fake, "/v1/chat/completions", model="m"))
    (choice,) = whole["choices"]
    assert choice["message"]["content"] == WORDS and choice["finish_reason"] == "tool_calls" and whole["model"] == "m"
    assert json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"]) == {"old": "a", "new": "b"}
    assert whole["usage"]["prompt_tokens"] == 99
    raw = post(fake, "/v1/chat/completions", model="m", stream=True)
    chunks = events(raw)
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(delta.get("content", "") for delta in deltas) == WORDS and raw.rstrip().endswith(b"[DONE]")
    assert chunks[-1]["usage"] == whole["usage"] and chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert [(request.path, request.body["model"]) for request in fake.requests] == [("/v1/chat/completions", "m")] * 2


def test_responses(fake: FakeLLM) -> None:
    fake.policy = lambda body, api: [*ANSWER, custom_tool_use("apply_patch", "*** Begin")]
    whole = json.loads(post(fake, "/v1/responses?x=1"))
    assert [item["type"] for item in whole["output"]] == ["message", "function_call", "custom_tool_call"]
    assert whole["output"][2]["input"] == "*** Begin"
    stream = events(post(fake, "/v1/responses", stream=True))
    assert [stream[0]["type"], stream[-1]["type"]] == ["response.created", "response.completed"]
    assert stream[-1]["response"]["output"][0]["content"][0]["text"] == WORDS


def test_faults_are_used_up_in_order(fake: FakeLLM) -> None:
    fake.policy = lambda body, api: [text(WORDS)]
    fake.faults = ["status:429:7", "close", "stop:max_tokens", "cut:2", "shortlen", "badjson"]
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(fake, "/v1/chat/completions")
    assert (caught.value.code, caught.value.headers["retry-after"]) == (429, "7")
    with pytest.raises(http.client.RemoteDisconnected):
        post(fake, "/v1/chat/completions")
    assert json.loads(post(fake, "/v1/messages/count_tokens", a="b")) == {"input_tokens": 2}  # uses up none
    (choice,) = json.loads(post(fake, "/v1/chat/completions"))["choices"]
    assert choice["finish_reason"] == "length" and choice["message"]["content"] == WORDS[: len(WORDS) // 2]
    assert len(events(post(fake, "/v1/chat/completions", stream=True))) == 2
    with pytest.raises(http.client.IncompleteRead):
        post(fake, "/v1/chat/completions")
    with pytest.raises(ValueError):
        json.loads(post(fake, "/v1/chat/completions"))
    assert json.loads(post(fake, "/v1/chat/completions"))["choices"][0]["message"]["content"] == WORDS


def test_a_failing_policy_fails_the_test() -> None:
    def policy(body: dict, api: str) -> list[dict]:
        assert "stream" in body, "not streamed"
        return []

    fake = FakeLLM(policy)
    with pytest.raises(AssertionError, match="not streamed"), fake, pytest.raises(urllib.error.HTTPError):
        post(fake, "/v1/chat/completions")
