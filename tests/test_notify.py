"""Messages to a person who is elsewhere: what they hold, and that sending them harms nothing."""

from __future__ import annotations

import errno
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from test_loop import make_loop, mark, rate, small_baseline  # noqa: F401 (a fixture)

from mlx_autoresearch import loop as loop_module
from mlx_autoresearch import notify
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.notify import Notifier, check_target, end_of_night, mac_command
from mlx_autoresearch.status import BY_ITSELF, OVER
from tests.made_up_night import TAG, Fault, live, make_project


class Server:
    """A webhook that keeps what it gets and answers with `status`."""

    def __init__(self) -> None:
        self.status, self.bodies = 200, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.bodies.append((self.headers["Content-Type"], json.loads(body)))
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook/secret-token"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    yield server
    server.server.shutdown()
    server.server.server_close()


def test_a_webhook_gets_a_text(server: Server) -> None:
    said: list[str] = []
    notifier = Notifier(server.url, said.append)
    notifier.tell("mlx-autoresearch nov24", 'The night is over.\n"Quoted" \x1b[31m')
    notifier.close()
    assert server.bodies == [("application/json", {"text": 'mlx-autoresearch nov24: The night is over. "Quoted" [31m'})]
    assert said == []
    Notifier(None, said.append).tell("a", "b")
    assert len(server.bodies) == 1


def test_a_webhook_that_refuses_is_one_line_without_its_address(server: Server) -> None:
    said: list[str] = []
    server.status = 403
    notifier = Notifier(server.url, said.append)
    notifier.tell("a", "b")
    notifier.close()
    assert said == ["Note: a notification could not be sent (the server answered 403)."]
    server.server.shutdown()
    server.server.server_close()
    notifier.tell("a", "b")
    notifier.close()
    assert len(said) == 2 and "refused" in said[1] and "secret-token" not in "".join(said)


def test_a_webhook_that_hangs_delays_by_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(notify, "CLOSE_SECONDS", 0.3)
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        notifier = Notifier(f"http://127.0.0.1:{silent.getsockname()[1]}/", said.append)
        started = time.monotonic()
        notifier.tell("a", "b")
        assert time.monotonic() - started < 0.2
        notifier.close()
        assert time.monotonic() - started < 2 and said == []
        monkeypatch.setattr(notify, "SEND_SECONDS", 0.1)
        monkeypatch.setattr(notify, "CLOSE_SECONDS", 5.0)
        patient = Notifier(f"http://127.0.0.1:{silent.getsockname()[1]}/", said.append)
        patient.tell("a", "b")
        patient.close()
        assert len(said) == 1 and "too long" in said[0]


@pytest.mark.parametrize("target", ["example.com", "ftp://x/y", "file:///etc/passwd", "https://", "http://a b", "x"])
def test_what_is_no_webhook_is_refused(target: str) -> None:
    with pytest.raises(AutoresearchError, match="address of a webhook"):
        check_target(target)


def test_targets_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    check_target(None)
    check_target("https://hooks.example.com/services/T0/B0/x?y={{.text}}")
    monkeypatch.setattr(sys, "platform", "darwin")
    check_target(notify.ON_THIS_MAC)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(AutoresearchError, match="on macOS, which this is not"):
        check_target(notify.ON_THIS_MAC)


def test_nothing_in_a_text_can_be_taken_for_script() -> None:
    command = mac_command("mlx-autoresearch t", '-e" & (do shell script "rm") & "\n\x1b')
    assert command[0] == "osascript" and command[1::2][:3] == ["-e"] * 3
    assert command[-2:] == ["mlx-autoresearch t", '-e" & (do shell script "rm") & "']
    assert not any("rm" in word for word in command[:-1])


def test_what_a_night_tells_in_the_end(tmp_path: Path) -> None:
    baseline = loop_module.PROJECT / "train_mlx.py"
    baseline.write_text(rate(0.5)(baseline.read_text()))
    loop = make_loop(tmp_path / "night", [rate(0.9), rate(0.05)])
    loop.laboratory.closer_look = lambda result: result
    loop.run()
    over = end_of_night(loop.night, OVER)
    claim = f"gained {loop.night.claim}, the luck of what is kept taken off, from val_bpb 1.4500."
    assert over == f"The night is over. 2 edits decided, 1 kept; {claim}"
    assert 0.3 < loop.night.claim.gain < 0.45
    assert end_of_night(loop.night, BY_ITSELF).startswith("The night has stopped by itself; loop.log")


def test_what_a_night_tells_whose_baseline_fails(tmp_path: Path) -> None:
    baseline = loop_module.PROJECT / "train_mlx.py"
    baseline.write_text(mark("fails in training")(baseline.read_text()))
    loop = make_loop(tmp_path / "night", [rate(0.1)])
    with pytest.raises(AutoresearchError):
        loop.run()
    assert "the baseline fails" in end_of_night(loop.night, BY_ITSELF)


def test_the_loop_tells_how_it_ended(server: Server, tmp_path: Path) -> None:
    def with_webhook() -> None:
        sys.argv += ["--notify", server.url]

    project = make_project(tmp_path / "made up" / "project")
    assert live(project, Fault(300, errno.ENOSPC, lasts=True), with_webhook).status == 1
    assert live(project, None, with_webhook).status == 0
    texts = [body["text"] for _, body in server.bodies]
    assert len(texts) == 2 and all(text.startswith(f"mlx-autoresearch {TAG}: The night ") for text in texts)
    assert "has stopped by itself" in texts[0] and "is over. 6 edits decided, 2 kept" in texts[1]
    assert not any(str(tmp_path) in text for text in texts)
