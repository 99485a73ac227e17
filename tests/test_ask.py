"""Asking a model for a row's target: what is typed, what is answered, many questions at once, and how good it was."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from rich.console import Console

from mlx_autoresearch.ask import dataset_beside, notes, read_values, schema_beside, told
from mlx_autoresearch.ask_score import judged, model_answers, near_duplicates, print_score, remarks
from mlx_autoresearch.baselines import boosted_answers, commonest_answer
from mlx_autoresearch.complete import ANSWER_TOKENS, complete, mean_bits
from mlx_autoresearch.corpus.tables import RowsOptions, open_table
from mlx_autoresearch.dataset import Dataset, prepare_dataset
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.exported_model import GraphReader
from mlx_autoresearch.handin import SCORE_ROWS, export_graph
from mlx_autoresearch.history import Night, RunIdentity
from mlx_autoresearch.paths import PROJECT, runs_root
from mlx_autoresearch.records import KEEP, Proposal, RunResult, Verdict
from mlx_autoresearch.rows import LABEL, NUMBER, TEXT, Column, Schema, read_document
from mlx_autoresearch.rows_summary import documents_of, schema_of
from mlx_autoresearch.scorer import Graph
from mlx_autoresearch.settings import CONTEXT

HOMES = Schema(
    (Column("size", NUMBER), Column("town part", LABEL, 0, ("north", "south")), Column("a=b", TEXT)),
    Column("price", NUMBER),
    100,
    0,
    {},
    2000,
    0,
)


def test_values_are_read_by_column() -> None:
    assert read_values(["size=3", "town part=north", "a=b=c=d"], HOMES) == {
        "size": "3",
        "town part": "north",
        "a=b": "c=d",
    }
    for words, told_words in (
        (["sise=3"], "no column 'sise'.*Known are size, town part, a=b"),
        (["size"], "column=value"),
        (["price=3"], "what the model answers"),
        (["size=3", "size=4"], "twice"),
        (["size= "], "no value"),
    ):
        with pytest.raises(AutoresearchError, match=told_words):
            read_values(words, HOMES)


def test_notes_say_what_makes_an_answer_doubtful() -> None:
    assert notes({"size": "3", "town part": "north", "a=b": "x"}, HOMES) == []
    found = " ".join(notes({"size": "big", "town part": "North"}, HOMES))
    assert "without a=b" in found and "'big'" in found and "never 'North'" in found and "north, south" in found


def test_spread_of_answers() -> None:
    assert told(["326"], HOMES) == ["price: 326"]
    (doubtful,) = told(["VS1"], HOMES)
    assert doubtful.startswith("price: VS1 ") and "no number" in doubtful
    assert told(["1", "2", "3", "x"], HOMES) == [
        "price: 2 in the middle of 3 answers, 80 % from 1 to 3; 1 answers were no numbers"
    ]
    labels = Schema(HOMES.columns, Column("t", LABEL), 1, 0, {}, 9, 0)
    assert told(["a", "b", "a"], labels) == ["t: a   2 of 3", "t: b   1 of 3"]
    assert told([""], labels) == ["t: (nothing)"]


# ------------------------------------------------------------------------------------------------------ a dataset


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Homes whose price is 10 times their size, and whose part of town is told by the size's last digit."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("homes")
        patch.setenv("MLX_AUTORESEARCH_DATA", str(folder / "data"))
        sizes = random.Random(0).sample(range(1000, 4500), 3500)
        lines = [f"{size},{'north' if size % 2 else 'south'},{10 * size}" for size in sizes]
        (folder / "homes.csv").write_text("size,part,price\n" + "\n".join(lines))
        return prepare_dataset(
            open_table(str(folder / "homes.csv"), RowsOptions()), console=Console(file=io.StringIO())
        )


@pytest.fixture()
def schema(homes: Dataset) -> Schema:
    found = schema_of(homes.manifest)
    assert found is not None
    return found


class CopyingModel:
    """Logits that make every row be continued by ` ` and the first feature's value with a 0 behind it, then its end."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, tokens: mx.array) -> mx.array:
        self.calls += 1
        logits = np.zeros((SCORE_ROWS, CONTEXT, 256), np.float32)
        for row, ids in enumerate(np.array(tokens)):
            text = bytes(int(token) - 1 for token in ids[1:] if token).decode()
            question, _, begun = text.partition("price:")
            answer = f" {read_document(question.rstrip('; '))['size']}0" if question else ""
            position = len(text.encode())
            following = ord(answer[len(begun)]) + 1 if len(begun) < len(answer) else 0
            logits[row, position, following] = 50.0
        return mx.array(logits)


