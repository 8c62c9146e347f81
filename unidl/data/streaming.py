"""Data too large to hold: rows of files and other sources are read for a few steps at a time, ahead of the device."""

from __future__ import annotations

import mmap
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from unidl.backend import Batches, Chunk
from unidl.data.numbers import computed, is_computed
from unidl.data.source import Column, are_columns
from unidl.data.trees import leaves, map_leaves
from unidl.machine.memory import memory

AHEAD = 2
"""Chunks that are read while the device computes one."""
STREAMED_STEPS = 16
"""Most batches of a chunk whose rows are read for it."""
THREAD = "unidl-read-ahead"
"""What the name of a thread that reads begins with."""
CHUNK_BYTES = 2**25
"""Of a chunk of more than one batch; `AHEAD` + 2 of them are in memory at once, whatever the size of the data."""
LARGE_BYTES = 2**28
"""Data below this never fills a machine's memory."""
RESIDENT_SHARE = 0.5
"""Of the main memory that is free: a framework may make a copy of data that takes less."""


def is_streamed(data: Batches) -> bool:
    """Whether the rows are read as they are needed, and not handed to the framework whole: those of a memory-mapped
    file, such as `numpy.load(path, mmap_mode="r")` gives, those of a source, and those that would fill half of the free
    memory. So are arrays that were too large to get the type in which they are computed with."""
    arrays = [leaf for part in data.parts() for leaf in leaves(part)]
    if any(are_columns(part) for part in data.parts()):
        return True
    if any(is_mapped(array) or not is_computed(array) for array in arrays):
        return True
    return is_too_large(sum(array.nbytes for array in arrays))


def is_too_large(size_bytes: int) -> bool:
    """Whether so much would fill half of the memory that is free now."""
    if size_bytes < LARGE_BYTES:
        return False
    free_bytes = memory().available_bytes
    return free_bytes is not None and size_bytes > RESIDENT_SHARE * free_bytes


def streamed_steps(data: Batches, batch_size: int) -> int:
    """Return how many batches of streamed data make a chunk: as many as fit into `CHUNK_BYTES`."""
    arrays = [leaf for part in data.parts() for leaf in leaves(part)]
    batch_bytes = sum(array.nbytes // len(array) for array in arrays) * batch_size
    return max(1, min(STREAMED_STEPS, CHUNK_BYTES // max(batch_bytes, 1)))


class Waiting:
    """How long the steps have waited for rows. settle: waits for what the device computes, before the clock runs."""

    def __init__(self, settle: Callable[[], object] = lambda: None) -> None:
        self.seconds = 0.0
        self._settle = settle

    def for_next(self, future: Future[Any]) -> Any:
        """Return the chunk, when it is read."""
        if future.done():
            return future.result()
        self._settle()
        begun = time.perf_counter()
        try:
            return future.result()
        finally:
            self.seconds += time.perf_counter() - begun


def read_ahead(chunks: Iterator[Chunk], rows: int, waiting: Waiting | None = None) -> Iterator[Chunk]:
    """Yield each chunk with a copy of its own rows as its data, read by a thread while earlier ones are computed.

    rows: of a whole chunk. A shorter one of whole batches is filled up to it: a compiled program sees one shape.
    """
    waiting = waiting or Waiting()
    with ThreadPoolExecutor(1, THREAD) as reader:
        pending: deque[Future[Chunk]] = deque()
        try:
            for chunk in chunks:
                pending.append(reader.submit(_read, chunk, rows))
                if len(pending) > AHEAD:
                    yield waiting.for_next(pending.popleft())
            while pending:
                yield waiting.for_next(pending.popleft())
        finally:
            for future in pending:
                future.cancel()


def ahead(chunks: Iterator[Chunk], waiting: Waiting | None = None) -> Iterator[Chunk]:
    """Yield chunks that a thread makes one after another while earlier ones are computed."""
    waiting = waiting or Waiting()
    with ThreadPoolExecutor(1, THREAD) as reader:
        pending: deque[Future[Chunk | None]] = deque()
        try:
            pending.extend(reader.submit(next, chunks, None) for _ in range(AHEAD + 1))
            while (chunk := waiting.for_next(pending.popleft())) is not None:
                pending.append(reader.submit(next, chunks, None))
                yield chunk
        finally:
            for future in pending:
                future.cancel()


def read_rows(data: Batches, rows: np.ndarray[Any, Any]) -> Batches:
    """Return rows as arrays in memory; the columns of one source are read together.

    Raises `DataError` for values that an array in memory is refused for before training."""
    read: dict[int, Batches] = {}
    watch = getattr(data, "watch", None)

    def take(leaf: Any) -> np.ndarray[Any, Any]:
        if not isinstance(leaf, Column):
            block = computed(np.take(leaf, rows, axis=0))
            if watch is not None:
                watch.look(leaf, rows, block)
            return block
        source = leaf.source
        if id(source) not in read:
            read[id(source)] = source.read(rows)
        block = leaf.block(read[id(source)])
        if watch is not None:
            watch.look(leaf, rows, block)
        return leaf.finished(block)

    return Batches(*(map_leaves(take, part) for part in data.parts()))


def _read(chunk: Chunk, rows: int) -> Chunk:
    found = read_rows(chunk.data, chunk.rows.reshape(-1))
    size = chunk.rows.size
    if not chunk.partial and rows > size:
        places = np.resize(np.arange(size), rows)
        found = Batches(*(map_leaves(lambda array: array[places], part) for part in found.parts()))
    return Chunk(found, np.arange(size, dtype=np.int64).reshape(chunk.rows.shape), chunk.partial)


def is_read_later(leaf: Any) -> bool:
    """Whether rows are read when they are needed: those of a column, or of a memory-mapped file."""
    return isinstance(leaf, Column) or is_mapped(leaf)


def is_mapped(array: Any) -> bool:
    """Whether the numbers lie in a memory-mapped file."""
    while array is not None:
        if isinstance(array, np.memmap | mmap.mmap):
            return True
        array = getattr(array, "base", None)
    return False
