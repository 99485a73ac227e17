"""The best file of a night, trained longer: does what won in 300 seconds win in an hour?

    python -m mlx_autoresearch.longer --tag nov24 --budget 3600 --compare

Training, scoring and sandbox are the night's own. What is finished is kept and not done again; a run that was cut short
goes on from its last checkpoint, where its file keeps them (see checkpoints.py).

    runs/<tag>/longer/3600s/      identity.json  experiments/  as in a night: a file each, a folder for each run
        summary.md                what came of it, written anew after every run
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlx_autoresearch import machine, noise
from mlx_autoresearch.argument_types import positive
from mlx_autoresearch.chosen_model import LONGER
from mlx_autoresearch.conditions import SLEPT_SECONDS
from mlx_autoresearch.conditions_meter import ConditionsMeter
from mlx_autoresearch.dataset import Dataset, open_same
from mlx_autoresearch.errors import AutoresearchError, file_trouble, run_command_line
from mlx_autoresearch.experiment import Laboratory, clear_progress, print_progress
from mlx_autoresearch.files import write_text
from mlx_autoresearch.fixed_files import FixedFiles
from mlx_autoresearch.history import Experiment, Night
from mlx_autoresearch.levels import Known, follow
from mlx_autoresearch.night_lock import NightLock
from mlx_autoresearch.paths import runs_root
from mlx_autoresearch.records import Proposal
from mlx_autoresearch.report.terminal import Terminal
from mlx_autoresearch.resuming import seconds_trained
from mlx_autoresearch.sandbox import NO_SANDBOX
from mlx_autoresearch.sandbox.choice import choose
from mlx_autoresearch.settings import CONTRACT_VERSION
from mlx_autoresearch.text import one_line
from mlx_autoresearch.trust import choose_sandbox

SUMMARY_FILE, LOG_FILE = "summary.md", "longer.log"

DESCRIPTION = """\
Train the best file of a night longer, in the same sandbox and with the same scoring. Schedules hang on the
clock, so they stretch to the new budget. With --compare the unchanged file is trained as long, and a
sentence says whether what was gained in the night's budget is still there."""

EXAMPLES = """\
examples:
  python -m mlx_autoresearch.longer --tag nov24 --budget 3600              the best file, one hour
  python -m mlx_autoresearch.longer --tag nov24 --budget 3600 --compare    and the baseline, another hour
  python -m mlx_autoresearch.sample --tag nov24 --model longer "Lily saw"  what came of it
  python -m mlx_autoresearch.export --tag nov24 --model longer --to stories

Ctrl-C stops; the same command goes on from the last checkpoint, a minute old at most. Run nothing heavy
beside it."""

CHECKPOINT_SECONDS = 60.0
"""A checkpoint takes a tenth of a second, and what is lost is at most what lies between two."""


@dataclass(frozen=True)
class LongerTraining:
    """Files of a night, trained with another budget.

    Attributes:
        night: the night that they come from.
        record: what was trained longer so far, kept like a night.
        laboratory: where it runs.
        fixed_files: what must not change meanwhile.
        terminal: shows it.
    """

    night: Night
    record: Night
    laboratory: Laboratory
    fixed_files: FixedFiles
    terminal: Terminal

    def train(self, originals: Sequence[Experiment], runs: int) -> None:
        """Run the files in turn until each has `runs` scores; the summary is written after every run.

        Raises:
            AutoresearchError: a run fails.
        """
        for count in range(1, runs + 1):
            for original in originals:
                longer = trained_longer(self.record, original) or self._add(original)
                while len(longer.scores) < count:
                    self._run(longer)
                self.write_summary()

    def _add(self, original: Experiment) -> Experiment:
        description = f"experiment {original.number} of night {self.night.root.name}: {original.proposal.description}"
        return self.record.add(Proposal(original.source, description, agent=original.proposal.agent))

    def _run(self, longer: Experiment) -> None:
        """One run, after a smoke run where it is the first.

        Raises:
            AutoresearchError: it fails.
        """
        training_file, number = longer.folder / "train_mlx.py", len(longer.runs) + 1
        title = f"run {number}, {self.laboratory.budget_seconds:g} s, of {longer.proposal.description}"
        if not longer.runs:
            with self.fixed_files.unchanged():
                failure = self.laboratory.smoke(training_file, longer.folder / "smoke")
            clear_progress()
            if failure is not None:
                raise AutoresearchError(
                    f"The smoke run failed ({failure.failure}): {failure.reason} See {longer.folder / 'smoke'}."
                )
        folder, started = longer.next_run_folder(), round(time.time(), 1)
        seconds = seconds_trained(folder)
        if seconds == 0:
            folder = longer.new_run_folder()
        self.terminal.say(f"Training: {title}{f', from {seconds:.0f} s on' if seconds else ''}.")
        with self.fixed_files.unchanged(), ConditionsMeter(None) as meter:
            result = self.laboratory.run(
                training_file,
                folder,
                seed=number,
                splits=("val", "test"),
                checkpoint_seconds=CHECKPOINT_SECONDS,
            )
        clear_progress()
        slept = meter.conditions.slept_seconds
        if slept > SLEPT_SECONDS:
            self.terminal.say(f"The machine slept for {slept:.0f} s, so this run doesn't count and is repeated.")
            return
        longer.record_result(folder, replace(result, started=started))
        if result.failure is not None:
            raise AutoresearchError(
                f"The run failed ({result.failure}): {result.reason} See {folder}. What was finished is kept; the same "
                "command tries this one again."
            )
        self.terminal.say(f"val_bpb {result.val_bpb:.4f}, test_bpb {result.test_bpb:.4f}, {result.steps or '?'} steps.")

    def write_summary(self) -> None:
        """Write summary.md anew."""
        lines = summary(self.night, self.record)
        write_text(self.record.root / SUMMARY_FILE, "\n".join(lines) + "\n")


