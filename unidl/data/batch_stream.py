"""Batches that others make: a keras.utils.PyDataset, a tf.data.Dataset, a DataLoader, a generator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from unidl.backend import Batches
from unidl.data.dataset import Split
from unidl.data.samples import as_parts
from unidl.data.trees import leaves
from unidl.errors import DataError
from unidl.shortening import listed

Look = Callable[[Split, str], Split]
"""Is given a batch and what messages call it, and returns it as the model takes it, or raises `DataError`."""


class BatchStream:
    """The batches of some data, read in their order, or by their numbers if they have some.

    what: its name in words. batches: how many there are, None if it does not say. numbered: whether any of them can be
    asked for, so that their order is ours. again: whether they can be read from the beginning once more.
    """

    def __init__(self, data: Any, what: str, *, numbered: bool, again: bool) -> None:
        self.what, self.numbered, self.again = what, numbered, again
        self.batches = _length(data)
        self._data = data
        self._kept: Any = None
        self._iterator: Iterator[Any] | None = None
        self._position = 0

    def first(self) -> Batches:
        """Return the first batch. Data that is read in its order gives it once more when its turn has come."""
        found = self._data[0] if self.numbered else self._next()
        if found is None:
            raise DataError(f"The data has no rows: {self.what} gives no batch.")
        if not self.numbered:
            self._kept = found
        return _parts(found, "the first batch")

    def read(self, numbers: Iterable[int]) -> Iterator[tuple[int, Batches]]:
        """Yield batches of these numbers, counted from the beginning of the data; to go back, it is read again.

        numbers: those of `itertools.count` are read up to the end, wherever it is. Raises `DataError` if the data ends
        before another last one, or cannot be read again."""
        for number in numbers:
            found = self._data[number] if self.numbered else self._at(number)
            if found is None:
                if isinstance(numbers, count):
                    return
                raise DataError(
                    f"{self._name} ended after {self._position} batches, and batch {number} is needed, counted from 0. "
                    "Ask for fewer steps, leave steps_per_epoch out, or pass data that goes on, such as "
                    "dataset.repeat()."
                )
            yield number, _parts(found, f"batch {number}")

    def pass_over(self) -> None:
        """Say that an epoch is over, to data that wants to know."""
        over = getattr(self._data, "on_epoch_end", None)
        if self.numbered and over is not None:
            over()

    def _at(self, number: int) -> Any:
        """The batch of a number; None behind the last one."""
        kept, self._kept = self._kept, None
        if kept is not None and number == 0:
            return kept
        if number < self._position:
            self._begin()
        found: Any = None
        while self._position <= number:
            found = self._next()
            if found is None:
                self.batches = self._position
                return None
        return found

    def _begin(self) -> None:
        if self._iterator is not None and not self.again:
            raise DataError(
                f"{self._name} can be read only once, and has been read up to batch {self._position}. Pass data that "
                "begins anew each time, such as an object with __iter__; or steps_per_epoch=, with which each epoch "
                "goes on behind the last."
            )
        self._iterator, self._position = iter(self._data), 0

    def _next(self) -> Any:
        if self._iterator is None:
            self._begin()
        found = None if self._iterator is None else next(self._iterator, None)
        if found is not None:
            self._position += 1
        return found

    @property
    def _name(self) -> str:
        return self.what[:1].upper() + self.what[1:]


@dataclass(frozen=True, eq=False)
class Stream(Split):
    """Data that comes in batches of its own. x, y, sample_weight: those of the first batch, which is looked at before
    training. look: looks at each other one as it is read."""

    stream: BatchStream = field(default=None)  # pyright: ignore[reportAssignmentType] - a field needs one here
    look: Look = field(default=lambda batch, name: batch)
    name: str = "data"

    def read(self, numbers: Iterable[int]) -> Iterator[Batches]:
        """Yield the batches of these numbers, as the model takes them."""
        for number, found in self.stream.read(numbers):
            batch = Split(found.x, found.y, found.sample_weight)
            looked = self.look(batch, f"batch {number} of the {self.name}")
            yield Batches(looked.x, looked.y, looked.sample_weight)


def stream_of(data: Any, what: str, *, once: bool) -> Stream:
    """Return data that comes in batches. Reads the first of them. Raises `DataError` if there is none."""
    numbered = hasattr(data, "__getitem__") and what.endswith("PyDataset")
    stream = BatchStream(data, what, numbered=numbered, again=not once)
    first = stream.first()
    return Stream(first.x, first.y, first.sample_weight, stream=stream)


def _parts(given: Any, name: str) -> Batches:
    try:
        found = as_parts(given)
    except DataError as error:
        raise DataError(f"Cannot read {name}: {error}") from error
    arrays = [leaf for part in found.parts() for leaf in leaves(part)]
    lengths = {len(leaf) if np.ndim(leaf) else 0 for leaf in arrays}
    if len(lengths) > 1 or 0 in lengths:
        raise DataError(
            f"Cannot read {name}: its parts, of the shapes {listed(leaf.shape for leaf in arrays)}, must have a row "
            "for each sample. Make batches of single samples, as with torch.utils.data.DataLoader(data, batch_size=32) "
            "or dataset.batch(32)."
        )
    return found


def _length(data: Any) -> int | None:
    try:
        return len(data)
    except (TypeError, NotImplementedError):
        return None
