"""The search agent against random search: the same seeds, the same budget, the same rule for keeping.

    python -m benchmarks.search --budget 8 --experiments 20 --seeds 3 --dataset stories
    python -m benchmarks.search --synthetic --nights 100

Random search draws new values for one to three knobs of the incumbent, uniformly over their declared ranges, and never
the same program twice. Both keep what is lower after a single run, so that they see the same rule; how well verdicts
deal with noise is another question. The two nights of a seed take turns, experiment by experiment, so that a machine
that gets warmer or busier slows both.

A night is written to runs/benchmark-search/ after every experiment and goes on where it stopped. `--only` and `--seed`
run single nights, in processes of their own if wanted; a last call without them merges all into one JSON and a picture.
Synthetic nights train nothing: a made-up landscape over made-up knobs, with noise, to compare variants of the agent.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import math
import random
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mlx_autoresearch import machine
from mlx_autoresearch.agents.briefing import Briefing, HistoryEntry
from mlx_autoresearch.agents.refusal import refusal
from mlx_autoresearch.agents.search import SearchAgent
from mlx_autoresearch.agents.structure import StructuralEdit
from mlx_autoresearch.dataset import Dataset, open_dataset
from mlx_autoresearch.errors import AutoresearchError, run_command_line
from mlx_autoresearch.experiment import Laboratory
from mlx_autoresearch.files import read_json, write_json, write_text
from mlx_autoresearch.knobs import Choices, IntRange, Range, Value, read_knobs, short_float, write_knobs, written
from mlx_autoresearch.levels import Known
from mlx_autoresearch.noise import PRIOR_NOISE, pooled_noise, spread
from mlx_autoresearch.paths import PROJECT, runs_root
from mlx_autoresearch.program_texts import SharedText
from mlx_autoresearch.records import CRASH, DISCARD, KEEP, Measurement, Proposal
from mlx_autoresearch.verdict import RunAgain, decide

RESULTS = PROJECT / "benchmarks" / "results" / "search.json"

DRAWS = 1000
"""Tries of random search to find a program that is new."""

Propose = Callable[[Briefing], Proposal]


# Random search


class RandomSearch:
    """One to three knobs of the incumbent anew, uniformly over their ranges; the same seed draws the same."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def propose(self, briefing: Briefing) -> Proposal:
        """The next draw that is new.

        Raises:
            AutoresearchError: none of `DRAWS` draws was new.
        """
        chance = random.Random(f"random {self._seed} {len(briefing.history)}")
        knobs = {n: k for n, k in read_knobs(briefing.source, briefing.machine_class).items() if k.range is not None}
        for _ in range(DRAWS):
            names = chance.sample(list(knobs), min(chance.choice((1, 2, 3)), len(knobs)))
            values = {name: random_value(knobs[name].range, chance) for name in names}
            values = {name: value for name, value in values.items() if value != knobs[name].value}
            source = write_knobs(briefing.source, values, briefing.machine_class)
            if refusal(briefing, source) is None:
                words = ", ".join(f"{name} {written(knobs[name].value)} -> {written(values[name])}" for name in values)
                return Proposal(source, words, agent="random", parent=briefing.incumbent)
        raise AutoresearchError(f"Random search found nothing new in {DRAWS} draws; widen the knobs' ranges.")


def random_value(limits: Range, chance: random.Random) -> Value:
    """A value drawn uniformly from a range, on its logarithm where it says so."""
    if isinstance(limits, Choices):
        return chance.choice(limits.values)
    if isinstance(limits, IntRange) and not limits.log:
        return chance.randrange(limits.low, limits.high + 1, limits.step)
    if not limits.log:
        return short_float(chance.uniform(limits.low, limits.high))
    drawn = math.exp(chance.uniform(math.log(limits.low), math.log(limits.high)))
    return min(max(round(drawn), limits.low), limits.high) if isinstance(limits, IntRange) else short_float(drawn)


PROPOSERS: dict[str, Callable[[int], Propose]] = {
    "search": lambda seed: SearchAgent(seed).propose,
    "random": lambda seed: RandomSearch(seed).propose,
}
"""Who takes part, by name; the search agent and its yardstick."""


# Nights of real runs


