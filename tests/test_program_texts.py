"""Texts of a night's programs: whole again, and cheap to hold by the hundred."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import pytest

from mlx_autoresearch.briefings import Briefer
from mlx_autoresearch.dataset import Dataset
from mlx_autoresearch.history import Night, RunIdentity
from mlx_autoresearch.paths import PROJECT
from mlx_autoresearch.program_texts import SharedText, digest, remembered
from mlx_autoresearch.records import DISCARD, KEEP, Proposal, RunResult, Verdict

MOST_BYTES_AN_EXPERIMENT = 12 << 10


@pytest.mark.parametrize("text", ["", "\n", "a", "a\n", "\r\n\n x = 1\u2028\f \ufeff", "ä\ud800\n\n"])
def test_shared_texts_are_the_same_text(text: str) -> None:
    assert str(SharedText.of(text)) == text
    assert SharedText.of(text) == SharedText.of(text)


def test_lines_are_kept_once() -> None:
    first, second = (SharedText.of("def f():\n    return 1\n" + ending) for ending in ("# 1\n", "# 2\n"))
    assert first.lines[1] is second.lines[1]


def test_remembered_results_are_computed_once_and_the_oldest_forgotten() -> None:
    asked = []

    @remembered(maxsize=2)
    def length(text: str, factor: int) -> int:
        asked.append(text)
        if not text:
            raise ValueError("nothing")
        return factor * len(text)

    assert [length("ab", 1), length("ab", 1), length("ab", 2)] == [2, 2, 4] and asked == ["ab", "ab"]
    assert length("ab", 1) == 2 and length("c", 1) == 1  # ("ab", 2) is the one that was asked for longest ago
    assert length("ab", 1) == 2 and len(asked) == 3
    assert length("ab", 2) == 4 and len(asked) == 4
    for _ in range(2):
        with pytest.raises(ValueError, match="nothing"):
            length("", 1)
    assert len(asked) == 6  # what fails is not remembered
    assert digest("ab") == digest(b"ab") != digest("abc")


def test_an_experiment_of_the_real_file_costs_the_loop_little_memory(tmp_path: Path, dataset: Dataset) -> None:
    source = (PROJECT / "train_mlx.py").read_text(encoding="utf-8")
    texts = [source.replace("\n", f"\n# edit {number}\n", 1) for number in range(16)]
    night = Night.open(tmp_path / "night", RunIdentity("d", "f", 300.0, "m", "3", 256))
    briefer = Briefer(night, dataset, "m", 0, 300.0)
    briefings = []
    tracemalloc.start()
    try:
        for number, text in enumerate(texts):
            proposal = Proposal("".join(text), f"edit {number}", "because", "less", "search", 0 if number else None)
            added = night.add(proposal)
            added.record_result(added.new_run_folder(), RunResult(1, val_bpb=1.0, vocab_size=1024, started=1e9))
            added.record_verdict(Verdict(DISCARD if number else KEEP, "No.", 1.0, 0.01, 0, 1.0, 0.1, 0.01))
            briefings = [briefer.briefing(0.01, "search")]
            gc.collect()
            if number == 5:
                before, _ = tracemalloc.get_traced_memory()
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert [entry.source for entry in briefings[0].history] == texts
    assert 0 < held < 10 * MOST_BYTES_AN_EXPERIMENT
