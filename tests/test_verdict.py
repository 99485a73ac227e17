"""Verdicts: what is kept, discarded or run again, what is claimed, and how often chance fools the rule."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from mlx_autoresearch.levels import Known
from mlx_autoresearch.noise import Noise
from mlx_autoresearch.records import DISCARD, INCONCLUSIVE, KEEP, Measurement, RunResult, Verdict, claimed
from mlx_autoresearch.verdict import (
    EQUAL_LOSS,
    FRESH_SECONDS,
    PRACTICE_RUN_LIMIT,
    RUN_LIMIT,
    Base,
    Effects,
    RunAgain,
    baseline_verdict,
    compare,
    decide,
    effects,
    is_due,
    together,
    worth_a_run,
)

KNOWN = Noise(0.01, 30)


def at_once(*scores: float) -> list[Measurement]:
    return [Measurement(score, 0.0) for score in scores]


def known(*scores: float) -> Known:
    return Known(at_once(*scores))


def test_prior_is_a_distribution_in_which_most_edits_are_no_better() -> None:
    believed = effects()
    assert believed.weights.sum() == pytest.approx(1) and 0.1 < believed.weights[believed.gains > 0].sum() < 0.25


def test_posterior_by_hand() -> None:
    """Where the measurement is exact the posterior sits on it; where it says nothing, on the prior."""
    exact = compare(at_once(0.98), known(1.0), Noise(1e-4, 1000))
    assert exact.chance > 0.999 and exact.expected == pytest.approx(0.02, abs=0.001)
    vague = compare(at_once(0.98), known(1.0), Noise(100.0, 1000))
    believed = effects()
    assert vague.expected == pytest.approx(float(believed.weights @ believed.gains), rel=0.01)
    assert vague.chance == pytest.approx(0.16, abs=0.01)
    assert vague.hope - vague.loss == pytest.approx(vague.expected)


def test_what_was_measured_in_another_state_of_the_machine_is_not_compared() -> None:
    """The same scores, but the machine changed before the candidate's run: the incumbent has to run again first."""
    later = RunResult(1, started=100.0, state=1).when
    candidate, incumbent = [Measurement(1.1, later)], at_once(1.0, 1.0)
    assert decide(at_once(1.1), Known(incumbent), KNOWN, 0).status == DISCARD
    assert decide(candidate, Known(incumbent), KNOWN, 0) == RunAgain("incumbent")
    now = [*incumbent, Measurement(1.2, later + 300)]
    assert compare(candidate, Known(now), KNOWN).measured == pytest.approx(0.1, abs=0.001)
    # An incumbent that fails can't be run: it ends all the same.
    assert decide(candidate * (RUN_LIMIT + 1), Known(incumbent), KNOWN, 0).status in (DISCARD, INCONCLUSIVE)


def test_what_may_be_claimed_is_less_than_what_was_measured() -> None:
    found = compare(at_once(0.97), known(1.0, 1.0, 1.0), KNOWN)
    assert 0 < found.expected < found.measured == pytest.approx(0.03)


def test_loser_is_discarded_after_one_run() -> None:
    verdict = decide(at_once(1.01), known(1.0, 1.0), KNOWN, 3)
    assert isinstance(verdict, Verdict) and verdict.status == DISCARD and verdict.incumbent == 3
    one, of_the_difference = (2.042 * 0.01 * share**0.5 for share in (1, 1 + 1 / 2))  # Student's 97.5 % at 30 degrees
    said = (
        f"1.0100 ± {one:.4f}, 0.0100 ± {of_the_difference:.4f} worse than experiment 3 at about the same time (1 run ag"
    )
    assert said in verdict.sentence


def test_far_beyond_the_noise_is_kept_at_once() -> None:
    verdict = decide(at_once(0.9), known(1.0, 1.0), KNOWN, 0)
    assert isinstance(verdict, Verdict) and verdict.status == KEEP and verdict.runs == 1
    assert "Kept at once" in verdict.sentence and "may be claimed" in verdict.sentence


@pytest.mark.parametrize("gain", [0.3, 1.78, 6.0])
@pytest.mark.parametrize("degrees", [6, 30])
def test_an_enormous_gain_is_believed_at_once_too(gain: float, degrees: float) -> None:
    verdict = decide(at_once(7.0 - gain), known(7.0, 7.0), Noise(0.01, degrees), 0)
    assert verdict.status == KEEP and verdict.probability_better > 0.99
    assert verdict.expected_gain == pytest.approx(gain, rel=0.05)


