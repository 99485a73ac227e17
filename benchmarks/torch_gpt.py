"""The GPT of train_mlx.py and its optimizer once more, in PyTorch: written to be obviously right, not to be fast.

It is made from the mathematics and the papers, not from train_mlx.py's text: attention with a full mask and softmax,
the loss and every gradient by PyTorch's own functions, Muon one matrix at a time, and the coefficients of Polar Express
worked out here. Only the knobs are shared, read by `configuration_of`, and the names of the parameters.

Shapes in comments: B rows, T tokens, D width, H query heads, G key-value heads, K head dimension, V vocabulary.

Sources: RoPE, Su et al. 2021; RMS norm, Zhang & Sennrich 2019; grouped-query attention, Ainslie et al. 2023; squared
ReLU, So et al. 2021; soft-capped logits, Gemma Team 2024; AdamW, Loshchilov & Hutter 2019 (no decay is used); Muon,
Jordan et al. 2024; Polar Express, Amsel et al. 2025.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its name everywhere)

# ---------------------------------------------------------------------------------------------------------------------
# Configuration


@dataclass(frozen=True)
class Configuration:
    """Everything that decides model and optimizer; the fields are the knobs of train_mlx.py, two of them worked out.

    Attributes:
        windows: how many tokens, itself included, a token sees in each block.
        value_embeddings: which blocks add an embedding of the tokens to their values.
        gate_channels: how much of the residual stream the gates of the value embeddings read.
        embedding_learning_rate, head_learning_rate: at this width, already scaled.
    """

    width: int
    head_dim: int
    kv_heads: int
    queries_per_kv: int
    vocab_size: int
    sequence_length: int
    windows: tuple[int, ...]
    value_embeddings: tuple[bool, ...]
    gate_channels: int
    mlp_ratio: int
    activation: str
    rope_base: float
    tied_head: bool
    softcap: float
    matrix_learning_rate: float
    embedding_learning_rate: float
    head_learning_rate: float
    scalar_learning_rate: float
    adam_betas: tuple[float, float]
    momentum: float
    weight_decay: float

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.windows)

    @property
    def heads(self) -> int:
        """Number of query heads, H."""
        return self.kv_heads * self.queries_per_kv


def configuration_of(module: ModuleType) -> Configuration:
    """The configuration that the knobs of a loaded train_mlx.py describe (see `training_file.load_training_file`)."""
    last = module.DEPTH - 1
    short_window = max(1, math.floor(module.SHORT_WINDOW * module.SEQUENCE_LENGTH))
    windows = []
    for block in range(module.DEPTH):
        letter = module.WINDOW_PATTERN[block % len(module.WINDOW_PATTERN)]
        sees_all = block == last or letter == "L"
        windows.append(module.SEQUENCE_LENGTH if sees_all else short_window)
    width_scale = math.sqrt(768 / module.WIDTH)
    return Configuration(
        width=module.WIDTH,
        head_dim=module.HEAD_DIM,
        kv_heads=module.KV_HEADS,
        queries_per_kv=module.QUERIES_PER_KV,
        vocab_size=module.VOCAB_SIZE,
        sequence_length=module.SEQUENCE_LENGTH,
        windows=tuple(windows),
        # Every other block, counted from the last one, which has one.
        value_embeddings=tuple(module.VALUE_EMBEDDINGS and (last - block) % 2 == 0 for block in range(module.DEPTH)),
        gate_channels=module.Attention.GATE_CHANNELS,
        mlp_ratio=module.MLP_RATIO,
        activation=module.ACTIVATION,
        rope_base=module.ROPE_BASE,
        tied_head=module.TIED_HEAD,
        softcap=module.SOFTCAP,
        matrix_learning_rate=module.MATRIX_LR,
        embedding_learning_rate=module.EMBEDDING_LR * width_scale,
        head_learning_rate=module.HEAD_LR * width_scale,
        scalar_learning_rate=module.SCALAR_LR,
        adam_betas=(module.ADAM_BETA1, module.ADAM_BETA2),
        momentum=module.MOMENTUM,
        weight_decay=module.WEIGHT_DECAY,
    )


# ---------------------------------------------------------------------------------------------------------------------
# Model


def at_least_float32(x: torch.Tensor) -> torch.Tensor:
    """x in float32, or in its own dtype where that is more precise."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def norm(x: torch.Tensor) -> torch.Tensor:
    """RMS norm over the last axis without a weight, computed in float32 at least."""
    precise = at_least_float32(x)
    return (precise / torch.sqrt(precise.square().mean(dim=-1, keepdim=True) + 1e-5)).to(x.dtype)


