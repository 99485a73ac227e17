"""The `chat` agent: any server that speaks /v1/chat/completions, with edits as SEARCH/REPLACE text (`conversation`).

That is mlx_lm.server, Ollama, LM Studio, llama.cpp, vLLM, OpenAI, and most others. The answer is asked for whole, not
as a stream: servers agree on that form, and a cut shows.
Notable: what comes back is a stranger's, so its size and the time it takes are bounded, and only an answer that says
that it came to its own end counts. A request runs on an event loop of its own, where it can be given up at any moment,
even while the server says nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import threading
import time
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import httpx2

from mlx_autoresearch.agents import AgentOptions, AgentUnavailableError, AgentUnusableError, NoProposalError
from mlx_autoresearch.agents.briefing import Briefing
from mlx_autoresearch.agents.conversation import Answer, Message, Partner, propose_edit
from mlx_autoresearch.agents.patience import Patience, ask_patiently, retry_after
from mlx_autoresearch.records import Proposal
from mlx_autoresearch.spending import Usage
from mlx_autoresearch.text import one_line, shortened

KEY_VARIABLE = "OPENAI_API_KEY"

HOW_TO_ASK = (
    "--agent chat needs --base-url and --model, for example --base-url http://127.0.0.1:8080/v1 --model "
    "mlx-community/Qwen2.5-Coder-7B-Instruct-4bit after `mlx_lm.server`, or --base-url http://127.0.0.1:11434/v1 "
    f"--model qwen2.5-coder:7b after `OLLAMA_CONTEXT_LENGTH=32768 ollama serve`; a key goes into {KEY_VARIABLE}."
)

OPENAI_HOST = "openai.com"

OPENAI_MAX_TOKENS, MAX_TOKENS = 32_000, 8_192
"""Tokens that an answer may have, thinking included; small models have small contexts."""

OWN_END = ("stop", "eos", "eos_token", "end_turn")
"""Finish reasons, in the words of several servers, of an answer that was not cut, filtered or made a tool call."""

NO_CREDIT = ("insufficient_quota", "credit balance")
"""In the body of an error, whatever its status: a person has to pay first."""

ERROR_CHARACTERS = 300

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Limits:
    """Bounds of one answer.

    Attributes:
        body_bytes: of the whole answer.
        connect_seconds: until the server takes the connection.
        silence_seconds: between two bytes; a server may read a long prompt for minutes without a word.
        seconds: from the request to the answer's end.
    """

    body_bytes: int = 4 << 20
    connect_seconds: float = 10.0
    silence_seconds: float = 600.0
    seconds: float = 900.0


class ChatAgent:
    """Asks a model for edits through the chat completions API."""

    name = "chat"
    thinks_ahead = True

    def __init__(self, options: AgentOptions, patience: Patience | None = None, limits: Limits | None = None) -> None:
        """Nothing is sent yet.

        Raises:
            AgentUnusableError: the address, the model or the key is missing or can't be right.
            AutoresearchError: there is a limit in dollars and no price for the model.
        """
        if not options.base_url or not options.model:
            raise AgentUnusableError(HOW_TO_ASK)
        options.ledger.check_model(options.model)
        self._url = completions_url(options.base_url)
        self._model, self._effort, self._ledger = options.model, options.effort, options.ledger
        self._headers = key_header(os.environ.get(KEY_VARIABLE, ""))
        self._patience, self._limits = patience or Patience(), limits or Limits()
        self._closing = threading.Event()

    def propose(self, briefing: Briefing) -> Proposal:
        """The next edit; see `agents.Agent`."""
        return propose_edit(Partner(self.name, self._model, self._complete, self._ledger), briefing)

    def close(self) -> None:
        """Give up the request of another thread's `propose`, which then ends with AgentUnavailableError."""
        self._closing.set()

    def _complete(self, messages: list[Message]) -> Answer:
        return ask_patiently(partial(self._ask_once, messages), self._patience, self._closing)

    def _ask_once(self, messages: list[Message]) -> Answer:
        response, body = asyncio.run(self._exchange(self._request(messages)))
        if response.status_code != 200:
            raise self._refused(response, body)
        return read_answer(body)

    def _request(self, messages: list[Message]) -> dict[str, Any]:
        on_openai = self._url.host.endswith(OPENAI_HOST)  # its newer models refuse the name that all others know
        limit = {"max_completion_tokens": OPENAI_MAX_TOKENS} if on_openai else {"max_tokens": MAX_TOKENS}
        effort = {"reasoning_effort": self._effort} if self._effort else {}
        turns = [{"role": message.role, "content": message.content} for message in messages]
        return {"model": self._model, "messages": turns, "stream": False, **limit, **effort}

    async def _exchange(self, request: dict[str, Any]) -> tuple[httpx2.Response, bytes]:
        """The response and its body, unless it takes too long or the agent is closed meanwhile."""
        deadline = time.monotonic() + self._limits.seconds
        post = asyncio.create_task(self._post(request))
        try:
            while not post.done():
                if self._closing.is_set():
                    raise AgentUnavailableError("the agent was closed")
                if time.monotonic() >= deadline:
                    raise self._lost(f"{self._url.host} did not answer within {self._limits.seconds:g} s")
                await asyncio.wait({post}, timeout=POLL_SECONDS)
            return post.result()
        finally:
            post.cancel()

    async def _post(self, request: dict[str, Any]) -> tuple[httpx2.Response, bytes]:
        limits, body = self._limits, bytearray()
        timeout = httpx2.Timeout(limits.silence_seconds, connect=limits.connect_seconds)
        try:
            async with (
                httpx2.AsyncClient(timeout=timeout, headers=self._headers, verify=certificates()) as client,
                client.stream("POST", self._url, json=request) as response,
            ):
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > limits.body_bytes:
                        raise self._lost(f"{self._url.host} sent more than {limits.body_bytes:,} bytes")
        except httpx2.HTTPError as error:
            words = one_line(str(error)) or type(error).__name__
            if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
                sentence = f"no connection to {shown(self._url)} ({words}); is the server running?"
                raise AgentUnavailableError(sentence) from None
            raise self._lost(f"no whole answer from {self._url.host} ({words})") from None
        return response, bytes(body)

    def _lost(self, sentence: str) -> AgentUnavailableError:
        """The exception for an answer that may have been made, and paid for, but never came."""
        self._ledger.record_lost(self.name, self._model, sentence)
        return AgentUnavailableError(sentence)

    def _refused(self, response: httpx2.Response, body: bytes) -> Exception:
        """The exception for an answer whose status is not 200."""
        status, words = response.status_code, error_words(body)
        said = f"{self._url.host} answered with status {status}" + (f": {words}" if words else "")
        if any(phrase in words.lower() for phrase in NO_CREDIT) or status == 402:
            return AgentUnusableError(f"{said}. There is no credit left: add some, or choose another --agent.")
        if status in (401, 403):
            return AgentUnusableError(f"{said}. Set {KEY_VARIABLE} to a key that may use {self._model}.")
        if status == 404:
            return AgentUnusableError(
                f"{said}. Check --base-url (asked was {shown(self._url)}) and --model ({self._model}); a local server "
                "has to have downloaded its model."
            )
        if status in (400, 413, 422):
            return NoProposalError(said)
        return AgentUnavailableError(said, retry_after(response.headers))


