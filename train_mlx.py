"""A small GPT, its optimizer and its training loop: the one file that is edited through the night.

Every edit trains for TIME_BUDGET seconds and is scored in bits per byte on text it never saw; lower is better.

The contract:
- `build_model()` makes the model from the constants below; `model(tokens)` takes int32 (B, T) and returns logits
  (B, T, VOCAB_SIZE), causal, without side effects. It is scored on rows of CONTEXT tokens.
- Running the file trains until the clock says stop and calls `hand_in(model)` once.
- It imports `prepare`, mlx, numpy and the standard library, nothing else.

Shapes in comments: B rows, T tokens, D width, H heads, K head dimension, V vocabulary, N = B * T.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_map, tree_unflatten

from prepare import SEED, TIME_BUDGET, Clock, batches, hand_in, log, machine_class, run

# ---------------------------------------------------------------------------------------------------------------------
# Knobs: UPPERCASE = value, what it does, and in braces the range that the search agent may try.
# Rows with four values depend on the machine: column M is picked. Braces at the end are read by the search agent.

# fmt: off
M = machine_class()
#                     CPU   8 GB  16-24 GB  larger
DEPTH             = (4,     4,    6,        8)[M]       # transformer blocks {2..12}
WIDTH             = (128,   256,  384,      512)[M]     # residual stream, D {64..1024 step 32}
HEAD_DIM          = (64,    64,   64,       64)[M]      # dimension of a head, K {32, 64, 128}
KV_HEADS          = (2,     4,    3,        4)[M]       # key-value heads {1..8}
QUERIES_PER_KV    = (1,     1,    2,        2)[M]       # query heads that share a key-value head {1..4}
VOCAB_SIZE        = (4096,  4096, 4096,     8192)[M]    # tokens, one of prepare.VOCAB_SIZES {1024, 2048, 4096, 8192}
SEQUENCE_LENGTH   = (128,   256,  256,      256)[M]     # tokens in a training row, T {64, 128, 256, 512}
BATCH_SIZE        = (8,     32,   64,       64)[M]      # rows in a micro-batch, over all processes {2..128 log}
ACCUMULATION      = (1,     1,    1,        1)[M]       # micro-batches in an optimizer step {1, 2, 4}

WINDOW_PATTERN    = "SSSL"     # attention window per block, repeated: S short, L long {"L", "SL", "SSL", "SSSL"}
SHORT_WINDOW      = 0.5        # a short window, as a share of SEQUENCE_LENGTH {0.125, 0.25, 0.5}
MLP_RATIO         = 4          # hidden width of the MLP over WIDTH {2..6}
ACTIVATION        = "relu2"    # of the MLP {"relu2", "silu", "gelu"}
ROPE_BASE         = 10000.0    # wavelength base of the rotary embedding {500.0..100000.0 log}
VALUE_EMBEDDINGS  = True       # every other block adds a token embedding to its values {True, False}
TIED_HEAD         = False      # the head is the embedding {True, False}
SOFTCAP           = 15.0       # logits stay within +-SOFTCAP {8.0..30.0 log}

MATRIX_LR         = 0.04       # Muon: matrices of the blocks {0.01..0.1 log}
EMBEDDING_LR      = 0.6        # AdamW: embeddings, at width 768; scaled by (WIDTH / 768)^-0.5 {0.1..2.0 log}
HEAD_LR           = 0.01       # AdamW: output head, scaled alike {0.002..0.05 log}
SCALAR_LR         = 0.01       # AdamW: residual scales and gates {0.001..0.1 log}
ADAM_BETA1        = 0.8        # AdamW: decay of the mean gradient {0.6..0.95}
ADAM_BETA2        = 0.95       # AdamW: decay of the mean squared gradient {0.9..0.99}
MOMENTUM          = 0.95       # Muon: decay of the mean gradient {0.85..0.98}
WEIGHT_DECAY      = 0.0        # Muon: decay of the matrices, times their learning rate {0.0..0.2}
WARMUP            = 0.0        # share of the budget in which the learning rate rises {0.0..0.1}
WARMDOWN          = 0.5        # share of the budget in which it falls to FINAL_LR {0.2..1.0}
FINAL_LR          = 0.02       # last learning rate, as a share of the full one {0.0..0.2}
LOSS_CHUNK        = 2048       # token rows whose logits exist at once: bounds memory, changes nothing else
CHECKPOINT        = False      # a block's activations are computed again for its gradients: half the memory, more time
# fmt: on

ON_GPU = mx.default_device() == mx.gpu
DTYPE = mx.bfloat16 if ON_GPU else mx.float32  # activations; weights and optimizer state are always float32
ATTENTION_BLOCK, KEY_TILE = 128, 64  # queries per call of attention; its keys begin at a multiple of the tile

# ---------------------------------------------------------------------------------------------------------------------
# Model


def norm(x: mx.array) -> mx.array:
    """RMS norm over the last axis without a weight (the matrices after it can scale by themselves)."""
    return mx.fast.rms_norm(x, None, 1e-5)


def uniform(*shape: int) -> mx.array:
    """Uniform weights with standard deviation fan_in^-0.5; fan_in is the last axis."""
    bound = math.sqrt(3 / shape[-1])
    return mx.random.uniform(-bound, bound, shape)


class Linear(nn.Module):
    """x @ W.T in the dtype of x; W is kept in float32 for the optimizer and cast where it is used."""

    def __init__(self, weight: mx.array):
        super().__init__()
        self.weight = weight

    def __call__(self, x: mx.array) -> mx.array:
        return x @ self.weight.astype(x.dtype).T


class Embedding(nn.Module):
    """Rows of a float32 table in the activations' dtype: (B, T) -> (B, T, D)."""

    def __init__(self, weight: mx.array):
        super().__init__()
        self.weight = weight

    def __call__(self, tokens: mx.array) -> mx.array:
        return self.weight[tokens].astype(DTYPE)


