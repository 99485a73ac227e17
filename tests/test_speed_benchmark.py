"""The speed benchmark: plain equals ours, variants take turns, dead workers speak, the file has what is shown."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten, tree_map

from benchmarks import mlx_workload, speed
from benchmarks.interleaved import Measurement, Plan, Spread, Variant, measure, ratios, spread
from benchmarks.plain_step import make_plain, make_plain_step
from benchmarks.speed import Configuration, Flops, Sweep, configurations, flops_per_step, visible_pairs
from benchmarks.training_file import load_training_file
from benchmarks.worker import Timing, Workload, time_one_by_one, time_overlapped, token_batches
from mlx_autoresearch.dataset import Dataset
from mlx_autoresearch.errors import AutoresearchError

TESTS = Path(__file__).resolve().parent
SMALL = {"DEPTH": 2, "WIDTH": 64, "HEAD_DIM": 32, "KV_HEADS": 2, "QUERIES_PER_KV": 2, "VOCAB_SIZE": 1024}
SHORT = Plan(rounds=2, turn_seconds=0.0, least_steps=2, warmup_steps=1)

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")


@pytest.fixture(autouse=True)
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """MLX computes the same uncompiled, and g++ would take most of a minute; here and in the workers."""
    monkeypatch.setenv("MLX_DISABLE_COMPILE", "1")
    mx.disable_compile()
    yield
    mx.enable_compile()


# Builders that workers import


def build_note(name: str, log: str, dies_at: int = 1000) -> Workload:
    """Writes down who ran; ends its process, with words, at its `dies_at`-th call."""
    calls = 0

    def run(steps: int) -> Timing:
        nonlocal calls
        calls += 1
        if calls == dies_at:
            print("first words\nthe last words", file=sys.stderr, flush=True)
            os._exit(7)
        print("something on standard output")  # must not disturb the answers
        with open(log, "a", encoding="utf-8") as file:
            print(name, steps, file=file)
        return [0.25] * steps, 1.5

    return Workload(run, peak_memory=lambda: 100 * calls, facts={"name": name})


def build_broken() -> Workload:
    raise AutoresearchError("this one can't be built")


def build_sleep() -> Workload:
    def run(steps: int) -> Timing:
        time.sleep(60)
        return [60.0] * steps, 0.0

    return Workload(run)


@pytest.fixture(autouse=True)
def workers_find_this_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(TESTS))


def note(name: str, log: Path, **options: object) -> Variant:
    return Variant(name, "test_speed_benchmark:build_note", {"name": name, "log": str(log), **options}, "torch")


# The plain step


def trained(plain: bool) -> tuple[list[float], dict[str, mx.array]]:
    """Losses and changes of parameters of three steps at context 320, which is two blocks of queries."""
    module = mlx_workload.load({**SMALL, "WINDOW_PATTERN": "SL"}, 320)
    assert module.ATTENTION_BLOCK < 320
    mx.random.seed(1)
    model = module.build_model()
    model.update(tree_map(lambda p: p if mx.any(p != 0) else mx.random.normal(p.shape) * 0.05, model.parameters()))
    before = dict(tree_flatten(model.trainable_parameters()))
    optimizer = module.Optimizer(before)
    step = (make_plain_step if plain else lambda m, *rest: m.make_step(*rest))(module, model, optimizer)
    losses = []
    for inputs, targets in token_batches(1024, 2, 320)[:3]:
        loss, _ = step([(mx.array(inputs), mx.array(targets))], mx.array(0.1))
        mx.eval(loss, model.state, optimizer.state)
        losses.append(loss.item())
    return losses, {name: after - before[name] for name, after in tree_flatten(model.parameters())}


def test_plain_step_does_the_same_training() -> None:
    (ours, our_changes), (plain, plain_changes) = trained(False), trained(True)
    assert ours == pytest.approx(plain, rel=1e-5)
    for name, change in our_changes.items():
        # Not element by element: Adam makes steps of full size from gradients that are nothing but rounding.
        difference = mx.linalg.norm(change - plain_changes[name]) / mx.linalg.norm(plain_changes[name])
        assert difference.item() < 2e-4, name


def test_plain_pieces_replace_what_is_there() -> None:
    module = load_training_file(SMALL)
    before = {name: getattr(module, name) for name in ("attention", "loss_function")}
    make_plain(module, ["loss"])
    assert module.loss_function is not before["loss_function"] and module.attention is before["attention"]
    make_plain(module)
    assert all(getattr(module, name) is not function for name, function in before.items())
    del module.attention
    with pytest.raises(AttributeError):
        make_plain(module, ["attention"])


# Turns


def test_variants_take_turns(tmp_path: Path) -> None:
    log = tmp_path / "log"
    first, second = measure([note("A", log), note("B", log)], Plan(rounds=3, turn_seconds=1.0, warmup_steps=2))
    lines = log.read_text().split("\n")[:-1]
    start = ["A 1", "A 2", "B 1", "B 2"]  # the first step by itself, then the warm-up
    turn = ["A 1", "A 4", "B 1", "B 4"]  # a step that isn't counted, then a second's worth of steps of 0.25 s
    assert lines == start + 3 * turn
    assert first.rounds == ((0.25,) * 4,) * 3 and first.step == Spread(0.25, 0.25, 0.25)
    assert first.facts == {"name": "A"} and second.facts == {"name": "B"}
    assert (first.first_step_seconds, first.warm_loss, first.failure) == (0.25, 1.5, "")
    assert first.peak_memory_bytes == 100 * 8  # the highest of three turns of two calls each, after two
    assert first.peak_resident_bytes > 1e6 and first.start_seconds > 0
    assert first.evaluation_rounds == () and first.evaluation is None


def test_dead_worker_has_a_sentence_and_the_others_go_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    broken = Variant("broken", "test_speed_benchmark:build_broken", {}, "torch")
    missing = Variant("missing", "test_speed_benchmark:build_nothing", {}, "torch")
    variants = [broken, note("A", log, dies_at=4), missing, note("B", log)]
    measured = {m.name: m for m in measure(variants, SHORT)}
    failure = measured["A"].failure
    assert failure.startswith("A ended with status 7: ") and failure.endswith("first words | the last words")
    assert "error: this one can't be built" in measured["broken"].failure
    assert "no builder 'test_speed_benchmark:build_nothing'" in measured["missing"].failure
    assert measured["B"].failure == "" and len(measured["B"].rounds) == 2


def test_names_must_differ(tmp_path: Path) -> None:
    with pytest.raises(AutoresearchError, match="same name"):
        measure([note("A", tmp_path), note("A", tmp_path)], SHORT)


def test_interrupt_ends_all_workers() -> None:
    program = (
        "from benchmarks.interleaved import *\n"
        "from mlx_autoresearch.errors import run_command_line\n"
        "v = Variant('A', 'test_speed_benchmark:build_sleep', {}, 'torch')\n"
        "run_command_line(lambda: measure([v], Plan(), lambda words: print(words, flush=True)))\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=TESTS.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # tests started with & have it ignored
    )
    assert "start" in parent.stdout.readline()
    children = worker_processes(parent.pid)
    parent.send_signal(signal.SIGINT)
    _, errors = parent.communicate(timeout=20)
    assert parent.returncode == 130 and "Traceback" not in errors
    assert children and not [child for child in children if is_alive(child)]


def worker_processes(parent: int) -> list[int]:
    """Children of a process, as soon as there are any."""
    for _ in range(200):
        answer = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True)
        if sys.platform == "darwin":
            answer = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True)
        if answer.stdout.split():
            return [int(pid) for pid in answer.stdout.split()]
        time.sleep(0.05)
    return []


def is_alive(process: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False


def test_overlapped_time_is_all_the_time() -> None:
    order = []

    def start() -> int:
        order.append("start")
        time.sleep(0.02)
        return len(order)

    def read(pending: int) -> float:
        order.append(f"read {pending}")
        return float(pending)

    began = time.perf_counter()
    seconds, loss = time_overlapped(3, start, read, lambda: time.sleep(0.03))
    assert sum(seconds) == pytest.approx(time.perf_counter() - began, abs=5e-3) and len(seconds) == 3
    assert order == ["start", "start", "read 1", "start", "read 2", "read 4"] and loss == 4.0
    order.clear()
    seconds, _ = time_one_by_one(2, start, read)
    assert order == ["start", "read 1", "start", "read 3"] and min(seconds) >= 0.02


def test_spread_and_ratios() -> None:
    assert spread([3.0, 1.0, 2.0]) == Spread(2.0, pytest.approx(1.2), pytest.approx(2.8))
    assert spread([5.0]) == Spread(5.0, 5.0, 5.0)
    assert spread([1.0, 2.0, 4.0]).map(lambda x: 1 / x).low < 0.5
    slow, fast = Measurement("s", rounds=((2.0, 4.0), (8.0, 8.0))), Measurement("f", rounds=((1.0, 1.0), (2.0, 2.0)))
    assert ratios(slow, fast) == [3.0, 4.0]
    assert Measurement("x", rounds=((9.0, 1.0, 2.0, 0.0), (3.0,))).all_steps.median == 2.0


# FLOPs


def test_pairs_are_those_that_the_mask_lets_through() -> None:
    for length, window in [(5, 2), (7, 7), (6, 9), (4, 1)]:
        back = np.arange(length)[:, None] - np.arange(length)[None, :]
        assert visible_pairs(length, window) == ((back >= 0) & (back < window)).sum()


def test_flops_equal_a_count_by_hand() -> None:
    knobs = {**SMALL, "WINDOW_PATTERN": "SL", "SHORT_WINDOW": 0.25, "MLP_RATIO": 3}
    module = mlx_workload.load(knobs, 16)
    shapes = {name: array.shape for name, array in tree_flatten(module.build_model().parameters())}
    # A block: query and output 64 x 128 each, key and value 64 x 64 each, MLP 64 x 192 twice. The last of two blocks
    # has a value embedding, whose gate is 2 x 32. The head is 1024 x 64.
    weights = 2 * (2 * 64 * 128 + 2 * 64 * 64 + 2 * 64 * 192) + 2 * 32 + 1024 * 64
    tokens = 3 * 16
    # Window 4 in 16 tokens: 1 + 2 + 3 + 13 x 4 = 58 pairs; the whole row: 136. Four heads of 32.
    attention = 3 * (2 + 2) * 32 * 4 * (58 + 136) * 3
    # r = 64 in all of them; c = 128, 128, 64, 64, 192, 192 in both blocks; five steps.
    optimizer = 5 * 2 * sum(4 * 64 * 64 * c + 2 * 64**3 for c in (128, 128, 64, 64, 192, 192))
    assert flops_per_step(module, shapes, 3, 16) == Flops(6 * weights * tokens, attention, optimizer)
    module = mlx_workload.load({**knobs, "TIED_HEAD": True}, 16)
    shapes = {name: array.shape for name, array in tree_flatten(module.build_model().parameters())}
    assert flops_per_step(module, shapes, 3, 16).weights == 6 * weights * tokens  # the embedding is the head


def test_sizes_have_the_parameters_that_they_are_called_after() -> None:
    for size, knobs in speed.SIZES.items():
        model = mlx_workload.load(knobs, 256).build_model()
        count = sum(array.size for _, array in tree_flatten(model.parameters()))
        assert count == pytest.approx(float(size.removesuffix("M")) * 1e6, rel=0.15), size


# Workloads


def test_initial_weights_let_every_part_show(tmp_path: Path) -> None:
    mlx_workload.save_weights(SMALL, 32, tmp_path / "weights.npz")
    arrays = np.load(tmp_path / "weights.npz")
    assert all(array.any() and array.dtype == np.float32 for array in arrays.values())
    assert "blocks.1.attention.value_gate.weight" in arrays


def test_mlx_workload_trains_and_evaluates() -> None:
    workload = mlx_workload.build(SMALL, batch_size=2, sequence_length=32, rate=1.0)
    seconds, first = workload.run(1)
    assert len(seconds) == 1 and first == pytest.approx(math.log(1024), rel=0.05)
    workload.run(3 * 8)
    assert workload.evaluate(2)[1] < first - 0.1  # eight batches, seen four times
    assert workload.peak_memory() > 4 * workload.facts["parameters"]
    assert workload.facts["tokens_per_step"] == 64


@needs_torch
def test_pytorch_does_the_same_training(tmp_path: Path) -> None:
    from dataclasses import asdict

    from benchmarks import torch_gpt, torch_workload

    norm, weights, common = torch_gpt.norm, tmp_path / "weights.npz", {"batch_size": 2, "sequence_length": 48}
    mlx_workload.save_weights(SMALL, 48, weights)
    fields = json.loads(json.dumps(asdict(torch_gpt.configuration_of(mlx_workload.load(SMALL, 48)))))
    try:
        theirs = torch_workload.build(fields, **common, weights=str(weights), data_type="float32", device="cpu")
        ours = mlx_workload.build(SMALL, **common, weights=str(weights), data_type="float32")
        for steps in (1, 1, 3):
            assert ours.run(steps)[1] == pytest.approx(theirs.run(steps)[1], rel=5e-4)
        assert ours.evaluate(1)[1] == pytest.approx(theirs.evaluate(1)[1], rel=5e-4)
    finally:
        torch_gpt.norm = norm
    with pytest.raises(AutoresearchError, match="no device 'mps'"):
        if torch_workload.torch.backends.mps.is_available():
            pytest.skip("this is a Mac")
        torch_workload.build_matmul(8, "float32", "mps")


# The sweep


def test_configurations_keep_the_tokens_of_a_step() -> None:
    found = configurations(["1M", "3M"], [256, 2048], 1024)
    assert [(c.name, c.batch_size) for c in found] == [
        ("1M, context 256", 4),
        ("1M, context 2048", 1),
        ("3M, context 256", 4),
        ("3M, context 2048", 1),
    ]


def test_different_losses_are_reported() -> None:
    facts = {"dtype": "float32"}
    same = [Measurement("a", warm_loss=7.0, facts=facts), Measurement("b", warm_loss=7.001, facts=facts)]
    assert speed.loss_warning(same) == ""
    other = [*same, Measurement("c", warm_loss=7.2, facts=facts), Measurement("d", failure="it died")]
    assert "c 7.2000" in speed.loss_warning(other)


def test_shares_of_a_run() -> None:
    points = [
        {"step": 0, "seconds": 1.0, "probe": 0},
        {"step": 1, "seconds": 3.5, "probe": 1},
        {"step": 1, "seconds": 3.6, "tokens": 10},
        {"step": 50, "seconds": 11.0, "tokens": 500},
        {"step": 50, "seconds": 11.5, "probe": 2, "tokens": 500, "waited": 0.11},
    ]
    assert speed.shares(points, 12.0, 18.0, 10.0) == {
        "start_seconds": 1.0,
        "first_step_seconds": 2.5,
        "hand_in_seconds": 0.5,
        "data_wait_share": pytest.approx(0.01),
        "scoring_seconds": 6.0,
        "scoring_share_of_budget": pytest.approx(0.6),
        "training_tokens_per_second": 50.0,
    }


def test_runs_are_stored_beside_each_other(tmp_path: Path) -> None:
    output = tmp_path / "results" / "speed.json"
    for name in ("a", "b", "a"):
        speed.store(output, {"name": name})
    assert list(speed.stored_runs(output)) == ["a", "b"]
    output.write_text("[]")
    with pytest.raises(AutoresearchError, match="holds no speed results"):
        speed.stored_runs(output)


def quick_sweep(contexts: tuple[int, ...] = (64, 160), run_seconds: float = 0.0) -> Sweep:
    plan = Plan(rounds=2, turn_seconds=0.0, least_steps=2, warmup_steps=1)
    return Sweep("quick", ("tiny",), contexts, 160, plan, 64, run_seconds, cold=False)


@pytest.fixture
def only_mlx_and_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of 0.2 million parameters, and no PyTorch, whose imports alone take longer than all else."""
    monkeypatch.setitem(speed.SIZES, "tiny", SMALL)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find_spec(name))


