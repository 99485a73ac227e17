"""Tables as sources of rows: every format, which columns, what is asked for, and a sentence for whatever is wrong."""

from __future__ import annotations

import gzip
import io
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from mlx_autoresearch.corpus import Source
from mlx_autoresearch.corpus.tables import RowsOptions, open_table, split_names
from mlx_autoresearch.dataset import Dataset, prepare_dataset
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.rows import LABEL, NUMBER, TEXT, Schema, features_of, read_document
from mlx_autoresearch.rows_summary import documents_of, rows_summary, schema_of
from mlx_autoresearch.splits import SPLITS

CSV = 'carat,cut,price\n0.30,"Very Good",300\n.31,Ideal,326\n1,"a; ""b"": c\nd",4000\n'


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def source(path: Path, **options: object) -> Source:
    return open_table(str(path), RowsOptions(**options))


def schema(path: Path, **options: object) -> Schema:
    return Schema.from_json(json.loads(json.dumps(source(path, **options).identity))["rows"])


def rows(path: Path, **options: object) -> list[str]:
    return list(source(path, **options).documents())


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(AutoresearchError) as caught:
        rows(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------------ formats


def test_csv_keeps_numbers_as_they_are_written(tmp_path: Path) -> None:
    assert rows(write(tmp_path / "t.csv", CSV)) == [
        "carat: 0.30; cut: Very Good; price: 300",
        "carat: .31; cut: Ideal; price: 326",
        'carat: 1; cut: a\\, "b": c\\nd; price: 4000',
    ]


def test_all_formats_give_the_same_rows(tmp_path: Path) -> None:
    expected = ["a: 0.5; b: x; t: 1", "b: y; t: 2", "a: 2; b: z; t: 3"]
    write(tmp_path / "t.csv", "a,b,t\n0.5,x,1\n,y,2\n2,z,3\n")
    write(tmp_path / "t.tsv", "a\tb\tt\n0.5\tx\t1\n \ty\t2\n2\tz\t3\n")
    objects = ['{"a": 0.5, "b": "x", "t": 1}', '{"a": null, "b": "y", "t": 2}', '{"b": "z", "a": 2, "t": 3}']
    write(tmp_path / "t.jsonl", "\n".join(objects))
    for kind in (pa.float64(), pa.float32()):
        table = pa.table({"a": pa.array([0.5, float("nan"), 2], kind), "b": ["x", "y", "z"], "t": [1, 2, 3]})
        pq.write_table(table, tmp_path / f"{kind}.parquet")
        assert rows(tmp_path / f"{kind}.parquet") == expected
    (tmp_path / "t2.csv.gz").write_bytes(gzip.compress((tmp_path / "t.csv").read_bytes()))
    for name in ("t.csv", "t.tsv", "t.jsonl", "t2.csv.gz"):
        assert rows(tmp_path / name) == expected, name


def test_what_json_and_parquet_can_hold_besides(tmp_path: Path) -> None:
    write(tmp_path / "t.jsonl", '{"a": [1, "x"], "b": true, "t": 0.30}\n{"later": 1, "t": NaN, "a": "k"}\n')
    assert rows(tmp_path / "t.jsonl", target="t") == ['a: ["1", "x"]; b: true; t: 0.30']
    table = pa.table({"a": [[1, 2]], "b": [True], "c": pa.array([0.1], pa.float32()), "t": ["x"]})
    pq.write_table(table, tmp_path / "t.parquet")
    assert rows(tmp_path / "t.parquet") == ["a: [1, 2]; b: true; c: 0.1; t: x"]


def test_several_files_are_one_table(tmp_path: Path) -> None:
    write(tmp_path / "in/1.csv", "a,t\n1,2\n")
    write(tmp_path / "in/2.csv", "t,a\n4,3\n")
    assert rows(tmp_path / "in") == ["a: 1; t: 2", "a: 3; t: 4"]
    write(tmp_path / "in/3.csv", "a,u\n1,2\n")
    assert "differ in the columns 't', 'u'" in refusal(tmp_path / "in")


# ------------------------------------------------------------------------------------------------------ columns


def test_target_and_order(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "a,b b,c\n1,2,3\n4,5,6\n")
    assert rows(path, target="a")[0] == "b b: 2; c: 3; a: 1"
    assert rows(path, columns=("c", "a"))[0] == "c: 3; a: 1"
    assert rows(path, columns=("c", "b b", "a"), target="c")[0] == "b b: 2; a: 1; c: 3"
    assert rows(path, columns=("b b", "a"), target="c")[0] == "b b: 2; a: 1; c: 3"
    assert split_names('b b, "x, y",c') == ("b b", "x, y", "c")


def test_row_numbers_are_left_out_and_named(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", '"",id,a,t\n7,1,5,10\n9,2,5,11\n3,3,6,12\n')
    assert rows(path)[0] == "a: 5; t: 10"  # the target counts too, and stays
    assert set(schema(path).dropped) == {"", "id"}
    assert rows(path, columns=("id", "a", "t"))[0] == "id: 1; a: 5; t: 10"  # asked for


def test_kinds(tmp_path: Path) -> None:
    lines = [f"{index * 0.5},{'xy'[index % 2]},word{index} and more,{index % 2},{index % 30}" for index in range(400)]
    path = write(tmp_path / "t.csv", "n,l,text,yes,many\n" + "\n".join(lines))
    found = schema(path)
    assert [(column.name, column.kind) for column in found.columns] == [
        ("n", NUMBER),
        ("l", LABEL),
        ("text", TEXT),
        ("yes", NUMBER),
    ]
    assert found.columns[1].values == ("x", "y") and found.columns[2].values == ()
    assert found.target.kind == NUMBER
    assert schema(path, target="yes").target.kind == LABEL  # two whole numbers
    assert schema(path, target="yes", target_kind=NUMBER).target.kind == NUMBER
    assert schema(path, target="many", target_kind=LABEL).target.kind == LABEL
    assert "not all values of 'l'" in refusal(path, target="l", target_kind=NUMBER)


def test_missing_and_long_values_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "a,b,t\n1,,x\n,,y\n1,2,\n,abcdefgh,z\n")
    assert rows(path, max_chars=3) == ["a: 1; t: x", "b: …fgh; t: z"]
    found = schema(path, max_chars=3)
    assert (found.rows, found.unusable, found.shortened) == (4, 2, 1)
    assert [column.missing for column in (*found.columns, found.target)] == [2, 2, 1]


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ("a,b\n1,2\n", {"target": "price"}, "--target: .*no column 'price'. There are a, b"),
        ("a,b\n1,2\n", {"columns": ("a", "z")}, "--columns: .*no column 'z'"),
        ("a\n1\n", {}, "one column"),
        ("a,b\n1,2\n", {"columns": ("a",)}, "one column"),
        ("a,b,a\n1,2,3\n", {}, "several columns named 'a'"),
        ("a,b\n", {}, "no row"),
        ("a,b\n1,\n", {}, "no row"),
        ("a,b\n1,2,3\n", {}, "3 fields where the header has 2"),
        ("a;b\n1;2\n", {}, "no commas"),
        ("a,b\n1,2\n", {"max_chars": 0}, "--max-chars"),
        (f"a,b\n{'x' * 40_000},1\n", {"max_chars": 50_000}, "row 1 has 40,0.. characters"),
    ],
)
def test_wrong_tables_are_sentences(tmp_path: Path, content: str, options: dict, words: str) -> None:
    import re

    assert re.search(words, refusal(write(tmp_path / "t.csv", content), **options))