def rotary_tables(length: int, head_dim: int, base: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine of position * base^(-2 i / K), float64 (T, K / 2) each."""
    frequencies = base ** (-2 * torch.arange(head_dim // 2, dtype=torch.float64) / head_dim)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies[None, :]
    return angles.cos(), angles.sin()


def rotate(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """RoPE: turn each pair (x[i], x[i + K / 2]) of x (B, heads, T, K) by its angle; the tables are (T, K / 2)."""
    first, second = at_least_float32(x).chunk(2, dim=-1)
    return torch.cat((first * cosine - second * sine, first * sine + second * cosine), dim=-1).to(x.dtype)


def visible(length: int, window: int, device: torch.device) -> torch.Tensor:
    """Which keys (columns) each query (row) sees, bool (T, T): itself and the `window` - 1 tokens before it."""
    position = torch.arange(length, device=device)
    back = position[:, None] - position[None, :]
    return (back >= 0) & (back < window)


AttentionFunction = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, int], torch.Tensor]
"""(queries (B, H, T, K), keys and values (B, G, T, K), window) -> (B, H, T, K)."""


def plain_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int) -> torch.Tensor:
    """Softmax over all T x T scores with the invisible ones at minus infinity; the softmax is in float32 at least."""
    k, v = with_query_heads(k, q.shape[1]), with_query_heads(v, q.shape[1])
    scores = at_least_float32(q @ k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
    scores = scores.masked_fill(~visible(q.shape[2], window, q.device), -math.inf)
    return torch.softmax(scores, dim=-1).to(v.dtype) @ v


def fused_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int) -> torch.Tensor:
    """The same by PyTorch's fused kernels, which are faster when they are told "causal" instead of a mask."""
    k, v = with_query_heads(k, q.shape[1]), with_query_heads(v, q.shape[1])
    if window >= q.shape[2]:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=visible(q.shape[2], window, q.device))


