"""Made-up nights: edits with true effects, a machine that is noisy and gets warm, and rules that decide.

What edits are worth is fitted to published tables, `results.tsv` in public repositories: TrainRTX5070
(Djordje-Stojanovic, without its first ten edits, which mended faults), autoresearch-macos (Bervaso; Davidabiera),
autoresearch-results (Blitzo125), autoresearch-DGX-Spark (David-Barnes-Data-Imaginations), and discussion 43 of
karpathy/autoresearch, 246 edits in all. Of them 33 are better by clearly more than the noise of their table: median
0.0041 bits per byte, quartiles 0.0012 and 0.015, standard deviation of the logarithm 1.3. Of 121 with all losses
published 17 % move the score by less than 0.001; of the losses beyond that the median is 0.012, the ninth decile 0.059.
Later gains are smaller: a median of 0.0099 among the first ten edits of a table, 0.0020 after them. Here gains shrink
in proportion to what is left of a potential: the tables with a decent start improved by 0.004 to 0.107 in all.

Drift is that of a laptop. A score changes by 0.11 bits for each unit of the logarithm of speed (README.md: 0.967 with
1,541 steps, 1.013 with 1,013). A fanless laptop loses a quarter of its speed to heat within 8 to 15 minutes; what it
does later is a guess: a steady trend and a random walk.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from mlx_autoresearch.beliefs import Beliefs
from mlx_autoresearch.noise import PRIOR_NOISE, Noise, Spread, as_prior, pooled_noise, spread
from mlx_autoresearch.records import KEEP, Measurement, Verdict
from mlx_autoresearch.verdict import BASELINE_RUNS, RunAgain, decide, is_due

RUN_SECONDS = 310.0
"""300 seconds of training and 10 of start-up and scoring."""

NIGHT_SECONDS = 8 * 3600.0

START_BPB = 1.2

BITS_PER_LOG_SPEED = 0.11

HEAT_UP_SECONDS = 600.0
"""Time constant of warming up."""


@dataclass(frozen=True)
class Edits:
    """What edits are worth, in bits per byte.

    Attributes:
        better, nothing: shares that are better and that change nothing; the others are worse.
        gain, loss: medians of gains (at the start of a night) and of losses.
        factor: of one standard deviation of their logarithms, cut off at two.
        potential: gains shrink to nothing as a night's improvement comes near to it.
        simpler: share of edits that only make the program shorter; three in five of them change nothing, three in ten
            lose, their median a third of `loss`, one in ten gains half of `gain`.
    """

    better: float = 0.16
    nothing: float = 0.24
    gain: float = 0.004
    loss: float = 0.012
    factor: float = 4.0
    potential: float = 0.08
    simpler: float = 0.08


@dataclass(frozen=True)
class World:
    """Where a night happens.

    Attributes:
        noise: standard deviation of a score between seeds, bits per byte.
        slowing: share of its speed that the machine loses to heat.
        wander: standard deviation of the logarithm of its speed at the end of a night, by a trend and by a walk, each.
        edits: what they are worth.
    """

    noise: float
    slowing: float = 0.25
    wander: float = 0.07
    edits: Edits = Edits()


WORLDS = (World(0.002, slowing=0.02, wander=0.005), World(0.01), World(0.03))
"""A desktop with fans and two laptops."""


NO_SPREAD = Spread(0.0, 0)


@dataclass(eq=False)
class Edit:
    """A program: what it truly scores, and what was measured of it.

    Attributes:
        level: its true bits per byte on the machine at rest.
        lines_saved: lines of code less than the incumbent's.
        runs: its measurements in order.
        spread: of its runs.
        verdict: of our rule.
        claimed_gain: what its keep claims over its incumbent.
        number: of the experiment, 0 for the baseline.
    """

    level: float
    lines_saved: int = 0
    runs: list[Measurement] = field(default_factory=list)
    spread: Spread = NO_SPREAD
    verdict: Verdict | None = None
    claimed_gain: float = 0.0
    number: int = 0

    @property
    def mean(self) -> float:
        """Mean of its scores."""
        return sum(run.bpb for run in self.runs) / len(self.runs)


class NightOverError(Exception):
    """No time is left for another run."""


class Night:
    """One night: the machine's clock and state, the edits that come, the incumbent."""

    def __init__(self, world: World, seed: int, prior: Noise = PRIOR_NOISE) -> None:
        self.world, self.prior, self.clock = world, prior, 0.0
        self.ideas, self.luck = random.Random(f"ideas {seed}"), random.Random(f"luck {seed}")
        self.baseline = self.incumbent = self.base = Edit(START_BPB)
        self.measured: list[Edit] = []
        self.beliefs = Beliefs()
        self._log_speed, self._trend = 0.0, self.luck.gauss(0, world.wander)

    def run(self, edit: Edit) -> None:
        """Train and score it once.

        Raises:
            NightOverError: the night is too short for that.
        """
        if self.clock + RUN_SECONDS > NIGHT_SECONDS:
            raise NightOverError
        self._log_speed += self.luck.gauss(0, self.world.wander * math.sqrt(RUN_SECONDS / NIGHT_SECONDS))
        heat = math.log(1 - self.world.slowing) * (1 - math.exp(-self.clock / HEAT_UP_SECONDS))
        log_speed = self._log_speed + self._trend * self.clock / NIGHT_SECONDS + heat
        score = edit.level - BITS_PER_LOG_SPEED * log_speed + self.luck.gauss(0, self.world.noise)
        edit.runs.append(Measurement(score, self.clock))
        edit.spread = spread(edit.runs)
        if len(edit.runs) == 1:
            edit.number = len(self.measured)
            self.measured.append(edit)
        self.clock += RUN_SECONDS

    def idea(self) -> Edit:
        """The next edit of the base. Its size is drawn even where it has none: all rules see the same luck."""
        edits, draw, size = self.world.edits, self.ideas.random(), self._size()
        left = max(0.0, 1 - (self.baseline.level - self.base.level) / edits.potential)
        if self.ideas.random() < edits.simpler:
            gain = 0.5 * edits.gain * size * left if draw < 0.1 else 0.0 if draw < 0.7 else -edits.loss / 3 * size
            return Edit(self.base.level - gain, lines_saved=5)
        if draw < edits.better:
            return Edit(self.base.level - edits.gain * size * left)
        return Edit(self.base.level + (0.0 if draw < edits.better + edits.nothing else edits.loss * size))

    def _size(self) -> float:
        deviation = self.ideas.gauss(0, 1)
        while abs(deviation) > 2:
            deviation = self.ideas.gauss(0, 1)
        return self.world.edits.factor**deviation

    @property
    def improvement(self) -> float:
        """How much better the incumbent truly is than the baseline."""
        return self.baseline.level - self.incumbent.level

    @property
    def noise(self) -> Noise:
        """The pooled noise so far."""
        return pooled_noise([edit.spread for edit in self.measured], self.prior)