def reader_of(graph: Graph) -> GraphReader:
    """A model that takes the scored shape only."""
    return GraphReader(graph, SCORE_ROWS, CONTEXT)


def test_many_questions_at_once_are_answered_each_by_itself(homes: Dataset, schema: Schema) -> None:
    rows = [read_document(document) for document in documents_of(homes, "test")][:21]
    rows[3] = {**rows[3], "size": "7"}  # answers of different lengths end at different calls
    model, done = CopyingModel(), []
    texts = [schema.question(row) for row in rows]
    answers = complete(reader_of(model), homes.tokenizer(256), texts, on_done=lambda: done.append(1))
    assert answers == [f" {row['size']}0" for row in rows]
    assert len(done) == 21 and model.calls <= 7 * 3  # 3 batches of at most 8, 7 tokens each
    assert complete(reader_of(model), homes.tokenizer(256), []) == []


def test_bits_of_rows_and_of_their_targets(homes: Dataset) -> None:
    tokenizer = homes.tokenizer(256)

    def half(tokens: mx.array) -> mx.array:
        """Torn between two digits."""
        logits = np.full((SCORE_ROWS, CONTEXT, 256), -60.0, np.float32)
        logits[:, :, [ord(digit) + 1 for digit in "12"]] = 0.0
        return mx.array(logits)

    whole, answer = mean_bits(half, tokenizer, ["1"] * 9, ["12"] * 9)
    assert whole == pytest.approx(3, abs=1e-4) and answer == pytest.approx(2, abs=1e-4)
    whole, answer = mean_bits(half, tokenizer, ["1" * 300, "1"], ["1" * 4, "1" * 4])
    assert whole == pytest.approx((CONTEXT + 5) / 2, abs=1e-3) and answer == pytest.approx(4, abs=1e-3)


def test_long_and_endless_texts(homes: Dataset) -> None:
    seen = []

    def endless(tokens: mx.array) -> mx.array:
        seen.append(np.array(tokens))
        return mx.array(np.eye(256, dtype=np.float32)[np.full((SCORE_ROWS, CONTEXT), ord("x") + 1)])

    def another_column(tokens: mx.array) -> mx.array:
        return mx.array(np.eye(256, dtype=np.float32)[np.full((SCORE_ROWS, CONTEXT), ord(";") + 1)])

    tokenizer = homes.tokenizer(256)
    assert complete(reader_of(another_column), tokenizer, ["price:"]) == [";"]
    assert complete(reader_of(endless), tokenizer, ["a" * 300 + "b"]) == ["x" * ANSWER_TOKENS]
    assert seen[0].shape == (SCORE_ROWS, CONTEXT) and seen[0][0, 0] == ord("a") + 1  # the beginning is lost
    assert [token for token in seen[0][0] if token][-1] == ord("b") + 1


