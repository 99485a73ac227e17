"""Knobs: what is read from a program, what an edit touches, and what is refused."""

from __future__ import annotations

import pytest

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.knobs import (
    Choices,
    FloatRange,
    IntRange,
    read_knobs,
    short_float,
    unread_knobs,
    without_values,
    write_knobs,
    written,
)

SAMPLE = '''"""A program: # not a comment {1..2}; it costs 3 € and says "DEPTH = 9"."""

from prepare import machine_class

# fmt: off
M = machine_class()
#             CPU    8 GB  16-24 GB  larger
DEPTH      = (4,     4,    6,        8)[M]       # transformer blocks {2..12}
MATRIX_LR  = 0.04                                # Muon step size {0.005..0.2 log}
WIDTH      = (128,   256,  384,      512)[M]     # residual stream {64..1024 step 32}
PATTERN    = "SSSL"                              # windows, “curly” {"L", "SL", "SSSL"}
TIED_HEAD  = False                               # share the head with the embedding {False, True}
BATCH      = 16                                  # rows {2..128 log}
DECAY      = 0                                   # of the matrices {0.0..0.2}
OFFSET: float = -0.5                             # {-1..1}
KERNELS    = 2                                   # {1, 2, 4}
CHUNK      = 2048                                # bounds memory
BETAS      = (0.8, 0.95)                         # not a knob {0..1}
DTYPE      = machine_class.dtype                 # not a knob {1..2}
lower      = 3                                   # not a knob {1..2}
# fmt: on


def build_model():
    INNER = 5  # {1..9}
    return DEPTH, MATRIX_LR, WIDTH, PATTERN, TIED_HEAD, BATCH, DECAY, OFFSET, KERNELS, CHUNK, BETAS, DTYPE, INNER
'''


def test_values_and_ranges_are_read() -> None:
    knobs = read_knobs(SAMPLE, 1)
    assert {name: (knob.value, knob.range) for name, knob in knobs.items()} == {
        "DEPTH": (4, IntRange(2, 12)),
        "MATRIX_LR": (0.04, FloatRange(0.005, 0.2, log=True)),
        "WIDTH": (256, IntRange(64, 1024, step=32)),
        "PATTERN": ("SSSL", Choices(("L", "SL", "SSSL"))),
        "TIED_HEAD": (False, Choices((False, True))),
        "BATCH": (16, IntRange(2, 128, log=True)),
        "DECAY": (0.0, FloatRange(0.0, 0.2)),
        "OFFSET": (-0.5, FloatRange(-1.0, 1.0)),
        "KERNELS": (2, Choices((1, 2, 4))),
        "CHUNK": (2048, None),
    }
    assert type(knobs["DECAY"].value) is float
    assert type(knobs["TIED_HEAD"].value) is bool
    assert knobs["DEPTH"].line == 8
    assert knobs["CHUNK"].comment == "bounds memory"
    text = SAMPLE.encode()
    assert [text[slice(*knobs[name].span)] for name in ("WIDTH", "PATTERN", "OFFSET")] == [b"256", b'"SSSL"', b"-0.5"]


@pytest.mark.parametrize(("machine", "depth", "width"), [(0, 4, 128), (1, 4, 256), (2, 6, 384), (3, 8, 512)])
def test_a_row_is_read_at_the_machines_column(machine: int, depth: int, width: int) -> None:
    knobs = read_knobs(SAMPLE, machine)
    assert (knobs["DEPTH"].value, knobs["WIDTH"].value) == (depth, width)


def test_an_edit_of_a_row_leaves_the_other_columns_and_all_alignment() -> None:
    edited = write_knobs(SAMPLE, {"DEPTH": 10, "WIDTH": 64}, 2)
    assert edited == SAMPLE.replace(
        "DEPTH      = (4,     4,    6,        8)[M]       #", "DEPTH      = (4,     4,    10,       8)[M]       #"
    ).replace(
        "WIDTH      = (128,   256,  384,      512)[M]     #", "WIDTH      = (128,   256,  64,       512)[M]     #"
    )
    assert [read_knobs(edited, column)["DEPTH"].value for column in range(4)] == [4, 4, 10, 8]


def test_the_last_column_and_plain_literals_keep_the_comments_column() -> None:
    edited = write_knobs(SAMPLE, {"DEPTH": 12, "MATRIX_LR": 0.0312, "PATTERN": "L", "TIED_HEAD": True}, 3)
    before, after = SAMPLE.splitlines(), edited.splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == 4
    assert all(old[old.index("#") :] == new[new.index("#") :] for old, new in changed)
    assert all(old.index("#") == new.index("#") for old, new in changed)
    assert "12)[M]      #" in edited


@pytest.mark.parametrize(
    "values",
    [
        {"DEPTH": 12, "WIDTH": 1024, "BATCH": 2},
        {"MATRIX_LR": 4e-05, "DECAY": 0.125, "OFFSET": 0.25},
        {"MATRIX_LR": 0.1 + 0.2, "PATTERN": "SL", "TIED_HEAD": True, "KERNELS": 4, "CHUNK": 1},
    ],
)
def test_what_is_written_is_read_back_and_going_back_restores_the_text(values: dict) -> None:
    original = read_knobs(SAMPLE, 0)
    edited = write_knobs(SAMPLE, values, 0)
    now = read_knobs(edited, 0)
    assert {name: knob.value for name, knob in now.items()} == {
        name: values.get(name, knob.value) for name, knob in original.items()
    }
    restored = write_knobs(edited, {name: original[name].value for name in values}, 0)
    assert restored.replace("0.0  ", "0    ") == SAMPLE  # DECAY was written without a point
    assert without_values(edited, now) == without_values(SAMPLE, original)