def completions_url(base_url: str) -> httpx2.URL:
    """Where to post: `base_url` with or without /v1, /chat/completions and a slash at its end.

    Raises:
        AgentUnusableError: it is no address.
    """
    try:
        url = httpx2.URL(base_url)
    except httpx2.InvalidURL:
        url = httpx2.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise AgentUnusableError(f"--base-url {base_url} is no address; it looks like http://127.0.0.1:8080/v1")
    path = url.path.rstrip("/").removesuffix("/chat/completions") or "/v1"
    return url.copy_with(path=path + "/chat/completions")


def shown(url: httpx2.URL) -> str:
    """An address without the password or the key that it may carry."""
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme}://{url.host}{port}{url.path}"


@lru_cache(maxsize=1)
def certificates() -> ssl.SSLContext:
    """The certificate authorities that are trusted; reading them takes a tenth of a second, every time."""
    return httpx2.create_ssl_context()


def key_header(key: str) -> dict[str, str]:
    """The header that carries the key; none without a key, which is what servers on this machine expect.

    Raises:
        AgentUnusableError: the key holds characters that no header can carry.
    """
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise AgentUnusableError(f"{KEY_VARIABLE} holds characters that no key has; set it again.")
    return {"authorization": f"Bearer {key}"} if key else {}


def read_answer(body: bytes) -> Answer:
    """The answer in the body of a chat completion.

    Raises:
        AgentUnavailableError: it is none: a login page of a Wi-Fi, broken JSON, or another shape.
    """
    try:
        completion = json.loads(body)
        choice = completion["choices"][0]
        text, reason = choice["message"].get("content"), choice.get("finish_reason")
        usage = read_usage(completion.get("usage"))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise AgentUnavailableError(f"the answer is no chat completion: {error_words(body) or 'nothing'}") from None
    if not isinstance(text, str | None):
        raise AgentUnavailableError(f"the answer holds no text: {error_words(body)}")
    return Answer(text or "", usage, finished=reason in OWN_END)


def read_usage(usage: object) -> Usage:
    """Tokens of an answer. A server that does not count them (several local ones) leaves 0: there is nothing to go by,
    and a guess in the ledger would look like a measurement."""
    counts = usage if isinstance(usage, dict) else {}
    details = counts.get("prompt_tokens_details")
    prompt, cached = (
        _count(counts, "prompt_tokens"),
        _count(details if isinstance(details, dict) else {}, "cached_tokens"),
    )
    cached = min(cached, prompt)
    return Usage(
        input_tokens=prompt - cached, output_tokens=_count(counts, "completion_tokens"), cache_read_tokens=cached
    )


def _count(counts: dict, name: str) -> int:
    value = counts.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def error_words(body: bytes) -> str:
    """What an error's body says, on one line: its message where it has one, else its beginning."""
    text = body[: 20 * ERROR_CHARACTERS].decode("utf-8", errors="replace")
    try:
        error = json.loads(text)["error"]
        if isinstance(error, str):
            text = error
        else:
            text = f"{error['message']} ({error['code']})" if error.get("code") else str(error["message"])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass  # an error in words of its own
    return shortened(text, ERROR_CHARACTERS)