@pytest.mark.usefixtures("only_mlx_and_tiny")
def test_sweep_writes_what_it_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "speed.json"
    run = speed.run_sweep(quick_sweep(contexts=(160,)), output, None)
    stored = json.loads(output.read_text())["runs"]["quick"]
    assert stored == json.loads(json.dumps(run))
    assert [c["name"] for c in stored["configurations"]] == ["tiny, context 160"]
    assert stored["ceilings"]["mlx"]["best"] > 0 and "chip" in stored["machine"]
    for configuration in stored["configurations"]:
        assert configuration["loss_warning"] == ""
        assert [row["variant"] for row in configuration["rows"]] == ["train_mlx.py", "plain MLX"]
        for row in configuration["rows"]:
            assert row["failure"] == "" and row["first_step_seconds"] > 0 and len(row["rounds"]) == 2
            mean = [sum(seconds) / len(seconds) for seconds in row["rounds"]]
            expected = configuration["tokens_per_step"] / (sum(mean) / 2)
            assert row["training_tokens_per_second"]["median"] == pytest.approx(expected)
            gflops = sum(configuration["flops_per_step"][part] for part in ("weights", "attention")) / 1e9
            assert row["achieved_gflops"]["median"] == pytest.approx(gflops / (sum(mean) / 2))
    assert stored["configurations"][0]["rows"][0]["seconds_over_ours"]["median"] == 1.0
    capsys.readouterr()
    run["cores"] = {"all": 8, "free": 5}
    speed.show(run)
    shown = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "tiny, context 160" in shown and "GFLOP/s at best" in shown and "unknown" in shown
    assert "busy on 3 of 8 cores" in shown