def with_query_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """Keys or values (B, G, T, K) repeated for the query heads that share them: (B, H, T, K)."""
    return x.repeat_interleave(heads // x.shape[1], dim=1)


class Linear(torch.nn.Module):
    """x @ W.T in the dtype of x; W (outputs, inputs) stays float32."""

    def __init__(self, outputs: int, inputs: int):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(outputs, inputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight.to(x.dtype).T


class Embedding(torch.nn.Module):
    """Rows of a float32 table (V, D), cast to the activations' dtype."""

    def __init__(self, vocab_size: int, width: int, dtype: torch.dtype):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(vocab_size, width))
        self._dtype = dtype

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return F.embedding(tokens, self.weight).to(self._dtype)


class Attention(torch.nn.Module):
    """Grouped-query attention with RoPE, then normalised queries and keys, and an optional value embedding."""

    def __init__(self, c: Configuration, block: int, attention: AttentionFunction, dtype: torch.dtype):
        super().__init__()
        self._configuration, self._window, self._attention = c, c.windows[block], attention
        self.query = Linear(c.heads * c.head_dim, c.width)
        self.key = Linear(c.kv_heads * c.head_dim, c.width)
        self.value = Linear(c.kv_heads * c.head_dim, c.width)
        self.output = Linear(c.width, c.heads * c.head_dim)
        self._has_value_embedding = c.value_embeddings[block]
        if self._has_value_embedding:
            self.value_embedding = Embedding(c.vocab_size, c.kv_heads * c.head_dim, dtype)
            self.value_gate = Linear(c.kv_heads, c.gate_channels)

    def forward(self, x: torch.Tensor, tokens: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
        c = self._configuration
        q = self.query(x).unflatten(-1, (c.heads, c.head_dim)).transpose(1, 2)
        k = self.key(x).unflatten(-1, (c.kv_heads, c.head_dim)).transpose(1, 2)
        v = self.value(x).unflatten(-1, (c.kv_heads, c.head_dim))
        if self._has_value_embedding:
            gate = 2 * torch.sigmoid(self.value_gate(x[..., : c.gate_channels]))  # (B, T, G)
            v = v + gate[..., None] * self.value_embedding(tokens).unflatten(-1, (c.kv_heads, c.head_dim))
        q, k = norm(rotate(q, cosine, sine)), norm(rotate(k, cosine, sine))
        y = self._attention(q, k, v.transpose(1, 2), self._window)
        return self.output(y.transpose(1, 2).flatten(-2))


ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu2": lambda x: F.relu(x).square(),
    "silu": F.silu,
    "gelu": lambda x: F.gelu(x, approximate="tanh"),
}


class MLP(torch.nn.Module):
    """Two matrices with an activation between them."""

    def __init__(self, c: Configuration):
        super().__init__()
        self.up = Linear(c.mlp_ratio * c.width, c.width)
        self.down = Linear(c.width, c.mlp_ratio * c.width)
        self._activation = ACTIVATIONS[c.activation]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(self._activation(self.up(x)))


class Block(torch.nn.Module):
    """x <- a x + b x0, then attention and MLP, each on the normalised stream and added to it."""

    def __init__(self, c: Configuration, block: int, attention: AttentionFunction, dtype: torch.dtype):
        super().__init__()
        self.residual_scale = torch.nn.Parameter(torch.ones(1))
        self.embedding_scale = torch.nn.Parameter(torch.full((1,), 0.1))
        self.attention = Attention(c, block, attention, dtype)
        self.mlp = MLP(c)

    def forward(
        self, x: torch.Tensor, x0: torch.Tensor, tokens: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor
    ) -> torch.Tensor:
        x = self.residual_scale.to(x.dtype) * x + self.embedding_scale.to(x.dtype) * x0
        x = x + self.attention(norm(x), tokens, cosine, sine)
        return x + self.mlp(norm(x))


class GPT(torch.nn.Module):
    """tokens (B, T) int64 -> soft-capped logits (B, T, V), float32.

    Matrices are zero until `load_weights`: what matters here is to start from the weights of the other side.

    Args:
        configuration: sizes and options.
        attention: `plain_attention` or `fused_attention`.
        dtype: of the activations. torch.float64 after `.double()` measures what rounding does to float32.
        longest_row: most tokens in a row; None for the configuration's sequence length.
    """

    def __init__(
        self,
        configuration: Configuration,
        attention: AttentionFunction = plain_attention,
        dtype: torch.dtype = torch.float32,
        longest_row: int | None = None,
    ):
        super().__init__()
        c = self.configuration = configuration
        self.dtype = dtype
        cosine, sine = rotary_tables(longest_row or c.sequence_length, c.head_dim, c.rope_base)
        table_dtype = torch.promote_types(dtype, torch.float32)
        self.register_buffer("_cosine", cosine.to(table_dtype), persistent=False)
        self.register_buffer("_sine", sine.to(table_dtype), persistent=False)
        self.embedding = Embedding(c.vocab_size, c.width, dtype)
        self.blocks = torch.nn.ModuleList(Block(c, block, attention, dtype) for block in range(c.depth))
        if not c.tied_head:
            self.head = Linear(c.vocab_size, c.width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        cosine, sine = self._cosine[: tokens.shape[1]], self._sine[: tokens.shape[1]]
        x = x0 = norm(self.embedding(tokens))
        for block in self.blocks:
            x = block(x, x0, tokens, cosine, sine)
        x = norm(x)
        c = self.configuration
        weight = self.embedding.weight / math.sqrt(c.width) if c.tied_head else self.head.weight
        logits = at_least_float32(x @ weight.to(x.dtype).T)
        return c.softcap * torch.tanh(logits / c.softcap)


def loss_function(model: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy in nats per token, float32; inputs and targets are (B, T) int64."""
    return F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())


def load_weights(model: GPT, parameters: Mapping[str, Any]) -> None:
    """Copy weights, MLX or NumPy arrays by name, into the model; they keep the dtype and device of the model.

    Raises:
        RuntimeError: a name or a shape differs (PyTorch's message says which).
    """
    weights = {name: torch.from_numpy(np.array(array, dtype=np.float32)) for name, array in parameters.items()}
    model.load_state_dict(weights, strict=True)


# ---------------------------------------------------------------------------------------------------------------------
# Optimizer

BLOCK_MATRICES = ("query", "key", "value", "output", "up", "down")
"""Modules of a block whose weights Muon trains."""


def polar_express_coefficients(
    steps: int = 5, smallest: float = 1e-3, safety: float = 0.02, cushion: float = 0.02
) -> list[tuple[float, float, float]]:
    """The polynomials a x + b x^3 + c x^5 of Polar Express (Amsel et al. 2025, algorithm 1), first step first.

    Each is the best odd polynomial approximation of 1 on the interval in which the singular values are by then.

    Args:
        steps: how many.
        smallest: singular value that the first one still aims at; the largest is 1.
        safety: all but the last are made for values this share larger, so that rounding can't push one out.
        cushion: the interval of a polynomial reaches no lower than this share of its upper end.
    """
    low, high = smallest, 1.0
    coefficients = []
    for step in range(steps):
        a, b, c = best_odd_quintic(max(low, cushion * high), high)
        if cushion * high > low:  # centred anew, because the value at `low` is below what the polynomial was made for
            scale = 2 / (a * (low + high) + b * (low**3 + high**3) + c * (low**5 + high**5))
            a, b, c = a * scale, b * scale, c * scale
        if step < steps - 1:
            a, b, c = a / (1 + safety), b / (1 + safety) ** 3, c / (1 + safety) ** 5
        coefficients.append((a, b, c))
        low = a * low + b * low**3 + c * low**5
        high = 2 - low
    return coefficients


def best_odd_quintic(low: float, high: float) -> tuple[float, float, float]:
    """(a, b, c) of the polynomial a x + b x^3 + c x^5 closest to 1 on [low, high], by the Remez algorithm.

    Its error has the same size and alternating signs at both ends and at its two extrema between them.
    """
    inner = np.array([(3 * low + high) / 4, (low + 3 * high) / 4])
    a = b = c = error = math.inf
    while True:
        points = np.array([low, *inner, high])
        equations = np.stack([points, points**3, points**5, np.array([1, -1, 1, -1])], axis=1)
        previous, (a, b, c, error) = error, np.linalg.solve(equations, np.ones(4))
        if abs(error - previous) <= 1e-15:
            return float(a), float(b), float(c)
        root = math.sqrt(9 * b * b - 20 * a * c)
        inner = np.sqrt(np.array([-3 * b - root, -3 * b + root]) / (10 * c))


def orthogonalize(
    matrix: torch.Tensor, coefficients: list[tuple[float, float, float]], dtype: torch.dtype
) -> torch.Tensor:
    """Singular values of a matrix with rows <= columns brought near 1: X <- a X + b (X X^T) X + c (X X^T)^2 X."""
    x = (matrix / (1.02 * torch.linalg.matrix_norm(matrix) + 1e-6)).to(dtype)
    for a, b, c in coefficients:
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


class Optimizer:
    """Muon for the matrices of the blocks, Adam for everything else; works in place on the model's parameters.

    Attributes:
        step: number of updates so far, a scalar tensor.
        mean, square: Adam's averages of the gradient and of its square, by parameter.
        momentum: Muon's average of the gradient, by parameter, in the parameter's own shape.
    """

    def __init__(self, model: GPT):
        self._configuration, self._dtype = model.configuration, model.dtype
        self._parameters = dict(model.named_parameters())
        self._coefficients = polar_express_coefficients()
        matrices = {
            name
            for name in self._parameters
            if name.startswith("blocks.") and name.split(".")[-2] in BLOCK_MATRICES and name.endswith(".weight")
        }
        self.step = torch.zeros((), dtype=torch.float32, device=model.embedding.weight.device)
        self.mean = {n: torch.zeros_like(p) for n, p in self._parameters.items() if n not in matrices}
        self.square = {n: torch.zeros_like(p) for n, p in self._parameters.items() if n not in matrices}
        self.momentum = {n: torch.zeros_like(p) for n, p in self._parameters.items() if n in matrices}

    @torch.no_grad()
    def update(self, rate: float | torch.Tensor) -> None:
        """One step from the gradients in `.grad`; `rate` is the schedule's share of the full learning rates."""
        self.step += 1
        for name, parameter in self._parameters.items():
            if name in self.momentum:
                self._muon(name, parameter, rate)
            else:
                self._adam(name, parameter, rate)

    def _adam(self, name: str, parameter: torch.Tensor, rate: float | torch.Tensor) -> None:
        beta1, beta2 = self._configuration.adam_betas
        mean, square, gradient = self.mean[name], self.square[name], parameter.grad
        mean.copy_(beta1 * mean + (1 - beta1) * gradient)
        square.copy_(beta2 * square + (1 - beta2) * gradient.square())
        unbiased_mean = mean / (1 - beta1**self.step)
        unbiased_square = square / (1 - beta2**self.step)
        direction = unbiased_mean / (unbiased_square.sqrt() + 1e-10)
        parameter.copy_(parameter - rate * self._adam_learning_rate(name) * direction)

    def _adam_learning_rate(self, name: str) -> float:
        module = name.split(".")[-2] if "." in name else name
        if module in ("embedding", "value_embedding"):
            return self._configuration.embedding_learning_rate
        if module == "head":
            return self._configuration.head_learning_rate
        return self._configuration.scalar_learning_rate

    def _muon(self, name: str, parameter: torch.Tensor, rate: float | torch.Tensor) -> None:
        c = self._configuration
        momentum, gradient = self.momentum[name], parameter.grad
        momentum.copy_(c.momentum * momentum + (1 - c.momentum) * gradient)
        ahead = c.momentum * momentum + (1 - c.momentum) * gradient  # Nesterov: as if the next gradient were this one
        rows, columns = parameter.shape
        if rows > columns:
            direction = orthogonalize(ahead.T, self._coefficients, self._dtype).T
        else:
            direction = orthogonalize(ahead, self._coefficients, self._dtype)
        learning_rate = rate * c.matrix_learning_rate * math.sqrt(max(1.0, rows / columns))
        parameter.copy_(parameter - learning_rate * c.weight_decay * parameter - learning_rate * direction)