def test_samples_are_drawn_and_agree_by_their_median(homes: Dataset, schema: Schema) -> None:
    def dice(tokens: mx.array) -> mx.array:
        logits = np.full((SCORE_ROWS, CONTEXT, 256), -50.0, np.float32)
        for row, ids in enumerate(np.array(tokens)):
            last = int(np.count_nonzero(ids))  # 0 in a row without a question
            ends = chr(max(0, ids[last] - 1)).isdigit()
            logits[row, last, [0] if ends else [ord(digit) + 1 for digit in "123"]] = 1.0
        return mx.array(logits)

    rows = [{"size": "1", "part": "north", "price": "2"}] * 3
    answers = complete(reader_of(dice), homes.tokenizer(256), [schema.question(rows[0])] * 60, temperature=1.0, seed=4)
    assert set(answers) == {"1", "2", "3"}
    assert (
        complete(reader_of(dice), homes.tokenizer(256), [schema.question(rows[0])] * 60, temperature=1.0, seed=4)
        == answers
    )
    assert model_answers(reader_of(dice), homes.tokenizer(256), rows, schema, 41, 0) == ["2", "2", "2"]


# ------------------------------------------------------------------------------------------------------ judging


def test_numbers_are_judged_by_error(schema: Schema) -> None:
    assert judged(["10", "20", "x"], ["10", "24", "30"], "28", schema) == ["2 ± 1.8", "0.905"]
    assert judged(["0", "0"], ["1000000", "1000000"], "0", schema) == ["1,000,000 ± 0", "-"]
    assert "1 answers were no numbers" in remarks(["10", "x"], [{"price": "1"}] * 2, [], schema)[0]


def test_labels_are_judged_by_accuracy() -> None:
    labels = Schema((Column("a", TEXT),), Column("t", LABEL), 1, 0, {}, 9, 0)
    assert judged(["a", "b", "a", "a"], ["a", "b", "b", "a"], "a", labels) == ["75.0 %  (30.1 to 95.4)"]
    assert "1 answers were no t" in remarks(["a", "q"], [{"t": "a"}] * 2, [{"t": "a"}, {"t": "b"}], labels)[0]


def test_near_duplicates_are_found() -> None:
    training = [{"size": "1", "town part": "north", "a=b": "x"}, {"size": "2", "town part": "south"}]
    asked = [
        {"size": "9", "town part": "north", "a=b": "x"},  # another size
        {"size": "2", "town part": "south", "a=b": "x"},  # one that is missing there
        {"size": "9", "town part": "south", "a=b": "x"},
    ]
    assert near_duplicates(asked, training, HOMES) == 2


def test_baselines(homes: Dataset, schema: Schema) -> None:
    pytest.importorskip("sklearn")
    training = [read_document(document) for document in documents_of(homes, "train")]
    asked = [read_document(document) for document in documents_of(homes, "test")][:50]
    assert abs(float(commonest_answer(training, schema)) - 27500) < 1000
    errors = [
        abs(float(answer) - float(row["price"]))
        for answer, row in zip(boosted_answers(training, asked, schema), asked, strict=True)
    ]
    assert np.mean(errors) < 300
    parts = Schema((Column("size", NUMBER), Column("price", NUMBER)), Column("part", LABEL), 1, 0, {}, 9, 0)
    assert commonest_answer(training, parts) in ("north", "south")
    words = Schema((Column("t", TEXT), Column("u", LABEL)), Column("y", LABEL), 1, 0, {}, 9, 0)
    told_by_words = [{"t": f"{'good' if i % 2 else 'bad'} film {i}", "y": str(i % 2)} for i in range(200)]
    assert boosted_answers(told_by_words, told_by_words[:10], words) == ["0", "1"] * 5
    many = [{"size": str(index), "part": str(index)} for index in range(100)]
    with pytest.raises(AutoresearchError, match="100 different values"):
        boosted_answers(many, many, parts)


