"""The night of edits without effect: the edits change nothing, and keeps are counted as the records say."""

from __future__ import annotations

import json
import subprocess
import sys

import mlx.core as mx
import numpy as np
import pytest
from waiting import alive, wait_until

from benchmarks.null_edits import definitions, null_edit
from benchmarks.null_night import THIEF, Outcome, keeps_if_lower, outcome
from benchmarks.training_file import load_training_file
from mlx_autoresearch.conditions import Conditions, ConditionsLog, Entry
from mlx_autoresearch.gate import check_source, fingerprint
from mlx_autoresearch.history import Night, RunIdentity
from mlx_autoresearch.paths import PROJECT
from mlx_autoresearch.records import DISCARD, KEEP, Proposal, RunResult, Verdict

SOURCE = (PROJECT / "train_mlx.py").read_text(encoding="utf-8")

TINY = {"DEPTH": 2, "WIDTH": 32, "HEAD_DIM": 32, "KV_HEADS": 1, "VOCAB_SIZE": 1024, "SEQUENCE_LENGTH": 64}


def test_null_edits_are_never_the_same_text_and_name_what_they_change() -> None:
    edits = [null_edit(SOURCE, number) for number in range(24)]
    assert len({source for source, _ in edits} | {SOURCE}) == 25
    assert len({description for _, description in edits}) == 24


@pytest.mark.parametrize("number", [0, 2, 44])
def test_null_edit_is_another_program_that_passes_the_gate(number: int) -> None:
    source, _ = null_edit(SOURCE, number)
    check_source(source)
    assert fingerprint(source, 0) != fingerprint(SOURCE, 0)


def test_null_edits_on_top_of_each_other_stay_a_program() -> None:
    source = SOURCE
    for number in range(12):
        source, _ = null_edit(source, number)
    check_source(source)
    assert len(definitions(source)) == len(definitions(SOURCE))


@pytest.mark.parametrize("number", [0, 2, 9])
def test_null_edits_compute_the_same(number: int, tmp_path, monkeypatch) -> None:
    original = load_training_file(TINY)
    source, _ = null_edit(SOURCE, number)
    (tmp_path / "train_mlx.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr("benchmarks.training_file.PROJECT", tmp_path)
    changed = load_training_file(TINY)
    tokens = mx.array(np.random.default_rng(1).integers(0, 1024, (2, 64)), dtype=mx.int32)
    logits = []
    for module in (original, changed):
        mx.random.seed(7)
        logits.append(np.array(module.build_model()(tokens)))
    assert source != SOURCE
    assert np.array_equal(*logits)


def test_rules_that_look_once_keep_every_lower_score() -> None:
    assert keeps_if_lower([1.0, 1.1, 0.99, 0.985, 0.97], 0.0) == 3
    assert keeps_if_lower([1.0, 1.1, 0.99, 0.986, 0.97], 0.005) == 2


def test_outcome_counts_false_keeps_and_reasons(tmp_path) -> None:
    night = Night.open(tmp_path, RunIdentity("stories", "1", 60.0, "machine", "2", 256))
    rows = [("baseline", 1.0, KEEP), ("rename a to b", 0.98, KEEP), ("rename c to d", 1.01, DISCARD)]
    rows += [("rename e to f and set X=1", 0.9, KEEP), ("rename g to h and set X=1", 1.0, DISCARD)]
    for number, (description, bpb, status) in enumerate(rows):
        experiment = night.add(Proposal(f"DEPTH = {number}\n", description))
        experiment.record_result(experiment.new_run_folder(), RunResult(1, val_bpb=bpb))
        experiment.record_verdict(Verdict(status, description))
    busy = "other programs used {} of 2 cores"
    invalid = [Entry(1, 1, Conditions(), busy.format(1.1)), Entry(1, 1, Conditions(), busy.format(0.9))]
    found = outcome(night, ConditionsLog(tmp_path / "conditions.jsonl", [*invalid, Entry(1, 1, Conditions())]))
    assert found == Outcome(
        edits=4,
        helping=2,
        kept=["rename a to b", "rename e to f and set X=1"],
        missed=["rename g to h and set X=1"],
        false_keeps=1,
        lower_once=2,
        fixed_threshold=2,
        runs=5,
        invalid={"other programs used N of N cores": 2},
        deviation=0.02121,
    )
    assert json.dumps(found.__dict__)


def test_a_thief_ends_with_the_benchmark_that_sent_him() -> None:
    """Also where that was killed: a thief left behind would rob the nights to come."""
    sends = (
        "import os, subprocess, sys, time\n"
        f"print(subprocess.Popen([sys.executable, '-c', {THIEF!r}, str(os.getpid())]).pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", sends], stdout=subprocess.PIPE, text=True) as sender:
        thief = int(sender.stdout.readline())
        assert not wait_until(lambda: not alive(thief), 1)  # he stays as long as his sender
        sender.kill()
    assert wait_until(lambda: not alive(thief), 10)
