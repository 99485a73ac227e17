"""The parity benchmark: train_mlx.py agrees with PyTorch, and a mistake in it would be caught, in the right row."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the parity benchmark needs PyTorch: pip install -e '.[bench]'")

from benchmarks import torch_gpt  # noqa: E402 (only where torch is)
from benchmarks.parity import known_problems, report, show  # noqa: E402
from benchmarks.parity_comparison import Row, compare_float32, distance, peak_error, worst, worst_tensor  # noqa: E402
from benchmarks.parity_options import LONG_ROWS, Option  # noqa: E402
from benchmarks.parity_properties import every_knob_matters  # noqa: E402
from benchmarks.training_file import load_training_file  # noqa: E402
from mlx_autoresearch.files import read_json  # noqa: E402
from mlx_autoresearch.process import child_environment  # noqa: E402

TINY = Option("tiny", {"DEPTH": 2, "WIDTH": 32, "BATCH_SIZE": 4}, steps=3)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """PyTorch's threads and OpenBLAS's would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def parity(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.parity", *arguments]
    return subprocess.run(command, env=child_environment({}), capture_output=True, text=True, timeout=300)


def test_quick_form_passes_and_writes_what_it_found(tmp_path: Path) -> None:
    done = parity("--quick", "--output", str(tmp_path / "new" / "parity.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    result = read_json(tmp_path / "new" / "parity.json")
    assert result["passed"] and all(item["passed"] for item in result["rows"] + result["properties"])
    assert {row["option"] for row in result["rows"]} == {"default", "all together", "simplest parts"}
    quantities = {row["quantity"] for row in result["rows"]}
    assert {"logits", "loss", "gradients", "parameters after 1", "optimizer state after 10"} <= quantities
    assert {"loss curve, 10 steps", "bits per byte"} <= quantities
    assert any(row["side"] == "bfloat16" for row in result["rows"])
    assert any("causal" in item["name"] for item in result["properties"])
    assert result["versions"]["torch"] == torch.__version__ and result["machine"]["mlx_version"]


def test_a_wrong_file_ends_with_status_1(tmp_path: Path) -> None:
    edit = ["--edit", "base=ROPE_BASE", "base=2 * ROPE_BASE"]
    done = parity("--quick", "--only", "simplest parts", *edit, "--output", str(tmp_path / "parity.json"))
    assert done.returncode == 1 and "MISS" in done.stdout, done.stderr
    assert not read_json(tmp_path / "parity.json")["passed"]


def test_errors_speak_to_a_person(tmp_path: Path) -> None:
    for arguments, words in (
        (["--only", "nothing"], "choose from"),
        (["--only", "default", "--quick", "--edit", "no such text", ""], "no single"),
    ):
        done = parity(*arguments, "--output", str(tmp_path / "parity.json"))
        assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr


def missed(*edits: tuple[str, str]) -> set[str]:
    """The quantities that miss in a tiny model."""
    return {row.quantity for row in compare_float32(TINY, edits, []) if not row.passed}


def test_other_devices_stand_beside_in_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """PyTorch's CPU as if it were another device: it differs from itself by nothing."""
    rows = compare_float32(TINY, (), ["cpu"])
    assert all(row.passed and row.columns == {"cpu": 0.0} for row in rows)
    broken = replace(rows[0], error=float("nan"), columns={"cpu": float("inf")})
    show([*rows, broken], [], ["cpu"])
    shown = capsys.readouterr().out
    assert "PyTorch, cpu" in shown and "0.0e+00" in shown and shown.count("MISS") == 1
    stored = report([broken], [], [], [])
    assert not stored["passed"] and stored["rows"][0]["error"] is None and stored["rows"][0]["columns"] == {"cpu": None}


LOGITS = {"logits", "loss", "gradients"}
GRADIENTS_ONLY = {"gradients", "parameters after 3"}
LATER_ONLY = {"parameters after 3"}

MISTAKES = [
    ("(back >= 0) & (back < window)", "(back >= 0) & (back < window - 1)", LOGITS, set()),
    ("base=ROPE_BASE", "base=1.1 * ROPE_BASE", LOGITS, set()),
    ("norm(rope(q))", "rope(norm(q))", set(), LOGITS | LATER_ONLY),
    ("1 - mx.square(capped)", "1", GRADIENTS_ONLY, {"logits", "loss"}),
    (
        "square[name] = ADAM_BETA2 * square[name] +",
        "square[name] = ADAM_BETA1 * square[name] +",
        LATER_ONLY | {"optimizer state after 3"},
        LOGITS | {"parameters after 1"},
    ),
    (
        "orthogonalize(MOMENTUM * momentum + (1 - MOMENTUM) * gradient)",
        "orthogonalize(momentum)",
        LATER_ONLY,
        LOGITS | {"optimizer state after 1"},
    ),
    (
        "max(1.0, parameter.shape[0] / parameter.shape[1]) ** 0.5",
        "max(1.0, parameter.shape[1] / parameter.shape[0]) ** 0.5",
        {"parameters after 1", *LATER_ONLY},
        LOGITS | {"optimizer state after 1"},
    ),
]


@pytest.mark.parametrize(("before", "after", "caught", "untouched"), MISTAKES, ids=[m[1][:40] for m in MISTAKES])
def test_a_mistake_is_caught_in_its_row(before: str, after: str, caught: set[str], untouched: set[str]) -> None:
    found = missed((before, after))
    assert caught <= found and not untouched & found


def test_an_idle_knob_is_caught() -> None:
    found = every_knob_matters([("step * WEIGHT_DECAY", "step * 0.0")], ("WEIGHT_DECAY", "MOMENTUM", "WARMUP"))
    assert not found.passed and found.detail == "without effect: WEIGHT_DECAY"


@pytest.mark.parametrize("window", [50, 13, 1])
def test_fused_attention_equals_plain_attention(window: int) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, heads, 50, 16) for heads in (6, 2, 2))
    plain, fused = (attend(q, k, v, window) for attend in (torch_gpt.plain_attention, torch_gpt.fused_attention))
    torch.testing.assert_close(fused, plain)
    if window == 1:
        torch.testing.assert_close(plain, v.repeat_interleave(3, dim=1))


def test_long_rows_are_longer_than_a_block_of_queries() -> None:
    assert LONG_ROWS["SEQUENCE_LENGTH"] > load_training_file({}).ATTENTION_BLOCK


def test_polar_express_is_derived_not_copied() -> None:
    ours = load_training_file({}).POLAR_EXPRESS
    np.testing.assert_allclose(torch_gpt.polar_express_coefficients(), ours, rtol=1e-12)


def test_nan_is_never_within_a_tolerance() -> None:
    nan = float("nan")
    assert worst({"a": 1.0, "b": nan, "c": 2.0}).where == "b"
    assert not Row("", "", "", "", nan, 1.0).passed
    assert np.isnan(distance(np.array([nan]), np.array([1.0])))


def test_scales_of_all_blocks_are_one_tensor() -> None:
    arrays = {f"mean of blocks.{block}.scale": np.full(1, 10.0**block) for block in range(3)} | {"head": np.ones(2)}
    off = arrays | {"mean of blocks.0.scale": np.full(1, 2.0)}
    found = worst_tensor(off, arrays, peak_error)
    assert found.where == "mean of scale of all blocks" and found.error == pytest.approx(0.01)


def test_known_problems_depend_on_the_version() -> None:
    issues = {version: " ".join(known_problems(version)) for version in ("2.13.0", "2.14.1+cpu", "2.15.0")}
    assert "195910" in issues["2.13.0"] and "196067" not in issues["2.13.0"]
    assert "195910" not in issues["2.14.1+cpu"] and "196067" in issues["2.14.1+cpu"]
    assert "196067" not in issues["2.15.0"] and all("177116" in text for text in issues.values())
