"""train_mlx.py as a module with other knobs, so that a benchmark measures the very file that a night edits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Literal

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.knobs import Value, write_knobs
from mlx_autoresearch.paths import PROJECT

DataType = Literal["float32", "bfloat16"]

MACHINE_CLASS = "M = machine_class()"
"""The line that picks the machine's column of the knobs; a benchmark picks the first one and sets what it needs."""

DATA_TYPE = "DTYPE = mx.bfloat16 if ON_GPU else mx.float32"
"""The line that picks the activations' dtype."""

WITHOUT_MUON = (
    'MATRICES = ("query.weight", "key.weight", "value.weight", "output.weight", "up.weight", "down.weight")',
    "MATRICES = ()",
)
"""An edit that leaves every parameter to AdamW."""


def load_training_file(
    knobs: Mapping[str, Value], data_type: DataType | None = None, edits: Sequence[tuple[str, str]] = ()
) -> ModuleType:
    """train_mlx.py, run as a module of its own: `build_model`, `make_step`, `Optimizer` and the rest.

    Args:
        knobs: values by name, in place of those of the CPU column.
        data_type: of the activations; None for what the file picks on this machine.
        edits: (before, after) pieces of text; `before` must occur exactly once.

    Raises:
        AutoresearchError: a knob doesn't exist or an edit finds nothing, because train_mlx.py has changed.
    """
    source = write_knobs((PROJECT / "train_mlx.py").read_text(encoding="utf-8"), knobs, machine_class=0)
    replacements = [(MACHINE_CLASS, "M = 0"), *edits]
    if data_type is not None:
        replacements.append((DATA_TYPE, f"DTYPE = mx.{data_type}"))
    module = ModuleType("train_mlx")
    exec(compile(edited(source, replacements), "train_mlx.py", "exec"), module.__dict__)
    return module


def edited(source: str, edits: Sequence[tuple[str, str]]) -> str:
    """The text with every `before` replaced by its `after`.

    Raises:
        AutoresearchError: a `before` does not occur exactly once, because train_mlx.py has changed.
    """
    for before, after in edits:
        if source.count(before) != 1:
            raise AutoresearchError(f"train_mlx.py has no single {before.strip()!r}; mend the benchmark that edits it.")
        source = source.replace(before, after)
    return source
