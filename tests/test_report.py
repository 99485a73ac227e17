"""The facts of a report and what is made of them: whole nights, running, empty and damaged ones."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from recorded_night import BUDGET, IDENTITY, NOISE, START, make_night

from mlx_autoresearch.conditions import Conditions, Entry
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.history import Night
from mlx_autoresearch.records import CRASH, DISCARD, INCONCLUSIVE, KEEP, Claim, Proposal, RunResult, Verdict
from mlx_autoresearch.report import charts, summary
from mlx_autoresearch.report.gather import RUNNING, NightFacts, Span, gather
from mlx_autoresearch.report.page import render


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> NightFacts:
    """A night of 60 experiments; tests read it and don't change it."""
    root = tmp_path_factory.mktemp("runs") / "night"
    make_night(root, 60)
    return gather(root, running=False)


def empty_night(root: Path) -> Night:
    return Night.open(root, IDENTITY)


def add(night: Night, status: str | None, *scores: float, source: str = "A = 1\n", **more: object) -> None:
    """An experiment with these scores; pending where the status is None."""
    experiment = night.add(Proposal(source + f"# {len(night.experiments)}\n", "an edit", **more))
    for seed, score in enumerate(scores, start=1):
        experiment.record_result(experiment.new_run_folder(), RunResult(seed, val_bpb=score))
    if status is not None:
        experiment.record_verdict(Verdict(status, "because", experiment.mean_bpb, 0.01))


# --- gathering --------------------------------------------------------------------------------------------------------


def test_a_whole_night(facts: NightFacts) -> None:
    assert [row.number for row in facts.rows] == list(range(61))
    assert facts.baseline.number == 0 and facts.best is facts.keeps[-1] and len(facts.keeps) > 1
    assert facts.best.val.mean < facts.baseline.val.mean and facts.best.test.mean < facts.baseline.test.mean
    assert facts.noise.deviation == pytest.approx(NOISE, rel=0.5)
    assert facts.damage == [] and facts.samples.of(facts.best.number)
    spent = sum(row.experiment.proposal.dollars for row in facts.rows)
    assert facts.spending.dollars == pytest.approx(spent) and facts.spending.unknown == 0
    assert any(row.status == CRASH and row.val is None for row in facts.rows)


def test_an_interval_shrinks_with_repeats(facts: NightFacts) -> None:
    one = next(row.val for row in facts.rows if row.val and row.val.runs == 1)
    assert facts.baseline.val.runs > 1
    assert facts.baseline.val.half_width == pytest.approx(one.half_width / math.sqrt(facts.baseline.val.runs))


def test_runs_are_split_where_training_ended(facts: NightFacts) -> None:
    training = next(span for span in facts.spans if span.what == "training")
    scoring = next(span for span in facts.spans if span.what == "scoring")
    assert (training.experiment, training.run) == (scoring.experiment, scoring.run) == (0, 1)
    assert training.start == START and training.end == scoring.start == pytest.approx(START + BUDGET, abs=2)


def test_curves_of_baseline_and_best_in_bits_per_byte(facts: NightFacts) -> None:
    first, best = facts.curves
    assert (first.number, best.number) == (0, facts.best.number)
    assert first.seconds[-1] == pytest.approx(BUDGET, abs=1) and first.tokens == sorted(first.tokens)
    line = (facts.rows[0].experiment.run_folder(1) / "curve.jsonl").read_text().splitlines()[-1]
    train = facts.dataset["splits"]["train"]
    rate = train["text_bytes"] / train["tokens"]["4096"]
    assert first.bpb[-1] == pytest.approx(json.loads(line)["loss"] / math.log(2) / rate)


def test_a_night_that_has_just_begun(tmp_path: Path) -> None:
    night = empty_night(tmp_path / "night")
    facts = gather(night.root, running=True)
    assert facts.rows == [] and facts.baseline is facts.best is facts.samples is None
    assert summary.headline(facts) == "The unchanged file is being measured."
    assert summary.at_work_and_stopped(facts) is None and summary.time_shares(facts) == []
    add(night, None)
    (row,) = gather(night.root, running=True).rows
    assert row.status == RUNNING and row.val is None and not row.kept


