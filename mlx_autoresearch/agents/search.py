"""The agent without a language model: a search over the declared ranges of the knobs of train_mlx.py.

A night has room for some dozens of experiments and the file for some dozens of knobs, so this is a local search: each
proposal changes one knob of the incumbent, sometimes two or three, preferably knobs that were tried less often, and
mostly to a value nearby. Which value is decided by Optuna's tree-structured Parzen estimator (TPE).

Notable:
- Nothing is kept on disk. The study is rebuilt from the history at every call and holds only the knobs to be changed,
  which is the same as fixing all others at the incumbent's values. An interrupted night goes on as if it had not been.
- Experiments outside the range at hand say nothing about it and are left out.
- TPE leaves failed trials out and would go on proposing what crashes, so a crash counts as worse than the worst score.
  TPE goes by ranks, though, and most experiments are a little worse than the best: what is nearer to a crash than to
  anything that was scored is therefore passed over, except by a few bold proposals, because a crash can be a fluke.
- Decimal numbers closer than `SAME` to each other are one value: noise hides smaller differences.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlx_autoresearch.agents.briefing import Briefing, HistoryEntry
from mlx_autoresearch.errors import AutoresearchError
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
from mlx_autoresearch.records import Proposal

if TYPE_CHECKING:
    import optuna

CHANGES = (1, 1, 1, 1, 1, 1, 2, 2, 2, 3)
"""How many knobs a proposal changes, each entry equally likely."""

NEARBY = 0.7
"""Share of the proposals that stay near the incumbent's values; the others use the whole declared ranges."""

FACTOR = 2.0
"""Nearby in a logarithmic range: up to this factor away."""

SHARE = 0.2
"""Nearby in a linear range: up to this share of the range away, and at least two steps of a whole number."""

SAME = 0.03
"""Decimal numbers closer than this share of their range's length (its logarithm if `log`) count as the same value."""

BOLD = 0.1
"""Share of the proposals that may go where programs crashed."""

STARTUP = 4
"""Experiments that TPE needs in the range at hand; before that the value is drawn at random."""

SUBSETS, ASKS = 8, 4
"""Sets of knobs tried for a proposal, and values asked for in each, before the grid is gone through in order."""

Values = dict[str, Value]


@dataclass(frozen=True)
class _Program:
    """One experiment as the search sees it: its knobs, the rest of its text, its parent's number and its score."""

    number: int
    parent: int | None
    values: Values
    code: bytes
    score: float | None


class SearchAgent:
    """Proposes changes of few knobs of the incumbent; the same seed and history give the same proposal."""

    name = "search"

    def __init__(self, seed: int = 0) -> None:
        """`seed` decides all random choices, together with the length of the history."""
        self._seed = seed
        self._read: dict[tuple[str, int], tuple[Values, bytes] | None] = {}

    def propose(self, briefing: Briefing) -> Proposal:
        """The incumbent's file with one to three knobs changed, unlike every program in the history.

        Raises:
            AutoresearchError: the incumbent is not valid Python, declares no range, or everything was tried.
        """
        knobs = read_knobs(briefing.source, briefing.machine_class)
        searched = {name: knob for name, knob in knobs.items() if knob.range is not None}
        if not searched:
            raise AutoresearchError(
                "No knob of train_mlx.py declares a range; end a knob's comment with one, such as {0.005..0.2 log}"
            )
        earlier = self._programs(briefing)
        code = without_values(briefing.source, knobs)
        taken = [program.values for program in earlier if program.code == code]
        taken.append({name: knob.value for name, knob in knobs.items()})

        chance = random.Random(f"{self._seed} {len(briefing.history)}")
        change = _search(searched, earlier, taken, chance) or _next_on_grid(searched, taken, chance)
        if change is None:
            raise AutoresearchError(
                "Every change of up to three knobs of this train_mlx.py within their ranges was tried; "
                "widen a range, or edit the program"
            )
        values, hypothesis = change
        return Proposal(
            source=write_knobs(briefing.source, values, briefing.machine_class),
            description=", ".join(f"{name} {written(knobs[name].value)} -> {written(values[name])}" for name in values),
            hypothesis=hypothesis,
            agent=self.name,
            parent=briefing.incumbent,
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
        """The experiment with its knobs; None when its text can't be read. Texts are read once."""
        key = (entry.source, machine_class)
        if key not in self._read:
            try:
                knobs = read_knobs(entry.source, machine_class)
                values = {name: knob.value for name, knob in knobs.items()}
                self._read[key] = values, without_values(entry.source, knobs)
            except AutoresearchError:  # an agent's program that is not Python: it crashed and teaches nothing here
                self._read[key] = None
        read = self._read[key]
        score = entry.val_bpb if entry.val_bpb is None or math.isfinite(entry.val_bpb) else None
        return None if read is None else _Program(entry.number, entry.parent, *read, score)


def _search(
    knobs: dict[str, Knob], earlier: list[_Program], taken: list[Values], chance: random.Random
) -> tuple[Values, str] | None:
    """New values for a few knobs, as TPE suggests them, and why; None when it only comes up with old programs."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    bold = chance.random() < BOLD
    try:
        for _ in range(SUBSETS):
            subset = [knobs[name] for name in _draw_names(knobs, earlier, chance)]
            nearby = chance.random() < NEARBY
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
                if bold or not _near_a_crash({**taken[-1], **values}, knobs, earlier):
                    return values, _hypothesis(nearby, observed, scored)
    finally:
        optuna.logging.set_verbosity(verbosity)
    return None


def _hypothesis(nearby: bool, observed: int, scored: int) -> str:
    if observed >= STARTUP:
        crashed = f" and {observed - scored} without a score" if observed > scored else ""
        return f"TPE over {scored} scored experiments{crashed} in this range expects the best odds here."
    where = "neighbour of the incumbent" if nearby else "value from the declared range"
    return f"Untried {where}, drawn at random: {observed} experiments in this range are too few for TPE."


def _draw_names(knobs: dict[str, Knob], earlier: list[_Program], chance: random.Random) -> list[str]:
    """One to three names without repetition; a knob that was changed n times has weight 1 / (1 + n)."""
    by_number = {program.number: program for program in earlier}
    tried: Counter[str] = Counter()
    for program in earlier:
        before = by_number.get(program.parent) if program.parent is not None else None
        if before is not None:
            tried.update(name for name in knobs if program.values.get(name) != before.values.get(name))
    count = min(chance.choice(CHANGES), len(knobs))
    # Smallest of exponential arrival times: weighted sampling without replacement (Efraimidis and Spirakis, 2006).
    arrival = {name: chance.expovariate(1 / (1 + tried[name])) for name in knobs}
    return sorted(knobs, key=lambda name: arrival[name])[:count]


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


def _next_on_grid(knobs: dict[str, Knob], taken: list[Values], chance: random.Random) -> tuple[Values, str] | None:
    """The first new change of one, two or three knobs in an order drawn by chance; None when there is none left.

    It ends soon: every program that was tried rules out few of these changes.
    """
    names = chance.sample(list(knobs), len(knobs))
    for count in (1, 2, 3):
        for subset in itertools.combinations(names, count):
            for combination in itertools.product(*(_grid(knobs[name]) for name in subset)):
                values = dict(zip(subset, combination, strict=True))
                if _is_new(values, knobs, taken):
                    return values, "Untried: taken from the grid of changes, because TPE only repeated earlier ones."
    return None


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
