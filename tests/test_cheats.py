"""The cheats: each is a program that would run, those that look ahead would win unguarded, and none pays."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import mlx.core as mx
import numpy as np
import pytest
from cheat_edits import CHEATS, HONEST, Cheat

from mlx_autoresearch import paths
from mlx_autoresearch.dataset import Dataset
from mlx_autoresearch.gate import check_source
from mlx_autoresearch.judge import RefusedError, judge
from mlx_autoresearch.questions import Answer, Question
from mlx_autoresearch.sandbox.choice import choose
from mlx_autoresearch.scorer import answer

BAIT = {"dataset": "/nowhere", "graph": "/nowhere", "stories": 1}

V = 256


def test_every_cheat_is_a_program_of_its_own_that_passes_the_gate() -> None:
    honest = HONEST.read_text(encoding="utf-8")
    sources = [cheat.source(BAIT, 3.0) for cheat in CHEATS]
    for source in (honest, *sources):
        check_source(source)
    assert len({honest, *sources}) == len(CHEATS) + 1 and len(CHEATS) >= 25
    assert len({cheat.name for cheat in CHEATS}) == len(CHEATS)


def test_an_edit_that_takes_hold_of_nothing_is_noticed() -> None:
    with pytest.raises(ValueError, match="0 times"):
        Cheat("nothing", (("no such line", ""),)).source(BAIT, 1.0)


def model_of(source: str, table: mx.array):
    """The file's model with the weights of another one."""
    module = {"__name__": "training_file"}
    exec(compile(source, "train_mlx.py", "exec"), module)
    model = module["build_model"]()
    model.table = table
    return model


@pytest.mark.parametrize("cheat", [cheat for cheat in CHEATS if cheat.looks_ahead], ids=lambda cheat: cheat.name)
def test_looking_ahead_would_win_without_the_judge_and_is_refused_by_it(dataset: Dataset, cheat: Cheat) -> None:
    tokens = np.asarray(dataset.tokens("train", V), np.int64)
    pairs = np.full((V, V), 0.05)
    np.add.at(pairs, (tokens[:-1], tokens[1:]), 1)
    table = mx.array(np.log(pairs / pairs.sum(axis=1, keepdims=True)), dtype=mx.float32)
    sums = {}

    def ask(questions: Sequence[Question]) -> list[Answer]:
        first, second = questions
        own = answer(model, V, first.rows[V])
        sums[name] = float(own.nats.sum())
        return [own, answer(model, V, second.rows[V], second.asked[V])]

    name, model = "honest", model_of(HONEST.read_text(encoding="utf-8"), table)
    judge(dataset, ["val"], ask, np.random.default_rng(0), every_cut=True)
    name, model = "cheat", model_of(cheat.source(BAIT, 0.0), table)
    with pytest.raises(RefusedError):
        judge(dataset, ["val"], ask, np.random.default_rng(0))
    assert sums["cheat"] < sums["honest"]


def test_no_cheat_pays() -> None:
    """Takes under a minute: `python -m tests.cheats --quick`, which says at length what it does."""
    choice = choose()
    if not choice.works:
        pytest.skip("; ".join(choice.problems))
    command = [sys.executable, "-m", "tests.cheats", "--quick"]
    done = subprocess.run(command, cwd=paths.PROJECT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\nrefused") + done.stdout.count("\nno better") == 4 and "PAYS" not in done.stdout
