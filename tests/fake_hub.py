"""A Hub and its storage on this machine, for tests of the download: real sockets, real redirects, faults on demand.

The Hub side (`http://127.0.0.1:PORT/datasets/<repo>/resolve/<revision>/<file>`) answers with the headers of
huggingface.co and redirects to the storage side, which goes by another host name (`http://localhost:PORT/storage/<hash>`)
so that a token which leaks across hosts is seen. Every request is logged. Faults are used up by storage requests, in
order.
"""

from __future__ import annotations

import hashlib
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECE_BYTES = 16384


@dataclass(frozen=True)
class Fault:
    """What goes wrong in one storage request.

    Attributes:
        status: answer with this status and no body.
        retry_after: value of the Retry-After header of that answer.
        close_after: end the connection in good order after so many body bytes.
        reset_after: send a TCP reset after so many body bytes.
        bytes_per_second: speed limit of the body.
        ignore_range: send the whole file with status 200, whatever was asked for.
    """

    status: int | None = None
    retry_after: str | None = None
    close_after: int | None = None
    reset_after: int | None = None
    bytes_per_second: int | None = None
    ignore_range: bool = False


@dataclass(frozen=True)
class Request:
    """One request as the fake saw it; `start` is the first byte asked for (None without a Range header)."""

    method: str
    host: str
    path: str
    token: str | None
    start: int | None


@dataclass
class FakeHub:
    """State of the fake: the file versions it has by commit, what goes wrong next, and what was asked so far.

    Attributes:
        repo, file: the one file of the one dataset.
        versions: content by commit; the last one is `main`.
        hub_status: when set, the Hub side answers everything with it.
        announce: when set, sent as X-Linked-Etag instead of the SHA-256 of the content.
        faults: used up by storage requests, in order.
        requests: every request, in order.
    """

    repo: str
    file: str
    versions: dict[str, bytes]
    hub_status: int | None = None
    announce: str | None = None
    faults: list[Fault] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        """What HF_ENDPOINT is set to."""
        return f"http://127.0.0.1:{self.port}"

    def body_starts(self) -> list[int | None]:
        """First byte of each storage request, in order."""
        return [request.start for request in self.requests if request.path.startswith("/storage/")]

    def commit_of(self, revision: str) -> str | None:
        """The commit behind a revision, or None."""
        return list(self.versions)[-1] if revision == "main" else revision if revision in self.versions else None

    def stored(self, sha256: str) -> bytes | None:
        """Content by its hash, or None."""
        return next((body for body in self.versions.values() if hashlib.sha256(body).hexdigest() == sha256), None)


@contextmanager
def running(hub: FakeHub) -> Iterator[FakeHub]:
    """Serve `hub` on a free port while the block runs."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Keep the test output clean."""

    def _answer(self) -> None:
        asked = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else None
        host, token = self.headers["Host"], self.headers.get("Authorization")
        self.hub.requests.append(Request(self.command, host, self.path, token, start))
        if self.path.startswith("/storage/"):
            self._answer_as_storage(start)
        else:
            self._answer_as_hub()

    def _answer_as_hub(self) -> None:
        hub = self.hub
        address = re.fullmatch(rf"/datasets/{hub.repo}/resolve/([^/]+)/{re.escape(hub.file)}", self.path)
        commit = hub.commit_of(address[1]) if address else None
        if hub.hub_status is not None or commit is None:
            self._answer_without_body(hub.hub_status or 404, {})
            return
        content = hub.versions[commit]
        sha256 = hashlib.sha256(content).hexdigest()
        headers = {
            "X-Repo-Commit": commit,
            "X-Linked-Etag": f'"{sha256 if hub.announce is None else hub.announce}"',
            "X-Linked-Size": str(len(content)),
            "ETag": '"the-redirect-itself"',
            "Location": f"http://localhost:{hub.port}/storage/{sha256}",
        }
        self._answer_without_body(302, headers)

    def _answer_as_storage(self, start: int | None) -> None:
        content = self.hub.stored(self.path.removeprefix("/storage/")) or b""
        fault = self.hub.faults.pop(0) if self.hub.faults else Fault()
        if fault.status is not None:
            self._answer_without_body(fault.status, {"Retry-After": fault.retry_after} if fault.retry_after else {})
            return
        if start is not None and start >= len(content):
            self._answer_without_body(416, {"Content-Range": f"bytes */{len(content)}"})
            return
        if start is None or fault.ignore_range:
            self.send_response(200)
            start = 0
        else:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", '"an-etag-of-the-storage"')
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command == "GET":
            self._send_body(content[start:], fault)

    def _answer_without_body(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_body(self, body: bytes, fault: Fault) -> None:
        stop = min(
            (limit for limit in (fault.close_after, fault.reset_after) if limit is not None),
            default=len(body),
        )
        try:
            for position in range(0, min(stop, len(body)), PIECE_BYTES):
                piece = body[position : min(position + PIECE_BYTES, stop)]
                self.wfile.write(piece)
                if fault.bytes_per_second:
                    time.sleep(len(piece) / fault.bytes_per_second)
        except ConnectionError:  # the client was killed
            self.close_connection = True
            return
        if stop < len(body):
            self._drop_connection(reset=fault.reset_after is not None)

    def _drop_connection(self, reset: bool) -> None:
        self.wfile.flush()
        if reset:
            time.sleep(0.05)  # a reset discards what the client has not read yet; let it read
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        self.close_connection = True
