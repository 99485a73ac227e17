"""What a night has taught, read from its records: levels of incumbents and of what promising edits build on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mlx_autoresearch import beliefs
from mlx_autoresearch.beliefs import Beliefs
from mlx_autoresearch.history import Experiment, Night, RunIdentity
from mlx_autoresearch.levels import Known
from mlx_autoresearch.noise import Noise
from mlx_autoresearch.records import CRASH, KEEP, Measurement, Proposal, RunResult, Verdict
from mlx_autoresearch.verdict import baseline_verdict, compare, decide

IDENTITY = RunIdentity("simple", "f" * 64, 300.0, "a machine", "2", 256)
NOISE = Noise(0.002, 30)


class Recorded:
    """A night in a folder, whose runs begin `step` seconds after each other."""

    def __init__(self, root: Path, step: float = 310.0) -> None:
        self.night, self.clock, self.step = Night.open(root, IDENTITY), 1e9, step
        baseline = self.add(None, 1.0, 1.0)
        baseline.record_verdict(baseline_verdict(baseline.scores, NOISE))

    def add(self, parent: int | None, *scores: float) -> Experiment:
        number = len(self.night.experiments)
        experiment = self.night.add(Proposal(f"x = {number}\n", f"edit {number}", parent=parent))
        for score in scores:
            self.run(experiment, score)
        return experiment

    def run(self, experiment: Experiment, score: float) -> None:
        self.clock += self.step
        result = RunResult(len(experiment.runs) + 1, val_bpb=score, started=self.clock)
        experiment.record_result(experiment.new_run_folder(), result)

    def settle(self, experiment: Experiment) -> Verdict:
        known, base = beliefs.before(experiment, self.night, NOISE)
        incumbent = self.night.incumbent().number
        decided = decide(experiment.measurements, known, NOISE, incumbent, base=base, run_limit=1)
        experiment.record_verdict(decided)
        return decided


def test_the_first_edit_is_compared_with_the_runs_of_the_baseline(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path / "n")
    known, base = beliefs.before(recorded.add(0, 0.99), recorded.night, NOISE)
    assert base is None and known.counted == len(known.runs) == 2 and known.level.mean == pytest.approx(1.0)


def test_edits_that_do_little_make_the_incumbent_better_known(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path / "n")
    variances = []
    for score in (1.002, 1.001, 1.003, 1.0005, 1.0005):
        edit = recorded.add(0, score)
        variances.append(beliefs.before(edit, recorded.night, NOISE)[0].level.variance)
        assert not recorded.settle(edit).promising
    assert variances[-1] < 0.85 * variances[0]


def test_a_crash_and_an_edit_of_another_program_teach_nothing(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path / "n")
    crashed = recorded.add(0, 1.001)
    crashed.record_verdict(Verdict(CRASH, "refused"))
    assert not recorded.settle(recorded.add(17, 1.001)).promising
    known, _ = beliefs.before(recorded.add(0, 1.001), recorded.night, NOISE)
    assert known.level == Known(recorded.night.experiments[0].measurements).until(1e10, NOISE).level


def test_runs_of_the_incumbent_beside_a_candidate_are_followed_with_it(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path / "n")
    edit = recorded.add(0, 0.998)
    recorded.run(recorded.night.experiments[0], 1.004)
    recorded.run(edit, 0.998)
    known, _ = beliefs.before(edit, recorded.night, NOISE)
    assert known.counted == 2 and len(known.runs) == 3
    recorded.settle(edit)
    known, _ = beliefs.before(recorded.add(0, 1.0), recorded.night, NOISE)
    assert known.counted == 3


def test_what_builds_on_a_promising_edit_starts_from_what_is_known_of_it(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path / "n")
    first = recorded.add(0, 0.9975)
    assert recorded.settle(first).promising
    second = recorded.add(1, 0.9962)
    _, base = beliefs.before(second, recorded.night, NOISE)
    assert base.numbers == (1,) and 0.9975 < base.level.mean < 1.0
    assert recorded.settle(second).promising
    _, base = beliefs.before(recorded.add(2, 0.99), recorded.night, NOISE)
    assert base.numbers == (1, 2)
    third = recorded.night.experiments[3]
    assert recorded.settle(third).status == KEEP
    known, base = beliefs.before(recorded.add(3, 0.99), recorded.night, NOISE)
    assert base is None and len(known.runs) == 1 and 0.99 < known.level.mean < 0.9962  # the luck of a keep is taken off


def test_a_night_that_is_read_again_knows_the_same(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path / "n")
    for parent, score in ((0, 1.003), (0, 0.9975), (2, 0.999), (2, 1.01)):
        recorded.settle(recorded.add(parent, score))
    last = recorded.add(2, 0.995)
    again = Night.read(recorded.night.root)
    assert str(beliefs.before(again.experiments[-1], again, NOISE)) == str(beliefs.before(last, recorded.night, NOISE))


@pytest.mark.parametrize("step", [0.0, -400.0])
def test_times_that_stand_still_or_run_backwards_do_no_harm(tmp_path: Path, step: float) -> None:
    recorded = Recorded(tmp_path / "n", step)
    for score in (1.003, 1.01, 1.004):
        recorded.settle(recorded.add(0, score))
    known, base = beliefs.before(recorded.add(0, 1.0), recorded.night, NOISE)
    assert base is None and len(known.runs) == 2


def test_an_edit_whose_incumbent_is_damaged_is_left_out(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path / "n")
    kept = recorded.add(0, 0.9)
    assert recorded.settle(kept).status == KEEP
    recorded.settle(recorded.add(1, 0.901))
    later = recorded.add(1, 0.85)
    recorded.settle(later)
    recorded.add(3, 0.849)
    shutil.rmtree(kept.folder)
    night = Night.read(recorded.night.root)
    known, _ = beliefs.before(night.experiments[-1], night, NOISE)
    assert known.level.mean == pytest.approx(0.85, abs=0.002)


def test_an_edit_of_the_incumbent_moves_its_level_as_the_comparison_says() -> None:
    learned, runs = Beliefs(), [Measurement(1.0, 0.0)]
    incumbent = learned.incumbent(0, runs, 300.0, NOISE)
    candidate = [Measurement(1.001, 310.0)]
    found = compare(candidate, incumbent, NOISE)
    learned.learn(1, candidate, decide(candidate, incumbent, NOISE, 0, run_limit=1), 0, incumbent, NOISE)
    assert learned.incumbent(0, runs, 600.0, NOISE).level == found.program


def test_a_promising_edit_whose_children_score_no_better_is_believed_less(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path / "n")
    promising = recorded.add(0, 0.9972)
    assert recorded.settle(promising).promising
    gains = []
    for score in (1.0, 1.0005, 0.9998, 1.001, 1.0002):
        edit = recorded.add(1, score)
        gains.append(beliefs.before(edit, recorded.night, NOISE)[1].belief.mean)
        recorded.settle(edit)
    assert gains[0] > 0 and gains[-1] < 0.5 * gains[0]
    assert gains == sorted(gains, reverse=True)
