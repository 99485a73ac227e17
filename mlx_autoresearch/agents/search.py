"""The agent without a language model: a search over the knobs of train_mlx.py and a catalogue of structural edits.

A night has room for some dozens of experiments and the file for some dozens of knobs, so this is a local search around
the incumbent. A proposal is one of three:

- one knob changed, sometimes two or three, preferably knobs that were tried less often, mostly to a value nearby.
  Which value is decided by Optuna's tree-structured Parzen estimator (TPE);
- an edit of the catalogue in `structure` that was not tried yet, alone;
- near misses: the changes of two experiments whose gain was lost in the noise, together, since gains mostly add up
  while the noise stays the same; or one that was measured against an older incumbent, on the present one.

Combinations begin when there are near misses to choose from. After a plateau it looks further away: whole ranges,
structure, combinations.

Notable:
- Nothing is kept on disk. The study is rebuilt from the history at every call and holds only the knobs to be changed,
  which is the same as fixing all others at the incumbent's values. An interrupted night goes on as if it had not been.
- Experiments outside the range at hand say nothing about it and are left out.
- TPE leaves failed trials out and would go on proposing what crashes, so a crash counts as worse than the worst score.
  TPE goes by ranks, though, and most experiments are a little worse than the best: what is nearer to a crash than to
  anything that was scored is therefore passed over, except by a few bold proposals, because a crash can be a fluke.
- What lost by far is not tried again on another incumbent or together with other changes, but by bold proposals.
- Decimal numbers closer than `SAME` to each other are one value: noise hides smaller differences.
- It heeds other researchers' experiments like its own, and combines their near misses too.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlx_autoresearch.agents.briefing import Briefing, HistoryEntry
from mlx_autoresearch.agents.refusal import refusal
from mlx_autoresearch.agents.structure import CATALOGUE, StructuralEdit
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.gate import check_source
from mlx_autoresearch.knobs import (
    Choices,
    FloatRange,
    IntRange,
    Knob,
    Range,
    Value,
    read_knobs,
    short_float,
    without_values,
    write_knobs,
    written,
)
from mlx_autoresearch.merge import three_way_merge
from mlx_autoresearch.noise import PRIOR_NOISE
from mlx_autoresearch.program_texts import digest, remembered
from mlx_autoresearch.records import DISCARD, INCONCLUSIVE, Proposal

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Mix:
    """How proposals are divided up.

    Attributes:
        structure: share of untried edits of the catalogue.
        combinations: share of combinations of near misses.
        nearby: share of the knob changes that stay near the incumbent's values; the others use the whole ranges.
    """

    structure: float
    combinations: float
    nearby: float


EARLY = Mix(structure=0.2, combinations=0.0, nearby=0.7)
"""Until there are near misses to choose from: combining the first few that come along wastes the best time of a night.
On 60 made-up nights of 20 experiments it gained 0.0151, without 0.0252 (`python -m benchmarks.search --synthetic`)."""

EARLY_EXPERIMENTS = 24
"""So many experiments have hardly more than half a dozen near misses among them."""

USUAL = Mix(structure=0.2, combinations=0.2, nearby=0.7)
"""A fifth goes through the catalogue in the course of a night of a hundred experiments; combinations cost a run that
mostly confirms what is known, so they are no more; the rest are knobs, where gains are small but frequent."""

STUCK = Mix(structure=0.35, combinations=0.3, nearby=0.4)
"""The same after a plateau: what is near has been seen, so what is left lies in structure, in sums of gains that are
too small alone, and far away."""

PLATEAU = 12
"""Experiments without a keep after which the search counts as stuck: where one in five is kept, as early in a night,
so long a row has a chance of 7 %."""

CHANGES = (1, 1, 1, 1, 1, 1, 2, 2, 2, 3)
"""How many knobs a proposal changes, each entry equally likely."""

FACTOR = 2.0
"""Nearby in a logarithmic range: up to this factor away."""

SHARE = 0.2
"""Nearby in a linear range: up to this share of the range away, and at least two steps of a whole number."""

SAME = 0.03
"""Decimal numbers closer than this share of their range's length (its logarithm if `log`) count as the same value."""

