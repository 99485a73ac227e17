"""Early kill: who is stopped, who never is, and what a liar gains by it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from scipy import stats

from benchmarks.early_kill import nights_in, replay, sentence
from mlx_autoresearch.early_kill import (
    KILL_CHANCE,
    LEAST_RUNS,
    SHARES,
    Finished,
    Watch,
    chance_of_winning,
    lags,
)
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.learning import LearningCurve, learning_curve

BUDGET = 100.0


def points(above: float, until: int = 100) -> list[dict]:
    """A run that is `above` bits per byte above a common curve; a byte a token, so nats are bits times ln 2."""
    return [
        {"step": second, "seconds": second + 0.5, "tokens": 1000 * second, "loss": 0.6931471805599453 * (2 + above)}
        for second in range(1, until + 1)
    ]


def curve(above: float) -> LearningCurve:
    return learning_curve(points(above), 1.0)


def finished(count: int, recovery: float = 0.0, deviation: float = 0.01) -> list[Finished]:
    draw = random.Random(0)
    lags_ = [draw.uniform(0, 0.2) for _ in range(count)]
    return [Finished((lag, lag), recovery - lag + draw.gauss(0, deviation)) for lag in lags_]


def test_lags_are_read_at_the_shares() -> None:
    assert lags(BUDGET, curve(0.1), [curve(0.0), curve(0.02)]) == pytest.approx((0.09, 0.09))
    assert lags(BUDGET, learning_curve(points(0.1, until=30), 1.0), [curve(0.0)])[1] is None
    assert len(SHARES) == len(lags(BUDGET, curve(0.0), [])) and lags(BUDGET, curve(0.0), []) == (None, None)


def test_chance_by_hand() -> None:
    runs = [Finished((0.0, None), gain) for gain in (-0.01, 0.0, 0.01, 0.02, -0.02) * 4]
    deviation = stats.tstd([run.gain for run in runs])
    expected = stats.t.sf(0.03 / (deviation * (1 + 1 / 20) ** 0.5), 19)
    assert chance_of_winning(0.03, 0, runs) == pytest.approx(expected)
    assert chance_of_winning(0.03, 1, runs) is None  # nothing is known at the second share


def test_off_until_enough_is_known() -> None:
    assert chance_of_winning(5.0, 0, finished(LEAST_RUNS - 1)) is None
    assert chance_of_winning(5.0, 0, finished(LEAST_RUNS)) < KILL_CHANCE
    assert chance_of_winning(5.0, 0, [Finished((0.0, 0.0), 0.0)] * LEAST_RUNS) is None  # no spread, no knowledge


def test_late_bloomers_are_spared_where_they_are_usual() -> None:
    """Where runs win back 0.3 after 20 % of their time, a lag of 0.25 is no reason to stop."""
    assert chance_of_winning(0.25, 0, finished(30, recovery=0.3)) > 0.9
    assert chance_of_winning(0.25, 0, finished(30, recovery=0.0)) < KILL_CHANCE


def test_winners_are_rarely_stopped_where_the_future_is_like_the_past() -> None:
    draw = random.Random(1)
    stopped = winners = 0
    for _ in range(300):
        past = [Finished((lag := draw.gauss(0.05, 0.05), None), draw.gauss(-lag, 0.02)) for _ in range(LEAST_RUNS)]
        lag = draw.gauss(0.05, 0.05)
        if draw.gauss(-lag, 0.02) > 0:
            winners += 1
            stopped += chance_of_winning(lag, 0, past) < KILL_CHANCE
    assert winners > 40 and stopped / winners <= 0.05


def watch(folder: Path, above: float, known: int = LEAST_RUNS) -> Watch:
    file = folder / "curve.jsonl"
    file.write_text("".join(json.dumps(point) + "\n" for point in points(above)))
    return Watch(file, 1.0, BUDGET, [curve(0.0)], finished(known))


def test_watch_stops_the_hopeless_and_says_why(tmp_path: Path) -> None:
    reason = watch(tmp_path, 0.5)()
    assert reason.startswith("at 20% of its time the training loss was 0.5000 bits per byte above the incumbent's")
    even = watch(tmp_path, 0.0)
    assert even() is None and even() is None and even() is None


def test_watch_waits_for_its_time_and_for_a_curve(tmp_path: Path) -> None:
    early = watch(tmp_path, 0.5)
    early.curve_file.write_text("".join(json.dumps(point) + "\n" for point in points(0.5, until=15)))
    assert early() is None
    early.curve_file.unlink()
    assert early() is None
    early.curve_file.write_text("".join(json.dumps(point) + "\n" for point in points(0.5, until=25)))
    assert early() is not None


def test_a_liar_only_escapes(tmp_path: Path) -> None:
    liar = watch(tmp_path, 0.5)
    liar.curve_file.write_text("".join(json.dumps(point | {"loss": 0.01}) + "\n" for point in points(0.5)))
    assert liar() is None and liar() is None
    liar.curve_file.write_text('{"step": 1, "seconds": 99}\n' * 50)
    assert Watch(liar.curve_file, 1.0, BUDGET, [curve(0.0)], finished(LEAST_RUNS))() is None


def test_replay_knows_at_each_run_only_what_came_before() -> None:
    hopeless, winner = Finished((0.5, 0.5), -0.5), Finished((0.0, 0.0), 0.02)
    past = [Finished((0.0, 0.0), gain) for gain in (0.01, -0.01) * (LEAST_RUNS // 2)]
    found = replay([hopeless, *past, hopeless, winner, Finished((0.0, 0.6), 0.01)], BUDGET)
    assert found.stopped == ((LEAST_RUNS + 1, 0.2), (LEAST_RUNS + 3, 0.4))  # not the first: nothing was known then
    assert found.runs == LEAST_RUNS + 4 and found.seconds_saved == pytest.approx(80 + 60)
    assert found.winners_stopped == 1 and found.winners == 2 + sum(run.gain > 0 for run in past)
    assert f"2 of {LEAST_RUNS + 4} runs stopped" in sentence("nov24", found, BUDGET)


def test_replay_wants_a_night(tmp_path: Path) -> None:
    with pytest.raises(AutoresearchError, match="no night"):
        nights_in(tmp_path)