def test_positions_count_bytes_and_any_line_end() -> None:
    source = 'NAME = "größe €"  # ü {"größe €", "klein"}\r\nSIZE = 4 # €{1..9}\r\n'
    edited = write_knobs(source, {"NAME": "klein", "SIZE": 7}, 0)
    assert edited == 'NAME = "klein"    # ü {"größe €", "klein"}\r\nSIZE = 7 # €{1..9}\r\n'
    assert read_knobs("SIZE = 4 # {1..9}\rNEXT = 5 # {1..7}\r", 0)["NEXT"].range == IntRange(1, 7)


def test_rows_over_several_lines_and_several_statements_on_one() -> None:
    source = "SIZE = (\n    1,  # small\n    2,\n)[M]  # {1..4}\nLEFT = 1; RIGHT = '#x'  # {'a', '#x'}\n"
    knobs = read_knobs(source, 1)
    assert (knobs["SIZE"].value, knobs["SIZE"].range) == (2, IntRange(1, 4))
    assert knobs["LEFT"].range is None
    assert knobs["RIGHT"].range == Choices(("a", "#x"))
    assert "    3,\n)[M]" in write_knobs(source, {"SIZE": 3}, 1)


def test_a_longer_value_pushes_what_has_no_room_to_give() -> None:
    assert write_knobs("RATE = 4 # c\n", {"RATE": 1000}, 0) == "RATE = 1000 # c\n"
    assert write_knobs("RATE = (4, 5)[M]\n", {"RATE": 1000}, 0) == "RATE = (1000, 5)[M]\n"


def test_nothing_changes_where_nothing_is_changed() -> None:
    same = {name: knob.value for name, knob in read_knobs(SAMPLE, 0).items()}
    assert write_knobs(SAMPLE, same, 0) == SAMPLE


def test_a_name_that_is_assigned_twice_is_no_knob() -> None:
    assert list(read_knobs("SIZE = 4  # {1..9}\nRATE = 1\nSIZE = SIZE * 2\n", 0)) == ["RATE"]


@pytest.mark.parametrize(
    "comment",
    [
        "{}",
        "{2..}",
        "{12..2}",
        "{3..3}",
        "{2...12}",
        "{0..8 log}",
        "{2..12 step 0}",
        "{2..12 step 11}",
        "{2..12 step 2 log}",
        "{2..12 steps 2}",
        "{small, large}",
        "{1, 'a'}",
        "{(1, 2)}",
        "{'a'}",
        "}",
        "{1..1e999}",
    ],
)
def test_a_malformed_range_names_its_line(comment: str) -> None:
    with pytest.raises(AutoresearchError, match="line 2"):
        read_knobs(f"FIRST = 1\nSIZE = 4  # the size {comment}\n", 0)


@pytest.mark.parametrize("line", ["FLAG = True  # {0..1}", "NAME = 'a'  # {1..2}", "RATE = 0.5  # {0..4 step 2}"])
def test_a_range_that_does_not_fit_the_value_is_refused(line: str) -> None:
    with pytest.raises(AutoresearchError, match="line 1"):
        read_knobs(line, 0)


def test_braces_elsewhere_are_only_text() -> None:
    assert read_knobs("SIZE = 4  # {1..9} of these\n", 0)["SIZE"].range is None


def test_a_row_without_the_machines_column_is_an_error() -> None:
    with pytest.raises(AutoresearchError, match=r"line 2.*DEPTH has 2 columns"):
        read_knobs("\nDEPTH = (1, 2)[M]\n", 3)


@pytest.mark.parametrize("source", ["DEPTH = (\n", "X = '\0'", "NAME = '\ud800'"])
def test_what_is_not_python_is_an_error(source: str) -> None:
    with pytest.raises(AutoresearchError, match="not valid Python"):
        read_knobs(source, 0)


@pytest.mark.parametrize(
    "values",
    [
        {"DEPTH": 4.0},
        {"DEPTH": True},
        {"TIED_HEAD": 1},
        {"MATRIX_LR": 1},
        {"MATRIX_LR": float("nan")},
        {"PATTERN": "LL"},
        {"KERNELS": 3},
        {"NOWHERE": 1},
        {"M": 1},
    ],
)
def test_values_that_do_not_fit_are_refused(values: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        write_knobs(SAMPLE, values, 0)


def test_unread_constants_are_found() -> None:
    assert unread_knobs(SAMPLE) == []
    forgotten = SAMPLE.replace("KERNELS, CHUNK, BETAS, DTYPE", "f'{KERNELS}'")
    assert unread_knobs(forgotten) == ["CHUNK", "BETAS", "DTYPE"]


def test_numbers_are_written_short() -> None:
    assert written(short_float(0.031234567)) == "0.0312"
    assert written(short_float(0.00004)) == "4e-05"
    assert written(short_float(12345.6)) == "12300.0"
    assert [written(value) for value in ("SSSL", 'a"b', "a\nb", True, -3)] == [
        '"SSSL"',
        "'a\"b'",
        "'a\\nb'",
        "True",
        "-3",
    ]
