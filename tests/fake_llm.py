"""A language-model server on this machine, for tests: real sockets, three protocols, faults on demand.

    POST /v1/messages               Anthropic Messages, JSON and SSE
    POST /v1/chat/completions       OpenAI chat completions, JSON and SSE
    POST /v1/responses              OpenAI Responses, JSON and SSE, as far as the Codex CLI needs it
    POST /v1/messages/count_tokens, GET /v1/models, HEAD

A policy decides the answers: `policy(body, api) -> list of blocks`, with `api` "messages", "chat" or "responses" and
blocks made by `text`, `thinking`, `tool_use` and `custom_tool_use`. What goes wrong is a list of faults, used up one by
one by POSTs to the first three routes:

    ok                           nothing
    status:CODE[:RETRY_AFTER]    an error with this status, and a retry-after header
    credit, usage_limit          status 400: the credit balance is too low, or the organization's own limit is reached
    reset, close                 a TCP reset, or an orderly end, before any byte
    hang:SECONDS                 no byte for so long, then the answer
    stall:SECONDS                the same after the first two events of a stream
    midreset:N, cut:N            a TCP reset, or an orderly end of the stream, after N events
    sse_error:TYPE               an error event (status 200) after two events
    badsse, badjson              events, or a body, that are not JSON; with badsse:N the bad event follows after N
    badinput                     tool input that is not JSON
    html                         a captive portal's page, status 200
    emptybody, shape, badgzip    a body that is empty, is JSON of another shape, or is no gzip although it says so
    shortlen                     a body that ends before its Content-Length
    stop:REASON                  the policy's answer with another stop reason; max_tokens also cuts the last block short
    huge:CHARACTERS              an answer of so many characters of text
    slowdrip, pings              a stream that never ends: of small events, or of nothing but keep-alives
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Policy = Callable[[dict, str], list[dict]]

APIS = {"/v1/messages": "messages", "/v1/chat/completions": "chat", "/v1/responses": "responses"}

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}

USAGE = {
    "messages": {
        "input_tokens": 11,
        "cache_creation_input_tokens": 7,
        "cache_read_input_tokens": 100,
        "cache_creation": {"ephemeral_5m_input_tokens": 7, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 5,
        "service_tier": "standard",
    },
    "chat": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    "responses": {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 15,
    },
}

CHAT_FINISH = {"tool_use": "tool_calls", "end_turn": "stop", "max_tokens": "length", "refusal": "content_filter"}

DRIP_SECONDS = 0.02

Event = tuple[str | None, object]
"""Name of a server-sent event, and its data: an object that becomes JSON, or text sent as it is."""


def text(words: str) -> dict:
    """A block of plain text."""
    return {"type": "text", "text": words}


def thinking(words: str) -> dict:
    """A block of thoughts, with a signature that the client must send back unchanged (messages only)."""
    return {"type": "thinking", "thinking": words, "signature": "signature-" + uuid.uuid4().hex}


def tool_use(name: str, /, **arguments: object) -> dict:
    """A call of a tool."""
    return {"type": "tool_use", "id": "toolu_" + uuid.uuid4().hex[:20], "name": name, "input": arguments}


def custom_tool_use(name: str, words: str) -> dict:
    """A call of a tool that takes plain text instead of JSON (responses only)."""
    return {"type": "tool_use", "id": "call_" + uuid.uuid4().hex[:20], "name": name, "input": words, "custom": True}


@dataclass(frozen=True)
class Request:
    """One POST to an answering route.

    Attributes:
        time: of its arrival, `time.time()`.
        path: without the query.
        headers: names in lower case.
        body: the JSON sent; {} when it was none.
        fault: what it was answered with.
    """

    time: float
    path: str
    headers: dict[str, str]
    body: dict
    fault: str


class FakeLLM:
    """The server; it answers while the `with` block runs.

    An exception in the policy is answered with status 500, and raised at the end of the block.

    Attributes:
        policy: decides the answers; it may be replaced at any time.
        faults: what goes wrong next, used up in order.
        requests: every POST to an answering route, in order.
        usage: laid over the usage in every answer, in the words of the API that is asked.
        url: http://127.0.0.1:PORT
    """

    def __init__(self, policy: Policy, host: str = "127.0.0.1", port: int = 0) -> None:
        self.policy = policy
        self.faults: list[str] = []
        self.requests: list[Request] = []
        self.usage: dict = {}
        self.closing = threading.Event()
        self._errors: list[Exception] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer((host, port), type("Handler", (_Handler,), {"fake": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="fake language model", daemon=True
        )
        self.url = f"http://{host}:{self._server.server_address[1]}"

    def __enter__(self) -> FakeLLM:
        self._thread.start()
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        if self._errors and error_type is None:
            raise self._errors[0]

    def arrived(self, path: str, headers: dict[str, str], body: dict) -> str:
        """Log a request; returns the fault that it gets."""
        with self._lock:
            fault = self.faults.pop(0) if self.faults else "ok"
            self.requests.append(Request(time.time(), path, headers, body, fault))
        return fault

    def answer(self, body: dict, api: str) -> list[dict] | None:
        """The policy's blocks; None when it raised."""
        try:
            return list(self.policy(body, api))
        except Exception as error:
            self._errors.append(error)
            return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeLLM

    def log_message(self, *_: object) -> None:
        """Keep the test output clean."""

    def handle(self) -> None:
        with suppress(OSError, ValueError):  # the client left, or a fault closed the connection
            super().handle()

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()

    def do_HEAD(self) -> None:
        self._send(200, b"")

    def do_GET(self) -> None:
        if self._path() != "/v1/models":
            self._send_error(404, f"{self.path} is not here")
            return
        model = {"type": "model", "object": "model", "id": "fake-model", "display_name": "Fake"}
        model["created_at"] = "2026-01-01T00:00:00Z"
        ends = {"has_more": False, "first_id": model["id"], "last_id": model["id"]}
        self._send_json({"object": "list", "data": [model], "models": [], **ends})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        body = _json_object(raw)
        if self._path() == "/v1/messages/count_tokens":
            self._send_json({"input_tokens": max(1, len(raw) // 4)})
            return
        api = APIS.get(self._path())
        if api is None:
            self._send_error(404, f"{self.path} is not here")
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        fault, _, detail = self.fake.arrived(self._path(), headers, body).partition(":")
        if fault == "hang":
            self.fake.closing.wait(float(detail))
        if not self._broken(fault, detail):
            self._answer(body, api, fault, detail)

    def _path(self) -> str:
        return self.path.partition("?")[0]

    def _broken(self, fault: str, detail: str) -> bool:
        """Answer with a fault that takes the place of the whole answer; False when it is not one of those."""
        if fault == "status":
            code, _, retry_after = detail.partition(":")
            self._send_error(int(code), f"a made-up error {code}", {"retry-after": retry_after} if retry_after else {})
        elif fault == "credit":
            self._send_error(400, "Your credit balance is too low to access the API. Please purchase credits.")
        elif fault == "usage_limit":
            self._send_error(400, "You have reached your specified API usage limits. You will regain access later.")
        elif fault == "reset":
            self._reset()
        elif fault == "close":
            self.close_connection = True
        elif fault == "html":
            self._send(200, b"<html><body>Welcome! Please log in.</body></html>", {"content-type": "text/html"})
        elif fault == "badjson":
            self._send(200, b'{"id": "msg_1", "type": "message", "content": [')
        elif fault == "emptybody":
            self._send(200, b"")
        elif fault == "shape":
            self._send_json({"hello": "world"})
        elif fault == "badgzip":
            self._send(200, b"this is no gzip", {"content-encoding": "gzip"})
        elif fault == "shortlen":
            self._send(200, b'{"id":', {"content-length": "5000"})
            self.close_connection = True
        else:
            return False
        return True

    def _answer(self, body: dict, api: str, fault: str, detail: str) -> None:
        blocks = self.fake.answer(body, api)
        if blocks is None:
            self._send_error(500, "the test's policy raised an exception")
            return
        if fault == "huge":
            blocks = [text("x" * int(detail))]
        stop = detail if fault == "stop" else _stop_reason(blocks)
        damage = {"badinput": "bad", "stop": "cut" if stop == "max_tokens" else ""}.get(fault, "")
        answer = _Answer(api, blocks, stop, USAGE[api] | self.fake.usage, str(body.get("model", "fake")), damage)
        if body.get("stream"):
            self._stream(answer.events(), fault, detail)
            return
        if fault == "stall":
            self.fake.closing.wait(float(detail))
        self._send_json(answer.whole())

    def _stream(self, events: list[Event], fault: str, detail: str) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("request-id", "req_" + uuid.uuid4().hex[:12])
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in self._damaged(events, fault, detail):
            self._chunk(event)
        self.wfile.write(b"0\r\n\r\n")  # after a reset there is nothing to write to, which `handle` passes over

    def _damaged(self, events: list[Event], fault: str, detail: str) -> Iterator[bytes]:
        """The events as bytes, with what goes wrong among them."""
        place = int(detail or 2) if fault in ("midreset", "cut", "badsse") else 2
        for number, event in enumerate(events):
            if number == place:
                if fault == "cut":
                    return
                if fault == "midreset":
                    time.sleep(0.15)  # a reset discards what the client has not read yet; let it read
                    self._reset()
                    return
                if fault == "stall":
                    self.fake.closing.wait(float(detail))
                if fault == "badsse":
                    yield b"event: content_block_delta\ndata: {not json\n\n"
                if fault == "sse_error":
                    yield _event_bytes(("error", _error(detail, "a made-up error in the stream")))
                    return
            yield _event_bytes(event)
            if number == 3 and fault == "slowdrip":
                yield from self._endless(_event_bytes(event))
            if number == 1 and fault == "pings":
                yield from self._endless(_event_bytes(("ping", {"type": "ping"})))

    def _endless(self, event: bytes) -> Iterator[bytes]:
        while not self.fake.closing.wait(DRIP_SECONDS):
            yield event

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _send_json(self, answer: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(answer).encode(), headers)

    def _send_error(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        self._send_json(_error(ERROR_TYPES.get(status, "api_error"), message), status, headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        usual = {"content-type": "application/json", "content-length": str(len(body))}
        for name, value in {**usual, "request-id": "req_" + uuid.uuid4().hex[:12], **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.wfile.close()
        self.connection.close()  # the reset goes out when the last reference is gone


@dataclass(frozen=True)
class _Answer:
    """An answer in the shapes of the three protocols.

    Attributes:
        damage: "" for none; "bad": tool input that is not JSON; "cut": the last block ends too early.
    """

    api: str
    blocks: list[dict]
    stop: str
    usage: dict
    model: str
    damage: str

    def whole(self) -> dict:
        """As one JSON object."""
        return {"messages": self._message, "chat": self._completion, "responses": self._response}[self.api]()

    def events(self) -> list[Event]:
        """As a stream."""
        if self.api == "messages":
            return self._message_events()
        return self._completion_events() if self.api == "chat" else self._response_events()

    def _arguments(self, block: dict) -> str:
        """A tool call's input as JSON text, damaged where asked for."""
        whole = json.dumps(block["input"])
        if self.damage == "bad":
            return whole[: len(whole) // 2] + '"]}, not json'
        return whole[: len(whole) // 2] if self.damage == "cut" and block is self.blocks[-1] else whole

    def _words(self, block: dict) -> str:
        words = block["text"]
        return words[: len(words) // 2] if self.damage == "cut" and block is self.blocks[-1] else words

    def _message(self) -> dict:
        content = [block | {"text": self._words(block)} if block["type"] == "text" else block for block in self.blocks]
        ends = {"stop_reason": self.stop, "stop_sequence": None, "usage": self.usage}
        message = {"id": "msg_" + uuid.uuid4().hex[:16], "type": "message", "role": "assistant", "model": self.model}
        return {**message, "content": content, **ends}

    def _message_events(self) -> list[Event]:
        start = {**self._message(), "content": [], "stop_reason": None, "usage": {**self.usage, "output_tokens": 1}}
        events: list[dict] = [{"type": "message_start", "message": start}, {"type": "ping"}]
        for index, block in enumerate(self.blocks):
            empty, deltas = self._block_deltas(block)
            events.append({"type": "content_block_start", "index": index, "content_block": empty})
            events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
            events.append({"type": "content_block_stop", "index": index})
        ends = {"stop_reason": self.stop, "stop_sequence": None}
        usage = {"output_tokens": self.usage["output_tokens"]}
        events += [{"type": "message_delta", "delta": ends, "usage": usage}, {"type": "message_stop"}]
        return [(event["type"], event) for event in events]

    def _block_deltas(self, block: dict) -> tuple[dict, list[dict]]:
        """A block as it starts, and what is added to it."""
        if block["type"] == "text":
            pieces = _pieces(self._words(block))
            return text(""), [{"type": "text_delta", "text": piece} for piece in pieces]
        if block["type"] == "thinking":
            added = [{"type": "thinking_delta", "thinking": piece} for piece in _pieces(block["thinking"])]
            added.append({"type": "signature_delta", "signature": block["signature"]})
            return {"type": "thinking", "thinking": "", "signature": ""}, added
        pieces = _pieces(self._arguments(block))
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]

    def _completion(self) -> dict:
        words = "".join(self._words(block) for block in self.blocks if block["type"] == "text")
        message: dict = {"role": "assistant", "content": words or None}
        if calls := self._calls():
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "finish_reason": CHAT_FINISH.get(self.stop, self.stop)}
        return {**self._chat_head("chat.completion"), "choices": [choice], "usage": self.usage}

    def _completion_events(self) -> list[Event]:
        head = self._chat_head("chat.completion.chunk")
        words = "".join(self._words(block) for block in self.blocks if block["type"] == "text")
        deltas: list[dict] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": piece} for piece in _pieces(words)]
        deltas += [{"tool_calls": [call]} for call in self._calls()]
        choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": CHAT_FINISH.get(self.stop, self.stop)})
        events: list[Event] = [(None, {**head, "choices": [choice]}) for choice in choices]
        return [*events, (None, {**head, "choices": [], "usage": self.usage}), (None, "[DONE]")]

    def _chat_head(self, kind: str) -> dict:
        return {"id": "chatcmpl-1", "object": kind, "created": int(time.time()), "model": self.model}

    def _calls(self) -> list[dict]:
        blocks = [block for block in self.blocks if block["type"] == "tool_use"]
        functions = [{"name": block["name"], "arguments": self._arguments(block)} for block in blocks]
        return [
            {"id": block["id"], "index": index, "type": "function", "function": function}
            for index, (block, function) in enumerate(zip(blocks, functions, strict=True))
        ]

    def _response(self) -> dict:
        cut = self.stop == "max_tokens"
        status = {"status": "incomplete" if cut else "completed"}
        if cut:
            status["incomplete_details"] = {"reason": "max_output_tokens"}
        head = {"id": "resp_" + uuid.uuid4().hex[:12], "object": "response", "created_at": int(time.time())}
        output = [self._item(block) for block in self.blocks if block["type"] != "thinking"]
        return {**head, "model": self.model, **status, "output": output, "usage": self.usage}

    def _item(self, block: dict) -> dict:
        if block["type"] == "text":
            content = [{"type": "output_text", "text": self._words(block), "annotations": []}]
            identity = {"type": "message", "id": "msg_" + uuid.uuid4().hex[:8], "role": "assistant"}
            return {**identity, "status": "completed", "content": content}
        call = {"id": "fc_" + uuid.uuid4().hex[:8], "call_id": block["id"], "name": block["name"]}
        if block.get("custom"):
            return {"type": "custom_tool_call", **call, "status": "completed", "input": block["input"]}
        return {"type": "function_call", **call, "status": "completed", "arguments": self._arguments(block)}

    def _response_events(self) -> list[Event]:
        response = self._response()
        events = [{"type": "response.created", "response": {**response, "status": "in_progress", "output": []}}]
        for index, item in enumerate(response["output"]):
            events.append({"type": "response.output_item.added", "output_index": index, "item": item})
            events.append({"type": "response.output_item.done", "output_index": index, "item": item})
        events.append({"type": f"response.{response['status']}", "response": response})
        return [(event["type"], event) for event in events]


def _stop_reason(blocks: list[dict]) -> str:
    return "tool_use" if any(block["type"] == "tool_use" for block in blocks) else "end_turn"


def _pieces(words: str) -> list[str]:
    """A text in about a hundred pieces, as a model would stream it."""
    size = max(20, len(words) // 100)
    return [words[start : start + size] for start in range(0, len(words), size)]


def _event_bytes(event: Event) -> bytes:
    name, data = event
    words = data if isinstance(data, str) else json.dumps(data)
    return ((f"event: {name}\n" if name else "") + f"data: {words}\n\n").encode()


def _error(kind: str, message: str) -> dict:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_made_up"}


def _json_object(raw: bytes) -> dict:
    try:
        body = json.loads(raw)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
