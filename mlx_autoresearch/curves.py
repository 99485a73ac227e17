"""The learning curves of a night's experiments: where a gain came from, and whether a run has a chance left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlx_autoresearch.curve import CURVE_FILE, read_points
from mlx_autoresearch.early_kill import LEAST_RUNS, Finished, Watch, lags
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.history import Experiment, Night
from mlx_autoresearch.knobs import read_knobs
from mlx_autoresearch.learning import LearningCurve, Sources, learning_curve, where_from
from mlx_autoresearch.records import Verdict

VOCABULARY_KNOB = "VOCAB_SIZE"


@dataclass(frozen=True)
class Curves:
    """Reads the curves of one night.

    Attributes:
        night: whose they are.
        bytes_per_token: of the training text, by vocabulary size.
        machine_class: column of the knobs.
        budget: seconds of training.
    """

    night: Night
    bytes_per_token: Mapping[int, float]
    machine_class: int
    budget: float

    def of(self, experiment: Experiment) -> list[LearningCurve]:
        """The curves of its scored runs, as far as they can be read."""
        return [curve for index in sorted(experiment.results) if (curve := self._of_run(experiment, index)) is not None]

    def sources(self, decided: Verdict, experiment: Experiment, incumbent: Experiment) -> Sources | None:
        """Where the measured gain of a verdict came from, None where it can't be told."""
        if decided.incumbent_bpb is None or decided.val_bpb is None:
            return None
        return where_from(decided.incumbent_bpb - decided.val_bpb, self.of(experiment), self.of(incumbent))

    def watch(self, experiment: Experiment, incumbent: Experiment, curve_file: Path) -> Watch | None:
        """What watches the first run of an experiment; None while too little is known of this night's runs."""
        rate = self.bytes_per_token.get(vocabulary(experiment.source, self.machine_class))
        finished, there = self.finished(), self.of(incumbent)
        if rate is None or not there or len(finished) < LEAST_RUNS:
            return None
        return Watch(curve_file, rate, self.budget, there, finished)

    def finished(self) -> list[Finished]:
        """The first scored run of every decided edit, against the incumbent of its time."""
        by_number = {experiment.number: experiment for experiment in self.night.experiments}
        runs = [
            self._finished(experiment, by_number.get(experiment.verdict.incumbent))
            for experiment in by_number.values()
            if experiment.verdict is not None
        ]
        return [run for run in runs if run is not None]

    def _finished(self, experiment: Experiment, incumbent: Experiment | None) -> Finished | None:
        decided = experiment.verdict
        if incumbent is None or decided is None or decided.incumbent_bpb is None or not experiment.scores:
            return None
        index = next(i for i in sorted(experiment.results) if experiment.results[i].val_bpb is not None)
        curve = self._of_run(experiment, index)
        if curve is None:
            return None
        gain = decided.incumbent_bpb - experiment.results[index].val_bpb
        return Finished(lags(self.budget, curve, self.of(incumbent)), gain)

    def _of_run(self, experiment: Experiment, index: int) -> LearningCurve | None:
        result = experiment.results[index]
        rate = self.bytes_per_token.get(result.vocab_size)
        if rate is None or result.failure is not None:
            return None
        return learning_curve(read_points(experiment.run_folder(index) / CURVE_FILE), rate)


def vocabulary(source: str, machine_class: int) -> int | None:
    """The vocabulary that a training file says it uses; None where it doesn't say so in the usual way."""
    try:
        knob = read_knobs(source, machine_class).get(VOCABULARY_KNOB)
    except AutoresearchError:
        return None
    return knob.value if knob is not None and isinstance(knob.value, int) else None
