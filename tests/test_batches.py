"""Training batches: every row whole and contiguous, the same for any number of processes, never a silent stop."""

from __future__ import annotations

import gc
import threading
import time
from itertools import islice

import numpy as np
import pytest

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.tokens.batches import Batches, batches_of_rows, epoch_rows

STREAM = np.arange(5000, dtype=np.uint16)


def take(count: int, **options: int) -> np.ndarray:
    """Inputs and targets of the first batches: (count, 2, batch, sequence)."""
    settings = {"batch_size": 4, "sequence_length": 16, "seed": 3, **options}
    batches = Batches(STREAM, **settings)
    taken = np.array([[np.array(inputs), np.array(targets)] for inputs, targets in islice(batches, count)])
    batches.close()
    return taken


def threads() -> int:
    return sum(thread.name == "batches" for thread in threading.enumerate())


def wait_for_threads(count: int) -> bool:
    """Whether the number of gathering threads falls to `count` within two seconds."""
    deadline = time.monotonic() + 2
    while threads() > count and time.monotonic() < deadline:
        time.sleep(0.01)
    return threads() <= count


def test_rows_are_contiguous_and_shifted_by_one() -> None:
    batches = Batches(STREAM, batch_size=4, sequence_length=16, seed=0)
    inputs, targets = next(batches)
    batches.close()
    assert "int32" in str(inputs.dtype) and inputs.shape == targets.shape == (4, 16)
    assert np.array_equal(np.array(targets), np.array(inputs) + 1)  # the stream counts up
    assert np.array_equal(np.diff(np.array(inputs)), np.ones((4, 15)))


def test_rows_cover_the_stream_and_begin_anywhere() -> None:
    length, sequence = 5000, 16
    seen, places = np.zeros(length, bool), set()
    for epoch in range(100):
        rows = np.sort(epoch_rows(length, sequence, np.random.default_rng([0, epoch])))
        assert (np.diff(rows) == sequence).all() and 0 <= rows[0] < sequence
        assert length - 2 * sequence <= rows[-1] + 1 <= length - sequence
        places.add(int(rows[0]))
        for row in rows:
            seen[row : row + sequence + 1] = True
    assert seen.all() and places == set(range(sequence))


def test_same_seed_same_rows_other_seed_other_rows() -> None:
    assert np.array_equal(take(5), take(5))
    assert not np.array_equal(take(5), take(5, seed=4))


@pytest.mark.parametrize("ranks", [2, 4])
def test_processes_together_see_the_rows_of_one(ranks: int) -> None:
    whole = take(100)  # more than one epoch
    shares = [take(100, batch_size=4 // ranks, rank=rank, ranks=ranks) for rank in range(ranks)]
    for rank, share in enumerate(shares):
        assert np.array_equal(share, whole[:, :, rank::ranks])


def test_epochs_drop_no_row_and_differ() -> None:
    first = epoch_rows(5000, 16, np.random.default_rng([7, 0]))
    second = epoch_rows(5000, 16, np.random.default_rng([7, 1]))
    assert set(first) != set(second)
    epochs, rows = zip(*islice(batches_of_rows(5000, 4, 16, 7), 170), strict=True)
    expected = np.concatenate([first, second])
    assert np.array_equal(np.concatenate(rows)[: len(expected)], expected)
    assert epochs[0] == 0 and epochs[(len(first) + 4) // 4] == 1 and sorted(epochs) == list(epochs)


def test_short_stream_repeats_rows() -> None:
    batches = Batches(STREAM[:17], batch_size=8, sequence_length=16, seed=0)
    inputs, _ = next(batches)
    batches.close()
    assert np.array_equal(np.array(inputs), np.tile(np.arange(16), (8, 1)))
    assert batches.epoch == 7


def test_bad_sizes_are_sentences() -> None:
    with pytest.raises(AutoresearchError, match="too few"):
        Batches(STREAM[:16], batch_size=1, sequence_length=16, seed=0)
    with pytest.raises(AutoresearchError, match="positive"):
        Batches(STREAM, batch_size=0, sequence_length=16, seed=0)


def test_counters() -> None:
    batches = Batches(STREAM, batch_size=4, sequence_length=16, seed=0)
    for _ in islice(batches, 3):
        pass
    batches.close()
    assert batches.batches_served == 3 and 0 < batches.wait_seconds < 1


def test_thread_ends_when_closed_and_iteration_stops() -> None:
    gc.collect()
    assert wait_for_threads(0)  # those of earlier tests
    batches = Batches(STREAM, batch_size=4, sequence_length=16, seed=0)
    next(batches)
    assert threads() == 1
    batches.close()
    assert threads() == 0  # at once: a thread that still computes when Python ends would abort it
    with pytest.raises(StopIteration):
        next(batches)


def test_thread_ends_when_forgotten() -> None:
    gc.collect()
    assert wait_for_threads(0)  # those of earlier tests
    batches = Batches(STREAM, batch_size=4, sequence_length=16, seed=0)
    next(batches)
    del batches
    gc.collect()
    assert wait_for_threads(0)


def test_error_in_the_thread_reaches_the_consumer() -> None:
    batches = Batches(STREAM, batch_size=4, sequence_length=16, seed=-1)
    for _ in range(2):
        with pytest.raises(ValueError, match="non-negative"):
            next(batches)