def trained_longer(record: Night, original: Experiment) -> Experiment | None:
    """The experiment of `record` with the file of `original`; None where there is none yet."""
    return next((longer for longer in record.experiments if longer.source == original.source), None)


def summary(night: Night, record: Night) -> list[str]:
    """What came of it, as lines of Markdown."""
    short, long = (f"{each.identity.budget_seconds:g} s" for each in (night, record))
    lines = [
        f"# Night {night.root.name}, trained longer",
        "",
        one_line(outcome(night, record)),
        "",
        f"| file | val_bpb after {short} | test_bpb | val_bpb after {long} | test_bpb | runs, steps |",
        "|---|---|---|---|---|---|",
    ]
    for original in files_of(night):
        longer = trained_longer(record, original)
        if longer is None or not longer.scores:
            continue
        steps = ", ".join(f"{run.steps:,}" for run in longer.runs if run.failure is None and run.steps is not None)
        numbers = [original.mean_bpb, original.test_bpb, longer.mean_bpb, longer.test_bpb]
        cells = ["unknown" if number is None else f"{number:.4f}" for number in numbers]
        resumed = sum(run.resumed_seconds is not None for run in longer.runs if run.failure is None)
        steps += f" ({resumed} resumed)" if resumed else ""
        name = one_line(f"{original.number}: {original.proposal.description}").replace("|", "\\|")
        lines.append(f"| {name} | {' | '.join(cells)} | {len(longer.scores)}: {steps} |")
    lines += ["", f"{record.identity.machine}; dataset {record.identity.dataset}. Lower is better."]
    if night.identity.machine != record.identity.machine:
        lines.append(f"The night ran on another machine ({night.identity.machine}): compare the columns with care.")
    return lines


def baseline_of(night: Night) -> Experiment:
    """The night's unchanged file.

    Raises:
        AutoresearchError: it is damaged, so that nothing can be compared with it.
    """
    if not night.experiments or night.experiments[0].number != 0:
        raise AutoresearchError(f"Night {night.root.name} has lost its baseline ({night.skipped.get(0, 'not there')}).")
    return night.experiments[0]


def files_of(night: Night) -> list[Experiment]:
    """The baseline and what was kept after it."""
    return [experiment for experiment in night.experiments if experiment.kept]


def outcome(night: Night, record: Night) -> str:
    """Whether the night's gain holds at the longer budget, in a sentence."""
    short, long = (f"{each.identity.budget_seconds:g} s" for each in (night, record))
    best = night.incumbent()
    baseline_long, best_long = trained_longer(record, baseline_of(night)), trained_longer(record, best)
    if best_long is None or not best_long.scores:
        return f"The best file (experiment {best.number}) was not trained for {long} yet."
    scores = f"After {long} the best file (experiment {best.number}) scores {_scores(best_long)}, after {short} it had "
    scores += f"{_scores(best)}."
    if best.number == 0:
        return f"{scores} It is the unchanged file: nothing was kept, so there is no gain to look for."
    if baseline_long is None or not baseline_long.scores:
        return f"{scores} Whether the night's gain holds, only the baseline trained as long can tell: --compare."
    run_noise = _noise(night, record)
    # Not the verdict's comparison: that believes beforehand what is true of any edit, and this one was proven once.
    pair = follow(Known(baseline_long.measurements), best_long.measurements, run_noise)
    margin = run_noise.margin(pair.error)
    on_test = ""
    if best_long.test_bpb is not None and baseline_long.test_bpb is not None:
        on_test = f" and {baseline_long.test_bpb - best_long.test_bpb:+.4f} on test text"
    numbers = (
        f"After {long} the best file (experiment {best.number}) scores {_scores(best_long)}, the baseline "
        f"{_scores(baseline_long)}: a gain of {pair.measured:+.4f} ± {margin:.4f} on validation text{on_test}, "
        f"where the night {_gain_then(night)} after {short} ({len(best_long.scores)} against "
        f"{len(baseline_long.scores)} runs)."
    )
    if pair.measured > margin:
        return f"The gain holds. {numbers}"
    if pair.measured < -margin:
        return f"The gain does not hold. {numbers}"
    return f"Whether the gain holds can't be told: what is left is within the noise. {numbers} More --runs would tell."


