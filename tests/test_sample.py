"""Sampling from a graph: greedy, nucleus, ends, characters of several bytes, and where models are found."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from trained_night import TINY_TRAIN

from mlx_autoresearch.chosen_model import choose_model
from mlx_autoresearch.continuation import Sampling, choose_token, continue_texts, open_reader, usable_lengths
from mlx_autoresearch.dataset import Dataset
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.experiment import run_by_hand
from mlx_autoresearch.exported_model import GraphReader
from mlx_autoresearch.handin import ROW_LENGTHS, SCORE_ROWS, export_graph
from mlx_autoresearch.history import Night
from mlx_autoresearch.paths import PROJECT, runs_root
from mlx_autoresearch.sample import Voice, build_parser, choose_voices, write_side_by_side
from mlx_autoresearch.settings import CONTEXT


def successor_table(pairs: dict[int, int]) -> mx.array:
    """Bigram logits (256, 256) that make each key's token be followed by its value, any other by the separator."""
    table = np.zeros((256, 256), dtype=np.float32)
    table[:, 0] = 5.0
    for token, following in pairs.items():
        table[token, following] = 20.0
    return mx.array(table)


def reader_of(table: mx.array, lengths: tuple[int, ...] = ()) -> GraphReader:
    return GraphReader(lambda rows: table[rows], SCORE_ROWS, CONTEXT, lengths)


def text_of(dataset: Dataset, table: mx.array, prompt: str, length: int = 20) -> list[str]:
    pieces = continue_texts(reader_of(table), dataset.tokenizer(256), [prompt], Sampling(length, 0.0))
    return [piece for _, piece in pieces]


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


def place(row: mx.array) -> mx.array:
    """Logits (B, T, 256) that tell the sum of all tokens so far: wrong unless the whole window is seen in order."""
    return mx.cumsum(row, axis=1)[..., None] * mx.linspace(0, 1e-3, 256)


@pytest.mark.parametrize("count", [1, 31, 32, 33, 200, 256, 257, 300, 1000])
def test_windows_reach_back_over_three_quarters_of_a_row(count: int) -> None:
    tokens = np.random.default_rng(count).integers(1, 256, size=count)
    whole, rows = GraphReader(place, SCORE_ROWS, CONTEXT), GraphReader(place, SCORE_ROWS, CONTEXT, ROW_LENGTHS)
    start = whole.window_start(count)
    assert start % 64 == 0 and count - start <= CONTEXT and (start == 0 or count - start > CONTEXT - 64)
    expected = np.array(place(mx.array(tokens[None, start:])))[0, -1]
    for reader in (whole, rows):
        several = reader.next_logits([tokens.tolist(), [1], tokens.tolist()])
        np.testing.assert_allclose(np.array(several)[[0, 2]], expected[None].repeat(2, 0), rtol=1e-5)
        every = np.array(reader.logits(mx.array(tokens[None]), last=count))
        assert every.shape == (1, count, 256)
        np.testing.assert_allclose(every[0, -1], expected, rtol=1e-5)
        np.testing.assert_allclose(every[0, 0], np.array(place(mx.array(tokens[None, :1])))[0, 0], rtol=1e-5)


def test_more_texts_than_rows_go_in_batches() -> None:
    texts = [[number] for number in range(1, 2 * SCORE_ROWS)]
    logits = GraphReader(place, SCORE_ROWS, CONTEXT).next_logits(texts)
    np.testing.assert_allclose(np.array(logits)[:, 255], [text[0] * 1e-3 for text in texts], rtol=1e-5)


def test_texts_beside_a_text_do_not_change_it(dataset: Dataset) -> None:
    table = mx.random.normal((256, 256), key=mx.random.key(1))
    reader, tokenizer = reader_of(table), dataset.tokenizer(256)

    def write(prompts: list[str], seed: int) -> list[str]:
        texts = [""] * len(prompts)
        for index, piece in continue_texts(reader, tokenizer, prompts, Sampling(30, seed=seed)):
            texts[index] += piece
        return texts

    alone = write(["a"], 1)
    assert write(["b", "a"], 1)[1] == alone[0] and write(["a"], 2) != alone


