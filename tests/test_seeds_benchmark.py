"""The benchmark of seeds: what it sums up, and that it goes on where it stopped."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from trained_night import TINY_TRAIN

from benchmarks import seeds
from mlx_autoresearch.dataset import Dataset


def test_the_summary_of_known_runs() -> None:
    runs = [{"val_bpb": 1.0 + n / 100, "test_bpb": 1.1 - n / 50, "steps": 100} for n in range(3)]
    found = seeds.summary(runs)
    assert found["val_bpb_mean"] == 1.01 and found["val_bpb_deviation"] == 0.01 and found["test_bpb_range"] == 0.04
    assert found["correlation_val_bpb_test_bpb"] == -1.0 and found["correlation_val_bpb_steps"] is None
    assert seeds.summary(runs[:1])["val_bpb_deviation"] is None


def test_it_goes_on_where_it_stopped(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "seeds.json"
    monkeypatch.setenv("MLX_AUTORESEARCH_DATA", str(dataset.folder.parent))
    monkeypatch.setattr(seeds, "TRAINING_FILE", TINY_TRAIN)

    def run(count: int) -> list[dict]:
        arguments = ["--seeds", str(count), "--budget", "5", "--output", str(output), "--dataset", dataset.name]
        monkeypatch.setattr(sys, "argv", ["seeds", *arguments])
        seeds.main()
        return json.loads(output.read_text())["runs"]

    (first,) = run(1)
    assert first["seed"] == 1 and first["val_bpb"] > 0 and first["test_bpb"] > 0
    again = run(2)
    assert again[0] == first and [each["seed"] for each in again] == [1, 2]
    assert capsys.readouterr().out.count("seed 1:") == 1
    other = tmp_path / "train.py"
    other.write_text(TINY_TRAIN.read_text() + "\n# another file\n")
    monkeypatch.setattr(seeds, "TRAINING_FILE", other)
    assert [each["seed"] for each in run(1)] == [1] and again[0] not in run(1)