@pytest.mark.usefixtures("only_mlx_and_tiny")
def test_interrupted_sweep_keeps_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(configuration: Configuration, *rest: object) -> dict:
        if configuration.context == 160:
            raise KeyboardInterrupt
        return {"name": configuration.name}

    monkeypatch.setattr(speed, "measure_configuration", interrupted)
    monkeypatch.setattr(speed, "measure_ceilings", lambda *rest: {})
    with pytest.raises(KeyboardInterrupt):
        speed.run_sweep(quick_sweep(), tmp_path / "speed.json", None)
    assert speed.stored_runs(tmp_path / "speed.json")["quick"]["configurations"] == [{"name": "tiny, context 64"}]


def test_real_run_says_where_the_time_went(dataset: Dataset) -> None:
    real = speed.real_run(5.0, str(dataset.folder))
    assert 0 < real["start_seconds"] < real["budget_seconds"] and real["first_step_seconds"] > 0
    assert 0 <= real["data_wait_share"] < 0.5 and 0 < real["hand_in_seconds"] < 10 and real["scoring_seconds"] > 0
    assert "waiting for data" in speed.real_run_sentence(real)


def test_no_dataset_is_a_sentence_in_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "measure_ceilings", lambda *rest: {})
    monkeypatch.setattr(speed, "configurations", lambda *rest: [])
    run = speed.run_sweep(quick_sweep(run_seconds=1.0), tmp_path / "speed.json", None)
    assert run["real_run"]["failure"].startswith("No real run: ")