@pytest.mark.parametrize("status", [KEEP, DISCARD, INCONCLUSIVE, None])
def test_every_scored_experiment_is_a_point_in_sight(status: str | None, tmp_path: Path) -> None:
    night = empty_night(tmp_path / "night")
    add(night, KEEP, 1.30, 1.31)
    add(night, status, 1.25, 1.26)
    (axes,) = charts.staircase(gather(night.root, running=True), charts.Look(800, 450)).axes
    points = [(x, round(y, 6)) for marks in axes.collections for x, y in marks.get_offsets()]
    assert points.count((1, 1.255)) == 1
    low, high = axes.get_ylim()
    assert low < 1.255 < high


def test_no_night_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(AutoresearchError, match="there is no run in"):
        gather(tmp_path, running=False)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"prompts": 3, "texts": {}}', "\x00\xff", "[" * 100_000])
def test_damaged_files_are_unknown_not_fatal(tmp_path: Path, text: str) -> None:
    night = empty_night(tmp_path / "night")
    add(night, KEEP, 1.3, 1.31)
    for name in ("timeline.jsonl", "conditions.jsonl", "spending.jsonl", "samples.json", "dataset.json"):
        (night.root / name).write_text(text)
    (night.root / "experiments" / "0000" / "runs" / "1" / "curve.jsonl").write_text(text)
    facts = gather(night.root, running=False)
    assert facts.spans == facts.conditions == facts.curves == [] and facts.samples is None
    assert facts.baseline.val.mean == pytest.approx(1.305)


def test_damaged_experiments_are_told(tmp_path: Path) -> None:
    night = empty_night(tmp_path / "night")
    add(night, KEEP, 1.3)
    add(night, DISCARD, 1.4)
    (night.experiments[1].folder / "proposal.json").write_text("{")
    facts = gather(night.root, running=False)
    assert len(facts.damage) == 1 and dict(summary.how_sure(facts))["Damage"].startswith("experiment 0001")