def test_single_rows_are_used_where_they_say_the_same(tmp_path: Path) -> None:
    table = mx.random.normal((256, 256), key=mx.random.key(1))

    def other(rows: mx.array) -> mx.array:
        return table[rows] if rows.shape[1] != 64 else -table[rows]

    def bound(rows: mx.array) -> mx.array:
        return table[rows.reshape(SCORE_ROWS, CONTEXT)]

    lengths = {}
    for name, function in (("good", lambda rows: table[rows]), ("other", other), ("bound", bound)):
        export_graph(function, tmp_path / f"{name}.mlxfn")
        lengths[name] = open_reader(tmp_path / f"{name}.mlxfn")[0].lengths
    assert lengths == {"good": ROW_LENGTHS, "other": (32, 128, 256), "bound": ()}
    row = np.random.default_rng(0).integers(256, size=(1, CONTEXT), dtype=np.int32)
    scored = table[mx.array(row[0])] - mx.logsumexp(table[mx.array(row[0])], axis=-1, keepdims=True)
    assert usable_lengths(lambda rows: table[rows], row, scored) == ROW_LENGTHS
    assert usable_lengths(lambda rows: table[rows] * mx.nan, row, scored) == ()


def test_a_real_model_says_the_same_with_its_cache_and_in_single_rows(trained_night: Night) -> None:
    reader, vocab_size = open_reader(choose_model(trained_night.root, "best").graph)
    assert reader.cached is not None
    whole = GraphReader(reader.graph, SCORE_ROWS, CONTEXT)
    texts = [np.random.default_rng(n).integers(vocab_size, size=n).tolist() for n in (3, 100, 400)]
    expected = np.array(whole.next_logits(texts))
    for fast in (reader, GraphReader(reader.graph, SCORE_ROWS, CONTEXT, ROW_LENGTHS)):
        np.testing.assert_allclose(np.array(fast.next_logits(texts)), expected, atol=1e-4)


def by_hand(name: str, seconds: int, result: str | None) -> Path:
    folder = runs_root() / "by-hand" / name
    folder.mkdir(parents=True)
    export_graph(lambda rows: mx.zeros((*rows.shape, 256)), folder / "model.mlxfn")
    os.utime(folder / "model.mlxfn", (seconds, seconds))
    if result is not None:
        (folder / "result.json").write_text(result)
    return folder


def test_only_scored_models_are_chosen(dataset: Dataset, trained_night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AutoresearchError, match="no scored model under"):
        choose_voices(None, ["best"], None)
    scored = by_hand("1", 100, '{"val_bpb": 1.25}')
    tokenizer = dataset.tokenizer_file(256).read_bytes()
    (scored / "tokenizer.json").write_bytes(tokenizer)
    by_hand("2", 200, None)
    by_hand("3", 300, '{"val_bpb": null}')
    assert choose_voices(None, ["best"], None)[0].sentence == f"the model in {scored}, val_bpb 1.2500"
    left = by_hand("4", 400, None)
    (left / "tokenizer.json").write_bytes(tokenizer)
    assert "ever scored" in choose_voices(None, ["best"], str(left))[0].sentence
    monkeypatch.setenv("MLX_AUTORESEARCH_RUNS", str(trained_night.root.parent))
    assert choose_voices(None, ["best"], None)[0].sentence.startswith("best: experiment 1 of night nov24")