def test_promising_is_run_again_with_the_incumbent_until_it_is_sure_or_hopeless() -> None:
    incumbent = known(1.0, 1.0)
    assert decide(at_once(0.978), incumbent, KNOWN, 0) == RunAgain("candidate")
    assert decide(at_once(0.978, 0.978, 0.985), incumbent, KNOWN, 0) == RunAgain("incumbent")
    assert decide(at_once(0.965, 0.965), known(1.0, 1.0, 1.0), KNOWN, 0).status == KEEP
    assert decide(at_once(0.978, 1.01), incumbent, KNOWN, 0).status == INCONCLUSIVE
    assert decide(at_once(*[0.983] * RUN_LIMIT), incumbent, Noise(0.03, 30), 0).status == INCONCLUSIVE


def test_practice_ends_in_a_verdict_after_few_runs() -> None:
    noise, verdict, runs = Noise(0.05, 30), None, [0.95]
    while not isinstance(verdict, Verdict):
        verdict = decide(at_once(*runs), known(*[1.0] * len(runs)), noise, 0, run_limit=PRACTICE_RUN_LIMIT)
        runs.append(0.99)
    assert verdict.runs <= PRACTICE_RUN_LIMIT


def test_a_stale_incumbent_keeps_nothing_before_it_is_run_again() -> None:
    late = 3 * FRESH_SECONDS
    candidate = [Measurement(0.9, late)]
    assert decide(candidate, known(1.0, 1.0), KNOWN, 0) == RunAgain("incumbent")
    fresh = Known([*at_once(1.0, 1.0), Measurement(1.0, late + 310)])
    assert decide(candidate, fresh, KNOWN, 0).status == KEEP
    unknown = known(1.0, 1.0)  # as old records, which tell no times
    assert decide(candidate, unknown, KNOWN, 0) == RunAgain("incumbent")
    assert decide(at_once(0.9), unknown, KNOWN, 0).status == KEEP


def test_an_incumbent_that_can_no_longer_be_run_ends_in_a_verdict() -> None:
    late = 3 * FRESH_SECONDS
    candidate: list[Measurement] = []
    for number in range(3 * RUN_LIMIT):
        candidate.append(Measurement(0.9, late + number))
        if not isinstance(decide(candidate, known(1.0), KNOWN, 0), RunAgain):
            break
    assert len(candidate) == RUN_LIMIT + 1


def test_the_incumbent_is_due_when_its_last_run_is_old() -> None:
    assert is_due([], 0.0)
    assert not is_due(at_once(1.0), FRESH_SECONDS - 1) and is_due(at_once(1.0), FRESH_SECONDS + 1)


def test_shorter_is_kept_as_equal_when_it_surely_loses_little() -> None:
    quiet = Noise(0.002, 30)
    candidate, incumbent = at_once(1.0, 0.9995), known(1.0, 1.0, 1.0)
    assert decide(candidate, incumbent, quiet, 0).status == INCONCLUSIVE
    verdict = decide(candidate, incumbent, quiet, 0, lines_saved=4)
    assert verdict.status == KEEP and "4 lines of code less" in verdict.sentence
    assert compare(candidate, incumbent, quiet).loss <= EQUAL_LOSS
    assert decide(candidate, incumbent, quiet, 0, lines_saved=-4).status == INCONCLUSIVE
    assert decide(at_once(1.01), incumbent, quiet, 0, lines_saved=40).status == DISCARD
    assert not isinstance(decide(at_once(1.0), incumbent, Noise(0.03, 30), 0, lines_saved=4), RunAgain)  # can't be told


def test_the_claim_is_the_sum_of_what_keeps_claim_and_unknown_where_one_does_not_tell() -> None:
    kept = decide(at_once(0.95), known(1.0, 1.0), KNOWN, 0)
    baseline, lost = baseline_verdict([1.0, 1.0], KNOWN), decide(at_once(1.01), known(1.0, 1.0), KNOWN, 0)
    claim = claimed([baseline, kept, lost, kept])
    assert claim.gain == pytest.approx(2 * kept.expected_gain)
    assert claim.half_width == pytest.approx(1.96 * 2**0.5 * kept.gain_error)
    assert 0.5 * 0.01 < kept.gain_error < 1.5 * 0.01 * 1.5**0.5
    assert claimed([baseline, lost]) is None and claimed([kept, replace(kept, gain_error=None)]) is None


