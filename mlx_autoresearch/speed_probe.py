"""How fast this machine is at this moment: fixed products of matrices and fixed copies in memory, timed for a second.

    python -m mlx_autoresearch.launch -m mlx_autoresearch.speed_probe      prints {"products": ..., "copies": ...}

Heat, another program, a power setting: whatever slows training slows this too, also where no sensor can be read. It
runs in a process of its own, on the device that trains, so the loop's process holds no memory of the GPU.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from mlx_autoresearch.launch import launch_command
from mlx_autoresearch.process import child_environment

SIDE = 1024
"""Rows and columns of the matrices, float32."""

COPIED_BYTES = 64 << 20
"""Length of the copied array: more than any processor's cache holds for one core."""

SLICES, SLICE_SECONDS = 10, 0.06
"""Timed slices of each kind; with the untimed ones the probe computes for one and a half seconds."""

PROBE_SECONDS = 60.0
"""A probe that takes longer, start-up included, says nothing."""


@dataclass(frozen=True)
class Speed:
    """What the machine did in a second.

    Attributes:
        products: products of the two matrices.
        copies: copies of the array.
    """

    products: float
    copies: float

    def ratio(self, other: Speed) -> float:
        """This speed over the other: the geometric mean of both kinds, since training does both."""
        return math.sqrt(self.products / other.products * self.copies / other.copies)


def run_probe() -> Speed | None:
    """Probe in a process of its own; None when it fails, which then says more than a number."""
    command = launch_command(["-m", "mlx_autoresearch.speed_probe"])
    try:
        answer = subprocess.run(
            command, env=child_environment({}), capture_output=True, text=True, timeout=PROBE_SECONDS, check=True
        )
        return Speed(**json.loads(answer.stdout.splitlines()[-1]))
    except (OSError, subprocess.SubprocessError, ValueError, IndexError, TypeError):
        return None


def measure() -> Speed:
    """Probe in this process, on MLX's default device."""
    import mlx.core as mx

    matrix = mx.random.normal((SIDE, SIDE), key=mx.random.key(0)) / SIDE
    array = mx.zeros((COPIED_BYTES // 4,))
    return Speed(rate(lambda: mx.eval(matrix @ matrix)), rate(lambda: mx.eval(array + 1.0)))


def rate(work: Callable[[], None]) -> float:
    """How often `work` is done in a second: the median over slices, so that a short interruption doesn't count."""
    work()  # allocates and compiles
    repeats = 1
    while (seconds := _seconds(work, repeats)) < SLICE_SECONDS / 2:
        repeats = max(repeats + 1, int(repeats * SLICE_SECONDS / max(seconds, 1e-6)))
    return statistics.median(repeats / _seconds(work, repeats) for _ in range(SLICES))


def _seconds(work: Callable[[], None], repeats: int) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    return time.perf_counter() - started


def main() -> None:
    """Command line: see the module."""
    print(json.dumps(asdict(measure())))


if __name__ == "__main__":
    main()