Rule = Callable[[Night, Edit], bool]
"""Measures an edit as it likes and says whether it becomes the incumbent."""


def ours(night: Night, edit: Edit) -> bool:
    """The loop's own rule, with its own functions."""
    incumbent, parent, beliefs = night.incumbent, night.base.number, night.beliefs
    if is_due(incumbent.runs, night.clock):
        night.run(incumbent)
    night.run(edit)
    base = beliefs.base(parent, incumbent.number)
    while True:
        known = beliefs.incumbent(incumbent.number, incumbent.runs, edit.runs[0].when, night.noise)
        answer = decide(edit.runs, known, night.noise, incumbent.number, edit.lines_saved, base=base)
        if not isinstance(answer, RunAgain):
            break
        night.run(edit if answer.which == "candidate" else incumbent)
    edit.verdict, edit.claimed_gain = answer, answer.expected_gain
    beliefs.learn(edit.number, edit.runs, answer, parent, known, night.noise)
    if answer.promising:
        night.base = edit
    return answer.status == KEEP


def lower_by(threshold: float) -> Rule:
    """Keep what is lower after one run, by more than a fixed threshold."""

    def rule(night: Night, edit: Edit) -> bool:
        night.run(edit)
        edit.claimed_gain = night.incumbent.runs[0].bpb - edit.runs[0].bpb
        return edit.claimed_gain > threshold

    return rule


def twice_the_floor(night: Night, edit: Edit) -> bool:
    """Keep what is lower by twice the difference of two baseline runs (karpathy/autoresearch, pull request 560)."""
    floor = abs(night.baseline.runs[0].bpb - night.baseline.runs[1].bpb)
    return lower_by(2 * floor)(night, edit)


def mean_of_three(night: Night, edit: Edit) -> bool:
    """Keep what is lower in the mean of three runs."""
    for program in (night.incumbent, edit):
        while len(program.runs) < 3:
            night.run(program)
    edit.claimed_gain = night.incumbent.mean - edit.mean
    return edit.claimed_gain > 0


