"""Two honest baselines for a table's target, from the training rows that the model had too.

- One that looks at nothing: the commonest label, or the median number.
- scikit-learn's gradient boosting (HistGradientBoosting) with its defaults: numbers as numbers, labels as categories,
  columns of text as TF-IDF of their commonest words. It is what one would use for a table, and hard to beat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.rows import LABEL, LABEL_VALUES, NUMBER, TEXT, Column, Schema, as_number

Row = Mapping[str, str]

WORDS = 500
"""Words of a text column that gradient boosting sees."""

BOOSTED_ROWS = 100_000
"""Most training rows for gradient boosting, drawn at random: 400 MB of numbers with a column of text."""

BOOSTED_LABELS = 50
"""Most different labels for gradient boosting: it grows trees for each of them."""


def commonest_answer(training: Sequence[Row], schema: Schema) -> str:
    """The answer that is best without looking at a row: the median number or the commonest label."""
    answers = [row[schema.target.name] for row in training]
    if schema.target.kind == NUMBER:
        return f"{median(float(answer) for answer in answers):.10g}"
    return Counter(answers).most_common(1)[0][0]


def boosted_answers(training: Sequence[Row], asked: Sequence[Row], schema: Schema) -> list[str]:
    """What gradient boosting, trained on `training`, answers to the rows of `asked`.

    Raises:
        AutoresearchError: scikit-learn is not installed, or there are too many labels for it; says what to do.
    """
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
        from threadpoolctl import threadpool_limits
    except ImportError:
        raise AutoresearchError(
            "gradient boosting needs scikit-learn: .venv/bin/python -m pip install -e '.[bench]'"
        ) from None
    rng = np.random.default_rng(0)
    if len(training) > BOOSTED_ROWS:
        training = [training[index] for index in rng.choice(len(training), BOOSTED_ROWS, replace=False)]
    truth = [row[schema.target.name] for row in training]
    is_number = schema.target.kind == NUMBER
    if not is_number and len(set(truth)) > BOOSTED_LABELS:
        raise AutoresearchError(
            f"{schema.target.name} has {len(set(truth))} different values, more than the {BOOSTED_LABELS} that "
            "gradient boosting is tried with"
        )
    learned, wanted, categorical = _features(training, asked, schema)
    make = HistGradientBoostingRegressor if is_number else HistGradientBoostingClassifier
    model = make(categorical_features=categorical, random_state=0)
    # Its threads wait for each other at full speed: where another program runs, two took 80 times as long as one.
    with threadpool_limits(1):
        model.fit(learned, [float(answer) for answer in truth] if is_number else truth)
        answers = model.predict(wanted)
    return [f"{answer:.10g}" if is_number else str(answer) for answer in answers]


def _features(training: Sequence[Row], asked: Sequence[Row], schema: Schema) -> tuple[Any, Any, Any]:
    """float32 (training rows, F), float32 (asked rows, F), and bool (F,): which are categories."""
    blocks: list[tuple[np.ndarray, np.ndarray]] = []
    categorical: list[bool] = []
    for column in schema.columns:
        block = _column_features(training, asked, column)
        blocks.append(block)
        categorical += [column.kind == LABEL] * block[0].shape[1]
    learned, wanted = (np.concatenate(parts, axis=1) for parts in zip(*blocks, strict=True))
    return learned, wanted, np.array(categorical)


def _column_features(training: Sequence[Row], asked: Sequence[Row], column: Column) -> tuple[np.ndarray, np.ndarray]:
    if column.kind == TEXT:
        return _word_features(training, asked, column.name)
    if column.kind == NUMBER:
        code = as_number
    else:
        commonest = Counter(row[column.name] for row in training if column.name in row).most_common(LABEL_VALUES)
        code = {value: float(index) for index, (value, _) in enumerate(commonest)}.get

    def coded(rows: Sequence[Row]) -> np.ndarray:
        values = (code(row[column.name]) if column.name in row else None for row in rows)
        return np.array([[np.nan if value is None else value] for value in values], np.float32)

    return coded(training), coded(asked)


def _word_features(training: Sequence[Row], asked: Sequence[Row], name: str) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(max_features=WORDS, dtype=np.float32)
    try:
        learned = vectorizer.fit_transform([row.get(name, "") for row in training])
    except ValueError:  # no words in it
        return np.zeros((len(training), 1), np.float32), np.zeros((len(asked), 1), np.float32)
    return learned.toarray(), vectorizer.transform([row.get(name, "") for row in asked]).toarray()
