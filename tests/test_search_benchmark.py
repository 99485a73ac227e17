"""The benchmark of the search agent: fair draws, the rule, nights that go on where they stopped, made-up landscapes."""

from __future__ import annotations

import argparse
import math
import random
from collections import Counter
from pathlib import Path

import pytest
from small_project import small_source

from benchmarks import search
from benchmarks.search import (
    Night,
    RandomSearch,
    briefing_of,
    decided,
    draw,
    made_up_landscape,
    random_value,
    run_nights,
    summary,
    synthetic,
    synthetic_night,
)
from mlx_autoresearch.agents.refusal import refusal
from mlx_autoresearch.agents.search import SearchAgent
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.knobs import Choices, FloatRange, IntRange, read_knobs
from mlx_autoresearch.records import CRASH, DISCARD, KEEP, Proposal, RunResult


class FakeLaboratory:
    """Scores by a formula; dies when its runs are used up."""

    budget_seconds = 8.0

    def __init__(self, runs: int = 1000, fails: tuple[int, ...] = ()) -> None:
        self.runs, self.fails, self.seeds = runs, fails, []

    def smoke(self, training_file: Path, folder: Path) -> RunResult | None:
        number = int(training_file.parent.name)
        return RunResult(0, failure="nan", reason="It diverged.") if number in self.fails else None

    def run(self, training_file: Path, folder: Path, seed: int) -> RunResult:
        if self.runs == 0:
            raise KeyboardInterrupt
        self.runs -= 1
        self.seeds.append(seed)
        return RunResult(seed, val_bpb=1.0 + random.Random(training_file.read_text()).random())


@pytest.fixture(autouse=True)
def small_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "train_mlx.py").write_text(small_source())
    monkeypatch.setattr(search, "PROJECT", tmp_path)


def open_nights(root: Path, seeds: int = 1) -> list[Night]:
    facts = {"dataset": "simple", "budget_seconds": 8.0}
    return [Night.open(name, seed, root, facts) for seed in range(seeds) for name in ("search", "random")]


def test_random_values_are_legal_and_spread() -> None:
    chance = random.Random(0)
    rates = [random_value(FloatRange(0.01, 1.0, log=True), chance) for _ in range(400)]
    assert min(rates) >= 0.01 and max(rates) <= 1.0
    assert 150 < sum(rate < 0.1 for rate in rates) < 250  # half of the logarithm
    sizes = Counter(random_value(IntRange(64, 256, 64), chance) for _ in range(400))
    assert set(sizes) == {64, 128, 192, 256} and min(sizes.values()) > 60
    assert {random_value(IntRange(2, 5, log=True), chance) for _ in range(200)} == {2, 3, 4, 5}
    assert {random_value(Choices(("a", "b")), chance) for _ in range(50)} == {"a", "b"}


def test_random_search_changes_few_knobs_and_never_repeats() -> None:
    history = [decided([], Proposal(small_source(), "baseline"), 1.0)]
    before = read_knobs(small_source(), 0)
    counts = Counter()
    for _ in range(12):
        briefing = briefing_of(history, history[0], 0.01, 8.0)
        proposal = RandomSearch(0).propose(briefing)
        assert refusal(briefing, proposal.source) is None
        after = read_knobs(proposal.source, 0)
        counts[sum(after[name].value != before[name].value for name in before)] += 1
        history.append(decided(history, proposal, 2.0))
    assert set(counts) == {1, 2, 3}


def test_lower_is_kept_and_a_failure_is_a_crash() -> None:
    history = []
    for score in (1.0, 1.2, 0.9, None, 0.95):
        history.append(decided(history, Proposal("", "", parent=0), score))
    assert [entry.status for entry in history] == [KEEP, DISCARD, KEEP, CRASH, DISCARD]
    assert [entry.gain for entry in history] == pytest.approx([None, -0.2, 0.1, None, -0.05])


def test_an_interrupted_night_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = open_nights(tmp_path / "whole")
    run_nights(whole, 4, FakeLaboratory(fails=(2,)))
    with pytest.raises(KeyboardInterrupt):
        run_nights(open_nights(tmp_path / "cut"), 4, FakeLaboratory(runs=5, fails=(2,)))
    again = open_nights(tmp_path / "cut")
    assert sum(len(night.history) for night in again) == 5 + 2  # five scores and both failures
    run_nights(again, 4, FakeLaboratory(fails=(2,)))
    assert [night.history for night in again] == [night.history for night in whole]
    assert again[0].failures == {"2": "nan: It diverged."}

    results = {"dataset": "simple", "budget_seconds": 8.0, **summary(again, 3)}
    assert [len(night["best_so_far"]) for night in results["nights"]] == [4, 4]
    for night in results["nights"]:
        curve = night["best_so_far"]
        assert curve == sorted(curve, reverse=True) and curve[-1] == min(filter(None, night["val_bpb"]))


def test_nights_of_a_seed_take_turns_with_the_same_training_seeds(tmp_path: Path) -> None:
    laboratory = FakeLaboratory()
    run_nights(open_nights(tmp_path, seeds=2), 1, laboratory)
    assert laboratory.seeds == [0, 0, 1, 1, 1000, 1000, 1001, 1001]


def test_nights_with_other_facts_do_not_mix(tmp_path: Path) -> None:
    night = Night.open("search", 0, tmp_path, {"budget_seconds": 8.0})
    night.history.append(decided([], Proposal("", "baseline"), 1.0))
    night.save()
    with pytest.raises(AutoresearchError, match="remove it"):
        Night.open("search", 0, tmp_path, {"budget_seconds": 60.0})


def test_a_baseline_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(AutoresearchError, match=r"baseline failed \(nan\)"):
        run_nights(open_nights(tmp_path), 1, FakeLaboratory(fails=(0,)))


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    nights = [{"agent": name, "best_so_far": [1.2, 1.1, 1.1]} for name in ("search", "random")]
    draw({"dataset": "simple", "budget_seconds": 8.0, "nights": nights}, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_made_up_landscape_has_a_bowl_and_effects() -> None:
    landscape = made_up_landscape(1)
    edit = landscape.catalogue[3]
    effect = landscape.loss(edit.apply(landscape.source)) - landscape.loss(landscape.source)
    assert effect == pytest.approx(landscape.effects[edit.name])
    for verdicts in (False, True):
        agent = SearchAgent(0, landscape.catalogue)
        losses = synthetic_night(agent.propose, landscape, 6, 0, noise=1e-6, verdicts=verdicts)
        assert len(losses) == 7 and losses == sorted(losses, reverse=True)  # next to no noise: no step up
    assert math.isclose(losses[0], landscape.loss(landscape.source))


def test_synthetic_nights_print_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    synthetic(argparse.Namespace(nights=2, experiments=3, noise=0.01, verdicts=False, variant=[], only=None))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[2:]] == ["search", "knobs only", "random"]
