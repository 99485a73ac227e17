"""What each technique in the training step of train_mlx.py is worth: with it, without it, in turns.

    python -m benchmarks.ablation                 both parts
    python -m benchmarks.ablation --part plain    against the plain step only

The first part compares the whole step with a plain one at growing context: compiled too, same model, weights and
optimizer, MLX's own cross-entropy on all logits and attention in one call with an array mask (plain_step.py). The
second takes one technique away at a time. Each variant has a process of its own, and they take turns
(interleaved.py), so that ratios are those of neighbours in time. `time` is a variant's step over ours, the median over
rounds with the 10th and 90th percentile; `memory` is the peak of MLX's allocator over ours.

Writes JSON, in which the part that was not asked for stays as it is, and beside it a page in Markdown with the reason
for each technique on Metal.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.interleaved import Measurement, Plan, Variant, measure, ratios, spread
from benchmarks.plain_step import PIECES
from benchmarks.speed import progress, slug
from benchmarks.training_file import WITHOUT_MUON
from mlx_autoresearch import machine
from mlx_autoresearch.errors import run_command_line
from mlx_autoresearch.files import read_json, write_json, write_text
from mlx_autoresearch.paths import PROJECT

OURS = "train_mlx.py"

SDPA_IN_BLOCKS = (
    ("        scores = grouped[..., start:stop, :] @ k[:, :, None, first:stop].swapaxes(-1, -2)\n", ""),
    (
        "        weights = mx.exp(mx.where(visible, scores, -mx.inf))\n",
        "        keys, values = k[:, :, first:stop], v[:, :, first:stop]\n",
    ),
    (
        "        outputs.append((weights @ v[:, :, None, first:stop]) / weights.sum(axis=-1, keepdims=True))\n",
        "        outputs.append(mx.fast.scaled_dot_product_attention("
        "q[:, :, start:stop], keys, values, scale=HEAD_DIM**-0.5, mask=visible))\n",
    ),
    (
        "    return mx.concatenate(outputs, axis=3).reshape(q.shape)\n",
        "    return mx.concatenate(outputs, axis=2)\n",
    ),
)
"""Edits that hand the blocks of attention to MLX's own function."""

MODEL = {"DEPTH": 4, "WIDTH": 256, "HEAD_DIM": 64, "KV_HEADS": 4, "QUERIES_PER_KV": 1}


@dataclass(frozen=True)
class Setting:
    """A model and a batch on which variants are compared.

    Attributes:
        name: for people.
        knobs: of train_mlx.py.
        rows, context: of a batch.
        edits: of all variants.
    """

    name: str
    knobs: Mapping[str, int]
    rows: int
    context: int
    edits: tuple[tuple[str, str], ...] = ()

    def options(self) -> dict[str, Any]:
        """For `mlx_workload.build`."""
        return {
            "knobs": dict(self.knobs),
            "batch_size": self.rows,
            "sequence_length": self.context,
            "edits": [list(edit) for edit in self.edits],
            "evaluation": False,
        }


def setting(vocabulary: int, rows: int, context: int, adamw: bool) -> Setting:
    """The model of 4 blocks, 256 wide, windows as in train_mlx.py (three short, one long).

    With `adamw` without Muon, whose products cost both sides the same: the forms of the step are compared alone.
    """
    optimizer = "AdamW" if adamw else "Muon and AdamW"
    return Setting(
        f"context {context}, {rows} rows, vocabulary {vocabulary}, {optimizer}",
        {**MODEL, "VOCAB_SIZE": vocabulary},
        rows,
        context,
        (WITHOUT_MUON,) if adamw else (),
    )


PLAIN_SETTINGS = (
    setting(4096, 8, 256, adamw=True),
    setting(4096, 8, 256, adamw=False),
    setting(8192, 4, 1024, adamw=True),
    setting(8192, 2, 2048, adamw=True),
)