BOLD = 0.1
"""Share of the proposals that may go where programs crashed."""

LOST_BY_FAR = 4.0
"""In units of the noise: what one run has shown to be so much worse is no near miss in other company either."""

STARTUP = 4
"""Experiments that TPE needs in the range at hand; before that the value is drawn at random."""

SUBSETS, ASKS = 8, 4
"""Sets of knobs tried for a proposal, and values asked for in each, before the grid is gone through in order."""

NEAR_MISSES = 12
"""Near misses that are combined, the best by measured gain: 66 pairs, more than a night can run."""

COMBINATIONS = 20
"""Combinations looked at for one proposal, the promising ones first; many touch the same lines or were tried."""

EAGERNESS = 3.0
"""A combination whose measured gains are one noise larger in sum is exp(EAGERNESS) times as likely to be drawn."""

Values = dict[str, Value]


@dataclass(frozen=True)
class _Program:
    """One experiment as the search sees it: its knobs, the rest of its text, its parent's number and its score."""

    number: int
    parent: int | None
    values: Values
    code: bytes
    score: float | None


@dataclass(frozen=True)
class _Idea:
    """A proposal that has yet to be checked."""

    source: str
    description: str
    hypothesis: str
    expected: str = ""


@dataclass(frozen=True)
class _Change:
    """What an experiment changed in its parent's file, so that it can be done to another file.

    Attributes:
        before, after: values of the knobs it changed, in the parent and in the experiment.
        edits: edits of the catalogue.
        rewriting: two texts that differ in whatever else it changed; None when there is nothing else.
    """

    before: Values
    after: Values
    edits: tuple[StructuralEdit, ...] = ()
    rewriting: tuple[str, str] | None = None

    def onto(self, source: str, machine_class: int) -> str | None:
        """`source` with this change; None where it does not fit, or the knobs are no longer those it was made for."""
        edited = _with_edits(source, self.edits)
        if edited is not None and self.rewriting is not None:
            edited = three_way_merge(*self.rewriting, edited)
        if edited is None:
            return None
        try:
            knobs = read_knobs(edited, machine_class)
            if any(name not in knobs or knobs[name].value != value for name, value in self.before.items()):
                return None
            return write_knobs(edited, self.after, machine_class)
        except (AutoresearchError, ValueError):  # the merge is not Python, or the knob's choices are others by now
            return None

    def words(self) -> str:
        """The change in a few words."""
        parts = [edit.name for edit in self.edits]
        parts += ["a rewriting"] if self.rewriting is not None else []
        return ", ".join([*parts, *_knob_words(self.before, self.after)])


@dataclass(frozen=True)
class _NearMiss:
    """An experiment that may have been better, by `gain` bits per byte as measured, and what it changed."""

    entry: HistoryEntry
    gain: float
    change: _Change


@dataclass(frozen=True)
class _Situation:
    """The briefing as the search sees it.

    Attributes:
        briefing: what was told.
        knobs: the incumbent's knobs that declare a range.
        earlier: scored and crashed experiments that say something about knobs.
        taken: knobs of all programs that have the incumbent's code, those that wait included; its own come last.
        catalogue: edits to choose from.
        near_misses: what may have been better, the best first.
        lost: knob changes that lost by far.
        mix: how proposals are divided up at the moment.
    """

    briefing: Briefing
    knobs: dict[str, Knob]
    earlier: list[_Program]
    taken: list[Values]
    catalogue: Sequence[StructuralEdit]
    near_misses: list[_NearMiss]
    lost: list[Values]
    mix: Mix


