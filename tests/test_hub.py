"""The TinyStories download against a fake Hub: every way in which a night's first step can be interrupted."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import httpx2
import numpy as np
import pytest
from fake_hub import FakeHub, Fault, running
from huggingface_hub import constants

from mlx_autoresearch.corpus import hub as hub_module
from mlx_autoresearch.corpus.hub import TINYSTORIES, Patience, tinystories_file
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.paths import data_root

QUICK = Patience(attempts=3, first_wait_seconds=0.01, longest_wait_seconds=0.02)
CONTENT = np.random.default_rng(1).bytes(1_500_000)
NEWER_CONTENT = np.random.default_rng(2).bytes(1_200_000)
CHILD = (
    "from mlx_autoresearch.corpus.hub import Patience, tinystories_file\n"
    "from mlx_autoresearch.errors import run_command_line\n"
    "run_command_line(lambda: print(tinystories_file(Patience(3, 0.01, 0.02))))"
)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """A running fake Hub that `huggingface_hub` takes for the real one, with an empty cache and a token."""
    for name in ("HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with running(FakeHub(TINYSTORIES.repo, TINYSTORIES.file, {"a" * 40: CONTENT})) as fake:
        _point_at(fake.url, monkeypatch)
        yield fake


def _point_at(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the endpoint as HF_ENDPOINT does when `huggingface_hub` is imported."""
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def _child_environment(hub: FakeHub, **more: str) -> dict[str, str]:
    cache = {"HF_HUB_CACHE": constants.HF_HUB_CACHE}
    return {**os.environ, "HF_ENDPOINT": hub.url, "PYTHONPATH": str(Path(__file__).parent.parent), **cache, **more}


def _parts() -> list[Path]:
    return list((data_root() / "downloads").glob("*.part"))


def _part_of(content: bytes) -> Path:
    folder = data_root() / "downloads"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{TINYSTORIES.file}.{hashlib.sha256(content).hexdigest()}.part"


def test_downloads_once(hub: FakeHub) -> None:
    path = tinystories_file(QUICK)
    assert path == data_root() / "downloads" / TINYSTORIES.file
    assert path.read_bytes() == CONTENT
    assert _parts() == []
    asked = len(hub.requests)
    assert tinystories_file(QUICK) == path
    assert len(hub.requests) == asked


def test_token_goes_to_the_hub_only(hub: FakeHub) -> None:
    tinystories_file(QUICK)
    at_hub = [request for request in hub.requests if request.host.startswith("127.0.0.1")]
    at_storage = [request for request in hub.requests if request.host.startswith("localhost")]
    assert {request.token for request in at_hub} == {"Bearer hf_secret"}
    assert at_storage and {request.token for request in at_storage} == {None}


def test_body_is_requested_at_a_fixed_commit(hub: FakeHub) -> None:
    tinystories_file(QUICK)
    bodies = [request.path for request in hub.requests if request.method == "GET" and "/resolve/" in request.path]
    assert bodies == [f"/datasets/{TINYSTORIES.repo}/resolve/{'a' * 40}/{TINYSTORIES.file}"]