def test_without_scikit_learn_a_sentence_says_what_to_install(
    homes: Dataset, schema: Schema, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    monkeypatch.setenv("COLUMNS", "160")
    print_score(reader_of(CopyingModel()), homes.tokenizer(256), homes, schema, 30, None, 0)
    shown = capsys.readouterr().out
    assert "pip install -e '.[bench]'" in shown and "30 of" in shown
    assert "the model, its likeliest text" in shown and "0 ± 0" in shown and "1.000" in shown
    assert "median of the training rows" in shown


# ------------------------------------------------------------------------------------------------------ command line


@pytest.fixture()
def model_folder(homes: Dataset) -> Path:
    """A night's best/ whose model answers 7 to everything."""
    table = np.zeros((256, 256), np.float32)
    for before, after in ((":", " "), (" ", "7")):
        table[ord(before) + 1, ord(after) + 1] = 20.0
    table[ord("7") + 1, 0] = 20.0
    weights = mx.array(table)
    identity = RunIdentity(homes.name, homes.fingerprint, 5.0, "a machine", "3", CONTEXT)
    night = Night.open(runs_root() / "night", identity)
    baseline = night.add(Proposal("pass\n", "baseline"))
    folder = baseline.new_run_folder()
    export_graph(lambda rows: weights[rows], folder / "model.mlxfn")
    (folder / "model.safetensors").touch()
    baseline.record_result(folder, RunResult(1, val_bpb=1.0, vocab_size=256))
    baseline.record_verdict(Verdict(KEEP, "The baseline.", 1.0))
    night.update_best(baseline, homes.tokenizer_file(256))
    (night.root / "dataset.json").write_text(json.dumps(homes.manifest))
    return night.root / "best"


def ask(*arguments: str, data: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "mlx_autoresearch.ask", *arguments],
        cwd=PROJECT,
        env={**os.environ, "MLX_AUTORESEARCH_DATA": str(data), "COLUMNS": "160"},
        capture_output=True,
        text=True,
    )


def test_command_line(model_folder: Path, homes: Dataset) -> None:
    data = homes.folder.parent
    done = ask("--tag", "night", "size=1500", data=data)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "price: 7" and "without part" in done.stdout
    spread = ask("--tag", "night", "size=1500", "part=south", "--samples", "5", data=data)
    assert spread.stdout == "price: 7 in the middle of 5 answers, 80 % from 7 to 7\n"
    score = ask("--tag", "night", "--score", "--rows", "10", data=data)
    assert score.returncode == 0 and "mean absolute error" in score.stdout, score.stderr
    wrong = ask("--tag", "night", "colour=red", data=data)
    assert wrong.returncode == 1 and "Known are size, part" in wrong.stderr and "Traceback" not in wrong.stderr
    for arguments in (
        ("--tag", "night"),
        ("--score", "size=1"),
        ("size=1", "--rows", "3"),
        ("size=1", "--samples", "0"),
    ):
        assert ask(*arguments, data=data).returncode == 2


def test_what_a_model_was_trained_on(
    model_folder: Path, homes: Dataset, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, copy = model_folder / "model.mlxfn", model_folder.parent / "dataset.json"
    assert schema_beside(graph).target.name == "price"  # although the dataset is not there
    with pytest.raises(AutoresearchError, match="no prepared dataset"):
        dataset_beside(graph)
    monkeypatch.setenv("MLX_AUTORESEARCH_DATA", str(homes.folder.parent))
    assert dataset_beside(graph).folder == homes.folder
    copy.write_text(json.dumps({**homes.manifest, "fingerprint": "other"}))
    with pytest.raises(AutoresearchError, match="prepared anew"):
        dataset_beside(graph)
    copy.write_text(json.dumps(dataset.manifest))
    with pytest.raises(AutoresearchError, match="not on a table's rows"):
        schema_beside(graph)
    copy.unlink()
    with pytest.raises(AutoresearchError, match="nothing says"):
        schema_beside(graph)
    (model_folder / "run.json").write_text(json.dumps({"dataset": str(homes.folder)}))
    assert schema_beside(graph).target.name == "price" and dataset_beside(graph).name == homes.name