def bootstrap_of_three(night: Night, edit: Edit) -> bool:
    """Keep what is lower in 95 % of all resamples of three runs of both."""
    mean_of_three(night, edit)
    resamples = np.array(list(itertools.product(range(3), repeat=3)))
    means = [np.array([run.bpb for run in program.runs])[resamples].mean(axis=1) for program in (night.incumbent, edit)]
    return bool((means[0][:, None] > means[1][None, :]).mean() >= 0.95)


@dataclass(frozen=True)
class Strategy:
    """A rule with what belongs to it.

    Attributes:
        rule: decides.
        baseline_runs: runs of the unchanged file at the start.
        earlier_nights: whether the machine's noise is known from earlier nights.
    """

    rule: Rule
    baseline_runs: int = 1
    earlier_nights: bool = False


STRATEGIES = {
    "ours": Strategy(ours, BASELINE_RUNS, earlier_nights=True),
    "ours, first night": Strategy(ours, BASELINE_RUNS),
    "lower once": Strategy(lower_by(0.0)),
    "lower by 0.01": Strategy(lower_by(0.01)),
    "twice the noise floor": Strategy(twice_the_floor, 2),
    "mean of three": Strategy(mean_of_three),
    "bootstrap of three": Strategy(bootstrap_of_three),
}


@dataclass(frozen=True)
class Morning:
    """What came of a night; bits per byte.

    Attributes:
        improvement: how much better the incumbent truly is than the baseline.
        claimed: how much better it is said to be.
        keeps: kept because they are better; false_keeps: of them, those that truly are not.
        simplified: kept because they are shorter; simplified_loss: what those truly lost, in sum.
        experiments: edits that were decided.
        path: true improvement after each run's time.
    """

    improvement: float
    claimed: float
    keeps: int
    false_keeps: int
    simplified: int
    simplified_loss: float
    experiments: int
    path: tuple[float, ...]


def sleep_through(world: World, strategy: Strategy, seed: int) -> Morning:
    """One night of a strategy; the same seed brings the same ideas and the same luck of the machine."""
    night = Night(world, seed, _prior(world, seed) if strategy.earlier_nights else PRIOR_NOISE)
    keeps: list[tuple[Edit, float]] = []
    experiments, path = 0, [0.0] * int(NIGHT_SECONDS // RUN_SECONDS)
    try:
        for _ in range(strategy.baseline_runs):
            night.run(night.baseline)
        while True:
            edit, before = night.idea(), round(night.clock / RUN_SECONDS)
            kept = strategy.rule(night, edit)
            experiments += 1
            if kept:
                keeps.append((edit, night.incumbent.level - edit.level))
                night.incumbent = night.base = edit
                after = round(night.clock / RUN_SECONDS)
                path[after - 1 :] = [night.improvement] * (len(path) - after + 1)
                assert after > before
    except NightOverError:
        pass
    simplified = [
        gain for edit, gain in keeps if edit.verdict is not None and "lines of code less" in edit.verdict.sentence
    ]
    better = [gain for edit, gain in keeps if edit.verdict is None or "lines of code less" not in edit.verdict.sentence]
    return Morning(
        improvement=night.improvement,
        claimed=sum(edit.claimed_gain for edit, _ in keeps),
        keeps=len(better),
        false_keeps=sum(gain <= 0 for gain in better),
        simplified=len(simplified),
        simplified_loss=-sum(simplified),
        experiments=experiments,
        path=tuple(path),
    )


def _prior(world: World, seed: int) -> Noise:
    """What an earlier night with 20 degrees of freedom says about the noise."""
    luck = random.Random(f"earlier {seed}")
    squares = sum(luck.gauss(0, world.noise) ** 2 for _ in range(20))
    return as_prior([Spread(squares, 20)])


def other_worlds(world: World) -> dict[str, World]:
    """Worlds that are not what the rule believes, to see what that costs."""
    return {
        "no drift": replace(world, slowing=0.0, wander=0.0),
        "twice the drift": replace(world, slowing=1 - (1 - world.slowing) ** 2, wander=2 * world.wander),
        "half as many gains": replace(world, edits=replace(world.edits, better=world.edits.better / 2)),
        "twice as many gains": replace(world, edits=replace(world.edits, better=world.edits.better * 2)),
        "nothing changes anything": replace(world, edits=replace(world.edits, better=0.0, nothing=1.0, simpler=0.0)),
    }