def test_a_run_by_hand_is_found(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLX_AUTORESEARCH_DATA", str(dataset.folder.parent))
    monkeypatch.setenv("MLX_AUTORESEARCH_BUDGET", "3")
    run_by_hand(TINY_TRAIN)
    voice = choose_voices(None, ["best"], None)[0]
    assert re.search(r"by-hand/\S+, val_bpb \d\.\d{4}$", voice.sentence)
    assert "".join(voice.pieces("7. Ada", Sampling(5))) != ""


def test_which_model_is_meant(
    dataset: Dataset, trained_night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLX_AUTORESEARCH_DATA", str(dataset.folder.parent))
    root = trained_night.root
    assert choose_model(root, "1").graph == choose_model(root, "best").graph
    baseline = choose_model(root, "baseline")
    assert baseline.graph == choose_model(root, "0").graph and baseline.tokenizer == dataset.tokenizer_file(256)
    for which, words in (("7", "no experiment 7"), ("-1", "say best"), ("longer", "was not trained longer yet")):
        with pytest.raises(AutoresearchError, match=words):
            choose_model(root, which)
    with pytest.raises(AutoresearchError, match="there is no run in"):
        choose_model(tmp_path / "none", "best")
    unborn = Night.open(tmp_path / "unborn", trained_night.identity)
    with pytest.raises(AutoresearchError, match="has no baseline yet"):
        choose_model(unborn.root, "baseline")
    unborn.add(baseline.experiment.proposal)
    with pytest.raises(AutoresearchError, match="has no best model yet"):
        choose_model(unborn.root, "best")
    with pytest.raises(AutoresearchError, match="has no scored model yet"):
        choose_model(unborn.root, "baseline")


def run_sample(*arguments: str, runs: Path | None = None, data: Path | None = None) -> subprocess.CompletedProcess:
    variables = {"MLX_AUTORESEARCH_RUNS": runs, "MLX_AUTORESEARCH_DATA": data}
    environment = os.environ | {name: str(path) for name, path in variables.items() if path is not None}
    command = [sys.executable, "-m", "mlx_autoresearch.sample", *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, env=environment)


def test_command_line(dataset: Dataset, tmp_path: Path) -> None:
    table = successor_table({token(ord("a")): token(ord("b"))})
    export_graph(lambda rows: table[rows], tmp_path / "model.mlxfn")
    options = ("--graph", str(tmp_path), "--temperature", "0", "a")
    lost = run_sample(*options)
    assert lost.returncode == 1 and "neither tokenizer.json" in lost.stderr and "Traceback" not in lost.stderr
    (tmp_path / "tokenizer.json").write_bytes(dataset.tokenizer_file(256).read_bytes())
    assert run_sample(*options).stdout == "ab\n"
    (tmp_path / "model.mlxfn").write_bytes(b"not a graph")
    damaged = run_sample(*options)
    assert damaged.returncode == 1 and "can't be used" in damaged.stderr and "Traceback" not in damaged.stderr


def test_compare_writes_one_after_the_other_where_there_is_no_terminal(dataset: Dataset, trained_night: Night) -> None:
    folders = {"runs": trained_night.root.parent, "data": dataset.folder.parent}
    done = run_sample("--tag", "nov24", "--compare", "--length", "5", "7. Ada", **folders)
    assert done.returncode == 0, done.stderr
    titles = [line for line in done.stdout.splitlines() if line.startswith("---")]
    assert titles == ["--- baseline", "--- best"] and done.stdout.count("7. Ada") == 2
    assert "baseline: experiment 0" in done.stderr and "best: experiment 1" in done.stderr


def test_columns_show_the_same_texts(dataset: Dataset, capsys: pytest.CaptureFixture) -> None:
    tables = [successor_table({token(ord("a")): token(ord(to))}) for to in "bc"]
    tokenizer = dataset.tokenizer(256)
    voices = [Voice(f"[red]{n}", "", reader_of(table), tokenizer) for n, table in enumerate(tables)]
    write_side_by_side(voices, "xa", Sampling(5, 0.0))
    shown = capsys.readouterr().out
    assert "xab" in shown and "xac" in shown and "[red]0" in shown


@pytest.mark.parametrize("wrong", [["--top-p", "2"], ["--temperature", "-1"], ["--length", "0"], ["--seed", "x"]])
def test_settings_that_mean_nothing_are_refused(wrong: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(wrong)
    assert "is not a number" in capsys.readouterr().err
