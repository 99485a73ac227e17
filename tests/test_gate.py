"""The gate: what is refused without running, and which programs are the same."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlx_autoresearch.gate import GateError, check_source, code_lines, fingerprint, fingerprint_or_none

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


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import math\n", "import math\nimport os.path as p\nfrom sys import path\n"),
        ("import math\n", "import math\nTABLE_OF_NOTHING = (1, 2)\n"),
        ("import math\n", "import math\n\n\ndef unread(x):\n    return unread(x - 1)\n\n\nclass Unread:\n    x = 1\n"),
        ("    clock = Clock()\n", "    clock: Clock = Clock()\n    nothing_at_all = 3\n"),
        ("def check_loss(loss: float, step: int) -> None:", "def check_loss(loss, step):"),
        ("from __future__ import annotations\n", ""),
    ],
)
def test_what_nothing_reads_does_not_count(old: str, new: str) -> None:
    assert old in SOURCE
    assert fingerprint(SOURCE.replace(old, new), 0) == fingerprint(SOURCE, 0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    clock = Clock()\n", "    clock = Clock()\n    ignored = mx.random.seed(7)\n"),  # a call may do something
        ("import math\n", "import math\nmx.random.seed(7)\n"),
        ("    step += 1\n", "    step += 2\n"),
        ("@softcapped_cross_entropy.vjp\n", "@softcapped_cross_entropy.jvp\n"),  # nobody calls it by name
        ("return norm(x)\n", "return x\n"),
    ],
)
def test_what_may_change_something_counts(old: str, new: str) -> None:
    assert old in SOURCE
    assert fingerprint(SOURCE.replace(old, new), 0) != fingerprint(SOURCE, 0)


def test_a_program_that_reads_by_name_keeps_everything() -> None:
    reading = SOURCE.replace("import math\n", "import math\nprint(globals()['WIDTH'])\n")
    unread = reading.replace("import math\n", "import math\nextra = 1\n")
    assert fingerprint(reading, 0) != fingerprint(unread, 0) and fingerprint_or_none("def :", 0) is None


def test_threads_may_parse_at_once() -> None:
    """Without the lock this raises SystemError on Python 3.11.7."""
    sources = [SOURCE.replace("step += 1", f"step += {number}") for number in range(24)]
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda source: fingerprint(source, 0), sources))) == len(sources)


def test_what_gives_a_model_its_cache_is_no_code() -> None:
    without = [line for line in SOURCE.splitlines() if "cache" not in line]
    assert len(without) == len(SOURCE.splitlines()) - 2
    assert code_lines("\n".join(without)) == code_lines(SOURCE)
    assert code_lines("a = 1\ncached = 2") == 2
