"""How a run learned: its training loss in bits per byte of text, over time and over the text that it read.

A better score has two sources: more text in the same seconds, or more learned from the same text. `where_from` tells
them apart. What both read is known from their curves. What reading more is worth is measured on the curves too, by
what the loss fell while the text doubled, between a quarter and a half of a run, after the wild start and before the
cool-down. It is an estimate: what the cool-down adds is not in it. (Reading both curves at equal text instead would
compare the end of one schedule with the middle of another.)

Curves are written by the training file, which nobody has read: what is no sensible number is left out, and nothing here
decides a score or a keep.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

LEAST_POINTS = 4
"""Points that a curve needs to be read."""

SAME_TEXT = 0.01
"""Texts whose sizes differ by less than this share count as equal."""


@dataclass(frozen=True)
class LearningCurve:
    """A curve with rising time and text.

    Attributes:
        seconds: since the start of the run, (N,).
        text_bytes: training text read so far, (N,).
        bpb: smoothed training loss in bits per byte, (N,).
    """

    seconds: np.ndarray
    text_bytes: np.ndarray
    bpb: np.ndarray

    def at_time(self, seconds: float) -> float | None:
        """The loss at a time within the curve, None outside of it."""
        if not self.seconds[0] <= seconds <= self.seconds[-1]:
            return None
        return float(np.interp(seconds, self.seconds, self.bpb))

    def worth_of_doubling(self) -> float:
        """What the loss fell while the text doubled, from a quarter to a half of all text of the run."""
        quarter, half = np.interp([self.text_bytes[-1] / 4, self.text_bytes[-1] / 2], self.text_bytes, self.bpb)
        return float(quarter - half)


def learning_curve(points: Sequence[dict], bytes_per_token: float) -> LearningCurve | None:
    """The curve of a run from its points (curve.read_points), None where they are too few.

    `loss` is in nats per token; points that go back in time or text, or hold no positive loss, are left out.
    """
    kept: list[tuple[float, float, float]] = []
    for point in points:
        seconds, tokens, loss = (point.get(name) for name in ("seconds", "tokens", "loss"))
        if None in (seconds, tokens, loss) or loss <= 0 or tokens <= 0:
            continue
        if not kept or (seconds > kept[-1][0] and tokens * bytes_per_token > kept[-1][1]):
            kept.append((seconds, tokens * bytes_per_token, loss / math.log(2) / bytes_per_token))
    return LearningCurve(*np.array(kept, dtype=float).T) if len(kept) >= LEAST_POINTS else None


@dataclass(frozen=True)
class Sources:
    """Where a gain came from.

    Attributes:
        text_ratio: text that the candidate read, over the incumbent's.
        by_speed: what that was worth in bits per byte; negative where it read less.
        by_learning: the rest of the gain: what it is better or worse at equal text.
    """

    text_ratio: float
    by_speed: float
    by_learning: float

    def sentence(self) -> str:
        """In words, as an estimate."""
        more = self.text_ratio - 1
        if abs(more) < SAME_TEXT:
            side = "better" if self.by_learning > 0 else "worse"
            return f"It read as much text in the same time, so it learned {side} (an estimate)."
        better = "better" if self.by_learning > 0 else "worse"
        if more > 0:
            causes = "it ran faster and learned better" if self.by_learning > 0 else "it ran faster"
        else:
            causes = "it learned better" if self.by_learning > 0 else "it ran slower and learned worse"
        return (
            f"At equal text it is about {abs(self.by_learning):.4f} {better}, and it read {abs(more):.0%} "
            f"{'more' if more > 0 else 'less'} text: {causes} (an estimate)."
        )


def where_from(gain: float, candidate: Sequence[LearningCurve], incumbent: Sequence[LearningCurve]) -> Sources | None:
    """Split a measured gain in bits per byte by the curves of both sides' runs; None where a side has none."""
    if not candidate or not incumbent:
        return None
    ratio = _mean(curve.text_bytes[-1] for curve in candidate) / _mean(curve.text_bytes[-1] for curve in incumbent)
    doubling = _mean(curve.worth_of_doubling() for curve in (*candidate, *incumbent))
    by_speed = math.log2(ratio) * max(0.0, doubling)
    return Sources(ratio, by_speed, gain - by_speed)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
