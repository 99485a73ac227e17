"""When a run counts: the machine's conditions, judged against what is usual in the night."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mlx_autoresearch.conditions import (
    INVALID_IN_A_ROW,
    LEAST_SWAPPED_OUT_BYTES,
    LEAST_USUAL_RUNS,
    MOST_INVALID_IN_A_ROW,
    SPEED_TOLERANCE,
    USUAL_RUNS,
    Conditions,
    ConditionsLog,
    Usual,
    usual_state,
    why_invalid,
    why_not_ready,
)
from mlx_autoresearch.speed_probe import Speed

QUIET = Conditions(
    products=50.0,
    copies=30.0,
    other_cores=0.1,
    cores=8,
    thermal_level=0,
    hottest=0,
    memory_pressure=1,
    swapped_out_bytes=0,
    on_ac_power=True,
    low_power_mode=False,
    threads=2,
)
USUAL = usual_state([QUIET] * LEAST_USUAL_RUNS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"threads": 1}, "1 threads, 2 are usual"),
        ({"other_cores": 2.5}, r"used 2\.5 of 8 cores \(usually 0\.1\)"),
        ({"swapped_out_bytes": LEAST_SWAPPED_OUT_BYTES + 1}, "256 MiB to swap"),
        ({"memory_pressure": 4}, "critically short"),
        ({"thermal_level": 1}, "hotter than usual"),
        ({"on_ac_power": False}, "on battery"),
        ({"low_power_mode": True}, "low-power mode"),
        ({"products": 40.0, "copies": 24.0}, "at 80% of its usual speed"),
        ({"products": 60.0, "copies": 36.0}, "at 120% of its usual speed"),
    ],
)
def test_run_in_unusual_conditions_is_invalid_with_a_reason(change: dict, words: str) -> None:
    assert why_invalid(QUIET, USUAL) is None
    assert re.search(words, why_invalid(replace(QUIET, **change), USUAL))


def test_what_is_unknown_makes_no_run_invalid() -> None:
    assert why_invalid(Conditions(), USUAL) is None
    assert why_invalid(QUIET, Usual()) is None


def test_small_changes_of_speed_and_a_person_s_own_programs_are_no_reason() -> None:
    slower = 1 - 0.8 * SPEED_TOLERANCE
    assert why_invalid(replace(QUIET, products=50 * slower, copies=30 * slower, other_cores=0.8), USUAL) is None


def test_speed_counts_products_and_copies_alike() -> None:
    assert Speed(40, 10).ratio(Speed(10, 10)) == pytest.approx(2.0)
    assert why_not_ready(Speed(50 * 1.3, 30 / 1.3), USUAL) is None
    assert why_not_ready(None, USUAL) is None


def test_usual_state_is_unknown_at_first_and_the_median_of_the_last_runs_later() -> None:
    assert usual_state([QUIET] * (LEAST_USUAL_RUNS - 1)) == Usual()
    slow = replace(QUIET, products=25.0)
    assert usual_state([QUIET] * 20 + [slow]).speed == Speed(50.0, 30.0)
    assert usual_state([QUIET] * 20 + [slow] * USUAL_RUNS).speed == Speed(25.0, 30.0)


def test_a_laptop_that_settled_at_a_higher_heat_wastes_three_runs_and_no_more(tmp_path: Path) -> None:
    log = ConditionsLog.open(tmp_path / "conditions.jsonl")
    warm = replace(QUIET, thermal_level=1, products=42.0, copies=26.0)
    cold = [log.judge(0, run, QUIET, True) for run in (1, 2, 3)]
    settled = [log.judge(number, 1, warm, True) for number in range(1, 20)]
    assert cold == [None] * 3
    assert sum(reason is not None for reason in settled) <= 3
    assert settled[4:] == [None] * 15


@pytest.mark.parametrize(
    "change",
    [
        {"memory_pressure": 4},
        {"swapped_out_bytes": 2 * LEAST_SWAPPED_OUT_BYTES},
        {"other_cores": 5.0},
        {"thermal_level": 2},
        {"on_ac_power": False},
        {"low_power_mode": True},
        {"threads": 1},
        {"products": 30.0},
        {"products": 90.0},
    ],
)
def test_what_is_unusual_for_long_is_usual_in_the_end(change: dict, tmp_path: Path) -> None:
    log = ConditionsLog.open(tmp_path / "conditions.jsonl")
    for _ in range(USUAL_RUNS):
        log.judge(0, 1, QUIET, True)
    reasons = [log.judge(1, 1, replace(QUIET, **change), True) for _ in range(12)]
    assert [reason is None for reason in reasons] == [False] * INVALID_IN_A_ROW + [True] * (12 - INVALID_IN_A_ROW)
    assert log.state == 1


def test_a_thief_who_comes_and_goes_makes_no_new_state(tmp_path: Path) -> None:
    """Three unlike runs, of which none counted, then one without him whose probe was slow."""
    log = ConditionsLog.open(tmp_path / "conditions.jsonl")
    robbed = [
        replace(QUIET, other_cores=4.0, threads=2),
        replace(QUIET, other_cores=2.2, threads=1, products=20.0),
        replace(QUIET, other_cores=7.6, threads=1, products=40.0),
    ]
    slow = replace(QUIET, products=38.0, copies=25.0)
    conditions = [QUIET] * 4 + robbed + [slow, QUIET]
    assert [log.judge(1, 1, each, True) is None for each in conditions] == [True] * 4 + [False] * 4 + [True]
    assert log.state == 0


def test_a_machine_that_is_never_twice_the_same_measures_all_the_same(tmp_path: Path) -> None:
    log = ConditionsLog.open(tmp_path / "conditions.jsonl")
    for _ in range(USUAL_RUNS):
        log.judge(0, 1, QUIET, True)
    never_alike = [replace(QUIET, products=50.0 * 1.3**power, copies=30.0 * 1.3**power) for power in range(1, 10)]
    counted = [log.judge(1, 1, each, True) is None for each in never_alike]
    assert counted == [False] * MOST_INVALID_IN_A_ROW + [True] and log.state == 1


def test_usual_threads_are_a_number_that_was_given() -> None:
    given = [replace(QUIET, threads=threads) for threads in (2, 1, 1, 2)]
    assert usual_state(given).threads == 1


def judged(log: ConditionsLog, conditions: Conditions, times: int) -> list[tuple[bool, int]]:
    """For each of some runs alike: whether it counted, and the state afterwards."""
    return [(log.judge(1, 1, conditions, True) is None, log.state) for _ in range(times)]


def test_a_new_state_begins_when_an_unusual_run_is_like_three_that_did_not_count(tmp_path: Path) -> None:
    log = ConditionsLog.open(tmp_path / "conditions.jsonl")
    busy = replace(QUIET, other_cores=3.0)
    assert judged(log, QUIET, 4) == [(True, 0)] * 4
    assert judged(log, busy, 6) == [(False, 0)] * 3 + [(True, 1)] * 3 and not log.is_unsettled
    assert log.usual().other_cores == 3.0 == ConditionsLog.open(log.path).usual().other_cores
    assert judged(log, QUIET, 1) == [(True, 1)]  # less load than usual spoils nothing, unless it computes faster, too
    faster = replace(QUIET, products=80.0, copies=50.0)
    assert judged(log, faster, 5) == [(False, 1)] * 3 + [(True, 2)] * 2
    assert ConditionsLog.open(log.path).state == 2


def test_a_load_that_comes_and_goes_changes_neither_the_state_nor_what_is_usual(tmp_path: Path) -> None:
    log = ConditionsLog.open(tmp_path / "conditions.jsonl")
    busy = replace(QUIET, other_cores=3.0, products=30.0)
    judged(log, QUIET, 3)
    for times in (1, 2, 3, 3, 2, 3):
        assert judged(log, busy, times) == [(False, 0)] * times and log.is_unsettled
        assert judged(log, QUIET, 1) == [(True, 0)]
    assert log.usual().speed == Speed(50.0, 30.0)


def test_log_is_read_back_and_torn_or_foreign_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "conditions.jsonl"
    log = ConditionsLog.open(path)
    log.judge(0, 1, QUIET, True)
    log.judge(0, 2, replace(QUIET, slept_seconds=60.0), False)
    with path.open("a") as file:
        file.write('[1]\n{"experiment": 1}\n{"experiment": 1, "run": 1, "conditions": null, "invalid": null}\n{"expe')
    again = ConditionsLog.open(path)
    assert again.entries == log.entries
    assert [entry.invalid is None for entry in again.entries] == [True, False]
    again.judge(1, 1, QUIET, True)
    assert len(ConditionsLog.open(path).entries) == 3


def test_only_sleep_makes_a_run_invalid_that_nothing_else_excuses_and_it_always_does(tmp_path: Path) -> None:
    log = ConditionsLog.open(tmp_path / "conditions.jsonl")
    assert log.judge(0, 1, replace(QUIET, memory_pressure=4), False) is None
    assert [log.judge(0, 1, replace(QUIET, slept_seconds=9.0), True) for _ in range(5)] == [
        "the machine slept for 9 s"
    ] * 5