@dataclass
class Night:
    """One night of one agent: its experiments so far, on disk and here.

    Attributes:
        name, seed: which agent, with which seed.
        folder: where its runs and its `night.json` are.
        facts: machine, budget and dataset; nights with other facts don't mix.
        history: the experiments; the baseline is number 0.
        failures: why an experiment has no score, by number.
    """

    name: str
    seed: int
    folder: Path
    facts: dict
    history: list[HistoryEntry] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, name: str, seed: int, root: Path, facts: dict) -> Night:
        """The night as far as it got.

        Raises:
            AutoresearchError: it was begun with another budget, dataset or machine.
        """
        folder = root / f"{name}-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "night.json").exists():
            return cls(name, seed, folder, facts)
        stored = read_json(folder / "night.json")
        if stored["facts"] != facts:
            raise AutoresearchError(f"{folder} was begun with {stored['facts']}, not {facts}; remove it to start anew.")
        return cls(name, seed, folder, facts, [read_entry(**e) for e in stored["history"]], stored["failures"])

    def save(self) -> None:
        """Write the night to its folder."""
        unwritten = ("measured", "text")
        history = [
            {"source": entry.source, **{k: v for k, v in asdict(entry).items() if k not in unwritten}}
            for entry in self.history
        ]
        write_json(self.folder / "night.json", {"facts": self.facts, "history": history, "failures": self.failures})

    @property
    def best(self) -> HistoryEntry:
        """The incumbent: the last experiment that was kept."""
        return next(entry for entry in reversed(self.history) if entry.status == KEEP)

    def curve(self) -> list[float]:
        """Lowest val_bpb after each experiment, the baseline first."""
        scores = [math.inf if entry.val_bpb is None else entry.val_bpb for entry in self.history]
        return list(itertools.accumulate(scores, min))


def read_entry(source: str, **story: Any) -> HistoryEntry:
    """An entry as `Night.save` wrote it."""
    return HistoryEntry(text=SharedText.of(source), **story)


def next_experiment(night: Night, propose: Propose, laboratory: Laboratory) -> None:
    """The baseline or the next proposal: run once, decided, saved.

    Raises:
        AutoresearchError: the baseline failed, or there is nothing left to propose.
    """
    if night.history:
        proposal = propose(briefing_of(night.history, night.best, PRIOR_NOISE.deviation, laboratory.budget_seconds))
    else:
        proposal = Proposal((PROJECT / "train_mlx.py").read_text(encoding="utf-8"), "baseline")
    number = len(night.history)
    folder = night.folder / f"{number:03d}"
    shutil.rmtree(folder, ignore_errors=True)  # left by a run that was cut short
    run_folder = folder / "run"
    run_folder.mkdir(parents=True)
    training_file = folder / "train_mlx.py"
    write_text(training_file, proposal.source)
    # The smoke run warms compiled kernels, or the first to use one would pay for it out of its budget.
    result = laboratory.smoke(training_file, folder / "smoke")
    if result is None:
        result = laboratory.run(training_file, run_folder, seed=1000 * night.seed + number)
    if result.failure is not None:
        night.failures[str(number)] = f"{result.failure}: {result.reason}"
    if not night.history and result.failure is not None:
        raise AutoresearchError(f"The baseline failed ({result.failure}): {result.reason} See {folder}.")
    night.history.append(decided(night.history, proposal, result.val_bpb))
    night.save()


def decided(history: Sequence[HistoryEntry], proposal: Proposal, val_bpb: float | None) -> HistoryEntry:
    """The next entry of a history by the rule "keep if lower"."""
    kept = [entry.val_bpb for entry in history if entry.status == KEEP]
    gain = kept[-1] - val_bpb if kept and val_bpb is not None else None
    better = val_bpb is not None and (gain is None or gain > 0)
    return HistoryEntry(
        number=len(history),
        parent=proposal.parent,
        text=SharedText.of(proposal.source),
        description=proposal.description,
        status=KEEP if better else CRASH if val_bpb is None else DISCARD,
        val_bpb=val_bpb,
        gain=gain,
        agent=proposal.agent,
    )


def briefing_of(history: list[HistoryEntry], best: HistoryEntry, noise: float, budget_seconds: float) -> Briefing:
    """What both agents are told."""
    return Briefing(
        program="",
        source=best.source,
        incumbent=best.number,
        incumbent_bpb=best.val_bpb,
        noise=noise,
        history=list(history),
        machine_class=machine.machine_class(),
        budget_seconds=budget_seconds,
    )


