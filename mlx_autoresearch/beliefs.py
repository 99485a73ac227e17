"""What a night has taught about its programs: the levels of incumbents, and of promising edits that others build on.

Every decided edit taught something about the program it was made from (levels.py). All of it is worked out anew from
the night's records whenever it is needed, so a night that was cut off goes on as if it had not been.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from mlx_autoresearch.history import Experiment, Night
from mlx_autoresearch.levels import Known, Level
from mlx_autoresearch.noise import Noise
from mlx_autoresearch.records import KEEP, Measurement, Verdict
from mlx_autoresearch.verdict import Base, Effects, compare


@dataclass
class Beliefs:
    """Levels and gains, learned one decided edit after the other; programs are numbers of experiments."""

    _known: dict[int, Known] = field(default_factory=dict)
    _bases: dict[int, Base] = field(default_factory=dict)

    def incumbent(self, number: int, runs: Sequence[Measurement], until: float, noise: Noise) -> Known:
        """What is known of an incumbent when a candidate's first run begins, at `until` in seconds.

        Args:
            number: of the incumbent.
            runs: all its runs, those that came later too.
            until: its runs before that time are in its level.
            noise: of a run.
        """
        before = self._known.get(number, Known(()))
        return Known(runs, before.level, before.counted).until(until, noise)

    def base(self, parent: int | None, incumbent: int) -> Base | None:
        """What a candidate was made from, where that is a promising edit; None for the incumbent and what is older."""
        return None if parent is None or parent <= incumbent else self._bases.get(parent)

    def learn(
        self,
        number: int,
        runs: Sequence[Measurement],
        decided: Verdict,
        parent: int | None,
        incumbent: Known,
        noise: Noise,
    ) -> None:
        """Take in a decided edit.

        Args:
            number: of the edit.
            runs: its runs.
            decided: its verdict, which names the incumbent.
            parent: what it was made from: that incumbent, a promising edit, or any other program.
            incumbent: as `incumbent` gave it, with the runs that it had while the edit was tried.
            noise: of a run.
        """
        base = self.base(parent, decided.incumbent)
        over_incumbent = compare(runs, incumbent, noise, base and base.before)
        over_parent = over_incumbent if base is None else compare(runs, Known((), base.level), noise)
        if base is not None or parent == decided.incumbent:
            self._known[decided.incumbent] = Known(incumbent.runs, over_incumbent.program, len(incumbent.runs))
        if base is not None:
            belief = base.belief
            if incumbent.level is not None:
                belief = _revised(belief, base.level, over_parent.program, incumbent.level, noise)
            self._bases[parent] = Base(base.numbers, over_parent.program, belief)
        if decided.status == KEEP:
            self._known[number] = Known(runs, over_parent.edit, len(runs))
        elif decided.promising:
            numbers = (*(base.numbers if base else ()), number)
            self._bases[number] = Base(numbers, over_parent.edit, over_incumbent.belief)


def _revised(belief: Effects, before: Level, after: Level, incumbent: Level, noise: Noise) -> Effects:
    """What is believed of a promising edit's gain once its level is known better: it may have been luck.

    Args:
        belief: of the gain over the incumbent, until now.
        before, after: its level, until now and now.
        incumbent: the incumbent's level.
        noise: of a run.
    """
    mean, variance = after.learned_since(before.at(after.when, noise))
    known = incumbent.at(after.when, noise)
    squares = (known.mean - belief.gains - mean) ** 2 / (variance + known.variance)
    return belief.given(-0.5 * squares)


def before(experiment: Experiment, night: Night, noise: Noise) -> tuple[Known, Base | None]:
    """What is known of the incumbent, and of what `experiment` was made from, when it began; None for the incumbent.

    Args:
        experiment: with at least one scored run.
        night: has an incumbent.
        noise: of a run.
    """
    beliefs, programs = Beliefs(), {each.number: each for each in night.experiments}
    tried = [each for each in night.experiments if each.number < experiment.number and _taught(each, programs)]
    for each, later in pairwise([*tried, experiment]):
        runs, decided = each.measurements, each.verdict
        all_runs = programs[decided.incumbent].measurements
        while_tried = [run for run in all_runs if run.when <= _began(later)] or all_runs  # records may tell no times
        incumbent = beliefs.incumbent(decided.incumbent, while_tried, _began(each), noise)
        beliefs.learn(each.number, runs, decided, each.proposal.parent, incumbent, noise)
    incumbent = night.incumbent()
    known = beliefs.incumbent(incumbent.number, incumbent.measurements, _began(experiment), noise)
    return known, beliefs.base(experiment.proposal.parent, incumbent.number)


def _taught(experiment: Experiment, programs: Mapping[int, Experiment]) -> bool:
    """Whether it was compared with an incumbent that can still be read."""
    decided = experiment.verdict
    return decided is not None and decided.incumbent in programs and bool(experiment.measurements)


def _began(experiment: Experiment) -> float:
    return experiment.measurements[0].when
