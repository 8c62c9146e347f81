"""The order of the data: the same rows in the same batches on every backend."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

import numpy as np

from unidl.backend import Batches, Chunk
from unidl.data.batch_stream import Stream
from unidl.data.dataset import Split
from unidl.data.stream_chunks import stream_chunks
from unidl.data.streaming import Waiting, read_ahead, streamed_steps
from unidl.data.trees import leaves
from unidl.errors import UsageError
from unidl.random import stream

Rows = np.ndarray[Any, np.dtype[np.int64]]
Shuffle = bool | Literal["batch", "balanced"]


@dataclass(frozen=True)
class Epochs:
    """Which rows each epoch takes, and in which order: it depends on nothing but these values and the epoch's number.

    rows: of the data. shuffle: whether all rows are mixed, or those of each batch alone ("batch"), or rows are drawn so
    that of each class there are equally many ("balanced"). labels: the class of each row, for that. steps: of an epoch,
    None for all batches of the data. As in `keras.Model.fit`, fewer steps than that go on in the next epoch where they
    stopped; what is left at the end of the data is an epoch of its own, and then the rows are mixed anew.
    """

    rows: int
    batch_size: int
    seed: int
    shuffle: Shuffle = True
    steps: int | None = None
    labels: Rows | None = None

    @property
    def batches(self) -> int:
        """Batches of all the data, the smaller last one included."""
        return batches_of(self.rows, self.batch_size)

    @property
    def longest(self) -> int:
        """Steps of an epoch, unless it is the rest at the end of the data."""
        return batches_of(self.rows, self.batch_size, self.steps)

    def order(self, epoch: int) -> Rows:
        """Return the rows of one epoch, each once."""
        number, place = divmod(epoch, self._epochs_a_pass)
        if self.shuffle == "batch":
            order = _mixed_batches(self.rows, self.batch_size, seed=self.seed, epoch=number)
        elif self.shuffle == "balanced":
            order = balanced_order(self.labels, seed=self.seed, epoch=number)
        else:
            order = epoch_order(self.rows, seed=self.seed, epoch=number, shuffle=self.shuffle)
        first = place * self.longest * self.batch_size
        return order[first : first + self.longest * self.batch_size]

    def steps_before(self, epoch: int) -> int:
        """Return how many steps all epochs before this one have."""
        number, place = divmod(epoch, self._epochs_a_pass)
        return number * self.batches + place * self.longest

    def pass_of(self, epoch: int) -> int:
        """Return the number of the pass over all rows that an epoch is of."""
        return epoch // self._epochs_a_pass

    @property
    def _epochs_a_pass(self) -> int:
        return math.ceil(self.batches / self.longest)


@dataclass(frozen=True, eq=False)
class StreamEpochs:
    """The same of batches that others make: which of them, by their numbers. Where they have none of their own, they
    come in the order of the data, counted from its beginning.

    steps: of an epoch, None for all batches. Where their number is not known, epochs of this many steps continue for
    ever, each behind the last.
    """

    data: Stream
    seed: int
    shuffle: Shuffle = True
    steps: int | None = None
    batch_size: int = 1
    """A batch counts as one here."""

    @property
    def batches(self) -> int | None:
        """Batches of all the data; None if it does not say, and has not been read up to its end."""
        return self.data.stream.batches

    @property
    def longest(self) -> int | None:
        """Steps of an epoch, if that is known."""
        return self.steps if self.batches is None else self._known(self.batches).longest

    def order(self, epoch: int) -> Rows | None:
        """Return the numbers of the batches of one epoch; None for all that there are, however many."""
        if self.batches is not None:
            return self._known(self.batches).order(epoch)
        if self.steps is None:
            return None
        return np.arange(epoch * self.steps, (epoch + 1) * self.steps, dtype=np.int64)

    def steps_before(self, epoch: int) -> int:
        """Return how many steps all epochs before this one have, as far as that is known."""
        if self.batches is not None:
            return self._known(self.batches).steps_before(epoch)
        return epoch * (self.steps or 0)

    def _known(self, batches: int) -> Epochs:
        mixed = bool(self.shuffle) and self.data.stream.numbered
        return Epochs(batches, 1, self.seed, mixed, self.steps)


def epochs_of(data: Split, *, batch_size: int, seed: int, shuffle: Shuffle, steps: int | None) -> Epochs | StreamEpochs:
    """Return the order of the epochs of some data."""
    if isinstance(data, Stream):
        if shuffle == "balanced":
            raise UsageError(
                f"Cannot use shuffle='balanced' with {data.stream.what}, whose rows have no numbers. Pass "
                "class_weight=."
            )
        return StreamEpochs(data, seed, shuffle, steps)
    labels = labels_of(data) if shuffle == "balanced" else None
    return Epochs(len(data), batch_size, seed, shuffle, steps, labels)


def one_pass(data: Batches, batch_size: int, steps: int | None) -> Rows | None:
    """Return the rows of this many batches, of all if steps is None; of batches that others make their numbers, or None
    for all that there are."""
    if not isinstance(data, Stream):
        rows = len(leaves(data.x)[0])
        return np.arange(rows if steps is None else min(rows, steps * batch_size), dtype=np.int64)
    batches = data.stream.batches
    known = [number for number in (batches, steps) if number is not None]
    return np.arange(min(known), dtype=np.int64) if known else None


def steps_of(data: Batches, batch_size: int, steps: int | None) -> int | None:
    """Return how many batches `one_pass` gives, if that is known."""
    order = one_pass(data, batch_size, steps)
    return None if order is None else math.ceil(len(order) / (1 if isinstance(data, Stream) else batch_size))


def batches_of(rows: int, batch_size: int, steps: int | None = None) -> int:
    """Return how many batches there are, the smaller last one included; at most `steps`."""
    batches = math.ceil(rows / batch_size)
    return batches if steps is None else min(steps, batches)


def epoch_order(count: int, *, seed: int, epoch: int, shuffle: bool) -> Rows:
    """Return the rows of one epoch, each once. It depends on nothing but these arguments."""
    if not shuffle:
        return np.arange(count, dtype=np.int64)
    return stream(seed, "order", epoch).permutation(count).astype(np.int64, copy=False)


def labels_of(data: Split) -> Rows:
    """Return the class of each row, for an order in which all come equally often."""
    y = data.y
    if not isinstance(y, np.ndarray) or y.dtype.kind not in "iu" or not (y.ndim == 1 or y.shape[1:] == (1,)):
        raise UsageError(
            "Cannot use shuffle='balanced': y must be the number of the class of each row, (rows,), as an array in "
            "memory."
        )
    return y.reshape(-1).astype(np.int64)


def balanced_order(labels: Rows | None, *, seed: int, epoch: int) -> Rows:
    """Return as many rows as there are, of each class equally many but for one. Each row of a class comes once before
    any of it comes again. It depends on nothing but these arguments."""
    if labels is None:
        raise ValueError("Without labels no order is balanced.")
    draws = stream(seed, "balanced order", epoch)
    classes = np.unique(labels)
    share, more = divmod(len(labels), len(classes))
    order: list[Rows] = []
    for place, label in enumerate(draws.permutation(classes)):
        rows, needed = np.flatnonzero(labels == label), share + (place < more)
        times = math.ceil(needed / len(rows))
        order.append(np.concatenate([draws.permutation(rows) for _ in range(times)])[:needed])
    return draws.permutation(np.concatenate(order)).astype(np.int64, copy=False)


def _mixed_batches(count: int, batch_size: int, *, seed: int, epoch: int) -> Rows:
    """The rows batch by batch in their own order, mixed within each batch."""
    order = np.arange(count, dtype=np.int64)
    draws = stream(seed, "order within batches", epoch)
    full = count // batch_size * batch_size
    order[:full] = draws.permuted(order[:full].reshape(-1, batch_size), axis=1).reshape(-1)
    order[full:] = draws.permuted(order[full:])
    return order


def chunks(
    data: Batches,
    order: Rows | None,
    *,
    batch_size: int,
    steps: Callable[[], int] | int,
    waiting: Waiting | None = None,
    first: int = 0,
) -> Iterator[Chunk]:
    """Cut an order into chunks of full batches; what is left over comes as the smaller last batch.

    steps: the most batches of a chunk, or what says so before each. Data that is streamed comes with the rows of a few
    batches, ahead of the device. waiting: counts how long its chunks are waited for. first: how many batches of the
    order are left out. Of batches that others make, the order has the numbers; None is all of them.
    """
    next_steps = (lambda: steps) if isinstance(steps, int) else steps
    if isinstance(data, Stream):
        numbers = count(first) if order is None else order[first:]
        return _shorter(stream_chunks(data, numbers, waiting), next_steps)
    if order is None:
        raise ValueError("Rows in memory or of a source have an order.")
    order = order[first * batch_size :]
    if not (isinstance(data, Split) and data.is_streamed):
        return _cut(data, order, batch_size, next_steps)
    most = streamed_steps(data, batch_size)
    sizes = _growing(most)
    cut = _cut(data, order, batch_size, lambda: next(sizes))
    return _shorter(read_ahead(cut, batch_size * most, waiting), next_steps)


def _growing(most: int) -> Iterator[int]:
    """1, 2, 4 and so on up to `most`: the first step of an epoch waits for the rows of one batch only."""
    steps = 1
    while True:
        yield min(steps, most)
        steps *= 2


def _shorter(chunks: Iterator[Chunk], steps: Callable[[], int]) -> Iterator[Chunk]:
    """The chunks in pieces of this many steps, on the same rows."""
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
