"""The order of the data: the same rows in the same batches on every backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from unidl.backend import Batches, Chunk
from unidl.data.dataset import Split
from unidl.data.streaming import read_ahead
from unidl.random import stream

STREAMED_STEPS = 16
"""Most batches of a chunk whose rows are read for it: some such chunks are in memory at once."""

Rows = np.ndarray[Any, np.dtype[np.int64]]


def epoch_order(count: int, *, seed: int, epoch: int, shuffle: bool) -> Rows:
    """Return the rows of one epoch, each once. It depends on nothing but these arguments."""
    if not shuffle:
        return np.arange(count, dtype=np.int64)
    return stream(seed, "order", epoch).permutation(count).astype(np.int64, copy=False)


def chunks(data: Batches, order: Rows, *, batch_size: int, steps: Callable[[], int] | int) -> Iterator[Chunk]:
    """Cut an order into chunks of full batches; what is left over comes as the smaller last batch.

    steps: the most batches of a chunk, or what says so before each. Data that is streamed comes with the rows of at
    most `STREAMED_STEPS` batches.
    """
    next_steps = (lambda: steps) if isinstance(steps, int) else steps
    if not (isinstance(data, Split) and data.is_streamed):
        return _cut(data, order, batch_size, next_steps)
    read = read_ahead(_cut(data, order, batch_size, lambda: STREAMED_STEPS), batch_size * STREAMED_STEPS)
    return _shorter(read, next_steps)


def _shorter(chunks: Iterator[Chunk], steps: Callable[[], int]) -> Iterator[Chunk]:
    """The chunks in pieces of so many steps, on the same rows."""
    for chunk in chunks:
        first = 0
        while first < len(chunk.rows):
            rows = chunk.rows[first : first + steps()]
            first += len(rows)
            yield Chunk(chunk.data, rows, chunk.partial)


def _cut(data: Batches, order: Rows, batch_size: int, steps: Callable[[], int]) -> Iterator[Chunk]:
    full = len(order) // batch_size
    batches = order[: full * batch_size].reshape(full, batch_size)
    first = 0
    while first < full:
        chunk = batches[first : first + steps()]
        first += len(chunk)
        yield Chunk(data, chunk)
    rest = order[full * batch_size :]
    if len(rest):
        yield Chunk(data, rest[np.newaxis], partial=True)
