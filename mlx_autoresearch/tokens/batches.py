"""Endless training batches over a token stream: whole rows, no padding, gathered ahead by a thread.

Notable:
- Rows begin anywhere, as the scored ones do: in the middle of a document more often than at its start. Rows that began
  at documents cost 0.007 to 0.010 bits per byte after a minute, and much more where documents are shorter than rows.
- The thread makes numpy arrays only; MLX arrays are made by the thread that trains.
- Several processes that train together see exactly the rows that one process with the whole batch would see.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
import weakref
from collections.abc import Iterator

import mlx.core as mx
import numpy as np

from mlx_autoresearch.errors import AutoresearchError

PREFETCHED_BATCHES = 4


def epoch_rows(length: int, sequence_length: int, generator: np.random.Generator) -> np.ndarray:
    """Starts of the rows of one epoch in random order, int64 (rows,), each at most `length - sequence_length - 1`.

    They are a grid of step `sequence_length` over the stream, which every epoch moves by a random offset.
    """
    offset = generator.integers(min(sequence_length, length - sequence_length))
    return generator.permutation(np.arange(offset, length - sequence_length, sequence_length))


def batches_of_rows(length: int, batch_size: int, sequence_length: int, seed: int) -> Iterator[tuple[int, np.ndarray]]:
    """Endless (epoch of the last row, row starts int64 (batch_size,)); a batch may span epochs: no row is dropped."""
    waiting, epoch = np.empty(0, np.int64), -1
    while True:
        while len(waiting) < batch_size:
            epoch += 1
            rows = epoch_rows(length, sequence_length, np.random.default_rng([seed, epoch]))
            waiting = np.concatenate([waiting, rows])
        for start in range(0, len(waiting) - batch_size + 1, batch_size):
            yield epoch, waiting[start : start + batch_size]
        waiting = waiting[len(waiting) - len(waiting) % batch_size :]


class Batches:
    """Endless iterator of (inputs, targets), both int32 mx.array (batch_size, sequence_length), targets one token on.

    Args:
        tokens: the stream, uint16 (N,), usually a memory map.
        batch_size: rows of this process; all processes together take `batch_size * ranks` rows per step.
        sequence_length: tokens per row.
        seed: decides offsets and order; an epoch's order depends on `(seed, epoch)` only.
        rank, ranks: which of how many processes this is; it gets rows `rank::ranks` of the common batch.
        skipped: begin after so many batches, as a training does that goes on.

    Attributes:
        wait_seconds: time `next` has spent waiting for the thread.
        batches_served: batches handed out, with those skipped.
        epoch: passes over the stream completed before the one that the last batch ended in.

    Raises:
        AutoresearchError: the stream is shorter than one row, or a size is not positive.
    """

    def __init__(
        self,
        tokens: np.ndarray,
        batch_size: int,
        sequence_length: int,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
        skipped: int = 0,
    ) -> None:
        if batch_size < 1 or sequence_length < 1:
            raise AutoresearchError(f"batches need positive sizes, not {batch_size} rows of {sequence_length} tokens")
        if len(tokens) < sequence_length + 1:
            raise AutoresearchError(
                f"the training text has {len(tokens)} tokens, too few for rows of {sequence_length}: "
                "use a shorter sequence_length, or prepare a larger dataset"
            )
        self.wait_seconds = 0.0
        self.batches_served = skipped
        self.epoch = 0
        rows = itertools.islice(batches_of_rows(len(tokens), batch_size * ranks, sequence_length, seed), skipped, None)
        self._ready: queue.SimpleQueue = queue.SimpleQueue()
        self._free = threading.Semaphore(PREFETCHED_BATCHES)
        stop = threading.Event()
        # The thread knows nothing of this object, so that an abandoned one is collected and ends its thread.
        thread = threading.Thread(
            target=_gather,
            args=(np.asarray(tokens), rows, slice(rank, None, ranks), sequence_length, self._ready, self._free, stop),
            name="batches",
            daemon=True,
        )
        thread.start()
        self._end = weakref.finalize(self, _end, stop, self._free, thread)

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> tuple[mx.array, mx.array]:
        """The next batch.

        Raises:
            StopIteration: after `close`.
            Exception: whatever stopped the thread, on this and every later call.
        """
        if not self._end.alive:
            raise StopIteration
        before = time.perf_counter()
        item = self._ready.get()
        self.wait_seconds += time.perf_counter() - before
        if isinstance(item, BaseException):
            self._ready.put(item)
            raise item
        self.epoch, inputs, targets = item
        self._free.release()
        self.batches_served += 1
        return mx.array(inputs), mx.array(targets)

    def close(self) -> None:
        """End the thread; later calls of `next` raise StopIteration."""
        self._end()


def _end(stop: threading.Event, free: threading.Semaphore, thread: threading.Thread) -> None:
    """End the thread and wait for it: one that still computes when Python ends is killed inside numpy, which aborts."""
    stop.set()
    free.release()
    if thread is not threading.current_thread():  # the garbage collector runs in any thread
        thread.join()


def _gather(
    tokens: np.ndarray,
    rows: Iterator[tuple[int, np.ndarray]],
    share: slice,
    sequence_length: int,
    ready: queue.SimpleQueue,
    free: threading.Semaphore,
    stop: threading.Event,
) -> None:
    """The thread: put (epoch, inputs, targets), int32 (batch_size, sequence_length), while there is room for more."""
    row = np.arange(sequence_length + 1)
    try:
        while True:
            free.acquire()
            if stop.is_set():
                return
            epoch, starts = next(rows)
            block = tokens[starts[share, None] + row].astype(np.int32)
            ready.put((epoch, np.ascontiguousarray(block[:, :-1]), np.ascontiguousarray(block[:, 1:])))
    except BaseException as error:
        ready.put(error)
