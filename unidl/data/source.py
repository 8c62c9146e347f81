"""Rows that are read when they are needed: a `Source`, and the columns of it that stand where arrays stand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from unidl.backend import Batches, Tree
from unidl.data.numbers import computed, computed_type
from unidl.data.trees import leaves, map_leaves
from unidl.errors import DataError

Array = np.ndarray[Any, Any]
Rows = np.ndarray[Any, np.dtype[np.int64]]


@runtime_checkable
class Source(Protocol):
    """Rows that lie somewhere else than in memory, such as in files. `unidl.Split` and every method of `Trainer` take
    one where they take arrays.

    `read` may be called from another thread, but by one at a time. A source may also have `where(row)`, which says in
    a few words where a row is from, such as the name of its file, for error messages; and `subset(rows)`, which gives
    a source of those rows only.

    Example:
        class Rows:
            form = Batches(np.empty((0, 8), np.float32), np.empty((0, 1), np.float32))

            def __len__(self):
                return 1000

            def read(self, rows):
                return Batches(*read_from_somewhere(rows))

            def fingerprint(self):
                return "version 3 of the table"

        trainer.fit(Rows(), validation_split=0.1)
    """

    @property
    def form(self) -> Batches:
        """What rows look like: a `Batches` of arrays with 0 rows, in the shapes and types that `read` returns."""
        ...

    def __len__(self) -> int:
        """How many rows there are."""
        ...

    def read(self, rows: Rows) -> Batches:
        """Return these rows, in this order, as arrays that are nested as those of `form`."""
        ...

    def fingerprint(self) -> str:
        """Return a short text that is another one for other rows, so that a resumed run finds out."""
        ...


@dataclass(frozen=True, eq=False, repr=False)
class Column:
    """One array of a source, which is read when it is needed: it has the shape and type that the array would have.

    number: its place among the arrays of the source. like: the array with 0 rows. made: what is made of the rows that
    the source gives, whose like is `like`.
    """

    source: Source
    number: int
    like: Array
    made: Callable[[Array], Array] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array, the number of rows first."""
        return (len(self.source), *self.like.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the numbers."""
        return self.like.dtype

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return self.like.ndim

    @property
    def row_bytes(self) -> int:
        """What one row takes in memory."""
        return int(np.prod(self.like.shape[1:])) * self.like.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """What all rows would take in memory."""
        return len(self.source) * self.row_bytes

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return int(np.prod(self.shape))

    def __repr__(self) -> str:
        return f"Column(shape={self.shape}, dtype={self.dtype}, source={type(self.source).__name__})"

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: Any) -> Array:
        """Read rows: those of a number, a slice, an array of numbers or a mask."""
        numbers = np.arange(len(self.source))[index]
        found = self.finished(self.block(self.source.read(np.atleast_1d(numbers))))
        return found if np.ndim(numbers) else found[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Read all rows, which then must fit into memory."""
        return self[:].astype(dtype or self.dtype, copy=False)

    def block(self, read: Batches) -> Array:
        """Return this column of rows that the source has read, before anything is made of them."""
        found = [leaf for part in (read.x, read.y, read.sample_weight) for leaf in leaves(part)]
        return computed(np.asarray(found[self.number]))

    def finished(self, block: Array) -> Array:
        """Return what is made of a block, in the form of the column. Raises `DataError` if it has another one."""
        found = block if self.made is None else self.made(block)
        if found.shape[1:] != self.like.shape[1:] or found.dtype != self.like.dtype:
            raise DataError(
                f"The source gave rows of shape {found.shape[1:]} and type {found.dtype}, and its form says "
                f"{self.like.shape[1:]} and {self.like.dtype}. All rows must look alike."
            )
        return found

    def mapped(self, function: Callable[[Array], Array], like: Array) -> Column:
        """Return a column of what `function` makes of the rows of this one. like: the result with 0 rows."""
        first = self.made
        made = function if first is None else lambda block: function(first(block))
        return replace(self, like=like, made=made)

    def astype(self, dtype: Any) -> Column:
        """Return the column in another type."""
        return self.mapped(lambda block: block.astype(dtype), self.like.astype(dtype))


@dataclass(frozen=True, eq=False)
class Subset:
    """Some rows of a source, in some order."""

    source: Source
    rows: Rows

    @property
    def form(self) -> Batches:
        """What rows look like."""
        return self.source.form

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, rows: Rows) -> Batches:
        """Return rows by their numbers among these."""
        return self.source.read(self.rows[rows])

    def fingerprint(self) -> str:
        """That of the source and of which rows these are."""
        chosen = hashlib.sha256(self.rows.astype("<i8").tobytes()).hexdigest()
        return hashlib.sha256(f"{self.source.fingerprint()} {chosen}".encode()).hexdigest()

    def where(self, row: int) -> str:
        """Where a row is from."""
        return where(self.source, int(self.rows[row]))

    def subset(self, rows: Rows) -> Source:
        """Return some of these rows."""
        return subset(self.source, self.rows[rows])


def subset(source: Source, rows: Rows) -> Source:
    """Return some rows of a source as a source."""
    own = getattr(source, "subset", None)
    return Subset(source, rows) if own is None else own(rows)


def where(source: Source, row: int) -> str:
    """Return where a row of a source is from, in a few words; "" if it does not say."""
    own = getattr(source, "where", None)
    return "" if own is None else own(row)


def columns(source: Source) -> Batches:
    """Return a source as the columns that stand where the arrays of a `Split` stand."""
    number = -1

    def column(like: Array) -> Column:
        nonlocal number
        number += 1
        return Column(source, number, like.astype(computed_type(like.dtype)))

    form = source.form
    return Batches(*(map_leaves(column, part) for part in (form.x, form.y, form.sample_weight)))


def are_columns(tree: Tree) -> bool:
    """Whether an array of a nest is read when it is needed."""
    return any(isinstance(leaf, Column) for leaf in leaves(tree))
