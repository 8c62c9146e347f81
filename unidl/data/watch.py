"""What is asked of the values of rows that are read when they are needed: looked at as they are read, each row once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from unidl.data.source import Column, where
from unidl.errors import DataError

Key = tuple[int, int]
Lazy = Column | np.ndarray[Any, Any]
"""What is read when it is needed: a column, or an array in a memory-mapped file."""


class Watch:
    """The questions about the columns of some data, each with the rows that it has seen.

    Used by the one thread that reads.
    """

    def __init__(self, asked: Mapping[Key, tuple[Lazy, list[Any]]], listeners: Sequence[Callable[[], None]]) -> None:
        """asked: by `key_of` a column, that column and what is asked of it. listeners: called when an answer is found;
        each may raise `DataError`."""
        self._asked = {key: (questions, np.zeros(len(column), bool)) for key, (column, questions) in asked.items()}
        self._listeners = listeners
        self.not_finite: Callable[[], Any] = lambda: None
        """Gives the first row with NaN or infinity that has been read so far, if there is one."""

    def look(self, column: Lazy, rows: np.ndarray[Any, Any], block: np.ndarray[Any, Any]) -> None:
        """See rows of a column as they were read. Raises `DataError`, which says where the row is from, for what an
        array in memory is refused for before training."""
        questions, seen = self._asked.get(key_of(column), ((), None))
        if seen is None or not questions or seen[rows].all():
            return
        new = np.flatnonzero(~seen[rows])
        seen[rows] = True
        waiting = [question for question in questions if not question.is_answered]
        for question in waiting:
            question.look(rows[new], block[new])
        answered = [question for question in waiting if question.is_answered]
        if not answered:
            return
        try:
            for hear in self._listeners:
                hear()
        except DataError as error:
            named = [one.found[0] for one in answered if f"row {one.found[0]} " in str(error)]
            place = where(column.source, named[0]) if named and isinstance(column, Column) else ""
            raise DataError(f"{error} The row is from {place}." if place else str(error)) from error


def key_of(column: Lazy) -> Key:
    """Return what tells the numbers of a column from those of others, whatever is made of them."""
    if not isinstance(column, Column):
        return id(column), -1
    return id(column.source), column.number
