"""Areas that an edit touches, told from its patch."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlx_autoresearch.history import change_patch
from mlx_autoresearch.knobs import read_knobs, write_knobs
from mlx_autoresearch.report.areas import KNOB_AREAS, OTHER, touched_areas

ORIGINAL = (Path(__file__).resolve().parent.parent / "train_mlx.py").read_text(encoding="utf-8")


def areas(after: str, before: str = ORIGINAL) -> tuple[str, ...]:
    return touched_areas(change_patch(before, after), before)


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        ({"DEPTH": 3}, ("Size",)),
        ({"MATRIX_LR": 0.05}, ("Learning rates",)),
        ({"WARMDOWN": 0.3, "BATCH_SIZE": 16}, ("Tokens and batches", "Schedule")),
    ],
)
def test_knobs(knobs: dict[str, float], expected: tuple[str, ...]) -> None:
    assert areas(write_knobs(ORIGINAL, knobs, 0)) == expected


def test_every_knob_of_the_file_has_an_area() -> None:
    known = [knob for knobs in KNOB_AREAS.values() for knob in knobs]
    assert sorted(known) == sorted(read_knobs(ORIGINAL, 0))


def test_code_counts_for_the_heading_above_it() -> None:
    block = "        return x + self.mlp(norm(x))\n"
    assert areas(ORIGINAL.replace(block, block.replace("x +", "2 * x +"))) == ("Model",)
    assert areas(ORIGINAL.replace("    step += 1\n", "    step += 2\n")) == ("Training",)
    assert areas(ORIGINAL.replace("def orthogonalize(", "def orthogonal(")) == ("Optimizer",)


def test_a_new_knob_counts_by_the_code_that_comes_with_it() -> None:
    with_knob = ORIGINAL.replace("# fmt: on\n", "GATE = 0.5\n# fmt: on\n")
    assert areas(with_knob) == (OTHER,)
    assert areas(with_knob.replace("    step += 1\n", "    step += 2\n")) == ("Training",)


def test_comments_and_odd_patches_count_nowhere() -> None:
    assert areas(ORIGINAL.replace("# Model\n", "# The model\n")) == ()
    for patch in ("", "no patch", "@@ -x +y @@\n+DEPTH = 3", "+DEPTH = 3\n", "@@ -999999 +1 @@\n"):
        assert touched_areas(patch, ORIGINAL) == ()
    assert touched_areas("@@ -1,1 +1,2 @@\n x\n+y = 1\n", "x\n") == (OTHER,)


def test_a_line_that_looks_like_a_file_name_is_code() -> None:
    assert areas("a\n-- DEPTH\n", "a\n") == (OTHER,)
