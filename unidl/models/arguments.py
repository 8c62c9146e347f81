"""The arguments of a builder, validated before a framework is imported and recorded."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from numbers import Real
from typing import Any

from unidl.data.table_form import LARGEST_SCALE, LEAST_SCALE
from unidl.errors import ModelError
from unidl.models.budget import refuse_too_large

LARGEST_NUMBER = 2**53
"""Largest integer argument except seeds: every JSON parser reads it exactly."""
MOST_COLUMNS = 10_000
"""Maximum columns of one kind of a table."""
MOST_LAYERS = 32
"""Maximum layers of one kind in a model; more is a typing error, or a malicious file."""


class Arguments:
    """The arguments of one call of `builder`. Each method validates one argument, records it and returns it.

    All methods raise `ModelError`. `values` holds what rebuilds the model: JSON values by argument
    name.
    """

    def __init__(self, builder: str) -> None:
        self.builder = builder
        self.values: dict[str, Any] = {}

    def whole(self, argument: str, value: Any, minimum: int = 1, maximum: int = LARGEST_NUMBER) -> int:
        """Validate an integer. NumPy integers are allowed; True and 3.0 are not."""
        number = _whole(value)
        if number is None or number < minimum:
            raise self.refused(argument, value, f"it must be a whole number of at least {minimum}")
        if number > maximum:
            raise self.refused(argument, _short(value), f"it must be a whole number of at most {maximum}")
        self.values[argument] = number
        return number

    def whole_or_none(self, argument: str, value: Any, minimum: int = 1) -> int | None:
        """Validate an integer or None."""
        if value is not None:
            return self.whole(argument, value, minimum)
        self.values[argument] = None
        return None

    def wholes(
        self, argument: str, value: Any, members: Sequence[str] = (), most: int = MOST_LAYERS
    ) -> tuple[int, ...]:
        """Validate a tuple or list of positive integers. members: the name of each, if their number is fixed; most: how
        many there may be."""
        needed = f"it must be a tuple ({', '.join(members)})" if members else "it must be a tuple"
        needed += " of whole numbers of at least 1"
        if not isinstance(value, Sequence) or not value or (members and len(value) != len(members)):
            raise self.refused(argument, value, needed)
        if len(value) > most:
            raise self.refused(argument, f"{len(value)} numbers", f"at most {most} are allowed")
        numbers = [number for number in map(_whole, value) if number is not None and 1 <= number <= LARGEST_NUMBER]
        if len(numbers) != len(value):
            raise self.refused(argument, value, needed)
        self.values[argument] = numbers
        return tuple(numbers)

    def counts(self, argument: str, value: Any) -> tuple[int, ...]:
        """Validate a list of integers of at least 1, which may be empty."""
        return self.wholes(argument, value, most=MOST_COLUMNS) if _length(value) != 0 else self._none(argument)

    def numbers(self, argument: str, value: Any) -> tuple[float, ...]:
        """Validate a list of finite numbers, which may be empty."""
        return self._numbers(argument, value, "it must be a list of finite numbers", lambda number: True)

    def scales(self, argument: str, value: Any) -> tuple[float, ...]:
        """Validate a list of standard deviations, which may be empty."""
        because = f"it must be a list of numbers from {LEAST_SCALE} to {LARGEST_SCALE}; change the unit of the column"
        return self._numbers(argument, value, because, lambda number: LEAST_SCALE <= number <= LARGEST_SCALE)

    def _numbers(self, argument: str, value: Any, because: str, allowed: Callable[[float], bool]) -> tuple[float, ...]:
        if _length(value) not in range(MOST_COLUMNS + 1):
            raise self.refused(argument, value, f"{because}, at most {MOST_COLUMNS:,}")
        numbers = [float(one) for one in value if isinstance(one, Real) and not isinstance(one, bool)]
        if len(numbers) != len(value) or not all(math.isfinite(one) and allowed(one) for one in numbers):
            raise self.refused(argument, list(value)[:10], because)
        self.values[argument] = numbers
        return tuple(numbers)

    def _none(self, argument: str) -> tuple[int, ...]:
        self.values[argument] = []
        return ()

    def fraction(self, argument: str, value: Any) -> float:
        """Validate a number in [0, 1)."""
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else -1.0
        if not 0 <= number < 1:
            raise self.refused(argument, value, "it must be a number from 0 up to, but not including, 1")
        self.values[argument] = number
        return number

    def flag(self, argument: str, value: Any) -> bool:
        """Validate a bool."""
        if not isinstance(value, bool):
            raise self.refused(argument, value, "it must be True or False")
        self.values[argument] = value
        return value

    def choice(self, argument: str, value: Any, allowed: Sequence[str]) -> str:
        """Validate one of the strings in `allowed`."""
        if not isinstance(value, str) or value not in allowed:
            raise self.refused(argument, value, f"it must be one of {', '.join(map(repr, allowed))}")
        self.values[argument] = value
        return value

    def seed(self, value: Any) -> int:
        """Validate the argument `seed`: an integer of at least 0, up to the largest that generators accept."""
        return self.whole("seed", value, minimum=0, maximum=2**128)

    def model_name(self, value: Any) -> str:
        """Validate the argument `name`: a non-empty string without a slash, as Keras requires."""
        if not isinstance(value, str) or not value or "/" in value:
            raise self.refused("name", value, "it must be a non-empty string without '/'")
        self.values["name"] = value
        return value

    def precision(self, value: Any) -> str | None:
        """Validate the type of the argument `precision`; `unidl.precision` checks whether it exists."""
        if value is not None and not isinstance(value, str):
            raise self.refused("precision", value, "it must be a string such as 'mixed_bfloat16', or None")
        self.values["precision"] = value
        return value

    def augmentation(self, value: Any) -> str | None:
        """Take the argument `augment`: None, or words of steps, which `unidl.models.building.augmented` reads."""
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise self.refused("augment", value, "it must be words such as 'flip,rotation=0.1', or None")
        self.values["augment"] = value
        return value

    def refused(self, argument: str, value: Any, because: str) -> ModelError:
        """Return the error for an invalid argument. because: a clause without a final full stop."""
        return ModelError(f"Cannot use {self.builder}({argument}={value!r}): {because}.")

    def refuse_too_large(self, parameters: int) -> None:
        """Raise `ModelError` if the model would have too many parameters."""
        refuse_too_large(parameters, self.builder)


def close_names(wanted: str, known: Sequence[str]) -> str:
    """Return a sentence with the names in `known` that resemble `wanted`, ignoring case; all names if they are few."""
    if len(known) <= 12:
        return "Available: " + ", ".join(map(repr, known))
    by_lower_case = {name.lower(): name for name in known}
    close = get_close_matches(wanted.lower(), by_lower_case, n=5, cutoff=0.5)
    if close:
        return "Closest names: " + ", ".join(repr(by_lower_case[name]) for name in close)
    return f"Available are {len(known)} names, such as " + ", ".join(map(repr, known[:5]))


def _short(value: Any) -> Any:
    """Shorten a very large integer for an error message."""
    return value if abs(value) < 10**30 else f"a number of {value.bit_length()} bits"


def _length(value: Any) -> int | None:
    """Return the length of a tuple or list; None for anything else."""
    return len(value) if isinstance(value, Sequence) and not isinstance(value, str) else None


def _whole(value: Any) -> int | None:
    """Return `value` as an int if it is an integer, else None. A bool does not count."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None