def test_picture_is_drawn_with_rows_missing(tmp_path: Path) -> None:
    three = {"median": 2.0, "low": 1.0, "high": 3.0}
    row = {"variant": "train_mlx.py", "training_tokens_per_second": three, "achieved_gflops": three}
    members = [{"size": "1M", "context": c, "rows": [row, {"variant": "plain MLX"}]} for c in (256, 512)]
    run = {"identity": "a machine", "configurations": members, "ceilings": {"mlx": {"best": 9.0}}}
    speed.draw(run, tmp_path / "speed.png")
    assert (tmp_path / "speed.png").stat().st_size > 10_000


def test_defaults_by_machine_and_by_hand() -> None:
    parse = speed.build_parser().parse_args
    for machine_class in range(4):
        assert Sweep.from_arguments(parse([]), machine_class).sizes == speed.DEFAULT_SIZES[machine_class]
    sweep = Sweep.from_arguments(parse(["--sizes", "50M", "--contexts", "2048", "--rounds", "3", "--quick"]), 0)
    assert (sweep.sizes, sweep.contexts, sweep.plan.rounds, sweep.name) == (("50M",), (2048,), 3, "quick")
    assert Sweep.from_arguments(parse(["--run-seconds", "0"]), 0).run_seconds == 0
    facts = speed.machine.Machine("Apple M4 Max", 64 << 30, None, 16, "metal", "macOS 26", "0.32")
    assert speed.slug(facts) == "apple-m4-max-64gb-metal"
