"""A night of two experiments that were really trained and scored: a table of bigrams, then a small GPT."""

from __future__ import annotations

from pathlib import Path

from small_project import small_source

from mlx_autoresearch import machine
from mlx_autoresearch.dataset import Dataset
from mlx_autoresearch.experiment import Laboratory
from mlx_autoresearch.history import Experiment, Night, RunIdentity
from mlx_autoresearch.records import KEEP, Proposal, Verdict
from mlx_autoresearch.settings import CONTEXT, CONTRACT_VERSION

TINY_TRAIN = Path(__file__).with_name("tiny_train.py")
BUDGET_SECONDS = 3.0


def identity_of(dataset: Dataset, budget_seconds: float = BUDGET_SECONDS) -> RunIdentity:
    """What the loop would say of a night on this machine."""
    return RunIdentity(dataset.name, dataset.fingerprint, budget_seconds, machine.identity(), CONTRACT_VERSION, CONTEXT)


def make_trained_night(root: Path, dataset: Dataset) -> Night:
    """Write it to `root`, as the loop would: the baseline, one keep, best/."""
    night = Night.open(root, identity_of(dataset))
    laboratory = Laboratory(Path(dataset.folder), BUDGET_SECONDS)
    baseline = night.add(
        Proposal(TINY_TRAIN.read_text(encoding="utf-8"), "baseline: the file as it is", agent="person")
    )
    _train(baseline, laboratory)
    kept = night.add(Proposal(small_source(), "a GPT | instead", "It *learns* more.", agent="search", parent=0))
    assert laboratory.smoke(kept.folder / "train_mlx.py", kept.folder / "smoke") is None
    _train(kept, laboratory)
    kept.record_commit("c0ffee" * 6 + "abcd")
    night.update_best(kept, dataset.tokenizer_file(kept.runs[0].vocab_size))
    return night


def _train(experiment: Experiment, laboratory: Laboratory) -> None:
    folder = experiment.new_run_folder()
    result = laboratory.run(experiment.folder / "train_mlx.py", folder, seed=1, splits=("val", "test"))
    assert result.failure is None, result.reason
    experiment.record_result(folder, result)
    experiment.record_verdict(Verdict(KEEP, "because", result.val_bpb, 0.01, noise=0.01))
