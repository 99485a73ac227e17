"""The simulator of nights: its luck is shared, its clock is kept, its worlds are what they say, its numbers add up."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import verdict as benchmark
from benchmarks.nights import (
    HEAT_UP_SECONDS,
    NIGHT_SECONDS,
    RUN_SECONDS,
    STRATEGIES,
    WORLDS,
    Edit,
    Night,
    NightOverError,
    World,
    lower_by,
    other_worlds,
    ours,
    sleep_through,
    twice_the_floor,
)
from benchmarks.verdict import against, summary, table
from mlx_autoresearch.noise import Noise
from mlx_autoresearch.records import Measurement

QUIET = World(0.0, slowing=0.0, wander=0.0)


def test_a_night_is_as_long_as_its_runs_and_repeatable() -> None:
    night = Night(QUIET, 0)
    runs = 0
    with pytest.raises(NightOverError):
        while True:
            night.run(night.baseline)
            runs += 1
    assert runs == int(NIGHT_SECONDS // RUN_SECONDS) == 92
    assert sleep_through(WORLDS[1], STRATEGIES["ours"], 3) == sleep_through(WORLDS[1], STRATEGIES["ours"], 3)


def test_scores_have_the_stated_noise_and_heat() -> None:
    night = Night(replace(QUIET, noise=0.01), 1)
    for _ in range(90):
        night.run(night.baseline)
    assert statistics.stdev(run.bpb for run in night.baseline.runs) == pytest.approx(0.01, rel=0.2)
    warm = Night(replace(QUIET, slowing=0.25), 1)
    warm.run(warm.baseline)
    warm.clock = 10 * HEAT_UP_SECONDS
    warm.run(warm.baseline)
    first, later = (run.bpb for run in warm.baseline.runs)
    assert later - first == pytest.approx(0.11 * math.log(1 / 0.75), rel=0.01)


def test_ideas_are_as_often_better_as_stated() -> None:
    night = Night(replace(QUIET, edits=replace(QUIET.edits, simpler=0.0)), 2)
    gains = [night.incumbent.level - night.idea().level for _ in range(4000)]
    assert statistics.mean(gain > 0 for gain in gains) == pytest.approx(QUIET.edits.better, abs=0.02)
    assert statistics.mean(gain == 0 for gain in gains) == pytest.approx(QUIET.edits.nothing, abs=0.02)
    assert statistics.median(gain for gain in gains if gain > 0) == pytest.approx(QUIET.edits.gain, rel=0.15)
    night.base = Edit(night.baseline.level - QUIET.edits.potential)
    assert max(night.base.level - night.idea().level for _ in range(200)) == 0.0  # nothing is left to gain


def test_ideas_start_from_what_is_promising_and_are_judged_against_the_last_keep() -> None:
    night = Night(replace(QUIET, noise=0.002), 0, Noise(0.002, 30))
    for _ in range(2):
        night.run(night.baseline)
    promising = Edit(night.baseline.mean - 0.0035)
    night.world = QUIET
    assert not ours(night, promising) and night.base is promising and night.incumbent is night.baseline
    assert ours(night, Edit(promising.level - 0.006)) and promising.verdict.promising


def test_rules_of_others_keep_what_they_say() -> None:
    night = Night(QUIET, 0)
    night.run(night.baseline)
    assert lower_by(0.0)(night, Edit(1.19)) and not lower_by(0.0)(night, Edit(1.2))
    assert not lower_by(0.02)(night, Edit(1.19))
    night.baseline.runs.append(Measurement(1.206))
    assert twice_the_floor(night, Edit(1.187)) and not twice_the_floor(night, Edit(1.189))


@pytest.mark.parametrize("name", STRATEGIES)
def test_where_noise_is_small_every_rule_finds_something(name: str) -> None:
    quiet = replace(QUIET, noise=2e-4, edits=replace(QUIET.edits, simpler=0.0))
    morning = sleep_through(quiet, STRATEGIES[name], 5)
    assert morning.improvement > 0.005 and morning.path[-1] == pytest.approx(morning.improvement)
    assert 0 < morning.claimed < morning.improvement + 0.003


def test_ours_keeps_nothing_false_where_nothing_changes_anything() -> None:
    world = other_worlds(WORLDS[1])["nothing changes anything"]
    mornings = [sleep_through(world, STRATEGIES["ours"], seed) for seed in range(8)]
    assert sum(morning.keeps for morning in mornings) <= 2
    assert all(morning.improvement == 0 for morning in mornings)
    assert sum(sleep_through(world, STRATEGIES["lower once"], seed).keeps for seed in range(8)) > 8


def test_summary_by_hand() -> None:
    morning = sleep_through(WORLDS[0], STRATEGIES["lower once"], 0)
    pair = [replace(morning, improvement=0.02, claimed=0.03), replace(morning, improvement=0.04, claimed=0.03)]
    found = summary(pair)
    assert found["improvement"] == pytest.approx(0.03) and found["improvement_error"] == pytest.approx(0.01)
    assert found["claimed_beyond_true"] == pytest.approx(0.0)
    assert found["false_keep_share"] == pytest.approx(morning.false_keeps / morning.keeps)
    assert against(pair, pair)["difference"] == 0.0


def test_command_writes_json_and_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("sys.argv", ["verdict", "--nights", "2", "--output", str(tmp_path / "out.json")])
    benchmark.main()
    assert (tmp_path / "out.json").exists() and (tmp_path / "out.png").stat().st_size > 10_000


def test_table_has_a_row_for_every_rule() -> None:
    entry = benchmark.compare_rules(WORLDS[1], 2) | {"elsewhere": benchmark.elsewhere(WORLDS[1], 2)}
    text = table({"nights": 2, "noises": [entry]})
    assert all(name in text for name in STRATEGIES) and "ours: no drift" in text
