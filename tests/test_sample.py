"""Sampling from a graph: greedy, nucleus, ends, characters of several bytes, and where models are found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from mlx_autoresearch.dataset import Dataset
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.handin import SCORE_ROWS
from mlx_autoresearch.paths import PROJECT, runs_root
from mlx_autoresearch.sample import choose_token, continue_text, find_graph
from mlx_autoresearch.settings import CONTEXT


def successor_table(pairs: dict[int, int]) -> mx.array:
    """Bigram logits (256, 256) that make each key's token be followed by its value, any other by the separator."""
    table = np.zeros((256, 256), dtype=np.float32)
    table[:, 0] = 5.0
    for token, following in pairs.items():
        table[token, following] = 20.0
    return mx.array(table)


def text_of(dataset: Dataset, table: mx.array, prompt: str, length: int = 20) -> list[str]:
    tokenizer = dataset.tokenizer(256)
    return list(continue_text(lambda rows: table[rows], tokenizer, prompt, length, 0.0, 1.0, 0))


def token(byte: int) -> int:
    return byte + 1  # ids 1 to 255 are the bytes, 0 is the separator


def test_greedy_follows_the_model_and_stops_at_its_end(dataset: Dataset) -> None:
    table = successor_table({token(ord("a")): token(ord("b")), token(ord("b")): token(ord("c"))})
    assert text_of(dataset, table, "xa") == ["b", "c"]
    assert text_of(dataset, table, "c") == []
    endless = successor_table({token(ord("a")): token(ord("a"))})
    assert "".join(text_of(dataset, endless, "a", CONTEXT + 20)) == "a" * (CONTEXT + 20)  # beyond one row


def test_character_of_two_bytes_appears_whole(dataset: Dataset) -> None:
    first, second = "é".encode()
    table = successor_table({token(ord("a")): token(first), token(first): token(second)})
    assert text_of(dataset, table, "a") == ["é"]


def test_choose_token() -> None:
    rng = np.random.default_rng(0)
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05]))
    assert choose_token(logits, 0.0, 1.0, rng) == 0
    nucleus = {choose_token(logits, 1.0, 0.75, rng) for _ in range(200)}
    assert nucleus == {0, 1}
    drawn = np.bincount([choose_token(logits, 1.0, 1.0, rng) for _ in range(4000)], minlength=4) / 4000
    np.testing.assert_allclose(drawn, [0.5, 0.3, 0.15, 0.05], atol=0.03)


def test_newest_model_is_found(tmp_path: Path) -> None:
    with pytest.raises(AutoresearchError, match="no trained model"):
        find_graph(None, None)
    for number, name in enumerate(("old/best", "by-hand/1", "new/best")):
        folder = runs_root() / name
        folder.mkdir(parents=True)
        (folder / "model.mlxfn").touch()
        os.utime(folder / "model.mlxfn", (number, number))
    assert find_graph(None, None) == runs_root() / "new" / "best" / "model.mlxfn"
    assert find_graph("old", None) == runs_root() / "old" / "best" / "model.mlxfn"
    assert find_graph(None, str(runs_root() / "by-hand" / "1")).parent.name == "1"
    for tag, graph in (("none", None), (None, str(tmp_path / "none"))):
        with pytest.raises(AutoresearchError, match=r"no (trained )?model"):
            find_graph(tag, graph)


def test_command_line(dataset: Dataset, tmp_path: Path) -> None:
    table = successor_table({token(ord("a")): token(ord("b"))})
    example = mx.zeros((SCORE_ROWS, CONTEXT), dtype=mx.int32)
    mx.export_function(str(tmp_path / "model.mlxfn"), lambda rows: table[rows], example)

    def sample() -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "mlx_autoresearch.sample", "--graph", str(tmp_path), "--temperature", "0", "a"]
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)

    lost = sample()
    assert lost.returncode == 1 and "neither tokenizer.json" in lost.stderr and "Traceback" not in lost.stderr
    (tmp_path / "tokenizer.json").write_bytes(dataset.tokenizer_file(256).read_bytes())
    assert sample().stdout == "ab\n"
    (tmp_path / "model.mlxfn").write_bytes(b"not a graph")
    damaged = sample()
    assert damaged.returncode == 1 and "can't be used" in damaged.stderr and "Traceback" not in damaged.stderr