def attention(q: mx.array, k: mx.array, v: mx.array, window: int) -> mx.array:
    """Causal attention over the last `window` tokens, the token itself included.

    q is (B, H, T, K), k and v are (B, KV_HEADS, T, K); q and k have norm sqrt(K), so that scores stay within +-sqrt(K).
    While gradients are taken, MLX's fused attention is not fused: it computes all T x T scores, masks them, and passes
    over them again and again for a softmax and its gradient. Here queries go in blocks, each against the keys that it
    can see, from a whole tile on; and as bounded scores need no maximum, exp, sum and gradient are one pass each.
    """
    rows, _, length, _ = q.shape
    grouped = (q * HEAD_DIM**-0.5).reshape(rows, KV_HEADS, QUERIES_PER_KV, length, HEAD_DIM)
    outputs = []
    for start in range(0, length, ATTENTION_BLOCK):
        stop = min(start + ATTENTION_BLOCK, length)
        first = max(0, start - window + 1) // KEY_TILE * KEY_TILE
        back = mx.arange(start, stop)[:, None] - mx.arange(first, stop)[None, :]
        visible = (back >= 0) & (back < window)
        scores = grouped[..., start:stop, :] @ k[:, :, None, first:stop].swapaxes(-1, -2)
        weights = mx.exp(mx.where(visible, scores, -mx.inf))
        outputs.append((weights @ v[:, :, None, first:stop]) / weights.sum(axis=-1, keepdims=True))
    return mx.concatenate(outputs, axis=3).reshape(q.shape)


class Attention(nn.Module):
    """Grouped-query attention with RoPE, normalised queries and keys, and an optional value embedding."""

    GATE_CHANNELS = 32  # the gate of the value embedding reads this much of the residual stream
    cache = None  # stands in for `attention` while the finished model writes; never there in training and scoring

    def __init__(self, window: int, has_value_embedding: bool):
        super().__init__()
        self._window = window
        heads = KV_HEADS * QUERIES_PER_KV
        self.query = Linear(uniform(heads * HEAD_DIM, WIDTH))
        self.key = Linear(uniform(KV_HEADS * HEAD_DIM, WIDTH))
        self.value = Linear(uniform(KV_HEADS * HEAD_DIM, WIDTH))
        self.output = Linear(mx.zeros((WIDTH, heads * HEAD_DIM)))
        if has_value_embedding:
            self.value_embedding = Embedding(uniform(VOCAB_SIZE, KV_HEADS * HEAD_DIM))
            self.value_gate = Linear(mx.zeros((KV_HEADS, self.GATE_CHANNELS)))

    def __call__(self, x: mx.array, tokens: mx.array) -> mx.array:
        rows, length, _ = x.shape
        # (B, T, heads * K) -> (B, heads, T, K): RoPE and attention work on the last two axes.
        q, k, v = (
            projection.reshape(rows, length, -1, HEAD_DIM).transpose(0, 2, 1, 3)
            for projection in (self.query(x), self.key(x), self.value(x))
        )
        if "value_embedding" in self:
            gate = 2 * mx.sigmoid(self.value_gate(x[..., : self.GATE_CHANNELS]))  # 1 at the start
            extra = self.value_embedding(tokens).reshape(rows, length, KV_HEADS, HEAD_DIM) * gate[..., None]
            v = v + extra.transpose(0, 2, 1, 3)
        offset, attend = (0, attention) if self.cache is None else (self.cache.offset, self.cache.attention)
        rope = partial(mx.fast.rope, dims=HEAD_DIM, traditional=False, base=ROPE_BASE, scale=1.0, offset=offset)
        y = attend(norm(rope(q)), norm(rope(k)), v, self._window)
        return self.output(y.transpose(0, 2, 1, 3).reshape(rows, length, -1))


