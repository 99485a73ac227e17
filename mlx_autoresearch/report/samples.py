"""Before and after: openings of test documents, continued by the first and by the best model of a night.

    runs/<tag>/samples.json     {"prompts": [...], "texts": {"0": [...], "12": [...]}}

A model is asked once, when it becomes the best, between two runs. It is read in the scorer's sandbox, by
`python -m mlx_autoresearch.report.samples`, which prints one JSON line. That process sees the prompts and no other text
of the dataset.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_autoresearch.dataset import open_dataset
from mlx_autoresearch.errors import run_command_line
from mlx_autoresearch.files import read_json, write_json
from mlx_autoresearch.history import Night
from mlx_autoresearch.process import tail
from mlx_autoresearch.settings import GRAPH_FILE

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from mlx_autoresearch.dataset import Dataset
    from mlx_autoresearch.experiment import Laboratory
    from mlx_autoresearch.exported_model import GraphReader

SAMPLES_FILE, LOG_FILE = "samples.json", "samples.log"

PROMPTS, PROMPT_WORDS, PROMPT_BYTES = 4, 8, 120
LENGTH = 60
"""Tokens that are added to every prompt: a few sentences."""

WRITING_SECONDS = 10.0
"""A machine that has not written so many by then shows less: a token of each takes a GPU milliseconds, a CPU 0.1 s."""

TEMPERATURE, TOP_P, SEED = 0.7, 0.95, 0
SECONDS = 120.0
"""A model that takes longer is not shown."""


@dataclass(frozen=True)
class Samples:
    """Continuations by experiment number, each list as long as `prompts`, or empty where the model wrote nothing."""

    prompts: list[str] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)

    def of(self, number: int) -> list[str] | None:
        """The continuations by the model of this experiment, None where there are none."""
        return self.texts.get(str(number))


def read_samples(root: Path) -> Samples | None:
    """The samples of the night in `root`; None where there are none, or none that can be read."""
    try:
        samples = Samples(**read_json(root / SAMPLES_FILE))
        count = len(samples.prompts)
        whole = all(_are_texts(texts) and len(texts) in (0, count) for texts in samples.texts.values())
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    return samples if whole and _are_texts(samples.prompts) else None


def _are_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def update_samples(night: Night, laboratory: Laboratory) -> str | None:
    """Let the baseline and the incumbent write what they have not written yet; returns what went wrong, if anything."""
    incumbent = night.incumbent()
    if incumbent is None:
        return None
    samples = read_samples(night.root) or Samples(openings(open_dataset(laboratory.dataset, ["test"])))
    trouble = None
    for experiment in (night.experiments[0], incumbent):
        if samples.of(experiment.number) is not None or (index := experiment.model_run()) is None:
            continue
        folder = experiment.run_folder(index)
        texts = _ask(folder, laboratory, samples.prompts)
        if texts is None:
            trouble = f"the model of experiment {experiment.number} wrote no sample; see {folder / LOG_FILE}"
        # Nothing is an answer too: nobody asks again.
        samples = Samples(samples.prompts, samples.texts | {str(experiment.number): texts or []})
        write_json(night.root / SAMPLES_FILE, asdict(samples))
    return trouble


def _ask(folder: Path, laboratory: Laboratory, prompts: Sequence[str]) -> list[str] | None:
    """What the model in `folder` made of the prompts; None where it failed."""
    files = [str((folder / GRAPH_FILE).absolute()), str(laboratory.dataset.absolute())]
    command = ["-m", "mlx_autoresearch.report.samples", *files, "--", *prompts]
    laboratory.read_model(command, folder, folder / LOG_FILE, SECONDS)
    try:
        texts = json.loads(tail(folder / LOG_FILE, 100_000).splitlines()[-1])["texts"]
    except (IndexError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return texts if _are_texts(texts) and len(texts) == len(prompts) else None


def openings(dataset: Dataset) -> list[str]:
    """The first words of a few test documents, taken evenly from all; fewer where documents begin alike."""
    from mlx_autoresearch.tokens.tokenizer import SEPARATOR_ID, VOCAB_SIZES

    size = max(VOCAB_SIZES)
    tokens, starts = dataset.tokens("test", size), dataset.document_starts("test", size)
    tokenizer = dataset.tokenizer(size)
    prompts: dict[str, None] = {}
    for start in starts[:: max(1, len(starts) // (4 * PROMPTS))]:
        document = [int(token) for token in tokens[start + 1 : start + 1 + PROMPT_BYTES]]
        end = document.index(SEPARATOR_ID) if SEPARATOR_ID in document else len(document)
        words = tokenizer.decode(document[:end]).split()
        prompt = " ".join(words[: min(PROMPT_WORDS, max(1, len(words) // 2))])
        prompts[prompt.encode()[:PROMPT_BYTES].decode(errors="ignore")] = None
    return [prompt for prompt in prompts if prompt][:PROMPTS]


def continue_all(
    reader: GraphReader,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    length: int = LENGTH,
    seconds: float = WRITING_SECONDS,
) -> list[str]:
    """What a model adds to each prompt.

    Args:
        reader: the model.
        tokenizer: the model's tokenizer.
        prompts: texts to continue.
        length: most tokens to add to each; a text ends earlier where the model ends it.
        seconds: time after which no further token is added.
    """
    from mlx_autoresearch.continuation import Sampling, continue_texts

    texts, stop = [""] * len(prompts), time.monotonic() + seconds
    for index, piece in continue_texts(reader, tokenizer, prompts, Sampling(length, TEMPERATURE, TOP_P, SEED)):
        if time.monotonic() >= stop:
            break
        texts[index] += piece
    return texts


def main() -> None:
    """Command line of the process that reads the model: prints {"texts": [...]}."""
    from mlx_autoresearch.continuation import open_reader

    parser = argparse.ArgumentParser(prog="mlx_autoresearch.report.samples", description="Continue a few texts.")
    parser.add_argument("graph", help="the exported graph, model.mlxfn")
    parser.add_argument("dataset", help="folder of a prepared dataset, of which the tokenizers are read")
    parser.add_argument("prompts", nargs="*", help="texts to continue")
    arguments = parser.parse_args()
    reader, vocab_size = open_reader(Path(arguments.graph))
    tokenizer = open_dataset(arguments.dataset, []).tokenizer(vocab_size)
    print(json.dumps({"texts": continue_all(reader, tokenizer, arguments.prompts)}))


if __name__ == "__main__":
    run_command_line(main)