ABLATION_SETTING = setting(4096, 8, 256, adamw=False)

LONG_SETTING = setting(8192, 4, 1024, adamw=True)


@dataclass(frozen=True)
class Technique:
    """One thing that the training step does, and the step without it.

    Attributes:
        name: what it is.
        without: what stands in its place when it is taken away.
        reason: why it helps on Metal, with the source.
        edits: of train_mlx.py, that take it away.
        options: other options of `mlx_workload.build` that take it away.
        backends: where taking it away can be measured; elsewhere the page says why not.
        is_long: whether it is compared at the long context, where it matters.
    """

    name: str
    without: str
    reason: str
    edits: tuple[tuple[str, str], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    backends: tuple[str, ...] = ("metal", "cuda", "cpu")
    is_long: bool = False


TECHNIQUES = (
    Technique(
        "compiled step",
        "every operation launched by itself",
        "Element-wise chains become one kernel each (a four-block step: 2,234 graph nodes become 905), and fewer "
        "intermediates are written. mlx-lm PR 53: 1,819 to 2,296 tokens/s together with the wired limit; mlx-vlm PR "
        "971: 0.259 to 0.137 s a step.",
        edits=(("    @partial(mx.compile, inputs=state, outputs=state)\n", ""),),
    ),
    Technique(
        "fused RMS norm",
        "x * rsqrt(mean(x * x) + eps), written out",
        "One kernel forward and one backward, float32 inside whatever the activations are; no weight, so no gradient "
        "of one (mlx/backend/metal/normalization.cpp).",
        edits=(
            (
                "    return mx.fast.rms_norm(x, None, 1e-5)\n",
                "    return x * mx.rsqrt(mx.square(x.astype(mx.float32)).mean(-1, keepdims=True) + 1e-5)"
                ".astype(x.dtype)\n",
            ),
        ),
    ),
    Technique(
        "fused RoPE",
        "tables of cosines and sines, two products, a concatenation",
        "One kernel forward and one backward that computes its angles itself (mlx/fast.cpp, RoPE::vjp): no tables "
        "read, no halves written and joined.",
        edits=(
            (
                "rope = partial("
                "mx.fast.rope, dims=HEAD_DIM, traditional=False, base=ROPE_BASE, scale=1.0, offset=offset)",
                "angles = mx.arange(length)[:, None] * ROPE_BASE ** (-mx.arange(HEAD_DIM // 2) / (HEAD_DIM // 2))\n"
                "        cos, sin = mx.cos(angles).astype(x.dtype), mx.sin(angles).astype(x.dtype)\n"
                "        def rope(z):\n"
                "            a, b = mx.split(z, 2, axis=-1)\n"
                "            return mx.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)",
            ),
        ),
    ),
    Technique(
        "attention in blocks of queries",
        "one call with an array mask for the whole row",
        "While gradients are taken, MLX's Metal backend never uses its fused attention: all T x T scores are computed, "
        "also those that the mask throws away (backend/metal/scaled_dot_product_attention.cpp, use_fallback; PR 2054, "
        "3241). Blocks against sliced keys skip them.",
        options={"plain": ["attention"]},
        is_long=True,
    ),
    Technique(
        "attention without softmax",
        "mx.fast.scaled_dot_product_attention for each block",
        "Unfused in training as said, it writes the masked scores and the softmax, and the softmax's gradient needs a "
        "product, a sum over it and another product, all of blocks x keys. Normalised queries and keys bound scores by "
        "sqrt(K), so exp needs no maximum; divided by its sum after the product with the values, what remains is a "
        "kernel of mask and exp, a sum, and a kernel backward (as in FlashAttention's backward pass, Dao et al. 2022).",
        edits=SDPA_IN_BLOCKS,
        is_long=True,
    ),
    Technique(
        "soft-capped loss with its own gradient",
        "nn.losses.cross_entropy on all soft-capped logits",
        "Four transcendental passes over tokens x vocabulary become two: tanh's own gradient calls cosh, the loss "
        "subtracts a maximum that the cap makes needless, and its gradient recomputes a softmax (mlx/primitives.cpp, "
        "Tanh::vjp and LogSumExp::vjp; nn/losses.py).",
        options={"plain": ["loss"]},
        is_long=True,
    ),
    Technique(
        "loss in chunks",
        "logits of the whole batch at once",
        "Memory: float32 logits are the largest array of a small model (4,096 tokens x 8,192 are 128 MiB, and loss and "
        "gradient need several). Chunks also stay in the GPU's cache between passes.",
        edits=(("LOSS_CHUNK        = 2048 ", "LOSS_CHUNK        = 1 << 30 "),),
        is_long=True,
    ),
    Technique(
        "chunks one after the other",
        "chunks in any order",
        "The loss of every chunk can be computed before the first gradient is, and then all chunks are alive together: "
        "a dependency puts them in a row.",
        edits=(("        if start > 0:  # one chunk", "        if False:  # one chunk"),),
        is_long=True,
    ),
    Technique(
        "mx.square instead of a power",
        "max(x, 0) ** 2",
        "A power is pow() in Metal too, and its gradient calls pow again (mlx/primitives.cpp, Power::vjp; metal "
        "binary_ops.h).",
        edits=(("mx.square(mx.maximum(x, 0))", "mx.maximum(x, 0) ** 2"),),
    ),
    Technique(
        "Muon over stacks of equal shapes",
        "Muon matrix by matrix",
        "Launches: five steps of four products for every matrix become as many for every shape (800 graph nodes become "
        "148 for 24 matrices), and small products fill the GPU only together.",
        edits=(('"x".join(map(str, sorted(parameter.shape)))', "name"),),
    ),
    Technique(
        "embeddings gathered",
        "a one-hot matrix times the table",
        "The gradient is a scatter with atomic additions, which touches N x D numbers instead of N x V (mlx issue 506: "
        "23 times as fast as another framework's on the same GPU).",
        edits=(
            (
                "        return self.weight[tokens].astype(DTYPE)\n",
                "        one_hot = tokens[..., None] == mx.arange(self.weight.shape[0])\n"
                "        return one_hot.astype(DTYPE) @ self.weight.astype(DTYPE)\n",
            ),
        ),
    ),
    Technique(
        "the loss read one step late",
        "each step finished before the next is built",
        "The host builds a step while the GPU works on the one before; read at once, the GPU idles 5-10 % of the time "
        "(mlx-examples PR 924, mlx PR 972).",
        options={"overlap": False},
    ),
    Technique(
        "freed buffers kept",
        "buffers given back to the system at once",
        "Allocating in unified memory maps pages; reusing does not. 1 GiB of cache cost 30-70 % in one port (jax-mps "
        "PR 143), no bound swaps on 16 GB (mlx issue 3129): a bound from the machine's size (launch.py).",
        edits=(("\nON_GPU = mx.default", "\nmx.set_cache_limit(0)\nON_GPU = mx.default"),),
    ),
    Technique(
        "bfloat16 activations",
        "float32 activations",
        "Half the traffic of activations and scores, and the fast path of GPUs that have one; weights and optimizer "
        "stay float32 (autoresearch PR 205).",
        options={"data_type": "float32"},
        backends=("metal", "cuda"),
    ),
    Technique(
        "checkpointed blocks (off by default)",
        "CHECKPOINT = True",
        "For 8 GB machines: a block's activations are computed again for its gradients. Each block waits for its "
        "gradient to arrive (mx.checkpoint does not: mflux PR 711), so that one block's activations exist at a time.",
        edits=(("CHECKPOINT        = False ", "CHECKPOINT        = True "),),
        is_long=True,
    ),
    Technique(
        "checkpointing in our order (CHECKPOINT = True)",
        "nn.utils.checkpoint",
        "See above.",
        edits=(
            ("CHECKPOINT        = False ", "CHECKPOINT        = True "),
            (
                "x = checkpointed(block, x, x0, tokens) if",
                "x = nn.utils.checkpoint(block, lambda x, x0, block=block: block(x, x0, tokens))(x, x0) if",
            ),
        ),
        is_long=True,
    ),
)

LOW_MEMORY = "checkpointed"


def plain_variants(where: Setting) -> list[Variant]:
    """Ours, the plain step and, for small machines, ours with checkpointed blocks."""
    options = where.options()
    checkpointed = {**options, "knobs": {**options["knobs"], "CHECKPOINT": True}}
    return [
        Variant(OURS, BUILDER, options),
        Variant("plain", BUILDER, {**options, "plain": list(PIECES), "overlap": False}),
        Variant(LOW_MEMORY, BUILDER, checkpointed),
    ]


BUILDER = "benchmarks.mlx_workload:build"


def ablation_variants(where: Setting, techniques: Sequence[Technique]) -> list[Variant]:
    """Ours, and ours without each technique, by its name."""
    options = where.options()
    return [
        Variant(OURS, BUILDER, options),
        *(
            Variant(
                technique.name,
                BUILDER,
                {**options, **technique.options, "edits": [*options["edits"], *map(list, technique.edits)]},
            )
            for technique in techniques
        ),
    ]


@dataclass(frozen=True)
class Row:
    """A variant beside ours: how many times as long its step takes, and how many times the memory.

    Attributes:
        variant: its name.
        failure: why there are no numbers; empty when there are.
        step_seconds: median over rounds of a round's mean step.
        time, time_low, time_high: of ours in the same round; median, 10th and 90th percentile.
        peak_memory_bytes: of MLX's allocator.
        memory: of ours.
    """

    variant: str
    failure: str = ""
    step_seconds: float | None = None
    time: float | None = None
    time_low: float | None = None
    time_high: float | None = None
    peak_memory_bytes: int | None = None
    memory: float | None = None


def row_of(measurement: Measurement, ours: Measurement) -> Row:
    """Numbers of one variant beside ours."""
    if not measurement.rounds or not ours.rounds:
        return Row(measurement.name, measurement.failure or ours.failure)
    times = spread(ratios(measurement, ours))
    return Row(
        measurement.name,
        measurement.failure,
        measurement.step.median,
        times.median,
        times.low,
        times.high,
        measurement.peak_memory_bytes,
        measurement.peak_memory_bytes / ours.peak_memory_bytes,
    )


def compare(where: Setting, variants: Sequence[Variant], plan: Plan) -> list[Row]:
    """Measure variants in turns; the first one is ours."""
    with progress(where.name) as tell:
        measurements = measure(variants, plan, tell)
    return [row_of(measurement, measurements[0]) for measurement in measurements]


# The page


def factor(value: float | None) -> str:
    """A ratio for a table."""
    return "-" if value is None else f"{value:.2f}"


def step_cells(row: Row) -> str:
    """Milliseconds and MiB of a step, as two cells of a table."""
    if row.step_seconds is None or row.peak_memory_bytes is None:
        return f"{row.failure} | -"
    return f"{1e3 * row.step_seconds:,.0f} | {row.peak_memory_bytes / 2**20:,.0f}"


def page(results: Mapping[str, Any]) -> str:
    """The results in Markdown."""
    dates = sorted({comparison["date"] for comparison in (*results["plain"], *results["ablation"])})
    lines = [f"# The training step, technique by technique\n\n{results['machine']}, {', '.join(dates)}.", ""]
    lines += ["Made by `python -m benchmarks.ablation`, whose first lines say what is measured and how.", ""]
    if results["plain"]:
        lines += ["## Against a plain step", ""]
        lines += ["| setting | ours, ms | MiB | plain, ms | MiB | plain: time | memory | checkpointed: time | memory |"]
        lines += ["|---|---|---|---|---|---|---|---|---|"]
        for comparison in results["plain"]:
            ours, plain, low = (Row(**row) for row in comparison["rows"])
            times = f"**{factor(plain.time)}** ({factor(plain.time_low)}-{factor(plain.time_high)})"
            lines.append(
                f"| {comparison['setting']} | {step_cells(ours)} | {step_cells(plain)} | {times} | "
                f"{factor(plain.memory)} | {factor(low.time)} | {factor(low.memory)} |"
            )
        lines += ["", "Factors are over ours: a plain time of 1.5 means that ours takes two thirds of it.", ""]
    if results["ablation"]:
        lines += ["## Without one technique at a time", ""]
        lines += [
            "| technique | without it | setting | time | memory | why it helps on Metal |",
            "|---|---|---|---|---|---|",
        ]
        rows = {
            (row["variant"], comparison["setting"]): Row(**row)
            for comparison in results["ablation"]
            for row in comparison["rows"]
        }
        for technique in TECHNIQUES:
            where = (LONG_SETTING if technique.is_long else ABLATION_SETTING).name
            row = rows.get((technique.name, where))
            if row is None:
                numbers = f"not measured on {results['backend']} | -"
            elif row.time is None:
                numbers = f"{row.failure} | -"
            else:
                numbers = f"{factor(row.time)} ({factor(row.time_low)}-{factor(row.time_high)}) | {factor(row.memory)}"
            lines.append(f"| {technique.name} | {technique.without} | {where} | {numbers} | {technique.reason} |")
    return "\n".join(lines) + "\n"


# Command line


def run_plain(plan: Plan, keep: Callable[[list], None]) -> None:
    """The first part; `keep` gets all comparisons so far after each."""
    done = []
    for where in PLAIN_SETTINGS:
        rows = compare(where, plain_variants(where), plan)
        done.append({"setting": where.name, "rows": [asdict(row) for row in rows]})
        keep(done)


def run_ablation(plan: Plan, backend: str, keep: Callable[[list], None]) -> None:
    """The second part, alike."""
    done = []
    for where, is_long in ((ABLATION_SETTING, False), (LONG_SETTING, True)):
        techniques = [t for t in TECHNIQUES if backend in t.backends and t.is_long == is_long]
        rows = compare(where, ablation_variants(where, techniques), plan)
        done.append({"setting": where.name, "rows": [asdict(row) for row in rows]})
        keep(done)


def main() -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ablation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--part", choices=("plain", "techniques"), help="one part alone (default: both)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of every variant (default: 3)")
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="length of a turn, three steps at least (default: 3)"
    )
    parser.add_argument("--output", type=Path, help="JSON file (default: benchmarks/results/ablation-<machine>.json)")
    arguments = parser.parse_args()
    facts = machine.describe()
    output = arguments.output or PROJECT / "benchmarks" / "results" / f"ablation-{slug(facts)}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    results = {"machine": machine.identity(), "backend": facts.backend, "plain": [], "ablation": []}
    if output.is_file():
        results |= {part: read_json(output)[part] for part in ("plain", "ablation")}

    def keep(part: str, done: list) -> None:
        results[part] = [{**comparison, "date": time.strftime("%Y-%m-%d")} for comparison in done]
        write_json(output, results)
        write_text(output.with_suffix(".md"), page(results))

    plan = Plan(rounds=arguments.rounds, turn_seconds=arguments.seconds)
    with machine.keep_awake():
        if arguments.part != "techniques":
            run_plain(plan, lambda done: keep("plain", done))
        if arguments.part != "plain":
            run_ablation(plan, facts.backend, lambda done: keep("ablation", done))
    print(page(results))
    print(f"Written to {output} and {output.with_suffix('.md')}")


if __name__ == "__main__":
    run_command_line(main)