def run_nights(nights: list[Night], experiments: int, laboratory: Laboratory) -> None:
    """All nights, seed by seed, those of a seed in turns, until each has its baseline and `experiments` more."""
    started, done = time.monotonic(), 0
    total = sum(max(0, experiments + 1 - len(night.history)) for night in nights)
    for seed in dict.fromkeys(night.seed for night in nights):
        rivals = [night for night in nights if night.seed == seed]
        proposers = {night.name: PROPOSERS[night.name](seed) for night in rivals}
        for count in range(1, experiments + 2):
            for night in rivals:
                if len(night.history) >= count:
                    continue
                next_experiment(night, proposers[night.name], laboratory)
                done += 1
                entry = night.history[-1]
                score = night.failures.get(str(entry.number), "") if entry.val_bpb is None else f"{entry.val_bpb:.4f}"
                left = (time.monotonic() - started) / done * (total - done) / 60
                print(
                    f"{done}/{total}, {left:.0f} min left  {night.name} {seed}, {entry.number:2d}  {entry.status:<8}"
                    f"{score}  best {night.best.val_bpb:.4f}  {entry.description}",
                    flush=True,
                )


def summary(nights: list[Night], experiments: int) -> dict:
    """What is published of the nights: curves and statuses, no sources."""
    return {
        "rule": "keep if lower, one run for each experiment",
        "experiments": experiments,
        "nights": [
            {
                "agent": night.name,
                "seed": night.seed,
                "best_so_far": night.curve()[: experiments + 1],
                "val_bpb": [entry.val_bpb for entry in night.history[: experiments + 1]],
                "statuses": [entry.status for entry in night.history[: experiments + 1]],
                "descriptions": [entry.description for entry in night.history[: experiments + 1]],
                "failures": night.failures,
            }
            for night in nights
        ],
    }


