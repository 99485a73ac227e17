"""train_mlx.py as a program: the model's properties, the loss against MLX's own, the optimizer, the knobs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten, tree_unflatten

from benchmarks.training_file import load_training_file
from mlx_autoresearch.curve import read_points
from mlx_autoresearch.dataset import Dataset
from mlx_autoresearch.knobs import read_knobs, unread_knobs, write_knobs
from mlx_autoresearch.machine import awake_seconds
from mlx_autoresearch.process import child_environment
from mlx_autoresearch.settings import SETTINGS_VARIABLE, RunSettings

PROJECT = Path(__file__).resolve().parent.parent
SOURCE = (PROJECT / "train_mlx.py").read_text(encoding="utf-8")
SMALL = {"DEPTH": 3, "WIDTH": 64, "HEAD_DIM": 32, "KV_HEADS": 2, "VOCAB_SIZE": 1024, "SEQUENCE_LENGTH": 64}


def load(**knobs: object) -> ModuleType:
    """train_mlx.py with other knobs, as a module, on the CPU column."""
    module = load_training_file({**SMALL, **knobs})
    mx.random.seed(3)
    return module


def random_tokens(rows: int, length: int, seed: int = 0) -> mx.array:
    return mx.random.randint(1, 1024, (rows, length), key=mx.random.key(seed))


def awake_model(module: ModuleType) -> nn.Module:
    """A model whose zero-initialised matrices are not zero, so that every part shows in the logits."""
    model = module.build_model()
    weights = [
        (
            name,
            weight if mx.any(weight != 0).item() else mx.random.normal(weight.shape, key=mx.random.key(number)) * 0.1,
        )
        for number, (name, weight) in enumerate(tree_flatten(model.parameters()))
    ]
    model.update(tree_unflatten(weights))
    return model


VARIANTS = [
    {},
    {"QUERIES_PER_KV": 2, "KV_HEADS": 1},
    {"WINDOW_PATTERN": "L", "VALUE_EMBEDDINGS": False},
    {"TIED_HEAD": True, "ACTIVATION": "silu"},
    {"ACTIVATION": "gelu", "SHORT_WINDOW": 0.125},
]


@pytest.mark.parametrize("knobs", VARIANTS)
def test_logits_have_the_right_shape_and_bound_and_are_causal(knobs: dict) -> None:
    module = load(**knobs)
    model = awake_model(module)
    tokens = random_tokens(2, 200)  # longer than SEQUENCE_LENGTH: models are scored on longer rows than they train on
    logits = model(tokens)
    assert logits.shape == (2, 200, 1024) and logits.dtype == mx.float32
    assert mx.abs(logits).max().item() <= module.SOFTCAP
    for cut in (1, 63, 64, 65, 150, 199):
        changed = mx.concatenate([tokens[:, :cut], random_tokens(2, 200 - cut, seed=1)], axis=1)
        np.testing.assert_allclose(model(changed)[:, :cut], logits[:, :cut], atol=1e-4)
        assert mx.abs(model(changed)[:, cut:] - logits[:, cut:]).max().item() > 1e-2


def test_window_hides_what_is_too_far_back() -> None:
    module = load(DEPTH=2, WINDOW_PATTERN="L", SEQUENCE_LENGTH=64)
    model = awake_model(module)
    tokens = random_tokens(1, 200)
    changed = mx.concatenate([random_tokens(1, 20, seed=9), tokens[:, 20:]], axis=1)
    moved = mx.abs(model(changed) - model(tokens)).max(axis=-1)[0]
    assert moved[:40].max().item() > 1e-2
    assert moved[20 + 2 * 63 :].max().item() < 1e-4  # two blocks see 63 tokens back each


@pytest.mark.parametrize(("window", "length"), [(64, 64), (16, 64), (700, 700), (50, 700), (200, 700)])
def test_attention_in_blocks_equals_attention_at_once(window: int, length: int) -> None:
    module = load(KV_HEADS=2, QUERIES_PER_KV=2)
    shapes = [(2, 4, length, 32), (2, 2, length, 32), (2, 2, length, 32)]
    q, k, v = (mx.random.normal(shape, key=mx.random.key(i)) for i, shape in enumerate(shapes))
    q, k = module.norm(q), module.norm(k)
    back = mx.arange(length)[:, None] - mx.arange(length)[None, :]
    mask = (back >= 0) & (back < window)
    expected = mx.fast.scaled_dot_product_attention(q, k, v, scale=32**-0.5, mask=mask)
    np.testing.assert_allclose(module.attention(q, k, v, window), expected, rtol=1e-4, atol=1e-5)


def test_loss_and_gradients_equal_mlx_cross_entropy() -> None:
    module = load()
    module.LOSS_CHUNK = 40  # several chunks, the last one short
    hidden = mx.random.normal((100, 64), key=mx.random.key(0))
    weight = mx.random.normal((1024, 64), key=mx.random.key(1))
    targets = mx.random.randint(0, 1024, (100,), key=mx.random.key(2))

    def reference(h: mx.array, w: mx.array) -> mx.array:
        logits = module.SOFTCAP * mx.tanh(h @ w.T / module.SOFTCAP)
        return 3 * nn.losses.cross_entropy(logits, targets, reduction="mean")

    def ours(h: mx.array, w: mx.array) -> mx.array:
        return 3 * module.softcapped_cross_entropy(h, w, targets)[0]

    expected, expected_gradients = mx.value_and_grad(reference, argnums=(0, 1))(hidden, weight)
    loss, gradients = mx.value_and_grad(ours, argnums=(0, 1))(hidden, weight)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    for ours_, theirs in zip(gradients, expected_gradients, strict=True):
        scale = mx.abs(theirs).max().item()
        np.testing.assert_allclose(np.array(ours_) / scale, np.array(theirs) / scale, atol=2e-3)


def test_half_precision_reaches_every_activation_and_no_weight() -> None:
    """What Metal runs: bfloat16 activations, float32 weights, gradients and logits."""
    module = load()
    module.DTYPE = mx.bfloat16
    model = awake_model(module)
    tokens = random_tokens(2, 65)
    assert model.hidden(tokens).dtype == mx.bfloat16 and model(tokens).dtype == mx.float32
    loss, gradients = nn.value_and_grad(model, module.loss_function)(model, tokens[:, :-1], tokens[:, 1:])
    assert loss.dtype == mx.float32 and np.isfinite(loss.item())
    assert all(gradient.dtype == mx.float32 for _, gradient in tree_flatten(gradients))
    module.DTYPE = mx.float32
    assert loss.item() == pytest.approx(module.loss_function(model, tokens[:, :-1], tokens[:, 1:]).item(), rel=0.02)


def test_chunks_bound_the_memory_of_the_loss() -> None:
    module = load()
    hidden, weight = mx.random.normal((2048, 64)), mx.random.normal((1024, 64))
    targets = mx.random.randint(0, 1024, (2048,))
    mx.eval(hidden, weight, targets)
    peaks = []
    for module.LOSS_CHUNK in (2048, 128):
        mx.clear_cache()
        mx.reset_peak_memory()
        mx.eval(module.softcapped_cross_entropy(hidden, weight, targets))
        peaks.append(mx.get_peak_memory())
    assert peaks[1] < 0.5 * peaks[0]


def test_a_checkpointed_step_is_the_same_step_in_less_memory(tmp_path: Path) -> None:
    losses, weights, peaks = {}, {}, {}
    for checkpoint in (False, True):
        module = load(CHECKPOINT=checkpoint, QUERIES_PER_KV=2, KV_HEADS=1, DEPTH=4)
        model = awake_model(module)
        optimizer = module.Optimizer(dict(tree_flatten(model.trainable_parameters())))
        step, tokens = module.make_step(model, optimizer), random_tokens(16, 129)
        batch = [(tokens[:, :-1], tokens[:, 1:])]
        mx.eval(step(batch, mx.array(0.1))[0], model.state, optimizer.state)
        mx.clear_cache()
        mx.reset_peak_memory()
        loss = step(batch, mx.array(0.1))[0]
        mx.eval(loss, model.state, optimizer.state)
        losses[checkpoint], peaks[checkpoint] = loss.item(), mx.get_peak_memory()
        weights[checkpoint] = dict(tree_flatten(model.parameters()))
    assert losses[True] == pytest.approx(losses[False], rel=1e-5)
    for name, weight in weights[False].items():
        np.testing.assert_allclose(weights[True][name], weight, rtol=1e-3, atol=1e-4, err_msg=name)
    assert peaks[True] < 0.75 * peaks[False]
    model.eval()  # what is computed again for gradients can't be exported
    graph = str(tmp_path / "model.mlxfn")
    mx.export_function(graph, lambda tokens: model(tokens), tokens)
    np.testing.assert_allclose(mx.import_function(graph)(tokens)[0], model(tokens), atol=1e-4)


def test_orthogonalize_brings_singular_values_near_one() -> None:
    module = load()
    matrices = mx.random.normal((3, 48, 96), key=mx.random.key(4)) * mx.array([1e-3, 1.0, 50.0])[:, None, None]
    values = np.linalg.svd(np.array(module.orthogonalize(matrices)), compute_uv=False)
    assert values.min() > 0.7 and values.max() < 1.3


def train(module: ModuleType, steps: int, accumulation: int = 1) -> list[float]:
    """Losses of `steps` compiled optimizer steps over the same four batches."""
    model = module.build_model()
    optimizer = module.Optimizer(dict(tree_flatten(model.trainable_parameters())))
    step = module.make_step(model, optimizer)
    losses = []
    for number in range(steps):
        tokens = random_tokens(8, 65, seed=number % 4)
        rows = 8 // accumulation
        parts = [tokens[i * rows : (i + 1) * rows] for i in range(accumulation)]
        loss, _ = step([(part[:, :-1], part[:, 1:]) for part in parts], mx.array(1.0))
        mx.eval(loss, model.state, optimizer.state)
        losses.append(loss.item())
    return losses


def test_loss_falls_on_repeated_batches_and_parameters_all_move() -> None:
    module = load()
    losses = train(module, 24)
    assert losses[0] == pytest.approx(np.log(1024), abs=0.05) and losses[-1] < losses[0] - 2


def test_every_parameter_is_trained() -> None:
    module = load()
    model = module.build_model()
    before = {name: np.array(weight) for name, weight in tree_flatten(model.parameters())}
    optimizer = module.Optimizer(dict(tree_flatten(model.trainable_parameters())))
    step = module.make_step(model, optimizer)
    for seed in range(3):
        tokens = random_tokens(8, 65, seed=seed)
        mx.eval(step([(tokens[:, :-1], tokens[:, 1:])], mx.array(1.0)), model.state, optimizer.state)
    for name, weight in tree_flatten(model.parameters()):
        assert np.abs(np.array(weight) - before[name]).max() > 0, name


def test_norms_are_those_of_the_gradients_and_of_the_update() -> None:
    module = load()
    model = module.build_model()
    before = {name: np.array(weight) for name, weight in tree_flatten(model.parameters())}
    optimizer = module.Optimizer(dict(tree_flatten(model.trainable_parameters())))
    tokens = random_tokens(8, 65, seed=0)
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    gradients = nn.value_and_grad(model, module.loss_function)(model, inputs, targets)[1]
    gradient_norm = np.sqrt(sum(np.square(np.array(g, dtype=np.float64)).sum() for _, g in tree_flatten(gradients)))
    _, norms = module.make_step(model, optimizer)([(inputs, targets)], mx.array(1.0))
    mx.eval(norms, model.state)
    moved = [np.array(weight, dtype=np.float64) - before[name] for name, weight in tree_flatten(model.parameters())]
    update_norm = np.sqrt(sum(np.square(difference).sum() for difference in moved))
    np.testing.assert_allclose(np.array(norms), [gradient_norm, update_norm], rtol=1e-3)


def test_accumulation_equals_one_large_batch() -> None:
    np.testing.assert_allclose(train(load(), 6, accumulation=2), train(load(), 6), rtol=1e-4)


def test_learning_rate_schedule() -> None:
    module = load(WARMUP=0.1, WARMDOWN=0.5, FINAL_LR=0.1)
    rates = [module.learning_rate(progress) for progress in (0.0, 0.05, 0.1, 0.5, 0.75, 1.0)]
    assert rates[0] < 0.02 and rates[1] == pytest.approx(0.5, abs=0.02)
    assert rates[2:] == pytest.approx([1.0, 1.0, 0.55, 0.1])
    assert load(WARMUP=0.0).learning_rate(0.0) == 1.0


def test_divergence_is_told_at_once() -> None:
    with pytest.raises(FloatingPointError, match="step 7"):
        load().check_loss(float("nan"), 7)


def test_every_knob_is_read_and_searchable_ones_have_ranges() -> None:
    assert unread_knobs(SOURCE) == []
    knobs = read_knobs(SOURCE, machine_class=0)
    assert sum(knob.range is not None for knob in knobs.values()) >= 20
    for column in range(4):
        assert set(read_knobs(SOURCE, machine_class=column)) == set(knobs)


def test_file_is_short_and_imports_only_what_it_may() -> None:
    assert len(SOURCE.splitlines()) <= 500
    for node in ast.parse(SOURCE).body:
        assert not isinstance(node, ast.For | ast.While | ast.With), "work at import time"


def test_two_processes_reach_the_losses_of_one(dataset: Dataset, tmp_path: Path) -> None:
    """Ring backend over loopback, four steps: the same curve and the same model as one process with the same batch."""
    small = write_knobs(SOURCE, {**SMALL, "DEPTH": 2, "BATCH_SIZE": 8}, machine_class=0)
    small = small.replace("while clock.running():", "while step < 4:").replace(
        "> max(1.0, TIME_BUDGET / 100):", "> 0.0:"
    )
    file = tmp_path / "train_small.py"
    file.write_text(small)
    curves = {}
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        settings = RunSettings(str(dataset.folder), str(folder), 300.0, 5, awake_seconds())
        settings.save(folder / "run.json")
        command = [sys.executable, str(file)]
        if processes > 1:
            launcher = [str(Path(sys.executable).with_name("mlx.launch")), "-n", "2", "--backend", "ring"]
            command = [*launcher, "--cwd", str(tmp_path), "--", *command]
        environment = child_environment({SETTINGS_VARIABLE: str(folder / "run.json"), "OPENBLAS_NUM_THREADS": "1"})
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-2000:]
        curves[processes] = [point["loss"] for point in read_points(folder / "curve.jsonl")]
        assert (folder / "model.mlxfn").exists()
    assert len(curves[1]) >= 3
    np.testing.assert_allclose(curves[1], curves[2], rtol=1e-4)
