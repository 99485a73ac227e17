"""Prepare a dataset once (`python prepare.py`), and the fixed names that train_mlx.py may import.

The names, fixed so that experiments stay comparable:

    TIME_BUDGET                     seconds of training, from the start of the process; it ends at most 5 s later
    SEED                            the seed of this run, set by the harness
    CONTEXT                         tokens in a scored row
    VOCAB_SIZES                     vocabularies to choose from, separator included
    machine_class()                 0 CPU, 1 up to 12 GB, 2 up to 32 GB, 3 larger: the column of the knobs
    load_tokenizer(vocab_size)      the tokenizer of a vocabulary
    batches(vocab_size, batch_size, sequence_length)    endless (inputs, targets) of the train split
    Clock()                         running(), progress() from 0 to 1, elapsed() in seconds; resume(data, *state)
    log(step, **numbers)            a point of the learning curve
    hand_in(model)                  hand the model in for scoring, once
    run(main)                       run main() under the harness, or by hand with scoring

The work is in the package: the names in mlx_autoresearch/contract.py, preparing in mlx_autoresearch/dataset.py.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_autoresearch.contract import Clock, batches, hand_in, load_tokenizer, log, run, seed, time_budget
from mlx_autoresearch.errors import run_command_line
from mlx_autoresearch.machine import machine_class
from mlx_autoresearch.settings import CONTEXT
from mlx_autoresearch.tokens.tokenizer import VOCAB_SIZES

if TYPE_CHECKING:
    from mlx_autoresearch.corpus import Source
    from mlx_autoresearch.dataset import Dataset

    TIME_BUDGET: float
    SEED: int

__all__ = [
    "CONTEXT",
    "SEED",
    "TIME_BUDGET",
    "VOCAB_SIZES",
    "Clock",
    "batches",
    "hand_in",
    "load_tokenizer",
    "log",
    "machine_class",
    "run",
]

DESCRIPTION = """\
Turn text into everything that training and scoring need: tokenizers, token streams and a split
into train, val and test. Run it once per dataset; the dataset prepared last is the one in use."""

EXAMPLES = """\
examples:
  python prepare.py                                  TinyStories: 673 MB to download, once
  python prepare.py --dataset stories                built-in stories: no network needed
  python prepare.py --dataset notes/                 all txt, md, jsonl, csv and parquet files in a folder
  python prepare.py --dataset shop.csv --text-column review
  python prepare.py --dataset homes.csv --rows --target price
                                                     a table: learn to tell a home's price from its other columns
  python prepare.py --max-train-mb 50                a smaller train split: less disk, quicker to prepare