def draw(results: dict, path: Path) -> None:
    """Best-so-far curves as a picture: every night thin, the mean of an agent's nights thick."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for name, colour in (("search", "tab:blue"), ("random", "tab:orange")):
        curves = [night["best_so_far"] for night in results["nights"] if night["agent"] == name]
        for curve in curves:
            axes.step(range(len(curve)), curve, where="post", color=colour, alpha=0.35, linewidth=1)
        if curves:
            mean = [statistics.mean(scores) for scores in zip(*curves, strict=False)]
            label = f"{name}, mean of {len(curves)} night{'s' if len(curves) > 1 else ''}"
            axes.step(range(len(mean)), mean, where="post", color=colour, linewidth=2.5, label=label)
    axes.set(
        xlabel="experiments",
        ylabel="lowest val_bpb so far",
        title=f"{results['dataset']}, {results['budget_seconds']:g} s of training an experiment",
    )
    axes.legend()
    figure.savefig(path, dpi=150)


# Synthetic nights

OFFSET = 0.15
"""Standard deviation of how far a knob of the made-up file is from its best, as a share of its range."""


@dataclass(frozen=True)
class Landscape:
    """A made-up loss: a bowl over knobs, some of which matter more, and an effect of each structural edit.

    Attributes:
        source: the program to start from.
        best: where each knob's bowl has its bottom, as a share of its range.
        weight: bits per byte from the bottom of a bowl to a distance of the whole range.
        catalogue: made-up edits.
        effects: what each edit adds to the loss, by name.
    """

    source: str
    best: dict[str, float]
    weight: dict[str, float]
    catalogue: tuple[StructuralEdit, ...]
    effects: dict[str, float]

    def loss(self, source: str) -> float:
        """True bits per byte of a program, without noise."""
        knobs = read_knobs(source, 0)
        bowls = sum(self.weight[name] * (knobs[name].value - self.best[name]) ** 2 for name in self.best)
        return 1.0 + bowls + sum(self.effects[edit.name] for edit in self.catalogue if edit.is_in(source))


def made_up_landscape(seed: int, knobs: int = 24, edits: int = 22) -> Landscape:
    """A landscape whose start is decent, as a hand-tuned file is, and whose edits mostly do harm."""
    chance = random.Random(f"landscape {seed}")
    names = [f"KNOB_{chr(65 + index)}" for index in range(knobs)]
    best = {name: chance.uniform(0.1, 0.9) for name in names}
    lines = [
        f"{name} = {short_float(min(max(best[name] + chance.gauss(0, OFFSET), 0.0), 1.0))}  # {{0.0..1.0}}"
        for name in names
    ]
    parts = [f"part_{index}" for index in range(edits)]
    code = f"\n\ndef build_model():\n    return [{', '.join(names)}]\n\n\n" + "".join(
        f"# {part}: plain\n" for part in parts
    )
    marked = "".join(f"{part} = 0  # plain\n" for part in parts)
    catalogue = tuple(
        StructuralEdit(part, f"change {part}", "made up", f"{part} = 1", ((f"{part} = 0  # plain", f"{part} = 1"),))
        for part in parts
    )
    return Landscape(
        source="\n".join(lines) + code + marked + f"run(hand_in([build_model(), {', '.join(parts)}]))\n",
        best=best,
        weight={name: math.exp(chance.gauss(math.log(0.1), 1.2)) for name in names},
        catalogue=catalogue,
        effects={part: chance.gauss(0.008, 0.012) for part in parts},
    )


def synthetic_night(
    propose: Propose, landscape: Landscape, experiments: int, seed: int, noise: float, verdicts: bool
) -> list[float]:
    """True loss of the incumbent after each experiment; "keep if lower", or the loop's own verdicts."""
    chance = random.Random(f"noise {seed}")

    def measure(entry_source: str) -> float:
        return landscape.loss(entry_source) + chance.gauss(0, noise)

    start = landscape.source
    history, runs = [HistoryEntry(0, None, SharedText.of(start), "baseline", KEEP, measure(start))], {0: []}
    runs[0] = [history[0].val_bpb, measure(start)] if verdicts else [history[0].val_bpb]
    best, losses = history[0], [landscape.loss(start)]
    for number in range(1, experiments + 1):
        proposal = propose(briefing_of(history, best, noise, 300.0))
        runs[number] = [measure(proposal.source)]
        if verdicts:
            entry = judged(number, proposal, best, runs, measure)
        else:
            entry = decided(history, proposal, runs[number][0])
        history.append(entry)
        best = entry if entry.status == KEEP else best
        losses.append(landscape.loss(best.source))
    return losses


def judged(
    number: int, proposal: Proposal, best: HistoryEntry, runs: dict[int, list[float]], measure: Callable[[str], float]
) -> HistoryEntry:
    """The entry by the loop's rule, with as many runs of both as it wants."""
    while True:
        measured = {key: [Measurement(score) for score in scores] for key, scores in runs.items()}
        noise = pooled_noise([spread(scores) for scores in measured.values()])
        answer = decide(measured[number], Known(measured[best.number]), noise, best.number)
        if not isinstance(answer, RunAgain):
            gain = answer.incumbent_bpb - answer.val_bpb
            return HistoryEntry(
                number,
                proposal.parent,
                SharedText.of(proposal.source),
                proposal.description,
                answer.status,
                answer.val_bpb,
                gain=gain,
            )
        again = proposal.source if answer.which == "candidate" else best.source
        runs[number if answer.which == "candidate" else best.number].append(measure(again))