def test_resumes_after_kill(hub: FakeHub) -> None:
    hub.faults = [Fault(bytes_per_second=500_000)]
    environment = _child_environment(hub)
    child = subprocess.Popen([sys.executable, "-c", CHILD], env=environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not any(part.stat().st_size > 200_000 for part in _parts()):
            assert time.monotonic() < deadline and child.poll() is None
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
    finally:
        child.kill()
        child.wait()
    kept = _parts()[0].stat().st_size
    assert 200_000 < kept < len(CONTENT)
    assert tinystories_file(QUICK).read_bytes() == CONTENT
    assert hub.body_starts() == [0, kept]


def test_resumes_after_resets_and_early_ends(hub: FakeHub) -> None:
    # more interruptions than attempts: progress starts the count anew
    hub.faults = [Fault(reset_after=200_000), Fault(close_after=200_000)] * 3
    assert tinystories_file(QUICK).read_bytes() == CONTENT
    starts = hub.body_starts()
    assert len(starts) == 7 and starts[0] == 0
    assert all(before < after for before, after in pairwise(starts))


def test_busy_server_is_asked_again(hub: FakeHub) -> None:
    hub.faults = [Fault(status=503), Fault(status=429, retry_after="0")]
    assert tinystories_file(QUICK).read_bytes() == CONTENT


def test_server_that_stays_busy_gives_a_sentence(hub: FakeHub) -> None:
    hub.faults = [Fault(status=503)] * 3
    with pytest.raises(AutoresearchError, match=r"HTTP 503.*resumes.*HF_ENDPOINT.*--dataset /path.*--dataset stories"):
        tinystories_file(QUICK)


def test_server_that_ignores_ranges(hub: FakeHub) -> None:
    hub.faults = [Fault(reset_after=300_000), Fault(ignore_range=True)]
    assert tinystories_file(QUICK).read_bytes() == CONTENT


def test_version_change_between_attempts_starts_anew(hub: FakeHub) -> None:
    old = _part_of(CONTENT)
    old.write_bytes(CONTENT[:400_000])
    hub.versions["b" * 40] = NEWER_CONTENT
    assert tinystories_file(QUICK).read_bytes() == NEWER_CONTENT
    assert hub.body_starts() == [0]
    assert not old.exists()


def test_version_change_while_downloading_is_not_mixed_in(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.faults = [Fault(close_after=400_000)]

    def push_new_version(_: float) -> None:
        hub.versions["b" * 40] = NEWER_CONTENT

    monkeypatch.setattr(hub_module.time, "sleep", push_new_version)
    assert tinystories_file(QUICK).read_bytes() == CONTENT


@pytest.mark.parametrize("length", [len(CONTENT), len(CONTENT) + 5])
def test_damaged_part_is_found_by_its_hash_and_deleted(hub: FakeHub, length: int) -> None:
    hub.announce = "0" * 64
    part = data_root() / "downloads" / f"{TINYSTORIES.file}.{'0' * 64}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(length))
    with pytest.raises(AutoresearchError, match=r"damaged.*deleted.*[Rr]un this again"):
        tinystories_file(QUICK)
    assert list(part.parent.iterdir()) == []
    hub.announce = None
    assert tinystories_file(QUICK).read_bytes() == CONTENT


def test_complete_part_is_not_fetched_again(hub: FakeHub) -> None:
    _part_of(CONTENT).write_bytes(CONTENT)
    assert tinystories_file(QUICK).read_bytes() == CONTENT
    assert hub.body_starts() == []


@pytest.mark.parametrize(("status", "words"), [(404, "has no .*HF_ENDPOINT"), (401, "refuses.*HF_TOKEN")])
def test_refusals_are_not_repeated(hub: FakeHub, status: int, words: str) -> None:
    hub.hub_status = status
    with pytest.raises(AutoresearchError, match=words):
        tinystories_file(QUICK)
    assert len(hub.requests) == 1


def test_mirror_without_hashes_is_refused(hub: FakeHub) -> None:
    hub.announce = "some-etag"
    with pytest.raises(AutoresearchError, match=r"could not be checked.*HF_ENDPOINT"):
        tinystories_file(QUICK)


def test_no_network_gives_one_sentence(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        _point_at(f"http://127.0.0.1:{closed.getsockname()[1]}", monkeypatch)
        with pytest.raises(AutoresearchError, match=r"refused.*again later.*HF_ENDPOINT.*--dataset stories") as caught:
            tinystories_file(QUICK)
    assert "\n" not in str(caught.value)


def test_endpoint_that_is_no_address_gives_a_sentence(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    _point_at("huggingface.example", monkeypatch)
    with pytest.raises(AutoresearchError, match="HF_ENDPOINT"):
        tinystories_file(Patience())  # not repeated, or this test would take minutes


def test_full_disk_gives_a_sentence(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "DISK_MARGIN_BYTES", 10**15)
    with pytest.raises(AutoresearchError, match=r"needs .* GB .* free\. .*MLX_AUTORESEARCH_DATA"):
        tinystories_file(QUICK)
    assert hub.body_starts() == []


def test_unwritable_folder_gives_a_sentence(hub: FakeHub) -> None:
    data_root().write_text("a file where the folder should be")
    with pytest.raises(AutoresearchError, match=r"Could not write.*MLX_AUTORESEARCH_DATA"):
        tinystories_file(QUICK)


def test_second_download_at_once_is_refused(hub: FakeHub) -> None:
    hub.faults = [Fault(bytes_per_second=500_000)]
    first = subprocess.Popen([sys.executable, "-c", CHILD], env=_child_environment(hub), stderr=subprocess.DEVNULL)
    try:
        while hub.body_starts() == []:
            assert first.poll() is None
            time.sleep(0.02)
        with pytest.raises(AutoresearchError, match="Another process is downloading"):
            tinystories_file(QUICK)
    finally:
        first.kill()
        first.wait()


def test_offline_variable_gives_a_sentence(hub: FakeHub) -> None:
    environment = _child_environment(hub, HF_HUB_OFFLINE="1")
    done = subprocess.run([sys.executable, "-c", CHILD], env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stderr.startswith("error: HF_HUB_OFFLINE is set") and done.stderr.count("\n") == 1
    assert hub.requests == []


def _fill_huggingface_cache(content: bytes, sha256: str) -> Path:
    repository = Path(constants.HF_HUB_CACHE) / f"datasets--{TINYSTORIES.repo.replace('/', '--')}"
    blob, snapshot = repository / "blobs" / sha256, repository / "snapshots" / ("a" * 40)
    for folder in (blob.parent, snapshot, repository / "refs"):
        folder.mkdir(parents=True)
    blob.write_bytes(content)
    (snapshot / TINYSTORIES.file).symlink_to(blob)
    (repository / "refs" / "main").write_text("a" * 40)
    return blob


def test_copy_in_the_huggingface_cache_is_used_offline(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = _fill_huggingface_cache(CONTENT, hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert tinystories_file(QUICK) == blob
    assert hub.requests == []


def test_damaged_copy_in_the_huggingface_cache_is_not_used(hub: FakeHub) -> None:
    _fill_huggingface_cache(CONTENT[:-1], hashlib.sha256(CONTENT).hexdigest())
    assert tinystories_file(QUICK).read_bytes() == CONTENT


def test_waits_double_up_to_the_longest_and_heed_the_server() -> None:
    patience, lost = Patience(8, 1.0, 30.0), httpx2.ConnectError("lost")
    assert [patience.wait_seconds(failures, lost) for failures in (1, 2, 3, 6, 7)] == [1, 2, 4, 30, 30]
    request = httpx2.Request("GET", "http://hub.example")
    for asked, wait in (("7", 7), ("900", 30), ("Wed, 21 Oct 2026 07:28:00 GMT", 1)):
        answer = httpx2.Response(429, headers={"Retry-After": asked}, request=request)
        assert patience.wait_seconds(1, httpx2.HTTPStatusError("busy", request=request, response=answer)) == wait