class SearchAgent:
    """Proposes changes of the incumbent; the same seed and briefing give the same proposal."""

    name = "search"
    thinks_ahead = False  # it answers in a moment, and the newest result is worth having

    def __init__(self, seed: int = 0, catalogue: Sequence[StructuralEdit] = CATALOGUE) -> None:
        """`seed` decides all random choices, together with the length of the history; `catalogue` can be empty."""
        self._seed, self._catalogue = seed, catalogue
        self._changes: dict[tuple[bytes, bytes, int], _Change | None] = {}

    def close(self) -> None:
        """Nothing goes on between two calls."""

    def propose(self, briefing: Briefing) -> Proposal:
        """The incumbent's file with few knobs changed, an edit of the catalogue or a combination of near misses.

        Raises:
            AutoresearchError: the incumbent breaks the contract, declares no range, or everything was tried.
        """
        briefing = replace(briefing, repair=None)  # it edits the incumbent; mending crashes takes understanding
        check_source(briefing.source)  # or every proposal would be refused for what is not its fault
        chance = random.Random(f"{self._seed} {len(briefing.history)} {len(briefing.waiting)}")
        for idea in _ideas(self._situation(briefing), chance):
            if refusal(briefing, idea.source) is None:
                return Proposal(
                    source=idea.source,
                    description=idea.description,
                    hypothesis=idea.hypothesis,
                    expected=idea.expected,
                    agent=self.name,
                    parent=briefing.incumbent,
                )
        raise AutoresearchError(
            "Every change of up to three knobs of this train_mlx.py within their ranges was tried, and every edit of "
            "its structure that fits; widen a range, or edit the program"
        )

    def _situation(self, briefing: Briefing) -> _Situation:
        knobs = read_knobs(briefing.source, briefing.machine_class)
        searched = {name: knob for name, knob in knobs.items() if knob.range is not None}
        if not searched:
            raise AutoresearchError(
                "No knob of train_mlx.py declares a range; end a knob's comment with one, such as {0.005..0.2 log}"
            )
        code = digest(without_values(briefing.source, knobs))
        tried = itertools.chain(briefing.history, briefing.waiting)
        read = [_knobs_and_code(each.source, briefing.machine_class) for each in tried]
        return _Situation(
            briefing=briefing,
            knobs=searched,
            earlier=self._programs(briefing),
            taken=[found[0] for found in read if found is not None and found[1] == code]
            + [{name: knob.value for name, knob in knobs.items()}],
            catalogue=self._catalogue,
            near_misses=self._near_misses(briefing),
            lost=self._lost(briefing),
            mix=_mix(briefing),
        )

    def _programs(self, briefing: Briefing) -> list[_Program]:
        """The history; without crashes of programs whose code was rewritten, which are not the fault of their knobs."""
        read = (self._program(entry, briefing.machine_class) for entry in briefing.history)
        programs = {program.number: program for program in read if program is not None}
        return [
            program
            for program in programs.values()
            if program.score is not None or program.code == programs.get(program.parent, program).code
        ]

    def _program(self, entry: HistoryEntry, machine_class: int) -> _Program | None:
        read = _knobs_and_code(entry.source, machine_class)
        score = entry.val_bpb if entry.val_bpb is None or math.isfinite(entry.val_bpb) else None
        return None if read is None else _Program(entry.number, entry.parent, *read, score)

    def _near_misses(self, briefing: Briefing) -> list[_NearMiss]:
        """The experiments that may have been better for all that is known, the best first."""
        noise = _noise(briefing)
        gains = {
            entry.number: 0.0 if entry.gain is None else entry.gain
            for entry in briefing.history
            if entry.status == INCONCLUSIVE or (entry.status == DISCARD and _is_close(entry, noise))
        }
        by_number = {entry.number: entry for entry in briefing.history}
        near_misses = []
        for number in sorted(gains, key=lambda number: (-gains[number], number)):
            entry, parent = by_number[number], by_number.get(by_number[number].parent)
            change = self._change(parent, entry, briefing.machine_class) if parent is not None else None
            if change is not None:
                near_misses.append(_NearMiss(entry, gains[number], change))
            if len(near_misses) == NEAR_MISSES:
                break
        return near_misses

    def _lost(self, briefing: Briefing) -> list[Values]:
        """The new values of experiments that changed nothing but knobs and lost by far."""
        by_number, lost = {entry.number: entry for entry in briefing.history}, []
        for entry in briefing.history:
            parent = by_number.get(entry.parent)
            if parent is None or entry.gain is None or entry.gain > -LOST_BY_FAR * _noise(briefing):
                continue
            change = self._change(parent, entry, briefing.machine_class)
            if change is not None and change.after and not change.edits and change.rewriting is None:
                lost.append(change.after)
        return lost

    def _change(self, parent: HistoryEntry, entry: HistoryEntry, machine_class: int) -> _Change | None:
        """What `entry` changed in `parent`; None when a text can't be read. Worked out once."""
        key = (digest(parent.source), digest(entry.source), machine_class)
        if key not in self._changes:
            try:
                self._changes[key] = _change_between(parent.source, entry.source, machine_class, self._catalogue)
            except (AutoresearchError, ValueError):  # not Python, or a knob that became one of another type
                self._changes[key] = None
        return self._changes[key]


