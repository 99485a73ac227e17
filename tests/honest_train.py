"""A small honest training file: pairs of bytes, counted at a fixed pace. `cheat_edits.py` makes cheats of it.

The clock sets the pace, so how many rows it learns from, and with that its score, depends on the time for which it
trains and hardly on the machine.
"""

import time

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from prepare import SEED, TIME_BUDGET, Clock, batches, hand_in, log, run

VOCAB = 256
ROWS_PER_SECOND = 8
ROW_TOKENS = 16


class Bigram(nn.Module):
    """(B, T) tokens -> (B, T, VOCAB) logits of the next ones."""

    def __init__(self):
        super().__init__()
        self.table = mx.zeros((VOCAB, VOCAB))

    def __call__(self, tokens):
        logits = self.table[tokens]
        return logits


def build_model():
    return Bigram()


class Counts:
    """How often each byte followed each other one."""

    def __init__(self):
        self.pairs = np.zeros((VOCAB, VOCAB))
        self.rows = 0

    def learn(self, inputs, targets):
        np.add.at(self.pairs, (np.array(inputs), np.array(targets)), 1)
        self.rows += 1

    def table(self):
        chance = self.pairs.sum(axis=0) + 0.05
        chance /= chance.sum()
        seen = self.pairs.sum(axis=1, keepdims=True)
        return mx.array(np.log((self.pairs + 4 * chance) / (seen + 4)), dtype=mx.float32)


def train(clock, counts, data, seconds):
    while clock.elapsed() < seconds:
        if counts.rows > clock.elapsed() * ROWS_PER_SECOND:
            time.sleep(0.01)
        else:
            counts.learn(*next(data))


def main():
    clock = Clock()
    mx.random.seed(SEED)
    model, counts = build_model(), Counts()
    data = batches(VOCAB, 1, ROW_TOKENS)
    while clock.running():
        train(clock, counts, data, min(TIME_BUDGET, clock.elapsed() + 0.05))
        log(counts.rows, loss=0.0, tokens=counts.rows * ROW_TOKENS, waited=data.wait_seconds)
    model.table = counts.table()
    hand_in(model)
    data.close()


if __name__ == "__main__":
    run(main)