ACTIVATIONS: dict[str, Callable[[mx.array], mx.array]] = {
    "relu2": lambda x: mx.square(mx.maximum(x, 0)),  # not `** 2`: its gradient calls pow again
    "silu": nn.silu,
    "gelu": nn.gelu_approx,
}


class MLP(nn.Module):
    """Two matrices with an activation between them."""

    def __init__(self):
        super().__init__()
        self.up = Linear(uniform(MLP_RATIO * WIDTH, WIDTH))
        self.down = Linear(mx.zeros((WIDTH, MLP_RATIO * WIDTH)))

    def __call__(self, x: mx.array) -> mx.array:
        return self.down(ACTIVATIONS[ACTIVATION](self.up(x)))


class Block(nn.Module):
    """Attention and MLP on a scaled residual stream that the token embedding can flow back into."""

    def __init__(self, window: int, has_value_embedding: bool):
        super().__init__()
        self.residual_scale = mx.ones((1,))
        self.embedding_scale = mx.full((1,), 0.1)
        self.attention = Attention(window, has_value_embedding)
        self.mlp = MLP()

    def __call__(self, x: mx.array, x0: mx.array, tokens: mx.array) -> mx.array:
        x = self.residual_scale.astype(x.dtype) * x + self.embedding_scale.astype(x.dtype) * x0
        x = x + self.attention(norm(x), tokens)
        return x + self.mlp(norm(x))


def checkpointed(block: Block, x: mx.array, x0: mx.array, tokens: mx.array) -> mx.array:
    """block(x, x0, tokens), remembering its inputs alone: gradients compute it again (Chen et al., 2016).

    Unlike with `mx.checkpoint`, the second computation waits for the gradient of the output: nothing else would keep
    all blocks from being computed again at once.
    """
    names, parameters = zip(*tree_flatten(block.trainable_parameters()), strict=True)

    def call(x: mx.array, x0: mx.array, *parameters: mx.array) -> mx.array:
        block.update(tree_unflatten(list(zip(names, parameters, strict=True))))
        return block(x, x0, tokens)

    def gradients(inputs, cotangent, output):
        inputs = mx.depends(list(inputs), [cotangent])
        return tuple(mx.vjp(call, inputs, [cotangent])[1])

    remembering = mx.custom_function(call)
    remembering.vjp(gradients)
    return remembering(x, x0, *parameters)


class GPT(nn.Module):
    """tokens (B, T) -> logits (B, T, V)."""

    def __init__(self):
        super().__init__()
        letters = (WINDOW_PATTERN * DEPTH)[: DEPTH - 1] + "L"  # the last block always sees the whole row
        short = max(1, int(SHORT_WINDOW * SEQUENCE_LENGTH))
        self.embedding = Embedding(mx.random.normal((VOCAB_SIZE, WIDTH)))
        self.blocks = [
            Block(short if letter == "S" else SEQUENCE_LENGTH, VALUE_EMBEDDINGS and (DEPTH - 1 - i) % 2 == 0)
            for i, letter in enumerate(letters)
        ]
        if not TIED_HEAD:
            self.head = Linear(mx.random.normal((VOCAB_SIZE, WIDTH)) * 0.001)

    def hidden(self, tokens: mx.array) -> mx.array:
        """The normalised residual stream after the last block, (B, T, D)."""
        x = x0 = norm(self.embedding(tokens))
        for block in self.blocks:
            x = checkpointed(block, x, x0, tokens) if CHECKPOINT and self.training else block(x, x0, tokens)
        return norm(x)

    def head_weight(self) -> mx.array:
        """(V, D) float32. A tied head divides by the width, so that the first logits are small."""
        return self.embedding.weight * WIDTH**-0.5 if TIED_HEAD else self.head.weight

    def __call__(self, tokens: mx.array) -> mx.array:
        hidden = self.hidden(tokens)
        logits = (hidden @ self.head_weight().astype(hidden.dtype).T).astype(mx.float32)
        return SOFTCAP * mx.tanh(logits * (1 / SOFTCAP))


