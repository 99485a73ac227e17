"""How good a model's answers are on test rows, beside two baselines (baselines.py) that know the same training rows.

Numbers are judged by the mean absolute error and R2, labels by accuracy, each with the 95 % interval that the number of
rows leaves. Test rows are in the order of their hashes, so the first ones are a fair sample.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from tokenizers import Tokenizer

from mlx_autoresearch.baselines import Row, boosted_answers, commonest_answer
from mlx_autoresearch.complete import complete, mean_bits
from mlx_autoresearch.dataset import Dataset
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.rows import NUMBER, Schema, as_number, read_answer, read_document
from mlx_autoresearch.rows_summary import documents_of

if TYPE_CHECKING:
    from mlx_autoresearch.exported_model import GraphReader
    from mlx_autoresearch.scorer import Graph


def print_score(
    reader: GraphReader,
    tokenizer: Tokenizer,
    dataset: Dataset,
    schema: Schema,
    most_rows: int,
    samples: int | None,
    seed: int,
) -> None:
    """Ask the model and the baselines for the targets of the first test rows, and print a table of how good they were.

    Args:
        reader: see `complete`.
        tokenizer: the model's tokenizer.
        dataset: the rows.
        schema: how they are written.
        most_rows: test rows to ask for.
        samples: None for the model's likeliest text; else so many are drawn, and their median or commonest counts.
        seed: seed of the drawing.
    """
    training = [read_document(document) for document in documents_of(dataset, "train")]
    asked = [read_document(document) for document in islice(documents_of(dataset, "test"), most_rows)]
    in_test = dataset.manifest["splits"]["test"]["documents"]
    console, started = Console(), time.monotonic()
    answers = model_answers(reader, tokenizer, asked, schema, samples, seed)
    seconds = time.monotonic() - started
    way = "its likeliest text" if samples is None else f"the {_middle(schema)} of {samples} drawn texts"
    simple = commonest_answer(training, schema)
    contenders = {f"the model, {way}": answers}
    note = None
    try:
        contenders["gradient boosting (scikit-learn)"] = boosted_answers(training, asked, schema)
    except AutoresearchError as error:
        note = f"Without gradient boosting: {error}."
    contenders[f"always the {_middle(schema)} of the training rows, {simple}"] = [simple] * len(asked)
    truth = [row[schema.target.name] for row in asked]
    table = Table(title=f"{schema.target.name} of {len(asked):,} of {in_test:,} test rows", title_justify="left")
    table.add_column("")
    for heading in ("mean absolute error", "R2") if schema.target.kind == NUMBER else ("right",):
        table.add_column(heading, justify="right")
    for name, given in contenders.items():
        table.add_row(name, *judged(given, truth, simple, schema))
    console.print(table)
    cost = cost_of_rows(reader.graph, tokenizer, asked, schema)
    for line in (note, *remarks(answers, asked, training, schema), cost):
        if line:
            console.print(line, soft_wrap=True, highlight=False, markup=False)
    console.print(f"{len(training):,} training rows. The model answered in {seconds:.0f} s.", highlight=False)


def model_answers(
    reader: GraphReader, tokenizer: Tokenizer, asked: Sequence[Row], schema: Schema, samples: int | None, seed: int
) -> list[str]:
    """The model's answer for each row; see `print_score`."""
    times = samples or 1
    questions = [schema.question(row) for row in asked for _ in range(times)]
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("asking the model", total=len(questions))
        temperature = 0.0 if samples is None else 1.0
        texts = complete(reader, tokenizer, questions, temperature, seed, lambda: progress.advance(task))
    answers = [read_answer(text) for text in texts]
    return [_agreed(answers[start : start + times], schema) for start in range(0, len(answers), times)]


def judged(answers: Sequence[str], truth: Sequence[str], otherwise: str, schema: Schema) -> list[str]:
    """How good answers are, as cells of a table; where a number is asked for, no number counts as `otherwise`."""
    if schema.target.kind != NUMBER:
        from scipy.stats import binomtest

        right = sum(answer == true for answer, true in zip(answers, truth, strict=True))
        interval = binomtest(right, len(truth)).proportion_ci(method="wilson")
        return [f"{100 * right / len(truth):.1f} %  ({100 * interval.low:.1f} to {100 * interval.high:.1f})"]
    true = np.array([float(value) for value in truth])
    given = np.array([number if (number := as_number(answer)) is not None else float(otherwise) for answer in answers])
    errors = np.abs(given - true)
    half = 1.96 * errors.std() / np.sqrt(len(errors))
    spread = np.square(true - true.mean()).sum()
    r2 = f"{1 - np.square(errors).sum() / spread:.3f}" if spread > 0 else "-"
    return [f"{_short(errors.mean(), 4)} ± {_short(half, 2)}", r2]


def remarks(answers: Sequence[str], asked: Sequence[Row], training: Sequence[Row], schema: Schema) -> list[str]:
    """What one must know to read the table."""
    name = schema.target.name
    if schema.target.kind == NUMBER:
        strange = sum(as_number(answer) is None for answer in answers)
        told = f"{strange:,} answers were no numbers; the median stands in for them."
    else:
        known = {row[name] for row in training}
        strange = sum(answer not in known for answer in answers)
        told = f"{strange:,} answers were no {name} of any training row."
    near = near_duplicates(asked, training, schema)
    return [
        *([told] if strange else []),
        f"{near:,} of these test rows ({100 * near / len(asked):.1f} %) differ from some training row in one feature "
        "only; none has all features of one.",
    ]


def cost_of_rows(graph: Graph, tokenizer: Tokenizer, asked: Sequence[Row], schema: Schema) -> str:
    """How much of what a night lowers is about the target."""
    questions = [schema.question(row) for row in asked]
    answers = [schema.document(row).removeprefix(text) for row, text in zip(asked, questions, strict=True)]
    whole, target = mean_bits(graph, tokenizer, questions, answers)
    return (
        f"A whole row costs the model {whole:.1f} bits, its {schema.target.name} {target:.2f} of them; "
        "the score of a night, val_bpb, is about the whole."
    )


def near_duplicates(asked: Iterable[Row], training: Iterable[Row], schema: Schema) -> int:
    """How many rows of `asked` have all features but one in common with a row of `training`."""
    names = [column.name for column in schema.columns]

    def all_but_one(row: Row) -> list[tuple]:
        values = tuple(row.get(name) for name in names)
        return [(index, *values[:index], *values[index + 1 :]) for index in range(len(names))]

    if len(names) < 2:
        return 0
    waiting: dict[tuple, list[int]] = {}
    for index, row in enumerate(asked):
        for key in all_but_one(row):
            waiting.setdefault(key, []).append(index)
    found = {index for row in training for key in all_but_one(row) for index in waiting.get(key, ())}
    return len(found)


def _agreed(answers: Sequence[str], schema: Schema) -> str:
    """One answer for several: the median of those that are numbers, else the commonest."""
    numbers = [number for answer in answers if (number := as_number(answer)) is not None]
    if len(answers) > 1 and schema.target.kind == NUMBER and numbers:
        return f"{median(numbers):.10g}"
    return Counter(answers).most_common(1)[0][0]


def _short(value: float, digits: int) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.{digits}g}"


def _middle(schema: Schema) -> str:
    return "median" if schema.target.kind == NUMBER else "commonest"
