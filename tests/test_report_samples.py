"""Before and after: openings, continuations in one batch, asked once per model, in the scorer's kind of process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import mlx.core as mx
import pytest
from recorded_night import IDENTITY
from test_sample import successor_table, token

from mlx_autoresearch.dataset import Dataset
from mlx_autoresearch.experiment import Laboratory
from mlx_autoresearch.exported_model import GraphReader
from mlx_autoresearch.handin import SCORE_ROWS
from mlx_autoresearch.history import Night
from mlx_autoresearch.records import KEEP, Proposal, RunResult, Verdict
from mlx_autoresearch.report.samples import (
    LENGTH,
    PROMPT_BYTES,
    PROMPT_WORDS,
    PROMPTS,
    Samples,
    continue_all,
    openings,
    read_samples,
    update_samples,
)
from mlx_autoresearch.report.update import update_report
from mlx_autoresearch.sandbox.choice import choose
from mlx_autoresearch.settings import CONTEXT

LETTERS = {token(ord("a")): token(ord("b")), token(ord("b")): token(ord("c"))}


class MadeUpLaboratory:
    """Answers for a model as it is told, and counts how often it was asked."""

    def __init__(self, folder: Path, answers: Sequence[str]) -> None:
        self.dataset = folder
        self.answers = iter(answers)
        self.asked: list[list[str]] = []

    def read_model(self, target: list[str], folder: Path, log: Path, seconds: float) -> None:
        self.asked.append(target[target.index("--") + 1 :])
        log.write_text("a warning\n" + next(self.answers))


def add_keep(night: Night, score: float) -> Path:
    """A kept experiment with a model; returns the folder of its run."""
    experiment = night.add(Proposal(f"# {score}\n", "an edit"))
    folder = experiment.new_run_folder()
    for name in ("model.mlxfn", "model.safetensors"):
        (folder / name).write_bytes(b"x")
    experiment.record_result(folder, RunResult(1, val_bpb=score, vocab_size=256))
    experiment.record_verdict(Verdict(KEEP, "because", score, 0.01))
    return folder


def answer(*texts: str) -> str:
    return json.dumps({"texts": texts})


def test_all_prompts_are_continued_in_one_batch(dataset: Dataset) -> None:
    table, calls = 10 * successor_table(LETTERS), []  # so sure that nothing is left to chance

    def graph(rows: mx.array) -> mx.array:
        assert rows.shape == (SCORE_ROWS, CONTEXT)
        calls.append(rows)
        return table[rows]

    reader = GraphReader(graph, SCORE_ROWS, CONTEXT)
    assert continue_all(reader, dataset.tokenizer(256), ["xa", "b", "zz"], 20) == ["bc", "c", ""]
    assert len(calls) == 3


def test_a_text_without_end_is_bounded(dataset: Dataset) -> None:
    endless = 10 * successor_table({token(ord("a")): token(ord("a"))})
    reader = GraphReader(lambda rows: endless[rows], SCORE_ROWS, CONTEXT)
    texts = continue_all(reader, dataset.tokenizer(256), ["a", "a" * 100])
    assert texts == ["a" * LENGTH] * 2
    assert continue_all(reader, dataset.tokenizer(256), ["a", "b"], seconds=0) == ["", ""]


def test_openings_are_first_words_of_test_documents(dataset: Dataset) -> None:
    prompts = openings(dataset)
    assert len(prompts) == len(set(prompts)) == PROMPTS
    for prompt in prompts:
        assert 0 < len(prompt.split()) <= PROMPT_WORDS and len(prompt.encode()) <= PROMPT_BYTES
        assert prompt.split(".")[0].isdecimal()  # every document of this dataset begins with its number


def test_every_model_is_asked_once_with_the_same_prompts(tmp_path: Path, dataset: Dataset) -> None:
    night = Night.open(tmp_path / "night", IDENTITY)
    laboratory = MadeUpLaboratory(dataset.folder, [answer(*"abcd"), answer(*"efgh")])
    assert update_samples(night, laboratory) is None and laboratory.asked == []
    add_keep(night, 1.3)
    assert update_samples(night, laboratory) is None
    add_keep(night, 1.2)
    assert update_samples(night, laboratory) is update_samples(night, laboratory) is None
    prompts = openings(dataset)
    assert laboratory.asked == [prompts, prompts]
    assert read_samples(night.root) == Samples(prompts, {"0": list("abcd"), "1": list("efgh")})


@pytest.mark.parametrize("wrong", ["", "no JSON", "[]", "{}", answer("one"), '{"texts": "cdef"}', "[" * 9000])
def test_a_model_that_writes_nothing_is_told_once(tmp_path: Path, dataset: Dataset, wrong: str) -> None:
    night = Night.open(tmp_path / "night", IDENTITY)
    laboratory = MadeUpLaboratory(dataset.folder, [wrong, answer(*"efgh")])
    log = add_keep(night, 1.3) / "samples.log"
    assert update_samples(night, laboratory) == f"the model of experiment 0 wrote no sample; see {log}"
    add_keep(night, 1.2)
    assert update_samples(night, laboratory) is update_samples(night, laboratory) is None
    assert read_samples(night.root).of(0) == [] and read_samples(night.root).of(1) == list("efgh")
    assert len(laboratory.asked) == 2


def test_a_real_process_reads_a_real_graph(tmp_path: Path, dataset: Dataset) -> None:
    night = Night.open(tmp_path / "night", IDENTITY)
    table, folder = successor_table(LETTERS), add_keep(night, 1.3)
    example = mx.zeros((SCORE_ROWS, CONTEXT), dtype=mx.int32)
    mx.export_function(str(folder / "model.mlxfn"), lambda rows: table[rows], example)
    said: list[str] = []
    update_report(night, Laboratory(Path(dataset.folder), sandbox=choose().sandbox), said.append)
    assert said == []
    samples = read_samples(night.root)
    assert samples.prompts == openings(dataset) and len(samples.of(0)) == PROMPTS
    assert json.loads((night.root / "dataset.json").read_text())["name"] == dataset.name
    assert samples.prompts[0].split(".")[0] in (night.root / "report.html").read_text()


def test_trouble_with_samples_does_not_keep_the_page_away(tmp_path: Path) -> None:
    night = Night.open(tmp_path / "night", IDENTITY)
    add_keep(night, 1.3)
    said: list[str] = []
    update_report(night, MadeUpLaboratory(tmp_path / "no dataset", []), said.append)
    assert len(said) == 1 and said[0].startswith("Note: there are no new samples for the report (")
    assert (night.root / "report.html").exists() and (night.root / "progress.png").exists()
