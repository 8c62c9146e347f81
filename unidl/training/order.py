"""The order of the data: the same rows in the same batches on every backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from unidl.backend import Batches, Chunk
from unidl.data.streaming import is_streamed, read_ahead
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

    steps: the most batches of a chunk, or what says so before each. Data that is read from a file comes in chunks of
    one size, with its rows (`unidl.data.streaming`).
    """
    if is_streamed(data):
        most = min(STREAMED_STEPS, steps) if isinstance(steps, int) else STREAMED_STEPS
        return read_ahead(_cut(data, order, batch_size, lambda: most), batch_size * most)
    return _cut(data, order, batch_size, (lambda: steps) if isinstance(steps, int) else steps)


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
