"""What an augmentation is made of: small values, each of which says what it does and how it is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, NamedTuple

from unidl.errors import UsageError
from unidl.finite import is_number
from unidl.shortening import shown

Factor = float | tuple[float, float]
"""How far something goes: up to f either way, or between two numbers."""

MOST = 32
"""Steps of an augmentation: more is a slip, or a file made to keep this computer busy."""


@dataclass(frozen=True)
class Step:
    """One change of an image, drawn anew for each. `word`: how it is written, as in "rotation=0.1".

    Examples:
        >>> from unidl import layers
        >>> layers.Rotation(0.1).to_config()
        {'step': 'rotation', 'factor': 0.1}
    """

    word: ClassVar[str]
    draws: ClassVar[int] = 1
    """How many numbers from 0 to 1 each image needs."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let `help` show the docstrings of methods that a kind of step has in its own form."""
        super().__init_subclass__(**kwargs)
        for name, value in vars(cls).items():
            if callable(value) and value.__doc__ is None and not name.startswith("_"):
                value.__doc__ = next((vars(base)[name].__doc__ for base in cls.__mro__[1:] if name in vars(base)), None)

    def to_config(self) -> dict[str, Any]:
        """Describe the step in JSON values, as a saved model keeps it.

        Returns:
            The word of the step under "step", and its arguments by their names.
        """
        return {"step": self.word, **asdict(self)}


class Size(NamedTuple):
    """Height and width of an image, in pixels; numbers, or scalars of a traced program."""

    height: Any
    width: Any


_words: dict[str, type[Step]] = {}


def register(kind: type[Step]) -> type[Step]:
    """Let a kind of step be found by its word."""
    _words[kind.word] = kind
    return kind


def words() -> list[str]:
    """Return the words of all steps, in the order of the alphabet."""
    return sorted(_words)


def step_from_config(config: Mapping[str, Any]) -> Step:
    """Return the step that `Step.to_config` described. Raises `UsageError` for anything else."""
    values = dict(config)
    kind = _kind(values.pop("step", None))
    known = {field.name for field in fields(kind)}
    for name in values:
        if name not in known:
            raise UsageError(f"Cannot use {name!r} of the step {kind.word!r}: it has {', '.join(sorted(known))}.")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def steps_of(given: str | Iterable[Step | Mapping[str, Any]]) -> tuple[Step, ...]:
    """Return steps that are written as "flip,rotation=0.1", or given as values or as their configs.

    Raises `UsageError` for anything else, and for no step at all.
    """
    if isinstance(given, str):
        found = tuple(_step_of_words(part.strip()) for part in given.split(","))
    elif isinstance(given, Iterable):
        found = tuple(step_from_config(one) if isinstance(one, Mapping) else one for one in given)
    else:
        found = (given,)
    for one in found:
        if not isinstance(one, Step):
            raise UsageError(
                f"Cannot augment with {shown(one)}: give steps such as unidl.layers.Flip(), or words such as "
                f"'flip,rotation=0.1'. There are {', '.join(words())}."
            )
    if not found:
        raise UsageError(f"Cannot augment with no step. There are {', '.join(words())}.")
    if len(found) > MOST:
        raise UsageError(f"Cannot augment with {len(found)} steps: at most {MOST} are possible.")
    return found


def _step_of_words(text: str) -> Step:
    """ "rotation=0.1", "rotation=0:0.25" (from, to), "flip=vertical" or "flip"."""
    word, equals, value = text.partition("=")
    kind = _kind(word.strip())
    if not equals:
        return kind()
    first = fields(kind)[0].name
    return kind(**{first: _value_of_words(value.strip(), text)})


def _value_of_words(value: str, text: str) -> Any:
    if not value:
        raise UsageError(f"Cannot augment with {text!r}: nothing comes behind the '='.")
    numbers = value.split(":")
    try:
        found = [float(number) for number in numbers]
    except ValueError:
        return value
    if len(found) > 2:
        raise UsageError(f"Cannot augment with {text!r}: one number, or two as in 0.1:0.3, are possible.")
    return found[0] if len(found) == 1 else tuple(found)


def _kind(word: Any) -> type[Step]:
    if word not in _words:
        raise UsageError(f"Cannot augment with {shown(word)}. There are {', '.join(words())}.")
    return _words[word]


def limits(step: Step, name: str, value: Any, *, around: float = 0.0, low: float, high: float) -> tuple[float, float]:
    """Return from where to where a factor goes: `value` either way of `around`, or the two numbers that it is.

    Raises `UsageError` if it is neither, or leaves the range from `low` to `high`.
    """
    two = (around - value, around + value) if is_number(value) else value
    if not isinstance(two, Sequence) or isinstance(two, str) or len(two) != 2 or not all(map(is_number, two)):
        raise refused(step, name, value, f"it must be a number, or two, (from, to), from {low:g} to {high:g}")
    first, last = (float(number) for number in two)
    if not low <= first <= last <= high:
        raise refused(step, name, value, f"it must lie between {low:g} and {high:g}, the smaller number first")
    return first, last


def number(step: Any, name: str, value: Any, *, low: float, high: float) -> float:
    """Return one number of a step. Raises `UsageError` if it is none from `low` to `high`."""
    if not is_number(value) or not low <= value <= high:
        raise refused(step, name, value, f"it must be a number from {low:g} to {high:g}")
    return float(value)


def refused(step: Any, name: str, value: Any, because: str) -> UsageError:
    """Return the error for a value that a step cannot have. because: a clause without its full stop."""
    return UsageError(f"Cannot use {type(step).__name__}({name}={shown(value)}): {because}.")


def between(drawn: Any, first: float, last: float) -> Any:
    """Return numbers from `first` to `last` for numbers from 0 to 1."""
    return drawn * (last - first) + first