def _scores(experiment: Experiment) -> str:
    test = "" if experiment.test_bpb is None else f", test_bpb {experiment.test_bpb:.4f}"
    return f"val_bpb {experiment.mean_bpb:.4f}{test}"


def _gain_then(night: Night) -> str:
    """The gain of the incumbent over the baseline in the night: what its verdicts claim, else what was measured."""
    if night.claim is not None:
        return f"claims {night.claim.gain:+.4f}"
    return f"measured {baseline_of(night).mean_bpb - night.incumbent().mean_bpb:+.4f}"


def _noise(night: Night, record: Night) -> noise.Noise:
    """The noise of a run, from the night's runs and the longer ones."""
    return noise.pooled_noise([noise.spread(each.measurements) for each in (*night.experiments, *record.experiments)])


def open_dataset_of(night: Night) -> Dataset:
    """The dataset of a night, for scores that compare.

    Raises:
        AutoresearchError: it is not prepared, it has changed, or scores meant something else then.
    """
    dataset = open_same(night.identity.dataset, night.identity.dataset_fingerprint)
    if night.identity.harness != CONTRACT_VERSION:
        raise AutoresearchError(
            f"Night {night.root.name} was scored by version {night.identity.harness} of the contract, this is version "
            f"{CONTRACT_VERSION}: scores don't compare. Take the code of that time, or spend a new night."
        )
    return dataset


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m mlx_autoresearch.longer",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tag", required=True, help="name of the night")
    parser.add_argument(
        "--budget", type=positive(float), required=True, metavar="SECONDS", help="training time of a run"
    )
    parser.add_argument(
        "--compare", action="store_true", help="train the baseline as long, to see whether the gain holds"
    )
    parser.add_argument("--runs", type=positive(int), default=1, metavar="N", help="runs of each file (default: 1)")
    parser.add_argument(
        "--no-sandbox", action="store_true", help="run the file with your own rights: it could read and send your files"
    )
    return parser


def spend_the_time(arguments: argparse.Namespace, night: Night, terminal: Terminal) -> None:
    """Train what was asked for, and say what came of it.

    Raises:
        AutoresearchError: nothing can be trained, or a run fails.
        OSError: a file can't be written or read.
    """
    best = night.incumbent()
    if best is None:
        raise AutoresearchError(
            f"Night {night.root.name} has no best file yet: its baseline is not measured to the end. Let "
            f"`python -m mlx_autoresearch.loop --tag {night.root.name}` go on."
        )
    dataset = open_dataset_of(night)
    fixed_files = FixedFiles.of(dataset)
    if arguments.no_sandbox:
        sandbox = NO_SANDBOX
        terminal.say("Note: --no-sandbox: the file runs with your own rights, and every run's record says so.")
    else:
        sandbox = choose_sandbox(choose(), "search", night, terminal.say)
    for warning in machine.warnings_for_the_night():
        terminal.say(f"Note: {warning}")
    identity = replace(night.identity, budget_seconds=arguments.budget, machine=machine.identity())
    record = Night.open(night.root / LONGER / f"{arguments.budget:g}s", identity)
    terminal.log_to(record.root / LOG_FILE)
    laboratory = Laboratory(Path(dataset.folder), arguments.budget, print_progress, sandbox)
    training = LongerTraining(night, record, laboratory, fixed_files, terminal)
    originals = [best]
    if arguments.compare and best.number != 0:
        originals.append(baseline_of(night))
    try:
        training.train(originals, arguments.runs)
    except KeyboardInterrupt:
        terminal.say("Stopped. What was finished is kept; the same command goes on from the last checkpoint.")
        raise
    training.write_summary()
    terminal.say(outcome(night, record))
    terminal.say(f"Summary: {record.root / SUMMARY_FILE}")
    terminal.say(f"Let it write: python -m mlx_autoresearch.sample --tag {night.root.name} --model longer")


def main() -> None:
    """Command line: see `build_parser`."""
    arguments = build_parser().parse_args()
    night, terminal = Night.read(runs_root() / arguments.tag), Terminal(plain=True)
    try:
        with NightLock(night.root), machine.keep_awake():
            spend_the_time(arguments, night, terminal)
    except OSError as error:
        raise file_trouble(error, "The training had to stop; what was finished is kept") from None


if __name__ == "__main__":
    run_command_line(main)