@remembered(maxsize=4096)
def _knobs_and_code(source: str, machine_class: int) -> tuple[Values, bytes] | None:
    """Knobs of a program and the digest of the rest of its text; None when it can't be read."""
    try:
        knobs = read_knobs(source, machine_class)
    except AutoresearchError:  # an agent's program that is not Python: it crashed and teaches nothing here
        return None
    return {name: knob.value for name, knob in knobs.items()}, digest(without_values(source, knobs))


def _mix(briefing: Briefing) -> Mix:
    if len(briefing.history) <= EARLY_EXPERIMENTS:
        return EARLY
    return STUCK if briefing.since_keep >= PLATEAU else USUAL


def _noise(briefing: Briefing) -> float:
    return briefing.noise or PRIOR_NOISE.deviation


def _is_close(entry: HistoryEntry, noise: float) -> bool:
    """Whether an experiment was at most about one noise worse than its incumbent."""
    return entry.gain is not None and entry.gain > -noise


def _change_between(before: str, after: str, machine_class: int, catalogue: Sequence[StructuralEdit]) -> _Change:
    """The change from one text to another.

    Raises:
        AutoresearchError: one of them can't be read.
        ValueError: a knob became one of another type.
    """
    edits = tuple(edit for edit in catalogue if edit.is_in(after) and not edit.is_in(before))
    edited = _with_edits(before, edits)
    if edited is None:  # somebody wrote what only looks like an edit of the catalogue
        edits, edited = (), before
    old, new = read_knobs(edited, machine_class), read_knobs(after, machine_class)
    changed = [name for name in old if name in new and old[name].value != new[name].value]
    rewriting = None
    if without_values(edited, old) != without_values(after, new):
        rewriting = edited, write_knobs(after, {name: old[name].value for name in changed}, machine_class)
    return _Change(
        {name: old[name].value for name in changed}, {name: new[name].value for name in changed}, edits, rewriting
    )


def _with_edits(source: str, edits: Iterable[StructuralEdit]) -> str | None:
    """The text after all edits, None where one of them does not fit."""
    for edit in edits:
        edited = edit.apply(source)
        if edited is None:
            return None
        source = edited
    return source


def _ideas(situation: _Situation, chance: random.Random) -> Iterator[_Idea]:
    """Ideas in the order in which they are to be tried: a kind drawn by its share first, then whatever is left."""
    mix = situation.mix
    kinds = [_knob_ideas, _structural_ideas, _combined_ideas]
    shares = [1 - mix.structure - mix.combinations, mix.structure, mix.combinations]
    (first,) = chance.choices(kinds, shares)
    for kind in [first, *(kind for kind in kinds if kind is not first), _grid_ideas]:
        yield from kind(situation, chance)


def _structural_ideas(situation: _Situation, chance: random.Random) -> Iterator[_Idea]:
    """Edits of the catalogue that nobody tried, in an order drawn by chance."""
    briefing = situation.briefing
    untried = list(situation.catalogue)
    for each in (briefing, *briefing.history, *briefing.waiting):
        source = each.source
        untried = [edit for edit in untried if not edit.is_in(source)]
    for edit in chance.sample(untried, len(untried)):
        edited = edit.apply(briefing.source)
        if edited is not None:
            yield _Idea(edited, edit.description, edit.hypothesis)