def build_model() -> nn.Module:
    """The model that the constants above describe, with fresh weights drawn from MLX's global random state."""
    return GPT()


# ---------------------------------------------------------------------------------------------------------------------
# Loss


@mx.custom_function
def softcapped_cross_entropy(hidden: mx.array, weight: mx.array, targets: mx.array) -> tuple[mx.array, ...]:
    """Mean cross-entropy of SOFTCAP * tanh(hidden @ weight.T / SOFTCAP), with both gradients worked out on the way.

    Logits exist for LOSS_CHUNK tokens at a time and never for the whole batch, because loss and gradients of a chunk
    are made together. The cap bounds them, so the sum of exponentials needs no pass for the largest one.

    Args:
        hidden: (N, D); weight: (V, D), same dtype; targets: (N,) int32.

    Returns:
        The loss in nats (float32 scalar), its gradient by `hidden` (N, D) and by `weight` (V, D, float32).
    """
    count = hidden.shape[0]
    loss, hidden_gradients, weight_gradient = mx.array(0.0), [], mx.zeros(weight.shape)
    for start in range(0, count, LOSS_CHUNK):
        rows, wanted = hidden[start : start + LOSS_CHUNK], targets[start : start + LOSS_CHUNK, None]
        if start > 0:  # one chunk after the other, or all of their logits are alive together
            rows = mx.depends([rows], [loss, hidden_gradients[-1], weight_gradient])[0]
        z = (rows @ weight.T).astype(mx.float32) * (1 / SOFTCAP)
        capped = mx.tanh(z)
        exponentials = mx.exp(SOFTCAP * capped - SOFTCAP)
        total = exponentials.sum(axis=-1, keepdims=True)
        loss = loss + (mx.log(total) + SOFTCAP - SOFTCAP * mx.take_along_axis(capped, wanted, axis=-1)).sum()
        is_target = mx.arange(weight.shape[0])[None, :] == wanted
        gradient = (exponentials / total - is_target) * (1 - mx.square(capped)) * (1 / count)
        gradient = gradient.astype(hidden.dtype)
        hidden_gradients.append(gradient @ weight)
        weight_gradient = weight_gradient + (gradient.T @ rows).astype(mx.float32)
    return loss / count, mx.concatenate(hidden_gradients, axis=0), weight_gradient


@softcapped_cross_entropy.vjp
def softcapped_cross_entropy_vjp(primals, cotangents, outputs):
    """Gradients were made in the forward pass: scale them by the cotangent of the loss."""
    _, weight, targets = primals
    _, hidden_gradient, weight_gradient = outputs
    scale = cotangents[0]
    return (
        hidden_gradient * scale.astype(hidden_gradient.dtype),
        (weight_gradient * scale).astype(weight.dtype),
        mx.zeros(targets.shape, targets.dtype),
    )


def loss_function(model: GPT, inputs: mx.array, targets: mx.array) -> mx.array:
    """Mean cross-entropy in nats per token; inputs and targets are (B, T) int32."""
    hidden = model.hidden(inputs)
    weight = model.head_weight().astype(hidden.dtype)
    return softcapped_cross_entropy(hidden.reshape(-1, WIDTH), weight, targets.reshape(-1))[0]


# ---------------------------------------------------------------------------------------------------------------------
# Optimizer: Muon for the matrices of the blocks, AdamW for everything else

# Polar Express (Amsel et al., 2025), five steps: X <- a X + (b A + c A^2) X with A = X X^T drives singular values to 1.
POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)


def orthogonalize(matrices: mx.array) -> mx.array:
    """The nearest (semi-)orthogonal matrices to a stack (n, rows, columns) with rows <= columns, in DTYPE."""
    size = mx.sqrt(mx.square(matrices).sum(axis=(-2, -1), keepdims=True))  # float32: bfloat16 sums lose it
    x = (matrices / (1.02 * size + 1e-6)).astype(DTYPE)
    for a, b, c in POLAR_EXPRESS:
        gram = x @ x.swapaxes(-1, -2)
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x


