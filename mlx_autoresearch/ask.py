"""Ask the best model of a night for the target of a row (docs/own-data.md), by its exported graph alone.

python -m mlx_autoresearch.ask --tag nov24 carat=0.3 cut=Ideal color=E
python -m mlx_autoresearch.ask --tag nov24 --score
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_autoresearch.chosen_model import find_graph, tokenizer_beside
from mlx_autoresearch.errors import AutoresearchError, run_command_line
from mlx_autoresearch.files import read_json
from mlx_autoresearch.rows import NUMBER, Schema, as_number, read_answer, tidy

if TYPE_CHECKING:
    from mlx_autoresearch.dataset import Dataset

DESCRIPTION = """\
Ask a model that was trained on a table's rows (prepare.py --rows) for the target of a new row, or measure how good
its answers are on rows that it never saw."""

EXAMPLES = """\
examples:
  python -m mlx_autoresearch.ask --tag nov24 carat=0.3 cut=Ideal "table size=55"
  python -m mlx_autoresearch.ask --tag nov24 carat=0.3 cut=Ideal --samples 20     how sure it is
  python -m mlx_autoresearch.ask --tag nov24 --score                              right or wrong on test rows

Write values as the table does: the model learned text, and to it 0.30 is not 0.3."""

SCORED_ROWS = 400
"""Test rows that --score asks for unless told otherwise: some minutes on a slow CPU."""


def main() -> None:
    """Command line: see DESCRIPTION."""
    arguments = parse_arguments()
    path = find_graph(arguments.tag, arguments.graph)
    schema = schema_beside(path)
    if not arguments.score:
        values = read_values(arguments.values, schema)
        for note in notes(values, schema):
            print(f"Note: {note}")

    from mlx_autoresearch import blas

    blas.load()  # before anything imports mlx.core
    from mlx_autoresearch.complete import complete
    from mlx_autoresearch.continuation import open_reader
    from mlx_autoresearch.judge import RefusedError

    try:
        reader, vocab_size = open_reader(path)
    except RefusedError as error:
        raise AutoresearchError(f"{path} can't be used: {error}.") from None
    tokenizer = tokenizer_beside(path, vocab_size)
    if arguments.score:
        from mlx_autoresearch.ask_score import print_score

        asked = (arguments.rows or SCORED_ROWS, arguments.samples, arguments.seed)
        print_score(reader, tokenizer, dataset_beside(path), schema, *asked)
        return
    questions = [schema.question(values)] * (arguments.samples or 1)
    answers = complete(reader, tokenizer, questions, 1.0 if arguments.samples else 0.0, arguments.seed)
    print("\n".join(told([read_answer(answer) for answer in answers], schema)))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m mlx_autoresearch.ask",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("values", nargs="*", metavar="COLUMN=VALUE", help="what is known of the row")
    parser.add_argument("--tag", help="take the best model of this night (default: the newest model there is)")
    parser.add_argument("--graph", metavar="PATH", help="take this model.mlxfn, or the one in this folder")
    parser.add_argument(
        "--samples", type=int, metavar="N", help="draw N answers as the model sees them likely, and show their spread"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of --samples (default: %(default)s)")
    parser.add_argument("--score", action="store_true", help="compare answers on test rows with what is true")
    parser.add_argument("--rows", type=int, metavar="N", help=f"test rows for --score (default: {SCORED_ROWS})")
    arguments = parser.parse_args()
    for name in ("samples", "rows"):
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            parser.error(f"--{name} must be 1 or more")
    if arguments.score == bool(arguments.values):
        parser.error("give either COLUMN=VALUE for one row, or --score for the test rows")
    if arguments.rows is not None and not arguments.score:
        parser.error("--rows belongs to --score")
    return arguments


def read_values(words: Sequence[str], schema: Schema) -> dict[str, str]:
    """The values of `COLUMN=VALUE` words by column.

    Raises:
        AutoresearchError: no such column, one given twice or without a value, or the target itself.
    """
    known = [column.name for column in schema.columns]
    told_columns = f"Known are {', '.join(known)}."
    values: dict[str, str] = {}
    for word in words:
        # A column's name may hold "=": the longest one that fits is meant.
        name = max((each for each in known if word.startswith(f"{each}=")), key=len, default=None)
        if name is None and word.startswith(f"{schema.target.name}="):
            raise AutoresearchError(f"{schema.target.name!r} is what the model answers: leave it out. {told_columns}")
        if name is None:
            what = (
                f"There is no column {word.partition('=')[0]!r}." if "=" in word else f"{word!r} is not column=value."
            )
            raise AutoresearchError(f"{what} {told_columns}")
        if name in values:
            raise AutoresearchError(f"{name!r} is given twice.")
        value = tidy(word[len(name) + 1 :], schema.max_chars)
        if not value:
            raise AutoresearchError(f"{name!r} has no value: leave it out if it is not known.")
        values[name] = value
    return values


def notes(values: dict[str, str], schema: Schema) -> list[str]:
    """What makes an answer to this row doubtful."""
    found = []
    left_out = [column.name for column in schema.columns if column.name not in values]
    if left_out:
        found.append(f"without {', '.join(left_out)}; most rows that the model learned from have them.")
    for column in schema.columns:
        value = values.get(column.name)
        if value is None:
            continue
        if column.kind == NUMBER and as_number(value) is None:
            found.append(f"{column.name} is {value!r}, but the table has numbers there.")
        elif column.kind != NUMBER and column.values and value not in column.values:
            found.append(f"{column.name} is never {value!r} in the table, but {', '.join(column.values)}.")
    return found


def told(answers: Sequence[str], schema: Schema) -> list[str]:
    """Lines that show one answer, or the spread of several."""
    name = schema.target.name
    if len(answers) == 1:
        strange = schema.target.kind == NUMBER and as_number(answers[0]) is None
        doubt = "   (no number: the model has not learned this question)" if strange else ""
        return [f"{name}: {answers[0] or '(nothing)'}{doubt}"]
    numbers = sorted(number for answer in answers if (number := as_number(answer)) is not None)
    if schema.target.kind == NUMBER and numbers:
        low, middle, high = (numbers[round(share * (len(numbers) - 1))] for share in (0.1, 0.5, 0.9))
        strange = len(answers) - len(numbers)
        also = f"; {strange} answers were no numbers" if strange else ""
        return [
            f"{name}: {middle:.10g} in the middle of {len(numbers)} answers, 80 % from {low:.10g} to {high:.10g}{also}"
        ]
    counts = Counter(answers).most_common(10)
    return [f"{name}: {answer or '(nothing)'}   {count} of {len(answers)}" for answer, count in counts]


def schema_beside(graph: Path) -> Schema:
    """The schema of the rows that a model was trained on: from its night, else from its dataset.

    Raises:
        AutoresearchError: it was not trained on rows, or nothing says on what.
    """
    from mlx_autoresearch.rows_summary import schema_of

    copy = graph.parent.parent / "dataset.json"
    schema = schema_of(read_json(copy) if copy.is_file() else dataset_beside(graph).manifest)
    if schema is None:
        raise AutoresearchError(
            f"{graph} was trained on text, not on a table's rows: prepare a table with `python prepare.py --dataset "
            "FILE --rows`, or let the model write with `python -m mlx_autoresearch.sample`."
        )
    return schema


def dataset_beside(graph: Path) -> Dataset:
    """The prepared dataset that a model was trained on.

    Raises:
        AutoresearchError: nothing says which, it is gone, or it was prepared anew from other data.
    """
    from mlx_autoresearch.dataset import open_dataset, open_same

    copy, settings = graph.parent.parent / "dataset.json", graph.with_name("run.json")
    if settings.is_file():
        return open_dataset(read_json(settings)["dataset"])
    if not copy.is_file():
        raise AutoresearchError(f"Neither {settings} nor {copy} is there, so nothing says what {graph} was trained on.")
    manifest = read_json(copy)
    return open_same(manifest["name"], manifest["fingerprint"])


if __name__ == "__main__":
    run_command_line(main)
