"""Which model a person means: the best of a night, its baseline, an experiment, the one that trained longer.

Only models that were scored are ever chosen. Nothing here changes a night, so it may run meanwhile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_autoresearch.dataset import open_dataset, open_same
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.evidence import SETTINGS_FILE
from mlx_autoresearch.files import read_json
from mlx_autoresearch.history import Experiment, Night
from mlx_autoresearch.paths import runs_root
from mlx_autoresearch.records import RunResult
from mlx_autoresearch.settings import GRAPH_FILE
from mlx_autoresearch.text import one_line

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BEST, BASELINE, LONGER = "best", "baseline", "longer"
"""Names of models; any other is the number of an experiment."""

BY_HAND, RESULT_FILE, TOKENIZER_FILE = "by-hand", "result.json", "tokenizer.json"


@dataclass(frozen=True)
class ChosenModel:
    """A trained and scored model of a night.

    Attributes:
        night: the night.
        experiment: whose file was trained.
        index: number of the run, below `experiment`, that holds the model.
        name: what a person calls it: "best", "baseline", "experiment 7", "best, trained 3600 s".
        tokenizer: its tokenizer's file.
        source_night: the night whose file it is; another one than `night` for a model that trained longer.
    """

    night: Night
    experiment: Experiment
    index: int
    name: str
    tokenizer: Path
    source_night: Night

    @property
    def folder(self) -> Path:
        """Where model.mlxfn and model.safetensors lie."""
        return self.experiment.run_folder(self.index)

    @property
    def graph(self) -> Path:
        """The exported graph."""
        return self.folder / GRAPH_FILE

    @property
    def run(self) -> RunResult:
        """The run that trained it."""
        return self.experiment.results[self.index]

    def sentence(self) -> str:
        """What it is, on one line."""
        what = one_line(self.experiment.proposal.description)
        numbers = f"val_bpb {self.run.val_bpb:.4f}"
        runs = len(self.experiment.scores)
        if runs > 1:
            numbers += f", {self.experiment.mean_bpb:.4f} on average over {runs} runs"
        where = f"experiment {self.experiment.number} of night {self.night.root.name}"
        if self.night is not self.source_night:
            where = f"a longer training of night {self.source_night.root.name}"
        return f"{self.name}: {where} ({what}), {numbers}"


def choose_model(root: Path, which: str) -> ChosenModel:
    """The model `which` ("best", "baseline", "longer" or a number) of the night in `root`.

    Raises:
        AutoresearchError: there is no such night, model or tokenizer.
    """
    night = Night.read(root)
    if which == LONGER:
        return _trained_longer(night)
    experiment, name = _experiment(night, which)
    index = experiment.model_run()
    if index is None:
        raise AutoresearchError(_no_model(night, experiment))
    return ChosenModel(night, experiment, index, name, _tokenizer(night, experiment.results[index]), night)


def _experiment(night: Night, which: str) -> tuple[Experiment, str]:
    if which == BEST:
        incumbent = night.incumbent()
        if incumbent is None:
            raise AutoresearchError(
                f"Night {night.root.name} has no best model yet: its baseline is not measured to the end. Let "
                f"`python -m mlx_autoresearch.loop --tag {night.root.name}` go on, or name another --tag."
            )
        return incumbent, BEST if incumbent.number else "best so far is the baseline"
    number = 0 if which == BASELINE else int(which) if which.isdecimal() else None
    if number is None:
        raise AutoresearchError(f"--model {which}: say best, baseline, longer, or the number of an experiment.")
    experiment = next((each for each in night.experiments if each.number == number), None)
    if experiment is None and number == 0:
        raise AutoresearchError(f"Night {night.root.name} has no baseline yet, or it is lost; see {night.root}.")
    if experiment is None:
        raise AutoresearchError(
            f"Night {night.root.name} has no experiment {number}; {_models_there(night)} or see results.tsv."
        )
    return experiment, BASELINE if number == 0 else f"experiment {number}"


def _no_model(night: Night, experiment: Experiment) -> str:
    if not experiment.scores:
        return (
            f"Experiment {experiment.number} of night {night.root.name} has no scored model"
            f"{' yet' if experiment.verdict is None else ''}; {_models_there(night)}."
        )
    return (
        f"Experiment {experiment.number} of night {night.root.name} was scored, but its model is gone: only the "
        f"baseline and what is kept hold on to theirs; {_models_there(night)}."
    )


def _models_there(night: Night) -> str:
    numbers = [str(experiment.number) for experiment in night.experiments if experiment.model_run() is not None]
    return f"there are models of the experiments {', '.join(numbers)}" if numbers else "there is no model at all yet"


def longer_nights(night: Night) -> list[Night]:
    """Longer trainings of a night's files, the longest first."""
    nights = [Night.read(path.parent) for path in (night.root / LONGER).glob("*/identity.json")]
    return sorted(nights, key=lambda longer: longer.identity.budget_seconds, reverse=True)