def adam_learning_rate(name: str) -> float:
    """Full learning rate of a parameter that AdamW trains."""
    width_scale = (WIDTH / 768) ** -0.5
    if name.endswith("embedding.weight"):
        return EMBEDDING_LR * width_scale
    return HEAD_LR * width_scale if name.startswith("head") else SCALAR_LR


MATRICES = ("query.weight", "key.weight", "value.weight", "output.weight", "up.weight", "down.weight")


class Optimizer:
    """Muon and AdamW over the flat dictionary of a model's parameters; all state is in `state`, for compilation."""

    def __init__(self, parameters: dict[str, mx.array]):
        is_matrix = {name: name.startswith("blocks.") and name.endswith(MATRICES) for name in parameters}
        self.adam = [name for name in parameters if not is_matrix[name]]
        # Matrices with the same sides, whichever is longer, are stacked: one batched product instead of many.
        self.muon: dict[str, list[str]] = {}
        for name, parameter in parameters.items():
            if is_matrix[name]:
                self.muon.setdefault("x".join(map(str, sorted(parameter.shape))), []).append(name)
        self.state = {
            "step": mx.array(0.0),
            "mean": {name: mx.zeros_like(parameters[name]) for name in self.adam},
            "square": {name: mx.zeros_like(parameters[name]) for name in self.adam},
            "momentum": {
                key: mx.zeros((len(names), *sorted(parameters[names[0]].shape))) for key, names in self.muon.items()
            },
        }

    def update(
        self, parameters: dict[str, mx.array], gradients: dict[str, mx.array], rate: mx.array
    ) -> dict[str, mx.array]:
        """New parameters after one step; `rate` is the schedule's share of the full learning rates."""
        self.state["step"] = self.state["step"] + 1
        updated = {name: self._adam_step(name, parameters[name], gradients[name], rate) for name in self.adam}
        for key, names in self.muon.items():
            updated |= self._muon_step(key, {name: parameters[name] for name in names}, gradients, rate)
        return updated

    def _adam_step(self, name: str, parameter: mx.array, gradient: mx.array, rate: mx.array) -> mx.array:
        step, mean, square = self.state["step"], self.state["mean"], self.state["square"]
        mean[name] = ADAM_BETA1 * mean[name] + (1 - ADAM_BETA1) * gradient
        square[name] = ADAM_BETA2 * square[name] + (1 - ADAM_BETA2) * mx.square(gradient)
        unbiased_mean = mean[name] / (1 - mx.power(ADAM_BETA1, step))
        unbiased_square = square[name] / (1 - mx.power(ADAM_BETA2, step))
        return parameter - rate * adam_learning_rate(name) * unbiased_mean / (mx.sqrt(unbiased_square) + 1e-10)

    def _muon_step(
        self, key: str, parameters: dict[str, mx.array], gradients: dict[str, mx.array], rate: mx.array
    ) -> dict[str, mx.array]:
        is_tall = {name: parameter.shape[0] > parameter.shape[1] for name, parameter in parameters.items()}
        gradient = mx.stack([gradients[name].T if is_tall[name] else gradients[name] for name in parameters])
        momentum = MOMENTUM * self.state["momentum"][key] + (1 - MOMENTUM) * gradient
        self.state["momentum"][key] = momentum
        directions = orthogonalize(MOMENTUM * momentum + (1 - MOMENTUM) * gradient).astype(mx.float32)
        updated = {}
        for direction, (name, parameter) in zip(directions, parameters.items(), strict=True):
            direction = direction.T if is_tall[name] else direction
            step = rate * MATRIX_LR * max(1.0, parameter.shape[0] / parameter.shape[1]) ** 0.5
            updated[name] = parameter * (1 - step * WEIGHT_DECAY) - step * direction
        return updated


def learning_rate(progress: float) -> float:
    """Share of the full learning rate at `progress` (0 to 1) through the budget: trapezoid."""
    rise = 1.0 if progress >= WARMUP else (progress + 0.001) / (WARMUP + 0.001)
    fall = 1.0 if progress <= 1 - WARMDOWN else FINAL_LR + (1 - FINAL_LR) * (1 - progress) / WARMDOWN
    return max(0.0, min(rise, fall))


# ---------------------------------------------------------------------------------------------------------------------
# Training


