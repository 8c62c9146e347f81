"""The order of the data: the same rows in the same batches on every backend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from unidl.backend import Batches, Chunk
from unidl.random import stream

Rows = np.ndarray[Any, np.dtype[np.int64]]


def epoch_order(count: int, *, seed: int, epoch: int, shuffle: bool) -> Rows:
    """Return the rows of one epoch, each once. It depends on nothing but these arguments."""
    if not shuffle:
        return np.arange(count, dtype=np.int64)
    return stream(seed, "order", epoch).permutation(count).astype(np.int64, copy=False)


def chunks(data: Batches, order: Rows, *, batch_size: int, steps: int) -> Iterator[Chunk]:
    """Cut an order into chunks of at most `steps` full batches; what is left over comes as the smaller last batch."""
    full = len(order) // batch_size
    batches = order[: full * batch_size].reshape(full, batch_size)
    for first in range(0, full, steps):
        yield Chunk(data, batches[first : first + steps])
    rest = order[full * batch_size :]
    if len(rest):
        yield Chunk(data, rest[np.newaxis])
