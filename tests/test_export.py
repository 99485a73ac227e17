"""An exported folder: mlx-lm runs it unchanged and writes what `sample` writes; nothing of a person's is lost."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlx.core as mx
import mlx_lm
import numpy as np
import pytest

from mlx_autoresearch.chosen_model import choose_model
from mlx_autoresearch.continuation import Sampling, continue_texts, open_reader
from mlx_autoresearch.dataset import Dataset
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.export import export_model
from mlx_autoresearch.files import sha256_of
from mlx_autoresearch.history import Night
from mlx_autoresearch.paths import PROJECT
from mlx_autoresearch.tokens.tokenizer import open_tokenizer

PROMPT = "7. Ada found"


@pytest.fixture(autouse=True)
def prepared(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trained night's dataset is the person's."""
    monkeypatch.setenv("MLX_AUTORESEARCH_DATA", str(dataset.folder.parent))


@pytest.fixture(scope="module")
def folder(trained_night: Night, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The best model of the trained night, exported."""
    return export_model(choose_model(trained_night.root, "best"), tmp_path_factory.mktemp("exports") / "stories")


def greedy(night: Night, prompt: str, length: int) -> str:
    chosen = choose_model(night.root, "best")
    reader, _ = open_reader(chosen.graph)
    pieces = continue_texts(reader, open_tokenizer(chosen.tokenizer), [prompt], Sampling(length, 0.0))
    return "".join(piece for _, piece in pieces)


def environment() -> dict[str, str]:
    return os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """`mlx_lm.server` on a free port; its address once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlx_lm", "server", "--model", str(folder), "--trust-remote-code"]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)], env=environment(), stderr=subprocess.PIPE, text=True
    )
    try:
        stop = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < stop, process.stderr.read()
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


def ask(url: str, body: dict) -> dict:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_mlx_lm_generate_writes_what_sample_writes(folder: Path, trained_night: Night) -> None:
    command = ["-m", "mlx_lm", "generate", "--model", str(folder), "--trust-remote-code", "--prompt", PROMPT]
    command += ["--max-tokens", "40", "--temp", "0", "--verbose", "False"]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    expected = greedy(trained_night, PROMPT, 40)
    assert len(expected) > 40 and done.stdout.rstrip("\n") == expected.rstrip("\n")


def test_a_server_answers_with_the_same_text(folder: Path, trained_night: Night) -> None:
    expected = greedy(trained_night, PROMPT, 24)
    sampling = {"max_tokens": 24, "temperature": 0}
    with server(folder) as url:
        for _ in range(2):  # the second one finds the first one's tokens in the server's cache
            answer = ask(f"{url}/v1/completions", {"model": "default_model", "prompt": PROMPT, **sampling})
            assert answer["choices"][0]["text"] == expected
        messages = [{"role": "user", "content": PROMPT}]
        answer = ask(f"{url}/v1/chat/completions", {"model": "default_model", "messages": messages, **sampling})
        assert answer["choices"][0]["message"]["content"] == expected


def test_without_a_cache_every_position_is_answered(folder: Path, trained_night: Night) -> None:
    model, _ = mlx_lm.load(str(folder), trust_remote_code=True)
    vocab_size = trained_night.experiments[1].runs[0].vocab_size
    tokens = mx.array(np.random.default_rng(1).integers(vocab_size, size=(3, 300)))
    logits = model(tokens)
    assert logits.shape == (3, 300, vocab_size)
    cache = model.make_cache()
    for start, stop in ((0, 40), (40, 41), (41, 270), (270, 300)):
        continued = model(tokens[:, start:stop], cache=cache)
        np.testing.assert_allclose(np.array(continued), np.array(logits[:, start:stop]), atol=1e-4)
    assert cache[0].trim(260) == 260 and cache[0].offset == 40
    continued = model(tokens[:, 40:41], cache=cache)
    np.testing.assert_allclose(np.array(continued), np.array(logits[:, 40:41]), atol=1e-4)
    assert cache[0].trim(100) == 41 and cache[0].empty()


def test_the_folder_says_where_it_comes_from(folder: Path, trained_night: Night) -> None:
    story = json.loads((folder / "provenance.json").read_text())
    kept = trained_night.experiments[1]
    assert story["experiment"] == 1 and story["commit"] == kept.commit and story["run"]["val_bpb"] == kept.mean_bpb
    written = {path.name for path in folder.iterdir()} - {"provenance.json", "README.md"}
    assert {name: sha256_of(folder / name) for name in written} == story["files"]
    assert [path.name for path in folder.glob("*.py")] == ["model.py"]
    assert (folder / "model.py").read_bytes() == (PROJECT / "mlx_autoresearch" / "exported_model.py").read_bytes()
    card = (folder / "README.md").read_text()
    for words in (f"{kept.mean_bpb:.4f} ± 0.0100", f"{kept.test_bpb:.4f}", kept.commit, r"a GPT \| instead"):
        assert words in card
    assert trained_night.identity.dataset_fingerprint in card


def test_only_an_earlier_export_is_replaced(trained_night: Night, tmp_path: Path) -> None:
    chosen = choose_model(trained_night.root, "baseline")
    to = export_model(chosen, tmp_path / "here")
    (to / "model.py").write_text("# changed")
    assert export_model(chosen, tmp_path / "here") == to and (to / "model.py").read_text() != "# changed"
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "diary.txt").write_text("dear diary")
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(to)
    for name in ("mine", "file", "link"):
        with pytest.raises(AutoresearchError, match="name another"):
            export_model(chosen, tmp_path / name)
    assert (mine / "diary.txt").read_text() == "dear diary"


def test_a_kill_between_the_renames_is_mended(trained_night: Night, tmp_path: Path) -> None:
    chosen = choose_model(trained_night.root, "baseline")
    to = export_model(chosen, tmp_path / "here")
    os.rename(to, tmp_path / "here.old.partial")
    (tmp_path / "here.partial").mkdir()
    assert export_model(chosen, to) == to
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def run(night: Night, *arguments: str, most_kilobytes: int | None = None) -> subprocess.CompletedProcess:
    """The command, which can write no larger file than that."""
    limit = "" if most_kilobytes is None else f"ulimit -f {most_kilobytes}; "
    command = ["bash", "-c", limit + 'exec "$@"', "bash", sys.executable, "-m", "mlx_autoresearch.export", *arguments]
    variables = os.environ | {"MLX_AUTORESEARCH_RUNS": str(night.root.parent)}
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, env=variables)


def test_command_line(trained_night: Night, tmp_path: Path) -> None:
    done = run(trained_night, "--tag", "nov24", "--to", str(tmp_path / "a" / "stories"))
    assert done.returncode == 0, done.stderr
    assert "best: experiment 1 of night nov24 (a GPT | instead)" in done.stdout and "--trust-remote-code" in done.stdout
    lost = run(trained_night, "--tag", "none", "--to", str(tmp_path / "c"))
    assert lost.returncode == 1 and "there is no run in" in lost.stderr and "Traceback" not in lost.stderr


def test_a_disk_without_room_leaves_nothing_behind(trained_night: Night, tmp_path: Path) -> None:
    done = run(trained_night, "--tag", "nov24", "--to", str(tmp_path / "stories"), most_kilobytes=100)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "can't be written, and nothing of it is left" in done.stderr and "stories.partial" in done.stderr
    assert list(tmp_path.iterdir()) == []