def test_text_has_no_rows(tmp_path: Path) -> None:
    assert "has no columns" in refusal(write(tmp_path / "t.txt", "hello"))
    assert "object with named fields" in refusal(write(tmp_path / "t.jsonl", '"hello"\n'))


# ------------------------------------------------------------------------------------------------------ prepared


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """5,000 different rows, 2,500 sets of features with two prices each; every tenth row twice."""
    draw = random.Random(1)
    lines = []
    for index in range(2500):
        features = f"{index / 100:.2f},{draw.choice(['red', 'green; blue'])}"
        lines += [f"{features},{price},unused" for price in (index, index + 1)]
    lines += lines[::10]
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("rows")
        patch.setenv("MLX_AUTORESEARCH_DATA", str(folder / "data"))
        path = write(folder / "shop.csv", "weight,colour of it,price,note\n" + "\n".join(lines))
        table = source(path, columns=("weight", "colour of it", "price"))
        return prepare_dataset(table, console=Console(file=io.StringIO()))


def test_rows_are_prepared_like_text(prepared: Dataset) -> None:
    documents = {split: list(documents_of(prepared, split)) for split in SPLITS}
    assert {name: len(texts) for name, texts in documents.items()} == {
        name: split["documents"] for name, split in prepared.manifest["splits"].items()
    }
    everything = [text for texts in documents.values() for text in texts]
    assert len(everything) == len(set(everything)) == 5000
    assert prepared.manifest["corpus"]["duplicates"] == 500
    assert read_document(documents["test"][0]).keys() == {"weight", "colour of it", "price"}


def test_equal_features_are_never_on_two_sides(prepared: Dataset) -> None:
    sides = {split: {features_of(text) for text in documents_of(prepared, split)} for split in SPLITS}
    assert not sides["train"] & sides["test"] and not sides["train"] & sides["val"] and not sides["val"] & sides["test"]
    assert sum(map(len, sides.values())) == 2500
    assert prepared.manifest["corpus"]["same_key"] == 2500


def test_summary_says_what_may_surprise(prepared: Dataset) -> None:
    told = " ".join(rows_summary(prepared))
    for words in (
        "5,500 rows, each with weight, colour of it; then the target 'price': a number",
        "2,500 rows have the same features",
    ):
        assert words in told
    assert "Every row fits into the 256 tokens" in told
    assert schema_of(prepared.manifest) is not None and schema_of({"source": {"kind": "local"}}) is None


def test_rows_longer_than_the_context_are_told(tmp_path: Path) -> None:
    draw = random.Random(2)
    words = ["tree", "river", "stone", "cloud", "house", "bird"]
    lines = [f"{' '.join(draw.choices(words, k=60))},{index % 2}" for index in range(700)]
    table = source(write(tmp_path / "t.csv", "text,label\n" + "\n".join(lines)))
    told = rows_summary(prepare_dataset(table, console=Console(file=io.StringIO())))[-1]
    assert "lose their beginning: 100.0 % with a vocabulary of 256, none with larger ones" in told


def test_same_table_is_not_prepared_twice_but_other_options_are(prepared: Dataset, tmp_path: Path) -> None:
    path = write(tmp_path / "shop.csv", CSV)
    assert source(path).identity == source(path).identity and source(path).name == source(path).name
    assert source(path).name != source(path, target="carat").name != source(path, max_chars=2).name