def _combined_ideas(situation: _Situation, chance: random.Random) -> Iterator[_Idea]:
    """Two near misses together, or an older one on the present incumbent; each once a night, good ones first."""
    briefing = situation.briefing
    noise = _noise(briefing)
    alone = [(miss,) for miss in situation.near_misses if miss.entry.parent != briefing.incumbent]
    choices = [*alone, *itertools.combinations(situation.near_misses, 2)]
    gains = [sum(miss.gain for miss in choice) for choice in choices]
    order = _weighted_order([math.exp(min(EAGERNESS * gain / noise, 50.0)) for gain in gains], chance)
    tried = [entry.description for entry in briefing.history] + [proposal.description for proposal in briefing.waiting]
    for index in order[:COMBINATIONS]:
        choice = choices[index]
        label = _combination_label(choice)
        edited: str | None = briefing.source
        for miss in choice:
            edited = edited and miss.change.onto(edited, briefing.machine_class)
        if edited is not None and not any(description.startswith(label) for description in tried):
            yield _Idea(
                edited,
                f"{label}: {'; '.join(miss.change.words() for miss in choice)}",
                _combination_hypothesis(choice, briefing),
                f"{gains[index]:+.4f} bits per byte better, if what was measured adds up",
            )


def _combination_label(choice: Sequence[_NearMiss]) -> str:
    numbers = [miss.entry.number for miss in choice]
    return (
        f"near miss {numbers[0]} again" if len(numbers) == 1 else f"near misses {numbers[0]} and {numbers[1]} together"
    )


def _combination_hypothesis(choice: Sequence[_NearMiss], briefing: Briefing) -> str:
    measured = " and ".join(f"experiment {miss.entry.number} measured {miss.gain:+.4f}" for miss in choice)
    if len(choice) == 1:
        return (
            f"{measured} against an older incumbent, within the noise of {_noise(briefing):.4f}; it may help this one."
        )
    return f"{measured}, each lost in the noise of {_noise(briefing):.4f}; together they may stand out."


def _weighted_order(weights: Sequence[float], chance: random.Random) -> list[int]:
    """Indices in the order of weighted sampling without replacement.

    Smallest of exponential arrival times (Efraimidis and Spirakis, 2006).
    """
    arrivals = [chance.expovariate(weight) for weight in weights]
    return sorted(range(len(weights)), key=lambda index: arrivals[index])


def _knob_words(before: Values, after: Values) -> list[str]:
    return [f"{name} {written(before[name])} -> {written(after[name])}" for name in after]


def _knob_idea(situation: _Situation, values: Values, hypothesis: str) -> _Idea:
    source = write_knobs(situation.briefing.source, values, situation.briefing.machine_class)
    return _Idea(source, ", ".join(_knob_words(situation.taken[-1], values)), hypothesis)


