"""The ablation benchmark: what is taken away changes the speed, never the training; the page says what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

from benchmarks import ablation
from benchmarks.interleaved import Measurement
from benchmarks.mlx_workload import load
from benchmarks.plain_step import make_plain

SMALL = {"DEPTH": 2, "WIDTH": 64, "HEAD_DIM": 32, "KV_HEADS": 2, "QUERIES_PER_KV": 1, "VOCAB_SIZE": 1024}

LENGTH = 320
"""More than a block of queries."""


@pytest.fixture
def uncompiled() -> Iterator[None]:
    """g++ would take a minute for all variants together."""
    mx.disable_compile()
    yield
    mx.enable_compile()


def moves_after(technique: ablation.Technique | None) -> dict[str, np.ndarray]:
    """How far parameters move in three steps on the same batch, with a technique taken away."""
    edits = technique.edits if technique else ()
    options = technique.options if technique else {}
    module = load({**SMALL, "LOSS_CHUNK": 256}, LENGTH, options.get("data_type"), edits)
    make_plain(module, options.get("plain", ()))
    mx.random.seed(1)
    model = module.build_model()
    optimizer = module.Optimizer(dict(tree_flatten(model.trainable_parameters())))
    before = {name: np.array(value) for name, value in tree_flatten(model.parameters())}
    step = module.make_step(model, optimizer)
    tokens = mx.random.randint(0, 1024, (2, LENGTH + 1), key=mx.random.key(0))
    for _ in range(3):
        loss, _ = step([(tokens[:, :-1], tokens[:, 1:])], mx.array(0.05))
        mx.eval(loss, model.state, optimizer.state)
    return {name: np.array(value) - before[name] for name, value in tree_flatten(model.parameters())}


def test_without_a_technique_the_training_is_the_same(uncompiled: None) -> None:
    expected = moves_after(None)
    for technique in ablation.TECHNIQUES:
        # LOSS_CHUNK is set by a knob here, so its edit finds another value.
        edits = tuple((before.replace("2048 ", "256 "), after) for before, after in technique.edits)
        found = moves_after(ablation.Technique("", "", "", edits, technique.options))
        for name, move in expected.items():
            apart = np.linalg.norm(found[name] - move) / np.linalg.norm(move)
            assert apart < 1e-2, f"{technique.name}: {name} moves otherwise ({apart:.1e})"
    mx.set_cache_limit(1 << 30)  # one technique is the buffer cache, which is this process's too


def test_every_setting_has_options_that_the_workload_takes() -> None:
    for where in (*ablation.PLAIN_SETTINGS, ablation.ABLATION_SETTING, ablation.LONG_SETTING):
        names = [variant.name for variant in ablation.ablation_variants(where, ablation.TECHNIQUES)]
        assert len(set(names)) == len(ablation.TECHNIQUES) + 1
        for variant in (*ablation.plain_variants(where), *ablation.ablation_variants(where, ablation.TECHNIQUES)):
            load(variant.options["knobs"], where.context, edits=[tuple(edit) for edit in variant.options["edits"]])


def measured(name: str, seconds: float, memory: int, failure: str = "") -> Measurement:
    return Measurement(name, failure, rounds=((seconds, seconds), (2 * seconds,) * 2), peak_memory_bytes=memory)


def test_rows_are_ratios_within_a_round() -> None:
    row = ablation.row_of(measured("plain", 3.0, 900), measured("ours", 2.0, 600))
    assert (row.time, row.time_low, row.time_high, row.memory) == (1.5, 1.5, 1.5, 1.5)
    dead = ablation.row_of(Measurement("plain", "it ended with status 1"), measured("ours", 2.0, 600))
    assert dead.time is None and dead.failure


def test_page_shows_what_was_measured_and_what_was_not() -> None:
    ours, slow = measured("train_mlx.py", 2.0, 2**20), measured("plain", 3.0, 2**21)
    rows = [asdict(ablation.row_of(m, ours)) for m in (ours, slow, measured("checkpointed", 2.2, 2**19))]
    long, short = ablation.LONG_SETTING.name, ablation.ABLATION_SETTING.name
    techniques = [measured("compiled step", 2.5, 2**20), Measurement("fused RoPE", "fused RoPE ended with status 9")]
    ablated = [asdict(ablation.row_of(m, ours)) for m in techniques]
    dated = {"date": "2026-01-01"}
    plain, ablation_part = ({"setting": long, "rows": rows, **dated}, {"setting": short, "rows": ablated, **dated})
    results = {"machine": "a machine", "backend": "cpu", "plain": [plain], "ablation": [ablation_part]}
    page = ablation.page(results)
    assert "a machine, 2026-01-01." in page
    lines = {line.split(" | ")[0].removeprefix("| "): line for line in page.splitlines()}
    assert "**1.50** (1.50-1.50) | 2.00 | 1.10 | 0.50" in lines[long]
    assert "1.25 (1.25-1.25) | 1.00" in lines["compiled step"]
    assert "status 9" in lines["fused RoPE"]
    assert "not measured on cpu" in lines["bfloat16 activations"]
