"""The catalogue of structural edits: each applies, passes the gate, is causal, exportable, and learns; and in pairs."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten, tree_unflatten
from small_project import PROJECT, SMALL_KNOBS, small_source

from mlx_autoresearch.agents.structure import CATALOGUE, StructuralEdit
from mlx_autoresearch.gate import check_source, fingerprint
from mlx_autoresearch.knobs import read_knobs, write_knobs

ORIGINAL = (PROJECT / "train_mlx.py").read_text(encoding="utf-8")
SMALL = write_knobs(small_source(), {"BATCH_SIZE": 1}, machine_class=0)
STEPS = 10
EXCLUSIVE = {
    ("sandwich norm", "parallel block"),
    ("1 - sqrt cool-down", "cosine cool-down"),
    ("no Nesterov", "rising momentum"),
}
"""Pairs that rewrite the same lines; all others go together."""


@pytest.fixture(scope="module", autouse=True)
def uncompiled() -> Iterator[None]:
    """Compiling every edit's step would take minutes."""
    mx.disable_compile()
    yield
    mx.enable_compile()


class Training:
    """What train_mlx.py imports: a clock of `STEPS` steps, one batch over and over, and what was handed in."""

    def __init__(self) -> None:
        self.steps, self.handed_in = 0, []
        self.tokens = mx.random.randint(1, SMALL_KNOBS["VOCAB_SIZE"], (1, 65), key=mx.random.key(0))

    def resume(self, data: Training, *state: object) -> int:
        return 0

    def running(self) -> bool:
        self.steps += 1
        return self.steps <= STEPS

    def progress(self) -> float:
        return (self.steps - 1) / STEPS

    def elapsed(self) -> float:
        return 2.0 * self.steps  # every step is logged

    def batches(self, vocab_size: int, batch_size: int, sequence_length: int) -> Training:
        assert (batch_size, sequence_length) == (1, 64)
        return self

    def __next__(self) -> tuple[mx.array, mx.array]:
        return self.tokens[:, :-1], self.tokens[:, 1:]

    wait_seconds = 0.0

    def close(self) -> None:
        pass

    def as_prepare(self) -> SimpleNamespace:
        """The module `prepare`, as far as train_mlx.py knows it."""
        return SimpleNamespace(
            SEED=1,
            TIME_BUDGET=300.0,
            Clock=lambda: self,
            batches=self.batches,
            hand_in=self.handed_in.append,
            log=lambda step, **numbers: None,
            machine_class=lambda: 0,
            run=lambda main: main(),
        )


def load(source: str, monkeypatch: pytest.MonkeyPatch, training: Training) -> ModuleType:
    module = ModuleType("train_mlx_edited")
    monkeypatch.setitem(sys.modules, "prepare", training.as_prepare())
    exec(compile(source, "train_mlx.py", "exec"), module.__dict__)
    mx.random.seed(3)
    return module


def awake_model(module: ModuleType) -> nn.Module:
    """A model whose zero-initialised matrices are not zero, so that every part shows in the logits."""
    model = module.build_model()
    weights = [
        (name, weight if mx.any(weight != 0).item() else mx.random.normal(weight.shape, key=mx.random.key(n)) * 0.1)
        for n, (name, weight) in enumerate(tree_flatten(model.parameters()))
    ]
    model.update(tree_unflatten(weights))
    return model


def edits() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("edit", CATALOGUE, ids=[edit.name for edit in CATALOGUE])


@edits()
def test_an_edit_is_another_valid_program(edit: StructuralEdit) -> None:
    assert fingerprint(edit.apply(ORIGINAL), 0) != fingerprint(ORIGINAL, 0)
    for source in (ORIGINAL, SMALL):  # whatever the knobs say
        edited = edit.apply(source)
        check_source(edited)
        assert edit.is_in(edited) and not edit.is_in(source)
        assert edit.apply(edited) is None
        assert max(map(len, edited.splitlines())) <= 120
    before, after = read_knobs(ORIGINAL, 0), read_knobs(edit.apply(ORIGINAL), 0)
    new = [name for name in after if name not in before]
    assert all(after[name].range is not None for name in new)
    assert {name: after[name].value for name in before if name in after} == {n: k.value for n, k in before.items()}
    assert edit.description and "20" in edit.hypothesis  # a year: who found it


