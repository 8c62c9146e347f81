"""The columns of a table: numbers, and words that become numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unidl.errors import DataError
from unidl.shortening import shown

NO_VALUE = ("", "nan", "na", "n/a", "null", "none")
"""How a missing number is written, in any case."""
UNKNOWN_CATEGORY = 0
"""The number, within its column, of every word that the training rows do not have."""

_WHOLE = re.compile(r"-?[0-9]+\.0")
_WITH_COMMA = re.compile(r"-?[0-9]+,[0-9]+")

LARGEST = float(np.finfo(np.float32).max)
"""Numbers are computed with in float32."""


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers. mean, deviation: of the training rows; fills: whether the mean takes the place of a missing
    number, which is an error otherwise."""

    name: str
    mean: float
    deviation: float
    fills: bool = False

    def encoded(self, values: Sequence[Any], where: str) -> np.ndarray[Any, Any]:
        """Return the numbers as (n,) float32. where: what messages call the table."""
        numbers = np.empty(len(values))
        for row, value in enumerate(values):
            number = number_in(value)
            if number is None and is_missing(value):
                if not self.fills:
                    raise DataError(
                        f"Row {row} of {where} has no value in the column '{self.name}'. Fill it in, remove the row, "
                        "or train with missing='mean', which takes the mean of the training rows instead."
                    )
                number = self.mean
            if number is None or not abs(number) <= LARGEST:
                raise DataError(
                    f"Row {row} of {where} has {shown(value)} in the column '{self.name}', which holds numbers up to "
                    f"{LARGEST:.1e}. Correct it."
                )
            numbers[row] = number
        return numbers.astype(np.float32)


@dataclass(frozen=True)
class CategoryColumn:
    """A column of words. words: those of the training rows; all others count as one more, the unknown one."""

    name: str
    words: tuple[str, ...]

    def encoded(self, values: Sequence[Any], where: str) -> np.ndarray[Any, Any]:
        """Return the place of each word as (n,) int32, from 1; 0 is unknown."""
        places = {word_in(word): place for place, word in enumerate(self.words, start=UNKNOWN_CATEGORY + 1)}
        return np.array([places.get(word_in(value), UNKNOWN_CATEGORY) for value in values], np.int32)


def number_in(value: Any) -> float | None:
    """Return the number that a value is, or that a word says; None for all else."""
    if isinstance(value, str) and "_" in value:  # which only Python reads
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return None if math.isnan(found) else found


def word_in(value: Any) -> str:
    """Return the word that a value is: a whole number is the same word as an int and as a float, and as the text of
    either, since pandas writes a column of whole numbers as "3.0" where one is missing."""
    if value is None or (isinstance(value, (float, np.floating)) and math.isnan(value)):
        return ""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    word = str(value).strip()
    return word.removesuffix(".0") if _WHOLE.fullmatch(word) else word


def is_numeric(name: str, values: Sequence[Any], where: str) -> bool:
    """Whether a column holds numbers. Raises `DataError` if most of its values are numbers and some are words, or all
    are numbers with a comma, which would count as words."""
    given = [row for row, value in enumerate(values) if not is_missing(value)]
    if given and any("," in str(values[row]) for row in given):
        require_points(name, [values[row] for row in given], where)
    other = [row for row in given if number_in(values[row]) is None]
    if not given or 2 * len(other) >= len(given):
        return False
    if other:
        raise DataError(
            f"The column '{name}' of {where} holds numbers, but {shown(values[other[0]])} in row {other[0]}. Correct "
            f"it; or pass categories=['{name}'] if all its values are words."
        )
    return True


def require_points(name: str, values: Sequence[Any], where: str) -> None:
    """Raise `DataError` if all values are numbers, and some of them have a comma in place of the point."""
    other = [value for value in values if number_in(value) is None]
    if other and all(isinstance(value, str) and _WITH_COMMA.fullmatch(value.strip()) for value in other):
        raise DataError(
            f"The column '{name}' of {where} has numbers with a comma, such as {shown(other[0])}. Write them with a "
            f"point, as in 2.5 and 1234; or pass categories=['{name}'] if they are words."
        )


def is_missing(value: Any) -> bool:
    """Whether a value stands for a number that is not there."""
    if isinstance(value, str):
        return value.strip().lower() in NO_VALUE
    return value is None or (isinstance(value, (float, np.floating)) and math.isnan(value))
