"""A training file that takes a second and always comes to the same score, for tests that run the real loop often.

A table of what follows what: the logits of the next token are a row of it. The number of steps is fixed, so the score
depends on the seed alone and not on how busy the machine is.
"""

from __future__ import annotations

import math
import time

import mlx.core as mx
import mlx.nn as nn

from prepare import SEED, Clock, batches, hand_in, log, run

VOCAB_SIZE = 256  # raw bytes
LEARNING_RATE = 0.5  # step size {0.1..1000.0 log}
MOMENTUM = 0.5  # decay of the mean gradient {0.0..0.9}
BATCH_SIZE = 4  # rows in a step {2..16}
SEQUENCE_LENGTH = 64  # tokens in a row {32, 64, 128}
STEPS = 15  # optimizer steps {10..30}
SCALE = 0.01  # size of the first weights {0.001..1.0 log}
PAUSE = 0.02  # seconds between steps: time in which a run can be killed


class Model(nn.Module):
    """Logits of the next token from the token alone."""

    def __init__(self) -> None:
        super().__init__()
        self.table = SCALE * mx.random.normal((VOCAB_SIZE, VOCAB_SIZE))

    def __call__(self, tokens: mx.array) -> mx.array:
        return self.table[tokens]


def build_model() -> nn.Module:
    """The model with its first weights."""
    return Model()


def loss_of(model: nn.Module, inputs: mx.array, targets: mx.array) -> mx.array:
    """Mean cross-entropy in nats."""
    return nn.losses.cross_entropy(model(inputs), targets, reduction="mean")


def main() -> None:
    """Train for STEPS steps and hand the model in."""
    clock, data = Clock(), batches(VOCAB_SIZE, BATCH_SIZE, SEQUENCE_LENGTH)
    mx.random.seed(SEED)
    model = build_model()
    mean, gradients_of = mx.zeros((VOCAB_SIZE, VOCAB_SIZE)), nn.value_and_grad(model, loss_of)
    step = 0
    while clock.running() and step < STEPS:
        inputs, targets = next(data)
        loss, gradients = gradients_of(model, mx.array(inputs), mx.array(targets))
        mean = MOMENTUM * mean + gradients["table"]
        model.table = model.table - LEARNING_RATE * mean
        step += 1
        if not math.isfinite(loss.item()):
            raise FloatingPointError(f"the loss is {loss.item()} at step {step}")
        log(step, loss=loss, tokens=step * BATCH_SIZE * SEQUENCE_LENGTH)
        time.sleep(PAUSE)
    data.close()
    hand_in(model)


if __name__ == "__main__":
    run(main)