def test_conditions_take_what_is_known(tmp_path: Path) -> None:
    night = empty_night(tmp_path / "night")
    lines = [
        {
            "experiment": 3,
            "run": 1,
            "conditions": {"thermal_level": 2, "on_ac_power": None, "new": 1},
            "invalid": "hot",
        },
        {"experiment": 3, "run": 2, "conditions": {"thermal_level": "high", "other_cores": 1}, "invalid": None},
        {"experiment": 3, "run": 3},
        {"experiment": "x", "run": 1},
        {"run": 1},
    ]
    (night.root / "conditions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"experim')
    first, second = gather(night.root, running=False).conditions
    assert first == Entry(3, 1, Conditions(thermal_level=2), "hot")
    assert second == Entry(3, 2, Conditions(other_cores=1))


def test_unknown_prices_are_counted_not_zero(tmp_path: Path) -> None:
    night = empty_night(tmp_path / "night")
    lines = [
        {"tokens": 5, "dollars": 0.5},
        {"tokens": 7, "dollars": None},
        {"tokens": 0, "lost": "cut", "dollars": None},
    ]
    (night.root / "spending.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    spending = gather(night.root, running=False).spending
    assert (spending.tokens, spending.dollars, spending.unknown, spending.requests) == (12, 0.5, 2, 3)


# --- what is made of them ---------------------------------------------------------------------------------------------


def with_spans(facts: NightFacts, *spans: Span) -> NightFacts:
    return replace(facts, spans=list(spans))


def test_time_goes_somewhere(facts: NightFacts) -> None:
    shares = {share.what: share for share in summary.time_shares(facts)}
    worked, stopped = summary.at_work_and_stopped(facts)
    assert stopped == 0 and sum(share.seconds for share in shares.values()) == pytest.approx(worked)
    assert next(iter(shares)) == "training" and shares["training"].share > 0.7


def test_a_loop_that_was_stopped_is_not_waiting(facts: NightFacts) -> None:
    told = with_spans(facts, Span("training", 0, 100), Span("training", 7300, 7400))
    assert summary.at_work_and_stopped(told) == (200, 7200)
    told = with_spans(facts, Span("training", 0, 100), Span("thinking", 90, 7000), Span("training", 7300, 7400))
    assert summary.at_work_and_stopped(told) == (7400, 0)


def test_outages_last_until_the_next_proposal(facts: NightFacts) -> None:
    (outage,) = summary.outages(with_spans(
        facts,
        Span("thinking", 0, 10, outcome="proposal"),
        Span("thinking", 10, 20, outcome="unavailable"),
        Span("thinking", 50, 60, outcome="no proposal"),
        Span("thinking", 90, 95, outcome="proposal"),
        Span("thinking", 99, 100, outcome="closed"),
    ))  # fmt: skip
    assert (outage.start, outage.end, outage.attempts) == (10, 90, 2) and outage.outcome == "unavailable, no proposal"
    (last,) = summary.outages(with_spans(facts, Span("thinking", 5, 8, outcome="spending limit")))
    assert (last.start, last.end) == (5, 8)


def test_areas_count_every_decided_edit_once_per_area(facts: NightFacts) -> None:
    results = summary.results_by_area(facts.rows)
    assert {"Learning rates", "Size", "Model"} <= {result.area for result in results}
    for result in results:
        outcomes = (result.kept, result.in_doubt, result.worse, result.without_score)
        assert result.tried == sum(outcomes) == sum(result.area in row.areas for row in facts.rows)
        assert result.best is None or result.best.gain > 0


def test_the_headline_says_what_was_won(facts: NightFacts, tmp_path: Path) -> None:
    claim, baseline = facts.claim, facts.baseline.val.mean
    said = f"{100 * claim.gain / baseline:.1f} % ± {100 * claim.half_width / baseline:.1f} fewer bits"
    assert said in summary.headline(facts) and "chance" not in summary.headline(facts)
    assert claim.gain < summary.gain(facts.baseline.val, facts.best.val, facts.noise).mean
    assert "may still be chance" in summary.headline(replace(facts, claim=Claim(0.01, 0.02)))
    assert "no better than" in summary.headline(replace(facts, claim=Claim(-0.01, 0.02)))
    assert "nobody can say" in summary.headline(replace(facts, claim=None))
    night = empty_night(tmp_path / "night")
    add(night, KEEP, 1.3)
    add(night, DISCARD, 1.4)
    assert "Nothing is better" in summary.headline(gather(night.root, running=False))


def test_a_keep_names_what_it_builds_on(tmp_path: Path) -> None:
    night = empty_night(tmp_path / "night")
    add(night, KEEP, 1.3)
    add(night, INCONCLUSIVE, 1.29, parent=0)
    add(night, INCONCLUSIVE, 1.28, parent=1)
    add(night, DISCARD, 1.31, parent=0)
    add(night, KEEP, 1.2, parent=2)
    add(night, KEEP, 1.1, parent=4)
    facts = gather(night.root, running=False)
    assert [[held.number for held in facts.built_on(row)] for row in facts.keeps] == [[1, 2], []]
    page = render(facts)
    assert page.count("It holds experiment") == 2 and '<a href="#e1">1</a> too: an edit' in page
    add(night, KEEP, 1.0, parent=6)  # damaged: its own parent
    facts = gather(night.root, running=False)
    assert facts.built_on(facts.keeps[-1]) == []


def test_a_failed_baseline(tmp_path: Path) -> None:
    night = empty_night(tmp_path / "night")
    add(night, CRASH)
    facts = gather(night.root, running=False)
    assert summary.headline(facts) == "The unchanged file failed." and facts.best is None


def test_runs_without_a_sandbox_are_told(facts: NightFacts) -> None:
    assert "runs in Seatbelt (strict)." in dict(summary.how_sure(facts))["Sandbox"]
    bare = facts.rows[0].experiment
    results = {index: replace(run, sandbox="none") for index, run in bare.results.items()}
    row = replace(facts.rows[0], experiment=replace(bare, results=results))
    told = dict(summary.how_sure(replace(facts, rows=[row, *facts.rows[1:]])))["Sandbox"]
    assert f"{len(results)} runs WITHOUT a sandbox" in told


def test_conditions_are_told_or_said_to_be_unknown(facts: NightFacts) -> None:
    told = dict(summary.how_sure(facts))["Conditions"]
    invalid = sum(entry.invalid is not None for entry in facts.conditions)
    assert invalid and told.startswith(f"{invalid} of {len(facts.conditions)} measured runs did not count")
    told = dict(summary.how_sure(replace(facts, conditions=[])))["Conditions"]
    assert told == "Heat, power and other programs were not measured."
    new = Entry(3, 1, Conditions(), is_new_state=True)
    told = dict(summary.how_sure(replace(facts, conditions=[*facts.conditions, new])))["Conditions"]
    assert "the machine changed once, and scores from before and after are not compared" in told
