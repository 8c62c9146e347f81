"""Looking at the values of an array: all that is asked of them, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from unidl.data.numbers import computed
from unidl.data.source import Column
from unidl.data.streaming import is_mapped
from unidl.data.watch import Key, Watch, key_of

_BLOCK_VALUES = 1 << 20
"""Values looked at in one go, so that a mask of them stays in the processor's cache."""

Numbers = Sequence[int] | np.ndarray[Any, Any]
"""Of rows: those of a block follow one another, unless it was read for a batch."""

IsGood = Callable[[np.ndarray], np.ndarray]
"""Is given some rows, in the type in which they are computed with, and says of each value whether it is good."""


class Question(Protocol):
    """A question about the values of an array. rows: those that it needs to see, in ascending order; None
    for all."""

    rows: np.ndarray | None

    @property
    def is_answered(self) -> bool:
        """Whether the rows that are left could not change the answer."""
        ...

    def look(self, rows: Numbers, block: np.ndarray) -> None:
        """See the rows of these numbers, in the type in which they are computed with."""
        ...


class FirstBad:
    """Asks for the first row with a value that is not good: `found` is that row, and that value as text."""

    rows: np.ndarray | None = None

    def __init__(self, is_good: IsGood) -> None:
        self._is_good = is_good
        self.found: tuple[int, str] | None = None

    @property
    def is_answered(self) -> bool:
        return self.found is not None

    def look(self, rows: Numbers, block: np.ndarray) -> None:
        good = self._is_good(block)
        if not good.all():
            row = int(np.argmin(good.reshape(len(block), -1).all(axis=1)))
            value = np.ravel(block[row])[np.argmin(np.ravel(good[row]))]
            self.found = int(rows[row]), f"{value:.9g}" if block.dtype.kind == "f" else str(value)


class Reading:
    """What is asked of some arrays: each is read once, however much is asked; then all get the answers.

    Arrays in memory are read here. What is asked of all rows of a column, or of a memory-mapped file, is answered as
    they are read for training, by `watch`: to read them before would take as long as an epoch.
    """

    def __init__(self, *, later: bool = True) -> None:
        """later: whether rows of files are going to be read for steps; else files are read here as well."""
        self._waits = later
        self._asked: dict[int, tuple[np.ndarray, list[Question]]] = {}
        self._later: dict[Key, tuple[Column | np.ndarray, list[Question]]] = {}
        self._listeners: list[Callable[[], None]] = []

    def first_bad(self, array: np.ndarray, is_good: IsGood) -> FirstBad:
        """Ask for the first row with a value that is not good."""
        question = FirstBad(is_good)
        self.ask(array, question)
        return question

    def ask(self, array: np.ndarray | Column, question: Question) -> None:
        """Ask something of an array, or of a column."""
        if isinstance(array, Column) or (self._waits and question.rows is None and is_mapped(array)):
            self._later.setdefault(key_of(array), (array, []))[1].append(question)
            return
        self._asked.setdefault(id(array), (array, []))[1].append(question)

    def then(self, hear: Callable[[], None]) -> None:
        """Call `hear` when everything is answered: in the order of these calls, until one raises."""
        self._listeners.append(hear)

    def read(self) -> None:
        """Read the arrays, and call who is to hear the answers."""
        for array, questions in self._asked.values():
            look_through(array, *questions)
        for hear in self._listeners:
            hear()

    def watch(self) -> Watch | None:
        """Return what looks at the rows of columns as they are read; None if nothing was asked of any."""
        return Watch(self._later, self._listeners) if self._later else None


def look_through(array: np.ndarray, *questions: Question) -> None:
    """Answer questions about the values of an array in one pass over the rows that they need to see."""
    if array.size == 0:
        return
    for first, block in _blocks(array, questions):
        waiting = [question for question in questions if not question.is_answered]
        if not waiting:
            return
        for question in waiting:
            question.look(range(first, first + len(block)), block)


def first_bad(array: np.ndarray, is_good: IsGood) -> tuple[int, str] | None:
    """Return the first row with a value that is not good, and that value as text; None if all are good."""
    question = FirstBad(is_good)
    look_through(array, question)
    return question.found


def every(array: np.ndarray, is_good: IsGood) -> bool:
    """Return whether all values are good."""
    return first_bad(array, is_good) is None


def is_whole(block: np.ndarray) -> np.ndarray:
    """Where the values are whole numbers, whatever their type."""
    if block.dtype.kind in "biu":
        return np.ones(block.shape, dtype=bool)
    return block == np.floor(block)


def _blocks(array: np.ndarray, questions: tuple[Question, ...]) -> Iterator[tuple[int, np.ndarray]]:
    """The rows in blocks, each with the number of its first row; only single rows if no more are needed."""
    wanted = [question.rows for question in questions]
    if all(rows is not None for rows in wanted):
        for row in np.unique(np.concatenate([rows for rows in wanted if rows is not None])).tolist():
            yield row, computed(array[row : row + 1])
        return
    rows = max(_BLOCK_VALUES * len(array) // array.size, 1)
    for first in range(0, len(array), rows):
        yield first, computed(array[first : first + rows])