def test_gains_of_two_changes_add_up() -> None:
    believed = effects()
    mean = float(believed.weights @ believed.gains)
    sure = compare(at_once(0.98), known(1.0), Noise(1e-4, 1000)).belief
    added = together(sure, believed)
    assert added.weights.sum() == pytest.approx(1)
    assert float(added.weights @ added.gains) == pytest.approx(0.02 + mean, abs=0.001)
    nothing = Effects(believed.gains, (believed.gains == 0).astype(float))
    assert together(nothing, nothing).weights[believed.gains == 0] == pytest.approx(1)


def test_promising_is_not_kept_but_built_on() -> None:
    incumbent, noise = known(1.0, 1.0), Noise(0.002, 30)
    verdict = decide(at_once(0.9975), incumbent, noise, 0)
    assert verdict.status == INCONCLUSIVE and verdict.promising and verdict.expected_gain > 0
    assert "Promising, +0.00" in verdict.sentence and "the next edits build on it" in verdict.sentence
    assert not decide(at_once(1.0), incumbent, noise, 0).promising
    assert not decide(at_once(0.98), incumbent, noise, 0).promising  # kept


def test_another_run_must_promise_more_where_new_ideas_show_more() -> None:
    worth = [worth_a_run(Noise(deviation, 30)) for deviation in (0.002, 0.01, 0.03)]
    assert worth == pytest.approx([0.0032, 0.0026, 0.0016], abs=1e-4)


def test_what_builds_on_a_promising_one_is_judged_with_what_is_known_of_it() -> None:
    incumbent, noise = known(1.0, 1.0), Noise(0.002, 30)
    found = compare(at_once(0.9975), incumbent, noise)
    base = Base((4,), found.edit, found.belief)
    alone, built = (decide(at_once(0.994), incumbent, noise, 0, base=each) for each in (None, base))
    assert alone == RunAgain("candidate") and built.status == KEEP
    assert built.sentence.startswith("Kept with what it builds on: ")
    assert "holds what was promising in experiment 4" in built.sentence
    worse = decide(at_once(0.9995), incumbent, noise, 0, base=base)
    assert worse.status == DISCARD and not worse.promising  # worse than what it was made from


def follow_the_rule(true_gain: float, draw: random.Random, deviation: float) -> Verdict:
    """One candidate against an incumbent with two runs, on a machine whose noise is known well."""
    incumbent = at_once(*(draw.gauss(1.0, deviation) for _ in range(2)))
    candidate = at_once(draw.gauss(1.0 - true_gain, deviation))
    noise = Noise(deviation, 60)
    while isinstance(decision := decide(candidate, Known(incumbent), noise, 0), RunAgain):
        group, level = (candidate, 1.0 - true_gain) if decision.which == "candidate" else (incumbent, 1.0)
        group += at_once(draw.gauss(level, deviation))
    return decision


def test_chance_rarely_makes_a_keep_and_real_gains_are_found() -> None:
    draw = random.Random(1)
    nothing = [follow_the_rule(0.0, draw, 0.01) for _ in range(1000)]
    large = [follow_the_rule(0.04, draw, 0.01) for _ in range(200)]
    assert np.mean([verdict.status == KEEP for verdict in nothing]) < 0.02
    assert np.mean([verdict.status == KEEP for verdict in large]) > 0.8


def test_claims_are_true_on_average_where_edits_are_as_believed() -> None:
    draw, believed = random.Random(2), effects()
    gains = draw.choices(believed.gains.tolist(), believed.weights.tolist(), k=2500)
    decided = [(gain, follow_the_rule(gain, draw, 0.005)) for gain in gains]
    errors = [verdict.expected_gain - gain for gain, verdict in decided if verdict.status == KEEP]
    assert len(errors) > 50 and abs(np.mean(errors)) < 3 * np.std(errors) / len(errors) ** 0.5
    assert np.mean([gain <= 0 for gain, verdict in decided if verdict.status == KEEP]) < 0.08
