"""Data too large to hold: rows of memory-mapped files are read for a few steps at a time, ahead of the device."""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from unidl.backend import Batches, Chunk
from unidl.data.numbers import computed, is_computed
from unidl.data.trees import leaves, map_leaves
from unidl.machine.memory import memory

AHEAD = 2
"""Chunks that are read while the device computes one."""
LARGE_BYTES = 2**28
"""Data below this never fills a machine's memory."""
RESIDENT_SHARE = 0.5
"""Of the main memory that is free: a framework may make a copy of data that takes less."""


def is_streamed(data: Batches) -> bool:
    """Whether the rows are read as they are needed, and not handed to the framework whole: those of a memory-mapped
    file, such as `numpy.load(path, mmap_mode="r")` gives, and those that would fill half of the free memory. So are
    arrays that were too large to get the type in which they are computed with."""
    arrays = [leaf for part in data.parts() for leaf in leaves(part)]
    if any(is_mapped(array) or not is_computed(array) for array in arrays):
        return True
    return is_too_large(sum(array.nbytes for array in arrays))


def is_too_large(size_bytes: int) -> bool:
    """Whether so much would fill half of the memory that is free now."""
    if size_bytes < LARGE_BYTES:
        return False
    free_bytes = memory().available_bytes
    return free_bytes is not None and size_bytes > RESIDENT_SHARE * free_bytes


def read_ahead(chunks: Iterator[Chunk], rows: int) -> Iterator[Chunk]:
    """Yield each chunk with a copy of its own rows as its data, read by a thread while earlier ones are computed.

    rows: of a whole chunk. A shorter one of whole batches is filled up to it: a compiled program sees one shape.
    """
    with ThreadPoolExecutor(1, "unidl-read-ahead") as reader:
        pending: deque[Future[Chunk]] = deque()
        try:
            for chunk in chunks:
                pending.append(reader.submit(_read, chunk, rows))
                if len(pending) > AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _read(chunk: Chunk, rows: int) -> Chunk:
    needed = chunk.rows.reshape(-1)
    if not chunk.partial:
        needed = np.resize(needed, max(rows, len(needed)))

    def take(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return computed(np.take(array, needed, axis=0))

    data = Batches(*(map_leaves(take, part) for part in chunk.data.parts()))
    return Chunk(data, np.arange(chunk.rows.size, dtype=np.int64).reshape(chunk.rows.shape), chunk.partial)


def is_mapped(array: Any) -> bool:
    """Whether the numbers lie in a memory-mapped file."""
    while array is not None:
        if isinstance(array, np.memmap | mmap.mmap):
            return True
        array = getattr(array, "base", None)
    return False
