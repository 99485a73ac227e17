"""Rules for keeping edits, compared over simulated nights of eight hours.

    python -m benchmarks.verdict            1,000 nights for each rule and machine: a quarter of an hour on two cores
    python -m benchmarks.verdict --quick    some seconds

All rules get the same hours, ideas and machines (nights.py says where those come from); ours calls the very functions
that the loop calls. Its thresholds were chosen on other nights than these. Reported for each, with standard errors over
nights: how much better the kept file truly is in the morning, the share of keeps that are truly no better, how much is
claimed beyond what is true, edits decided. Then ours and the plainest other in worlds that are not what ours believes:
other drift, more gains, fewer, none at all. The results are written as JSON, with a picture beside it.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

from benchmarks.nights import (
    NIGHT_SECONDS,
    RUN_SECONDS,
    STRATEGIES,
    WORLDS,
    Morning,
    World,
    other_worlds,
    sleep_through,
)
from mlx_autoresearch.errors import run_command_line
from mlx_autoresearch.files import write_json
from mlx_autoresearch.paths import PROJECT

RESULTS = PROJECT / "benchmarks" / "results" / "verdict.json"

OURS, ONCE = "ours", "lower once"

FIRST_SEED = 100_000
"""The nights that are reported begin here; the thresholds of verdict.py were chosen on seeds below."""

WORTH_PROCESSES = 50
"""So many nights are worth starting a process on every core."""


def summary(mornings: Sequence[Morning]) -> dict[str, float]:
    """Means over nights with their standard errors; shares are those of all keeps of all nights together."""
    keeps = sum(morning.keeps for morning in mornings)
    false = sum(morning.false_keeps for morning in mornings)
    share = false / keeps if keeps else 0.0
    simplified = sum(morning.simplified for morning in mornings)
    return {
        **_mean("improvement", [morning.improvement for morning in mornings]),
        **_mean("claimed_beyond_true", [morning.claimed - morning.improvement for morning in mornings]),
        "keeps": keeps / len(mornings),
        "false_keep_share": share,
        "false_keep_share_error": math.sqrt(share * (1 - share) / keeps) if keeps else 0.0,
        "experiments": statistics.mean(morning.experiments for morning in mornings),
        "simplified": simplified / len(mornings),
        "true_loss_per_simplified": sum(m.simplified_loss for m in mornings) / simplified if simplified else 0.0,
    }


def _mean(name: str, values: Sequence[float]) -> dict[str, float]:
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return {name: statistics.mean(values), f"{name}_error": error}


def against(mornings: Sequence[Morning], others: Sequence[Morning]) -> dict[str, float]:
    """Mean difference in true improvement, night by night: the same ideas, the same luck."""
    differences = [ours.improvement - other.improvement for ours, other in zip(mornings, others, strict=True)]
    return _mean("difference", differences)


def compare_rules(world: World, nights: int) -> dict:
    """All strategies in one world."""
    mornings = {name: mornings_of(world, name, nights) for name in STRATEGIES}
    rules = {name: summary(entries) | _path(entries) for name, entries in mornings.items()}
    return {
        "world": asdict(world),
        "rules": rules,
        "ours_minus": {name: against(mornings[OURS], entries) for name, entries in mornings.items() if name != OURS},
    }


def _path(mornings: Sequence[Morning]) -> dict[str, list[float]]:
    return {"path": [round(statistics.mean(step), 6) for step in zip(*(m.path for m in mornings), strict=True)]}


def elsewhere(world: World, nights: int) -> dict:
    """Ours, and the rule of others, in worlds that are not what ours believes."""
    return {
        name: {rule: summary(mornings_of(other, rule, nights)) for rule in (OURS, ONCE)}
        for name, other in other_worlds(world).items()
    }


def mornings_of(world: World, rule: str, nights: int) -> list[Morning]:
    """The mornings after so many nights of a rule, on all cores."""
    seeds = range(FIRST_SEED, FIRST_SEED + nights)
    if nights < WORTH_PROCESSES:
        return [_morning(world, rule, seed) for seed in seeds]
    with ProcessPoolExecutor() as pool:
        return list(pool.map(partial(_morning, world, rule), seeds, chunksize=25))


def _morning(world: World, rule: str, seed: int) -> Morning:
    return sleep_through(world, STRATEGIES[rule], seed)


def table(results: dict) -> str:
    """The results as text."""
    lines = []
    for entry in results["noises"]:
        lines += [
            "",
            f"Noise {entry['world']['noise']:g}: bits per byte, ± standard error over {results['nights']} nights",
        ]
        lines.append(
            f"{'':<24}{'true improvement':>18}{'false keeps':>16}{'claimed - true':>20}{'keeps':>7}{'edits':>7}"
        )
        lines += [_row(name, rule) for name, rule in entry["rules"].items()]
        for name, worlds in entry["elsewhere"].items():
            lines += [_row(f"{rule}: {name}", worlds[rule]) for rule in (OURS, ONCE)]
    return "\n".join(lines[1:])


def _row(name: str, rule: dict[str, float]) -> str:
    return (
        f"{name:<24.48}{rule['improvement']:>10.4f} ± {rule['improvement_error']:.4f}"
        f"{100 * rule['false_keep_share']:>8.1f} ± {100 * rule['false_keep_share_error']:.1f} %"
        f"{rule['claimed_beyond_true']:>+11.4f} ± {rule['claimed_beyond_true_error']:.4f}"
        f"{rule['keeps']:>7.2f}{rule['experiments']:>7.1f}"
    )


def draw(results: dict, path: Path) -> None:
    """Panels: true improvement over the night for each noise, false keeps, claims beyond the truth, edits decided."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7.5), layout="constrained")
    axes = figure.subplots(2, 3)
    names = [name for name in STRATEGIES if name != "ours, first night"]
    for axis, entry in zip(axes[0], results["noises"], strict=True):
        for name in names:
            steps = entry["rules"][name]["path"]
            hours = [RUN_SECONDS / 3600 * (step + 1) for step in range(len(steps))]
            axis.plot(hours, steps, label=name, linewidth=2.4 if name == OURS else 1.2)
        axis.set_title(f"noise {entry['world']['noise']:g}")
        axis.set_xlabel("hours")
        axis.set_ylabel("true improvement, bits per byte")
    axes[0][0].legend(frameon=False)
    bars = (
        ("false_keep_share", "keeps that are no better, share"),
        ("claimed_beyond_true", "claimed beyond the truth, bits per byte"),
        ("experiments", "edits decided in a night"),
    )
    for axis, (key, title) in zip(axes[1], bars, strict=True):
        for index, name in enumerate(names):
            places = [noise + 0.13 * (index - len(names) / 2) for noise in range(len(results["noises"]))]
            axis.bar(places, [entry["rules"][name][key] for entry in results["noises"]], width=0.12)
        axis.set_xticks(range(len(results["noises"])), [f"{e['world']['noise']:g}" for e in results["noises"]])
        axis.set_xlabel("noise")
        axis.set_ylabel(title)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.verdict",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--nights", type=int, default=1000, help="for each rule and noise (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="20 nights, for a look")
    parser.add_argument("--output", type=Path, default=RESULTS, help="JSON file; the picture lies beside it")
    return parser


def main() -> None:
    """Command line: see the module's docstring."""
    arguments = build_parser().parse_args()
    nights = 20 if arguments.quick else arguments.nights
    results = {
        "nights": nights,
        "night_seconds": NIGHT_SECONDS,
        "run_seconds": RUN_SECONDS,
        "noises": [
            compare_rules(world, nights) | {"elsewhere": elsewhere(world, max(2, nights // 4))} for world in WORLDS
        ],
    }
    print(table(results))
    if arguments.quick and arguments.output == RESULTS:
        print("Not written: a quick look is no result. --output FILE writes it.")
        return
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(arguments.output, results)
    draw(results, arguments.output.with_suffix(".png"))
    print(f"Written to {arguments.output}, drawn beside it.")


if __name__ == "__main__":
    run_command_line(main)
