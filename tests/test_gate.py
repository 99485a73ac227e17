"""The gate: what is refused without running, and which programs are the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlx_autoresearch.gate import GateError, check_source, fingerprint

SOURCE = (Path(__file__).resolve().parent.parent / "train_mlx.py").read_text(encoding="utf-8")


def test_the_file_itself_passes() -> None:
    check_source(SOURCE)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("def build_model() -> nn.Module:", "def build_model( -> nn.Module:", r"not valid Python in line \d+"),
        ("import math\n", "import math\nimport torch\n", "imports torch in line"),
        ("import math\n", "import math\nfrom . import secrets\n", r"imports \."),
        ("import math\n", "import math\nimport mlx_autoresearch.scorer\n", "imports mlx_autoresearch.scorer"),
        ("def build_model(", "def build_a_model(", "no function build_model"),
        ("    hand_in(model)\n", "", "never calls hand_in"),
        ("    run(main)\n", "    main()\n", "never calls run"),
        ("import math\n", "import math\nDROPOUT = 0.1\n", "never reads DROPOUT"),
        ("import math\n", "import math\n" + "x = 1\n" * 40_000, "characters"),
        ("import math\n", "import math\0\n", "not valid Python"),
    ],
)
def test_breaches_are_named(old: str, new: str, words: str) -> None:
    assert old in SOURCE
    with pytest.raises(GateError, match=words):
        check_source(SOURCE.replace(old, new))


def test_same_program_whatever_it_looks_like() -> None:
    changed = (
        SOURCE.replace('"""A small GPT', '"""A smaller GPT').replace("# Muon:", "# MUON:").replace("  # 1 at", " # 2")
    )
    assert changed != SOURCE and fingerprint(changed, 0) == fingerprint(SOURCE, 0)
    assert fingerprint(SOURCE.replace("MATRIX_LR         = 0.04", "MATRIX_LR = 0.05"), 0) != fingerprint(SOURCE, 0)


def test_other_machines_columns_do_not_count() -> None:
    row = "DEPTH             = (4,     4,    6,        8)[M]"
    assert row in SOURCE
    other = SOURCE.replace(row, "DEPTH = (4, 5, 6, 8)[M]")
    assert fingerprint(other, 0) == fingerprint(SOURCE, 0) != fingerprint(other, 1)
    assert fingerprint(SOURCE.replace(row, "DEPTH = 4"), 0) == fingerprint(SOURCE, 0)