def _knob_ideas(situation: _Situation, chance: random.Random) -> Iterator[_Idea]:
    """New values for a few knobs, as TPE suggests them; none when it only comes up with old programs."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        found = _search(situation, chance)
    finally:
        optuna.logging.set_verbosity(verbosity)
    if found is not None:
        yield _knob_idea(situation, *found)


def _search(situation: _Situation, chance: random.Random) -> tuple[Values, str] | None:
    """New values for a few knobs and why; None when TPE only comes up with old programs."""
    knobs, earlier, taken = situation.knobs, situation.earlier, situation.taken
    bold = chance.random() < BOLD
    for _ in range(SUBSETS):
        subset = [knobs[name] for name in _draw_names(knobs, earlier, chance)]
        nearby = chance.random() < situation.mix.nearby
        ranges = {knob.name: _nearby(knob) if nearby else knob.range for knob in subset}
        study = _study(ranges, earlier, chance.getrandbits(32))
        observed = len(study.get_trials(deepcopy=False))
        scored = sum(trial.user_attrs["scored"] for trial in study.get_trials(deepcopy=False))
        for _ in range(ASKS):  # one that is not taken stays open in the study, which moves TPE away from it
            asked = study.ask({name: _distribution(limits) for name, limits in ranges.items()}).params
            values = {knob.name: _on_grid(knob.range, asked[knob.name]) for knob in subset}
            values = {name: value for name, value in values.items() if not _same(knobs[name], value)}
            if not values or not _is_new(values, knobs, taken):
                continue
            hopeless = _has_lost(values, knobs, situation.lost)
            if bold or not (hopeless or _near_a_crash({**taken[-1], **values}, knobs, earlier)):
                return values, _hypothesis(nearby, observed, scored)
    return None


def _hypothesis(nearby: bool, observed: int, scored: int) -> str:
    if observed >= STARTUP:
        crashed = f" and {observed - scored} without a score" if observed > scored else ""
        return f"TPE over {scored} scored experiments{crashed} in this range expects the best odds here."
    where = "neighbour of the incumbent" if nearby else "value from the declared range"
    return f"Untried {where}, drawn at random: with {observed} tried in this range a model of it would say little."


def _draw_names(knobs: dict[str, Knob], earlier: list[_Program], chance: random.Random) -> list[str]:
    """One to three names without repetition; a knob that was changed n times has weight 1 / (1 + n)."""
    by_number = {program.number: program for program in earlier}
    tried: Counter[str] = Counter()
    for program in earlier:
        before = by_number.get(program.parent) if program.parent is not None else None
        if before is not None:
            tried.update(name for name in knobs if program.values.get(name) != before.values.get(name))
    count = min(chance.choice(CHANGES), len(knobs))
    names = list(knobs)
    return [names[index] for index in _weighted_order([1 / (1 + tried[name]) for name in names], chance)[:count]]


def _nearby(knob: Knob) -> Range:
    """The part of a knob's range around its value; the whole range where the value lies outside it."""
    limits, value = knob.range, knob.value
    if isinstance(limits, Choices):
        return limits
    if limits.log:
        low, high = value / FACTOR, value * FACTOR
    else:
        reach = SHARE * (limits.high - limits.low)
        reach = max(reach, 2 * limits.step) if isinstance(limits, IntRange) else reach
        low, high = value - reach, value + reach
    low, high = max(limits.low, low), min(limits.high, high)
    if isinstance(limits, FloatRange):
        return FloatRange(low, high, limits.log) if low < high else limits
    low, high = math.ceil(low), math.floor(high)
    return IntRange(low, high, limits.step, limits.log) if low < high else limits


def _study(ranges: dict[str, Range], earlier: list[_Program], seed: int) -> optuna.Study:
    """A study over these knobs with the experiments that lie inside all their ranges."""
    import optuna

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=seed))
    distributions = {name: _distribution(limits) for name, limits in ranges.items()}
    inside = [
        program
        for program in earlier
        if all(name in program.values and _contains(limits, program.values[name]) for name, limits in ranges.items())
    ]
    crashed = 1.0 + max((program.score for program in inside if program.score is not None), default=0.0)
    study.add_trials(
        optuna.trial.create_trial(
            params={name: program.values[name] for name in ranges},
            distributions=distributions,
            value=crashed if program.score is None else program.score,
            user_attrs={"scored": program.score is not None},
        )
        for program in inside
    )
    return study


