"""Checkpoints: a training that is cut off and goes on ends with the very weights of one that was not."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten

from benchmarks.training_file import load_training_file
from mlx_autoresearch import contract
from mlx_autoresearch.checkpoints import Position, read_position, restore_checkpoint, save_checkpoint
from mlx_autoresearch.curve import CURVE_FILE, read_points
from mlx_autoresearch.dataset import Dataset
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.resuming import prepare_to_resume, seconds_trained
from mlx_autoresearch.settings import CHECKPOINT_FILE, SETTINGS_VARIABLE, RunSettings

SMALL = {"DEPTH": 2, "WIDTH": 64, "HEAD_DIM": 32, "VOCAB_SIZE": 1024, "SEQUENCE_LENGTH": 64, "BATCH_SIZE": 2}
BUDGET, EVERY = 20.0, 4.0


def test_arrays_random_numbers_and_position_come_back(tmp_path: Path) -> None:
    model, state = nn.Linear(3, 2), {"mean": [mx.ones((2,)), {"deep": mx.zeros((3, 1))}], "name": "Muon"}
    mx.random.seed(5)
    save_checkpoint(tmp_path / CHECKPOINT_FILE, Position(7, 21), (model, state))
    weight, draws = np.array(model.weight), np.array(mx.random.normal((4,)))
    model.weight, state["mean"][0], state["mean"][1]["deep"] = mx.zeros((2, 3)), mx.zeros((2,)), mx.ones((3, 1))
    mx.random.seed(6)
    assert restore_checkpoint(tmp_path / CHECKPOINT_FILE, (model, state)) == Position(7, 21)
    np.testing.assert_array_equal(model.weight, weight)
    np.testing.assert_array_equal(mx.random.normal((4,)), draws)
    assert state["mean"][0].tolist() == [1, 1] and state["mean"][1]["deep"].sum().item() == 0
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_FILE]


def test_a_checkpoint_of_something_else_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT_FILE
    save_checkpoint(path, Position(1, 1), (nn.Linear(3, 2),))
    for other in (nn.Linear(3, 4), nn.Linear(3, 2, bias=False), nn.Sequential(nn.Linear(3, 2))):
        before = [np.array(array) for _, array in tree_flatten(other.parameters())]
        with pytest.raises(AutoresearchError, match="something else"):
            restore_checkpoint(path, (other,))
        for array, (_, now) in zip(before, tree_flatten(other.parameters()), strict=True):
            np.testing.assert_array_equal(array, now)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(AutoresearchError, match="no checkpoint"):
        read_position(path)


class CutOffError(Exception):
    """Stands for kill -9."""


class Training:
    """train_mlx.py in a run of its own, on a clock that every batch moves on by a second."""

    def __init__(self, dataset: Dataset, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dataset, self.folder, self.monkeypatch = dataset, folder, monkeypatch
        self.models: list[nn.Module] = []
        folder.mkdir()

    def run(self, resumed: float = 0.0, cut_off_after: int | None = None) -> ModuleType:
        now = [1000.0]
        settings = RunSettings(
            str(self.dataset.folder), str(self.folder), BUDGET, 3, now[0] - resumed, False, EVERY, resumed
        )
        settings.save(self.folder / "run.json")
        self.monkeypatch.setenv(SETTINGS_VARIABLE, str(self.folder / "run.json"))
        self.monkeypatch.setattr(contract, "awake_seconds", lambda: now[0])
        module, batches = load_training_file(SMALL), contract.batches

        class Moving:
            def __init__(self, *arguments: int) -> None:
                self.data, self.taken = batches(*arguments), 0

            def __next__(self) -> tuple[mx.array, mx.array]:
                if self.taken == cut_off_after:
                    self.data.close()
                    raise CutOffError
                self.taken += 1
                now[0] += 1
                return next(self.data)

            def __getattr__(self, name: str):
                return getattr(self.data, name)

        module.batches, module.hand_in = Moving, self.models.append
        module.main()
        return module


def test_a_training_that_goes_on_ends_like_one_in_one_piece(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Training(dataset, tmp_path / "whole", monkeypatch)
    whole.run()
    assert read_position(tmp_path / "whole" / CHECKPOINT_FILE).step == 16  # the last 4 s are not worth one
    cut = Training(dataset, tmp_path / "cut", monkeypatch)
    with pytest.raises(CutOffError):
        cut.run(cut_off_after=11)
    assert read_position(tmp_path / "cut" / CHECKPOINT_FILE) == Position(8, 8)
    with pytest.raises(CutOffError):
        cut.run(resumed=8.0, cut_off_after=6)
    assert read_position(tmp_path / "cut" / CHECKPOINT_FILE) == Position(12, 12)
    cut.run(resumed=12.0)
    steps = [read_points(tmp_path / name / CURVE_FILE)[-1]["step"] for name in ("whole", "cut")]
    assert steps[0] == steps[1] > 16
    for (name, weight), (_, expected) in zip(
        *(tree_flatten(each.models[0].parameters()) for each in (cut, whole)), strict=True
    ):
        np.testing.assert_allclose(weight, expected, rtol=1e-3, atol=1e-5, err_msg=name)


def test_a_run_of_a_night_writes_none(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RunSettings(str(dataset.folder), str(tmp_path), 0.2, 3, contract.awake_seconds()).save(tmp_path / "run.json")
    monkeypatch.setenv(SETTINGS_VARIABLE, str(tmp_path / "run.json"))
    clock, data = contract.Clock(), contract.batches(1024, 1, 32)
    assert clock.resume(data, {"mean": mx.ones((2,))}) == 0
    while clock.running():
        next(data)
    data.close()
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def interrupted(
    folder: Path, budget: float = 3600.0, resumed: float = 0.0, began: float = 1e9, saved: float = 1e9 + 90
):
    folder.mkdir()
    RunSettings("", str(folder), budget, 1, 0.0, False, 60.0, resumed).save(folder / "run.json")
    (folder / CHECKPOINT_FILE).write_bytes(b"")
    os.utime(folder / "run.json", (began, began))
    os.utime(folder / CHECKPOINT_FILE, (saved, saved))
    return folder


def test_the_dates_of_its_files_tell_how_far_a_run_had_come(tmp_path: Path) -> None:
    assert seconds_trained(interrupted(tmp_path / "first")) == 90
    assert seconds_trained(interrupted(tmp_path / "second", resumed=600.0)) == 690
    assert seconds_trained(interrupted(tmp_path / "at once", resumed=600.0, saved=1e9 - 5000)) == 600
    assert seconds_trained(interrupted(tmp_path / "lying", saved=2e9)) == 3600
    assert seconds_trained(tmp_path) == 0
    without = interrupted(tmp_path / "without")
    (without / CHECKPOINT_FILE).unlink()
    assert seconds_trained(without) == 0 == prepare_to_resume(without)


def test_only_what_a_run_goes_on_from_stays(tmp_path: Path) -> None:
    folder = interrupted(tmp_path / "run")
    (folder / CURVE_FILE).write_text('{"step": 1, "seconds": 89}\n{"step": 2, "seconds": 91}\n{"st')
    (folder / "kernels").mkdir()
    for name in ("model.mlxfn", "handin.json", "run.log"):
        (folder / name).write_text("old")
    assert prepare_to_resume(folder) == 90
    assert {path.name for path in folder.iterdir()} == {CHECKPOINT_FILE, "run.json", CURVE_FILE}
    assert read_points(folder / CURVE_FILE) == [{"step": 1, "seconds": 89}]
    linked = interrupted(tmp_path / "linked")
    (tmp_path / "private").write_text("secret")
    (linked / CURVE_FILE).symlink_to(tmp_path / "private")
    assert prepare_to_resume(linked) == 90
    assert (tmp_path / "private").read_text() == "secret" and read_points(linked / CURVE_FILE) == []
