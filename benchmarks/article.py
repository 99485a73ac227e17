"""Two configurations from a published account of autoresearch on a Mac, trained and scored like any file of ours.

    python -m benchmarks.article --budget 300

The account (2.5471 -> 0.9145) scored with a constant for bytes per token on rows it had trained on, so its numbers
compare with nothing. Here both configurations are written as edits of `train_mlx.py` and scored honestly, beside the
file as it is. What is theirs: depth, heads, width, context, batch, AdamW for everything at 1.5e-3 with weight decay
0.01, cosine by time. What stays ours: tokenizer, data, initialisation, and the block itself.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.training_file import WITHOUT_MUON, edited
from mlx_autoresearch import machine
from mlx_autoresearch.dataset import open_dataset
from mlx_autoresearch.errors import run_command_line
from mlx_autoresearch.experiment import Laboratory
from mlx_autoresearch.files import write_json, write_text
from mlx_autoresearch.knobs import write_knobs
from mlx_autoresearch.paths import PROJECT, runs_root

ADAMW_EVERYWHERE = (
    WITHOUT_MUON,
    ("EMBEDDING_LR      = 0.6 ", "EMBEDDING_LR      = 1.5e-3 "),
    ("HEAD_LR           = 0.01 ", "HEAD_LR           = 1.5e-3 "),
    ("SCALAR_LR         = 0.01 ", "SCALAR_LR         = 1.5e-3 "),
    ("    width_scale = (WIDTH / 768) ** -0.5\n", "    width_scale = 1.0\n"),
    (
        "        return parameter - rate * adam_learning_rate(name)",
        "        parameter = parameter * (1 - rate * adam_learning_rate(name) * 0.01)\n"
        "        return parameter - rate * adam_learning_rate(name)",
    ),
    (
        "    return max(0.0, min(rise, fall))\n",
        "    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))\n",
    ),
)
"""Edits that make the file train everything with AdamW at 1.5e-3 and a cosine over the budget."""

COMMON = {"WINDOW_PATTERN": "L", "ADAM_BETA1": 0.9, "ADAM_BETA2": 0.99, "QUERIES_PER_KV": 1}


@dataclass(frozen=True)
class Configuration:
    """A file to train: a name, knobs, and edits of its text."""

    name: str
    knobs: dict[str, object]
    edits: tuple[tuple[str, str], ...] = ()

    def source(self, original: str, machine_class: int) -> str:
        """The edited train_mlx.py.

        Raises:
            AutoresearchError: the file has changed so that an edit finds nothing to replace.
        """
        return edited(write_knobs(original, self.knobs, machine_class), self.edits)


CONFIGURATIONS = (
    Configuration("ours", {}),
    Configuration(
        "article, small: 4 layers, 3 heads, width 192, context 128, batch 8",
        {
            **COMMON,
            "DEPTH": 4,
            "KV_HEADS": 3,
            "HEAD_DIM": 64,
            "WIDTH": 192,
            "SEQUENCE_LENGTH": 128,
            "BATCH_SIZE": 8,
        },
        ADAMW_EVERYWHERE,
    ),
    Configuration(
        "article, large: 6 layers, 6 heads, width 384, context 2048, batch 4",
        {
            **COMMON,
            "DEPTH": 6,
            "KV_HEADS": 6,
            "HEAD_DIM": 64,
            "WIDTH": 384,
            "BATCH_SIZE": 1,
            "ACCUMULATION": 4,
        },
        # The batch of four rows goes in four micro-batches, which is the same training in a quarter of the memory.
        (*ADAMW_EVERYWHERE, ("SEQUENCE_LENGTH   = (128,   256,  256,      256)[M]", "SEQUENCE_LENGTH   = 2048")),
    ),
)


def main() -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.article", description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=float, default=300.0, help="seconds of training each (default: 300)")
    parser.add_argument("--dataset", help="prepared dataset (default: the one prepared last)")
    parser.add_argument("--output", default=str(PROJECT / "benchmarks" / "results" / "article.json"), help="JSON file")
    arguments = parser.parse_args()
    dataset = open_dataset(arguments.dataset)
    original = (PROJECT / "train_mlx.py").read_text(encoding="utf-8")
    root = runs_root() / "benchmark-article" / time.strftime("%Y%m%d-%H%M%S")
    laboratory = Laboratory(dataset.folder, arguments.budget)
    rows = []
    for number, configuration in enumerate(CONFIGURATIONS):
        folder = root / str(number)
        folder.mkdir(parents=True)
        source = configuration.source(original, machine.machine_class())
        write_text(folder / "train_mlx.py", source)
        failure = laboratory.smoke(folder / "train_mlx.py", folder / "smoke")
        result = failure or laboratory.run(folder / "train_mlx.py", folder, seed=1, splits=("val", "test"))
        rows.append({"configuration": configuration.name, **vars(result)})
        score = f"val_bpb {result.val_bpb:.4f}" if result.failure is None else f"{result.failure}: {result.reason}"
        print(f"{configuration.name:<70} {score}  {result.steps} steps", flush=True)
    facts = {"machine": machine.identity(), "budget_seconds": arguments.budget, "dataset": dataset.name}
    output = Path(arguments.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_json(output, {**facts, "runs": rows})
    print(f"Written to {output}")


if __name__ == "__main__":
    run_command_line(main)