A dataset takes about 5 bytes of disk for each byte of its text, all vocabularies together."""


def __getattr__(name: str) -> Any:
    # Read when asked for: what they are depends on the run, and importing does no work.
    if name == "TIME_BUDGET":
        return time_budget()
    if name == "SEED":
        return seed()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def main() -> None:
    """Command line: see DESCRIPTION."""
    from mlx_autoresearch.dataset import prepare_dataset

    arguments = parse_arguments()
    source = open_text_or_rows(arguments)
    dataset = prepare_dataset(source, arguments.max_train_mb, command_again(arguments))
    print_summary(dataset)
    if arguments.rows:
        from mlx_autoresearch.rows_summary import rows_summary

        print("\n".join(rows_summary(dataset)))
    print("\nNext: python -m mlx_autoresearch.loop")
    if arguments.rows:
        print("Then: python -m mlx_autoresearch.ask column=value ...")


def parse_arguments() -> argparse.Namespace:
    from mlx_autoresearch.dataset import DEFAULT_MAX_TRAIN_MB

    parser = argparse.ArgumentParser(
        prog="prepare.py",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--dataset",
        default="tinystories",
        metavar="WHAT",
        help="tinystories (default), stories, or a file, folder or glob pattern with your own text",
    )
    parser.add_argument(
        "--text-column",
        metavar="NAME",
        help="column with the text in csv, jsonl and parquet (default: found by itself)",
    )
    parser.add_argument(
        "--max-train-mb",
        type=float,
        default=DEFAULT_MAX_TRAIN_MB,
        metavar="MB",
        help="train text at most, taken evenly from the whole corpus (default: %(default)g)",
    )
    rows = parser.add_argument_group(
        "a table's rows", "each row becomes one text, `column: value; ...; target: value` (docs/own-data.md)"
    )
    rows.add_argument("--rows", action="store_true", help="train on whole rows of a csv, tsv, jsonl or parquet table")
    rows.add_argument("--target", metavar="NAME", help="column to ask for later, at the end (default: the last one)")
    rows.add_argument("--columns", metavar="A,B,C", help="columns to use, in this order (default: all)")
    rows.add_argument(
        "--target-kind", choices=("number", "label"), help="how answers are judged (default: by the target's values)"
    )
    rows.add_argument(
        "--max-chars", type=int, metavar="N", help="values longer than N keep their last N characters (default: 2000)"
    )
    arguments = parser.parse_args()
    of_rows = ("target", "columns", "target_kind", "max_chars")
    given = [f"--{name.replace('_', '-')}" for name in of_rows if getattr(arguments, name) is not None]
    if given and not arguments.rows:
        parser.error(f"{given[0]} is about a table's rows: add --rows")
    if arguments.rows and arguments.text_column is not None:
        parser.error("--text-column takes one column as text, --rows takes whole rows: leave one of them out")
    if arguments.rows and arguments.dataset == parser.get_default("dataset"):
        parser.error("--rows needs a table: name it with --dataset")
    return arguments


def open_text_or_rows(arguments: argparse.Namespace) -> Source:
    """What the command line names, as a source of documents."""
    from mlx_autoresearch.corpus import open_source

    if not arguments.rows:
        return open_source(arguments.dataset, arguments.text_column)
    from mlx_autoresearch.corpus.tables import DEFAULT_MAX_CHARS, RowsOptions, open_table, split_names

    columns = split_names(arguments.columns) if arguments.columns is not None else None
    max_chars = DEFAULT_MAX_CHARS if arguments.max_chars is None else arguments.max_chars
    return open_table(arguments.dataset, RowsOptions(columns, arguments.target, arguments.target_kind, max_chars))


def command_again(arguments: argparse.Namespace) -> str:
    """What to type to prepare the same dataset from any folder below the project."""
    from mlx_autoresearch.dataset import DEFAULT_MAX_TRAIN_MB

    path = Path(arguments.dataset).expanduser()
    words = ["python", "prepare.py", "--dataset", str(path.absolute()) if path.exists() else arguments.dataset]
    if arguments.text_column is not None:
        words += ["--text-column", arguments.text_column]
    words += ["--rows"] if arguments.rows else []
    for name in ("target", "columns", "target_kind", "max_chars"):
        if getattr(arguments, name) is not None:
            words += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    if arguments.max_train_mb != DEFAULT_MAX_TRAIN_MB:
        words += ["--max-train-mb", f"{arguments.max_train_mb:g}"]
    return shlex.join(words)


def print_summary(dataset: Dataset) -> None:
    """A table of what was made, and where it is."""
    from rich.console import Console
    from rich.table import Table

    splits, corpus = dataset.manifest["splits"], dataset.manifest["corpus"]
    table = Table(title=dataset.name, title_justify="left")
    for heading in ("", *splits, "bytes a token"):
        table.add_column(heading, justify="right" if heading else "left")
    table.add_row("documents", *(f"{split['documents']:,}" for split in splits.values()), "")
    table.add_row("text, MB", *(f"{split['text_bytes'] / 1e6:,.2f}" for split in splits.values()), "", end_section=True)
    train = splits["train"]
    for size in map(str, VOCAB_SIZES):
        text_tokens = train["tokens"][size] - train["documents"]
        counts = (f"{split['tokens'][size]:,}" for split in splits.values())
        table.add_row(f"tokens of {size}", *counts, f"{train['text_bytes'] / text_tokens:.2f}")
    console = Console()
    console.print(table)
    used, held = sum(split["text_bytes"] for split in splits.values()), corpus["text_bytes"]
    sentence = f"{corpus['documents']:,} documents with {held / 1e6:,.1f} MB of text were read"
    if corpus["duplicates"]:
        sentence += f", {corpus['duplicates']:,} exact duplicates dropped"
    if used < 0.99 * held:
        sentence += f", {used / 1e6:,.1f} MB used, chosen evenly from the whole"
    console.print(f"{sentence}.\nIn {dataset.folder}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    run_command_line(main)