def _trained_longer(night: Night) -> ChosenModel:
    best, _ = _experiment(night, BEST)
    for longer in longer_nights(night):
        for experiment in longer.experiments:
            index = experiment.model_run()
            if index is not None and experiment.source == best.source:
                name = f"best, trained {longer.identity.budget_seconds:g} s"
                tokenizer = _tokenizer(longer, experiment.results[index])
                return ChosenModel(longer, experiment, index, name, tokenizer, night)
    raise AutoresearchError(
        f"The best file of night {night.root.name} (experiment {best.number}) was not trained longer yet: "
        f"`python -m mlx_autoresearch.longer --tag {night.root.name}` does that."
    )


def _tokenizer(night: Night, run: RunResult) -> Path:
    """The tokenizer of a run: best/ has a copy of the incumbent's, the others are with the dataset."""
    incumbent = night.incumbent()
    copy = night.root / BEST / TOKENIZER_FILE
    if incumbent is not None and copy.is_file() and {run.vocab_size} == _vocabularies(incumbent):
        return copy
    dataset = open_same(night.identity.dataset, night.identity.dataset_fingerprint, [])
    return dataset.tokenizer_file(run.vocab_size)


def _vocabularies(experiment: Experiment) -> set[int | None]:
    return {run.vocab_size for run in experiment.runs if run.failure is None}


def night_with_the_newest_best() -> Path | None:
    """The folder of the night whose best model is newest, None where there is none."""
    bests = list(runs_root().glob(f"*/{BEST}/{GRAPH_FILE}"))
    return max(bests, key=lambda path: path.stat().st_mtime).parent.parent if bests else None


def newest_by_hand() -> Path | None:
    """The graph of the newest scored run of `python train_mlx.py`, None where there is none."""
    graphs = [path for path in runs_root().glob(f"{BY_HAND}/*/{GRAPH_FILE}") if score_beside(path) is not None]
    return max(graphs, key=lambda path: path.stat().st_mtime, default=None)


def score_beside(graph: Path) -> float | None:
    """val_bpb of the run whose graph this is; None where nothing beside it says that it was scored."""
    for name, key in ((RESULT_FILE, "val_bpb"), ("score.json", "model_val_bpb")):
        try:
            score = read_json(graph.with_name(name))[key]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
        if isinstance(score, (int, float)) and math.isfinite(score):
            return float(score)
    return None


def find_graph(tag: str | None, graph: str | None) -> Path:
    """The graph to read: the file or folder named, a night's best/, or the newest that was scored.

    Raises:
        AutoresearchError: there is none.
    """
    if graph is not None:
        path = Path(graph)
        path = path / GRAPH_FILE if path.is_dir() else path
        if not path.is_file():
            raise AutoresearchError(f"There is no model at {path}; name a {GRAPH_FILE} or a folder that holds one.")
        return path
    root = night_with_the_newest_best() if tag is None else runs_root() / tag
    path = newest_by_hand() if root is None else _copy_of_best(root)
    if path is None:
        raise AutoresearchError(
            f"There is no scored model under {runs_root()}; "
            "train one with `python train_mlx.py` or `python -m mlx_autoresearch.loop`."
        )
    return path


def _copy_of_best(root: Path) -> Path:
    chosen, copy = choose_model(root, BEST).graph, root / BEST / GRAPH_FILE
    return copy if copy.is_file() else chosen


def tokenizer_beside(graph: Path, vocab_size: int) -> Tokenizer:
    """The tokenizer of a model in any folder: the copy that lies there, or that of the dataset its run names.

    Raises:
        AutoresearchError: neither is there, or it is damaged.
    """
    copy, settings = graph.with_name(TOKENIZER_FILE), graph.with_name(SETTINGS_FILE)
    if copy.is_file():
        return read_tokenizer(copy)
    try:
        dataset = read_json(settings)["dataset"]
    except (OSError, ValueError, KeyError, TypeError):
        raise AutoresearchError(
            f"Beside {graph} there is neither tokenizer.json nor run.json, so its tokens mean nothing."
        ) from None
    return read_tokenizer(open_dataset(dataset, []).tokenizer_file(vocab_size))


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a file.

    Raises:
        AutoresearchError: it can't be read.
    """
    from mlx_autoresearch.tokens.tokenizer import open_tokenizer

    try:
        return open_tokenizer(path)
    except Exception as error:  # the tokenizers package raises nothing more special
        raise AutoresearchError(f"The tokenizer {path} can't be read: {error}.") from None