def global_norm(arrays: dict[str, mx.array]) -> mx.array:
    """Euclidean norm of all arrays together, a float32 scalar."""
    return mx.sqrt(sum(mx.square(array).sum() for array in arrays.values()))


def make_step(model: GPT, optimizer: Optimizer) -> Callable[..., tuple[mx.array, mx.array]]:
    """One compiled optimizer step: step(micro_batches, rate) -> (loss, norms).

    `micro_batches` is a list of (inputs, targets), each (B, T) int32; `rate` is a float32 array, because a Python float
    would be compiled in for ever. Model and optimizer state are captured and updated in place. The loss is the mean of
    all micro-batches and processes; norms (2,) are those of the gradients and of the update.
    """
    loss_and_gradients = nn.value_and_grad(model, loss_function)
    processes = mx.distributed.init().size()
    state = [model.state, optimizer.state]

    @partial(mx.compile, inputs=state, outputs=state)
    def step(micro_batches: list[tuple[mx.array, mx.array]], rate: mx.array) -> tuple[mx.array, mx.array]:
        total_loss, total_gradients = None, None
        for inputs, targets in micro_batches:
            if total_loss is not None:  # one micro-batch after the other, or both keep their activations alive
                inputs = mx.depends([inputs], [total_loss, *(g for _, g in tree_flatten(total_gradients))])[0]
            loss, gradients = loss_and_gradients(model, inputs, targets)
            total_loss = loss if total_loss is None else total_loss + loss
            total_gradients = gradients if total_gradients is None else tree_map(mx.add, total_gradients, gradients)
        total_gradients = nn.average_gradients(tree_map(lambda g: g / len(micro_batches), total_gradients))
        parameters = dict(tree_flatten(model.trainable_parameters()))
        gradients = dict(tree_flatten(total_gradients))
        updated = optimizer.update(parameters, gradients, rate)
        model.update(tree_unflatten(list(updated.items())))
        update = {name: updated[name] - parameters[name] for name in updated}
        norms = mx.stack([global_norm(gradients), global_norm(update)])
        return mx.distributed.all_sum(total_loss) / (len(micro_batches) * processes), norms

    return step


def check_loss(loss: float, step: int) -> None:
    """Stop at once when training has diverged; the rest of the budget would be wasted."""
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss} at step {step}: training diverged; lower the learning rates")


def main() -> None:
    """Train for the budget and hand the model in."""
    clock = Clock()
    mx.random.seed(SEED)
    model = build_model()
    optimizer = Optimizer(dict(tree_flatten(model.trainable_parameters())))
    mx.eval(model.parameters(), optimizer.state)
    step_function = make_step(model, optimizer)
    data = batches(VOCAB_SIZE, BATCH_SIZE // mx.distributed.init().size(), SEQUENCE_LENGTH)
    tokens_per_step = BATCH_SIZE * SEQUENCE_LENGTH * ACCUMULATION

    step, smooth_loss, last_log, pending = clock.resume(data, model, optimizer.state), None, 0.0, None
    while clock.running():
        rate = learning_rate(clock.progress())
        micro_batches = [next(data) for _ in range(ACCUMULATION)]
        loss, norms = step_function(micro_batches, mx.array(rate))
        if clock.elapsed() - last_log > max(1.0, TIME_BUDGET / 100):
            last_log = clock.elapsed()
        else:
            norms = None  # never computed: MLX works out only what it is asked for
        mx.async_eval(loss, norms, model.state, optimizer.state)
        step += 1
        if pending is not None:  # the previous step's loss: reading it waits for that step, while this one is queued
            value = pending[0].item()
            check_loss(value, step - 1)
            smooth_loss = value if smooth_loss is None else 0.95 * smooth_loss + 0.05 * value
            if pending[1] is not None:
                gradient, update = pending[1].tolist()
                numbers = {"loss": smooth_loss, "tokens": (step - 1) * tokens_per_step, "rate": rate}
                log(step - 1, **numbers, waited=data.wait_seconds, gradient_norm=gradient, update_norm=update)
        pending = loss, norms
    if pending is None:
        raise TimeoutError("the budget was over before the first step: the model is too slow to build")
    check_loss(pending[0].item(), step)
    log(step, loss=smooth_loss or pending[0].item(), tokens=step * tokens_per_step, rate=0.0, waited=data.wait_seconds)
    data.close()
    hand_in(model)


if __name__ == "__main__":
    run(main)