def _distribution(limits: Range) -> optuna.distributions.BaseDistribution:
    """Optuna's form of a range. Steps are left out, for values off the grid are observations too; see `_on_grid`."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(limits, Choices):
        return CategoricalDistribution(limits.values)
    if isinstance(limits, IntRange):
        return IntDistribution(limits.low, limits.high, log=limits.log)
    return FloatDistribution(limits.low, limits.high, log=limits.log)


def _contains(limits: Range, value: Value) -> bool:
    if isinstance(limits, Choices):
        return any(value == choice and type(value) is type(choice) for choice in limits.values)
    wanted = int if isinstance(limits, IntRange) else float
    return type(value) is wanted and limits.low <= value <= limits.high


def _on_grid(limits: Range, value: Value) -> Value:
    """The value that is written: on the steps of the declared range, or with three significant digits inside it."""
    if isinstance(limits, IntRange):
        steps = min(round((value - limits.low) / limits.step), (limits.high - limits.low) // limits.step)
        return limits.low + steps * limits.step
    if isinstance(limits, FloatRange):
        return min(max(short_float(value), limits.low), limits.high)
    return value


def _same(knob: Knob, value: Value, other: Value | None = None) -> bool:
    """Whether `value` counts as the same as `other` (default: the knob's own value)."""
    other = knob.value if other is None else other
    limits = knob.range
    if not isinstance(limits, FloatRange) or type(other) is not float or value == other:
        return value == other
    return abs(_position(limits, value) - _position(limits, other)) < SAME


def _position(limits: IntRange | FloatRange, value: float) -> float:
    """Where in its range a number lies: 0 at the low end, 1 at the high end, beyond that outside."""
    if not limits.log:
        return (value - limits.low) / (limits.high - limits.low)
    if value <= 0:
        return -1.0  # a logarithm has no place for it; far outside will do
    return math.log(value / limits.low) / math.log(limits.high / limits.low)


def _has_lost(values: Values, knobs: dict[str, Knob], lost: Sequence[Values]) -> bool:
    """Whether these values hold all that some change had that lost by far."""
    return any(
        all(name in values and name in knobs and _same(knobs[name], values[name], old[name]) for name in old)
        for old in lost
    )


def _near_a_crash(wanted: Values, knobs: dict[str, Knob], earlier: list[_Program]) -> bool:
    """Whether the experiment most like these values had no score; a scored one wins a tie."""
    crash = min((_distance(wanted, old.values, knobs) for old in earlier if old.score is None), default=math.inf)
    return crash < min((_distance(wanted, old.values, knobs) for old in earlier if old.score is not None), default=0.0)


def _distance(values: Values, others: Values, knobs: dict[str, Knob]) -> float:
    """Sum over the knobs of how far apart two programs are: a share of the range, 1 for different choices."""
    distance = 0.0
    for name, knob in knobs.items():
        value, other = values[name], others.get(name)
        if value == other:
            continue
        numbers = not isinstance(knob.range, Choices) and type(other) in (int, float)
        distance += abs(_position(knob.range, value) - _position(knob.range, other)) if numbers else 1.0
    return distance


def _is_new(values: Values, knobs: dict[str, Knob], taken: Sequence[Values]) -> bool:
    """Whether the incumbent with these values differs from every program in `taken` in at least one knob.

    The last of `taken` is the incumbent; it has all knobs of the file, those without a range too.
    """
    wanted = {**taken[-1], **values}
    return not any(
        all(
            name in old and (_same(knobs[name], wanted[name], old[name]) if name in knobs else old[name] == value)
            for name, value in wanted.items()
        )
        for old in taken
    )


def _grid_ideas(situation: _Situation, chance: random.Random) -> Iterator[_Idea]:
    """The new changes of one, two or three knobs in an order drawn by chance.

    The first one comes soon: every program that was tried rules out few of these changes.
    """
    knobs = situation.knobs
    names = chance.sample(list(knobs), len(knobs))
    for count in (1, 2, 3):
        for subset in itertools.combinations(names, count):
            for combination in itertools.product(*(_grid(knobs[name]) for name in subset)):
                values = dict(zip(subset, combination, strict=True))
                if _is_new(values, knobs, situation.taken):
                    hypothesis = "Untried: taken from the grid of changes, because nothing else came up with a new one."
                    yield _knob_idea(situation, values, hypothesis)


def _grid(knob: Knob) -> Iterator[Value]:
    """The values of a knob's range other than its own, decimal ones 2 `SAME` apart, whole ones at most 1000."""
    limits = knob.range
    if isinstance(limits, Choices):
        grid: Sequence[Value] = limits.values
    elif isinstance(limits, IntRange):
        stride = limits.step * max(1, math.ceil((limits.high - limits.low) / limits.step / 1000))
        grid = range(limits.low, limits.high + 1, stride)
    else:
        parts = int(1 / (2 * SAME))
        grid = [_between(limits, index / parts) for index in range(parts + 1)]
    return (value for value in grid if not _same(knob, value))


def _between(limits: FloatRange, share: float) -> float:
    if limits.log:
        return _on_grid(limits, limits.low * (limits.high / limits.low) ** share)
    return _on_grid(limits, limits.low + share * (limits.high - limits.low))
