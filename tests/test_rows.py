"""A row as text and back, whatever its values hold."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from mlx_autoresearch.dataset import Dataset
from mlx_autoresearch.rows import (
    LABEL,
    NUMBER,
    TEXT,
    Column,
    Schema,
    as_number,
    features_of,
    read_answer,
    read_document,
    tidy,
)


def schema(*columns: str, target: str = "price", kind: str = NUMBER) -> Schema:
    return Schema(tuple(Column(name, TEXT) for name in columns), Column(target, kind), 10, 0, {}, 2000, 0)


def test_a_row_reads_like_a_sentence() -> None:
    row = schema("carat", "table size").document({"price": "326", "table size": "55", "carat": "0.30"})
    assert row == "carat: 0.30; table size: 55; price: 326"


@pytest.mark.parametrize(
    "value",
    ["a; b: c", ";", "\\", "\\\\;", "x\\", "two\nlines", "\\n", "a: b", "; price: 9", "\\,", "é 日本 🎉", "1;2;\n\\3"],
)
def test_any_value_comes_back(value: str) -> None:
    for names in (("a", "b"), ("a: b", "b; c\\"), ("a\nb", "x=y")):
        written = schema(*names, target="t: x").document({names[0]: value, names[1]: "1", "t: x": value})
        assert "\n" not in written
        assert read_document(written) == {names[0]: value, names[1]: "1", "t: x": value}
        assert written.startswith(features_of(written) + "; ")
        assert read_document(features_of(written)) == {names[0]: value, names[1]: "1"}


def test_missing_values_are_left_out() -> None:
    rows = schema("a", "b")
    assert rows.document({"b": "2", "price": "3"}) == "b: 2; price: 3"
    assert rows.question({}) == "price:"


def test_question_is_the_beginning_of_the_row_in_tokens_too(dataset: Dataset) -> None:
    for size in (256, 1024, 8192):
        tokenizer = dataset.tokenizer(size)
        for target in ("326", "-0.5", "$9", "very good", "(x)"):
            values = {"a": "blue boat", "price": target}
            question, row = schema("a").question(values), schema("a").document(values)
            expected = tokenizer.encode(row, add_special_tokens=False).ids
            start = tokenizer.encode(question, add_special_tokens=False).ids
            assert expected[: len(start)] == start


def test_answers() -> None:
    assert read_answer(" 326") == "326"
    assert read_answer(" a\\, b\\n; price: 3") == "a; b\n"
    assert read_answer("") == ""


def test_tidy() -> None:
    assert tidy("  a\r\nb\rc\0 ", 99) == "a\nb\nc"
    assert tidy("abcdef", 6) == "abcdef"
    assert tidy("abcdefg", 3) == "…efg"


def test_numbers() -> None:
    assert [as_number(text) for text in ("3", "-.5", "+1e3", "2.")] == [3.0, -0.5, 1000.0, 2.0]
    assert {as_number(text) for text in ("", "nan", "inf", "1_000", "1e999", "1,5", "3 kg", " 3")} == {None}


def test_schema_survives_json() -> None:
    before = Schema((Column("a", LABEL, 2, ("x", "y")),), Column("t", NUMBER), 5, 1, {"": "why"}, 80, 3)
    assert Schema.from_json(json.loads(json.dumps(asdict(before)))) == before
