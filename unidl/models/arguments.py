"""What a builder was asked for: checked before a framework is imported, and kept for the record."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from difflib import get_close_matches
from numbers import Real
from typing import Any

from unidl.errors import ModelError
from unidl.models.budget import refuse_too_large

LARGEST_NUMBER = 2**53
"""Of a whole number that is no seed: what every reader of JSON takes exactly."""
MOST_LAYERS = 32
"""Of one kind in a model: more is a slip of the keyboard, or a file made to keep this computer busy."""


class Arguments:
    """The arguments of one call of `builder`. Each method checks one of them, remembers it, and returns it.

    All of them raise `ModelError`. `values` is what rebuilds the model: JSON values under the arguments'
    names.
    """

    def __init__(self, builder: str) -> None:
        self.builder = builder
        self.values: dict[str, Any] = {}

    def whole(self, argument: str, value: Any, minimum: int = 1, maximum: int = LARGEST_NUMBER) -> int:
        """Take a whole number; NumPy's integers count, True and 3.0 do not."""
        number = _whole(value)
        if number is None or number < minimum:
            raise self.refused(argument, value, f"it must be a whole number of at least {minimum}")
        if number > maximum:
            raise self.refused(argument, _short(value), f"it must be a whole number of at most {maximum}")
        self.values[argument] = number
        return number

    def whole_or_none(self, argument: str, value: Any, minimum: int = 1) -> int | None:
        """Take a whole number, or None."""
        if value is not None:
            return self.whole(argument, value, minimum)
        self.values[argument] = None
        return None

    def wholes(self, argument: str, value: Any, members: Sequence[str] = ()) -> tuple[int, ...]:
        """Take a tuple or list of positive whole numbers. members: what each is, if their count is fixed."""
        needed = f"it must be a tuple ({', '.join(members)})" if members else "it must be a tuple"
        needed += " of whole numbers of at least 1"
        if not isinstance(value, Sequence) or not value or (members and len(value) != len(members)):
            raise self.refused(argument, value, needed)
        if len(value) > MOST_LAYERS:
            raise self.refused(argument, f"{len(value)} numbers", f"at most {MOST_LAYERS} are possible")
        numbers = [number for number in map(_whole, value) if number is not None and 1 <= number <= LARGEST_NUMBER]
        if len(numbers) != len(value):
            raise self.refused(argument, value, needed)
        self.values[argument] = numbers
        return tuple(numbers)

    def fraction(self, argument: str, value: Any) -> float:
        """Take a number from 0 up to, but not including, 1."""
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else -1.0
        if not 0 <= number < 1:
            raise self.refused(argument, value, "it must be a number from 0 up to, but not including, 1")
        self.values[argument] = number
        return number

    def flag(self, argument: str, value: Any) -> bool:
        """Take True or False."""
        if not isinstance(value, bool):
            raise self.refused(argument, value, "it must be True or False")
        self.values[argument] = value
        return value

    def choice(self, argument: str, value: Any, allowed: Sequence[str]) -> str:
        """Take one of the words in `allowed`."""
        if not isinstance(value, str) or value not in allowed:
            raise self.refused(argument, value, f"it must be one of {', '.join(map(repr, allowed))}")
        self.values[argument] = value
        return value

    def seed(self, value: Any) -> int:
        """Take the argument `seed`: a whole number from 0, as long as the longest that generators take."""
        return self.whole("seed", value, minimum=0, maximum=2**128)

    def model_name(self, value: Any) -> str:
        """Take the argument `name`: a word that Keras accepts, not empty and without a slash."""
        if not isinstance(value, str) or not value or "/" in value:
            raise self.refused("name", value, "it must be a word without '/'")
        self.values["name"] = value
        return value

    def precision(self, value: Any) -> str | None:
        """Take the argument `precision`; whether there is such a one is for `unidl.precision` to say."""
        if value is not None and not isinstance(value, str):
            raise self.refused("precision", value, "it must be a word such as 'mixed_bfloat16', or None")
        self.values["precision"] = value
        return value

    def augmentation(self, value: Any) -> str | None:
        """Take the argument `augment`: None, or words of steps, which `unidl.models.building.augmented` reads."""
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise self.refused("augment", value, "it must be words such as 'flip,rotation=0.1', or None")
        self.values["augment"] = value
        return value

    def refused(self, argument: str, value: Any, because: str) -> ModelError:
        """Return the error for an argument that cannot be used. because: a clause without its full stop."""
        return ModelError(f"Cannot use {self.builder}({argument}={value!r}): {because}.")

    def refuse_too_large(self, parameters: int) -> None:
        """Raise if the model would have more parameters than it may."""
        refuse_too_large(parameters, self.builder)


def close_names(wanted: str, known: Sequence[str]) -> str:
    """Say which of `known` come close to `wanted`, whatever its capitals; all of them if they are few."""
    if len(known) <= 12:
        return "It has " + ", ".join(map(repr, known))
    by_lower_case = {name.lower(): name for name in known}
    close = get_close_matches(wanted.lower(), by_lower_case, n=5, cutoff=0.5)
    if close:
        return "Close to it: " + ", ".join(repr(by_lower_case[name]) for name in close)
    return f"It has {len(known)}, such as " + ", ".join(map(repr, known[:5]))


def _short(value: Any) -> Any:
    """A number in as few characters as an error can bear."""
    return value if abs(value) < 10**30 else f"a number of {value.bit_length()} bits"


def _whole(value: Any) -> int | None:
    """`value` as an int if it is a whole number; True is one only to Python."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None