def synthetic(arguments: argparse.Namespace) -> None:
    """Compare the search agent, random search and other versions of the search agent on made-up landscapes."""
    variants: dict[str, Callable[[int, Landscape], Propose]] = {
        "search": lambda seed, landscape: SearchAgent(seed, landscape.catalogue).propose,
        "knobs only": lambda seed, landscape: SearchAgent(seed, ()).propose,
        "random": lambda seed, landscape: RandomSearch(seed).propose,
    }
    for path in arguments.variant:
        agent = load_agent(path)
        variants[path.stem] = lambda seed, landscape, agent=agent: agent(seed).propose
    if arguments.only:
        variants = {name: variant for name, variant in variants.items() if name == arguments.only}
    marks = sorted({experiments for experiments in (10, 20, 40, 60, 80, 100) if experiments < arguments.experiments})
    marks.append(arguments.experiments)
    rule = "verdicts" if arguments.verdicts else "keep if lower"
    print(f"{arguments.nights} nights, {rule}, noise {arguments.noise}: true gain over the baseline after experiments")
    print(f"{'':<14}" + "".join(f"{mark:>16}" for mark in marks))
    for name, variant in variants.items():
        gains: list[list[float]] = []
        for seed in range(arguments.nights):
            landscape = made_up_landscape(seed)
            propose = variant(seed, landscape)
            losses = synthetic_night(
                propose, landscape, arguments.experiments, seed, arguments.noise, arguments.verdicts
            )
            gains.append([losses[0] - losses[mark] for mark in marks])
            print(f"\r{name} {seed + 1}/{arguments.nights}", end="", file=sys.stderr, flush=True)
        print("\r", end="", file=sys.stderr)
        cells = []
        for column in zip(*gains, strict=True):
            error = statistics.stdev(column) / math.sqrt(len(column)) if len(column) > 1 else 0.0
            cells.append(f"{statistics.mean(column):.4f} ± {error:.4f}")
        print(f"{name:<14}" + "".join(f"{cell:>16}" for cell in cells), flush=True)


def load_agent(path: Path) -> Callable[[int], SearchAgent]:
    """The class SearchAgent of another version of search.py.

    Raises:
        AutoresearchError: there is no such file.
    """
    if not path.is_file():
        raise AutoresearchError(f"{path} is not a file; --variant wants another version of search.py")
    spec = importlib.util.spec_from_file_location(f"variant_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # data classes look their module up
    spec.loader.exec_module(module)
    return module.SearchAgent


# Command line


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--budget", type=float, default=8.0, help="seconds of training an experiment (default: 8)")
    parser.add_argument("--experiments", type=int, default=20, help="experiments of a night (default: 20)")
    parser.add_argument("--seeds", type=int, default=3, help="nights of each agent (default: 3)")
    parser.add_argument("--dataset", help="prepared dataset (default: the one prepared last)")
    parser.add_argument("--only", help="only this agent: search or random")
    parser.add_argument("--seed", type=int, help="only the nights of this seed, from 0")
    parser.add_argument("--output", type=Path, default=RESULTS, help="JSON file; the picture lies beside it")
    made_up = parser.add_argument_group("synthetic nights")
    made_up.add_argument("--synthetic", action="store_true", help="no training: a made-up landscape")
    made_up.add_argument("--nights", type=int, default=50, help="nights of each agent (default: 50)")
    made_up.add_argument(
        "--noise", type=float, default=PRIOR_NOISE.deviation, help="bits per byte (default: %(default)g)"
    )
    made_up.add_argument("--verdicts", action="store_true", help="the loop's verdicts in place of keep if lower")
    made_up.add_argument("--variant", type=Path, action="append", default=[], help="another search.py to compare with")
    return parser


def main() -> None:
    """Command line: see the module's docstring."""
    arguments = build_parser().parse_args()
    if arguments.synthetic:
        synthetic(arguments)
        return
    if arguments.only not in (None, *PROPOSERS):
        raise AutoresearchError(f"--only {arguments.only}: choose search or random")
    dataset = open_dataset(arguments.dataset)
    facts = facts_of(dataset, arguments.budget)
    root = runs_root() / "benchmark-search" / f"{dataset.name}-{arguments.budget:g}s"
    names = [arguments.only] if arguments.only else list(PROPOSERS)
    seeds = range(arguments.seeds) if arguments.seed is None else [arguments.seed]
    nights = [Night.open(name, seed, root, facts) for seed in seeds for name in names]
    run_nights(nights, arguments.experiments, Laboratory(dataset.folder, arguments.budget))
    if arguments.only or arguments.seed is not None:
        print(f"Written to {root}; the same command without --only and --seed merges all nights.")
        return
    results = {**facts, **summary(nights, arguments.experiments)}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(arguments.output, results)
    print(f"Written to {arguments.output}")
    picture = arguments.output.with_suffix(".png")
    draw(results, picture)
    print(f"Drawn to {picture}")


def facts_of(dataset: Dataset, budget_seconds: float) -> dict:
    """What must be equal for scores to compare."""
    return {
        "machine": machine.identity(),
        "budget_seconds": budget_seconds,
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
    }


if __name__ == "__main__":
    run_command_line(main)
