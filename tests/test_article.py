"""The article's configurations still apply to train_mlx.py, keep the contract, and are what they say."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import mlx.core as mx
import pytest

from benchmarks.article import CONFIGURATIONS, Configuration
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.gate import check_source

SOURCE = (Path(__file__).resolve().parent.parent / "train_mlx.py").read_text(encoding="utf-8")


def test_configurations_apply_and_pass_the_gate() -> None:
    sources = [configuration.source(SOURCE, machine_class=0) for configuration in CONFIGURATIONS]
    assert sources[0] == SOURCE and len(set(sources)) == 3
    for source in sources:
        check_source(source)


def test_small_configuration_trains_everything_with_adamw() -> None:
    module = ModuleType("article")
    source = CONFIGURATIONS[1].source(SOURCE, machine_class=0).replace("M = machine_class()", "M = 0")
    exec(compile(source, "train_mlx.py", "exec"), module.__dict__)
    parameters = {"blocks.0.mlp.up.weight": mx.ones((8, 4)), "head.weight": mx.ones((4, 4))}
    optimizer = module.Optimizer(parameters)
    assert optimizer.muon == {} and {module.adam_learning_rate(name) for name in parameters} == {1.5e-3}
    updated = optimizer.update(parameters, {name: mx.ones_like(p) for name, p in parameters.items()}, mx.array(1.0))
    assert updated["head.weight"][0, 0].item() == pytest.approx(1 - 1.5e-3 * 0.01 - 1.5e-3, abs=1e-6)
    assert [module.learning_rate(progress) for progress in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.5, 0.0])
    assert (module.DEPTH, module.KV_HEADS, module.WIDTH, module.SEQUENCE_LENGTH) == (4, 3, 192, 128)


def test_edit_that_finds_nothing_is_an_error() -> None:
    with pytest.raises(AutoresearchError, match="no single"):
        Configuration("x", {}, (("no such line", ""),)).source(SOURCE, machine_class=0)