@edits()
def test_an_edited_model_is_causal_can_be_exported_and_stays_in_half_precision(
    edit: StructuralEdit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = load(edit.apply(SMALL), monkeypatch, Training())
    model = awake_model(module)
    tokens = mx.random.randint(1, 1024, (2, 100), key=mx.random.key(1))  # longer than SEQUENCE_LENGTH, as when scored
    other = mx.random.randint(1, 1024, (2, 100), key=mx.random.key(2))
    logits = model(tokens)
    assert logits.shape == (2, 100, 1024) and logits.dtype == mx.float32
    for cut in (1, 2, 63, 65, 99):
        changed = model(mx.concatenate([tokens[:, :cut], other[:, cut:]], axis=1))
        np.testing.assert_allclose(changed[:, :cut], logits[:, :cut], atol=1e-4)
        assert mx.abs(changed[:, cut:] - logits[:, cut:]).max().item() > 1e-2

    mx.export_function(str(tmp_path / "graph.mlxfn"), lambda x: model(x), tokens)
    (exported,) = mx.import_function(str(tmp_path / "graph.mlxfn"))(tokens)
    np.testing.assert_allclose(exported, logits, atol=1e-5)

    module.DTYPE = mx.bfloat16  # what Metal runs
    assert model.hidden(tokens).dtype == mx.bfloat16 and model(tokens).dtype == mx.float32


@edits()
def test_an_edited_program_learns_and_hands_in(edit: StructuralEdit, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training()
    module = load(edit.apply(SMALL), monkeypatch, training)
    module.main()
    (model,) = training.handed_in
    assert training.steps == STEPS + 1
    loss = module.loss_function(model, training.tokens[:, :-1], training.tokens[:, 1:]).item()
    assert loss < math.log(1024) - 1
    start = dict(tree_flatten(module.build_model().parameters()))
    trained = dict(tree_flatten(model.parameters()))
    constant = [name for name, weight in trained.items() if weight.shape == start[name].shape and weight.size > 1]
    assert all(mx.any(trained[name] != start[name]).item() for name in constant)


def test_pairs_go_together_unless_they_rewrite_the_same_lines() -> None:
    applied = {edit.name: edit.apply(ORIGINAL) for edit in CATALOGUE}
    for one, other in itertools.combinations(CATALOGUE, 2):
        both = [other.apply(applied[one.name]), one.apply(applied[other.name])]
        assert (None in both) == ((one.name, other.name) in EXCLUSIVE), (one.name, other.name)
        if None not in both:
            check_source(both[0])
            assert one.is_in(both[0]) and one.apply(both[0]) is None and other.apply(both[0]) is None


def test_everything_at_once_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    source, training = SMALL, Training()
    names = []
    for edit in CATALOGUE:
        edited = edit.apply(source)
        names += [edit.name] if edited is not None else []
        source = edited or source
    assert len(names) == len(CATALOGUE) - len(EXCLUSIVE)
    check_source(source)
    module = load(source, monkeypatch, training)
    module.main()
    loss = module.loss_function(training.handed_in[0], training.tokens[:, :-1], training.tokens[:, 1:]).item()
    assert loss < math.log(1024) - 0.3


def test_an_edit_is_all_or_nothing() -> None:
    edit = StructuralEdit("two", "", "", "c", (("a", "c"), ("b", "d")))
    assert edit.apply("a b") == "c d"
    assert edit.apply("a") is None  # one line was rewritten
    assert edit.apply("a b b") is None  # nobody knows which one is meant
    assert edit.apply("a b c") is None  # in already
    assert StructuralEdit("off", "", "", "c", (("a", "c"),), unless=("OFF = 1",)).apply("a OFF = 1") is None
