"""What callbacks remember, as values that a checkpoint can hold: Keras's have no way of their own to tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.errors import UsageError
from unidl.keras_internals import CALLBACK_STATE

if TYPE_CHECKING:
    import keras


def callback_states(
    callbacks: Sequence[keras.callbacks.Callback],
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray[Any, Any]]]:
    """Return what each callback remembers, as JSON values, and the arrays among it by their names in a checkpoint.

    A callback of somebody else's says it by `state_dict()`, and takes it by `load_state_dict(state)`, as elsewhere.
    """
    states: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for number, (callback, remembered) in enumerate(_with_memory(callbacks)):
        values: dict[str, Any] = {}
        for name, value in remembered.items():
            if isinstance(value, np.ndarray):
                arrays[_name(number, name, 0)] = value
                values[name] = {"array": True}
            elif _is_list_of_arrays(value):
                arrays |= {_name(number, name, place): np.asarray(array) for place, array in enumerate(value)}
                values[name] = {"arrays": len(value)}
            elif _is_plain(value):
                values[name] = {"value": value}
            else:
                raise UsageError(
                    f"Cannot save what the callback {type(callback).__name__} remembers: {name!r} is a "
                    f"{type(value).__name__}. A state_dict holds numbers, words, lists and dicts of them, and "
                    "NumPy arrays."
                )
        states.append({"class": type(callback).__name__, "values": values})
    return states, arrays


def require_states(states: Any, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Raise `ValueError` unless `states` has the form that `callback_states` gives, and each of its arrays is there."""
    if not isinstance(states, list):
        raise ValueError("'callbacks' is no list")
    expected: set[str] = set()
    for number, state in enumerate(states):
        if not isinstance(state, dict) or set(state) != {"class", "values"} or not isinstance(state["values"], dict):
            raise ValueError(f"callback {number} has not exactly a class and values")
        for name, entry in state["values"].items():
            expected |= {_name(number, name, place) for place in range(_array_count(number, name, entry, len(arrays)))}
    if expected != {name for name in arrays if name.startswith("callbacks/")}:
        raise ValueError("the arrays of its callbacks are not those that they speak of")


def _array_count(number: int, name: str, entry: Any, most: int) -> int:
    match entry:
        case {"value": _, **rest} if not rest:
            return 0
        case {"array": True, **rest} if not rest:
            return 1
        case {"arrays": int(count), **rest} if not rest and 0 <= count <= most:
            return count
    raise ValueError(f"{name!r} of callback {number} is neither a value nor arrays")


def matched_states(
    callbacks: Sequence[Any],
    states: Sequence[Mapping[str, Any]],
    arrays: Mapping[str, np.ndarray[Any, Any]],
) -> list[tuple[Any, dict[str, Any]]]:
    """Return each callback with what it remembered, for `restore_callbacks`; nothing is changed yet.

    Raises `UsageError` if they are others than those, or a callback of Keras's never remembers such a thing.
    """
    remembering = _with_memory(callbacks)
    found, expected = [type(callback).__name__ for callback, _ in remembering], [state["class"] for state in states]
    if found != expected:
        raise UsageError(f"its callbacks that remember something were {expected}, and these are {found}.")
    matched: list[tuple[Any, dict[str, Any]]] = []
    for number, ((callback, known), state) in enumerate(zip(remembering, states, strict=True)):
        values = {name: _value(number, name, entry, arrays) for name, entry in state["values"].items()}
        if not hasattr(callback, "load_state_dict"):
            _refuse_foreign(type(callback).__name__, values, known)
        matched.append((callback, values))
    return matched


def restore_callbacks(matched: Sequence[tuple[Any, Mapping[str, Any]]]) -> None:
    """Give the callbacks what they remembered."""
    for callback, values in matched:
        if hasattr(callback, "load_state_dict"):
            callback.load_state_dict(values)
        else:
            for name, value in values.items():
                setattr(callback, name, value)


def _refuse_foreign(kind: str, values: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Raise `UsageError` for an attribute that a file would set and the callback does not change itself."""
    for name, value in values.items():
        plain = value is None or isinstance(value, bool | int | float | np.ndarray) or _is_list_of_arrays(value)
        if name not in known or not plain:
            raise UsageError(f"its {kind} never remembers {name!r} as a {type(value).__name__}.")


def _with_memory(callbacks: Sequence[Any]) -> list[tuple[Any, dict[str, Any]]]:
    """The callbacks that may remember anything, and what they do."""
    found = [(callback, _remembered(callback)) for callback in callbacks]
    return [(callback, remembered) for callback, remembered in found if remembered is not None]


def _remembered(callback: Any) -> dict[str, Any] | None:
    import keras

    if hasattr(callback, "state_dict") and hasattr(callback, "load_state_dict"):
        return dict(callback.state_dict())
    for kind in type(callback).__mro__:
        if kind.__name__ in CALLBACK_STATE and getattr(keras.callbacks, kind.__name__, None) is kind:
            return {name: getattr(callback, name) for name in CALLBACK_STATE[kind.__name__] if hasattr(callback, name)}
    return None


def _value(number: int, name: str, entry: Mapping[str, Any], arrays: Mapping[str, np.ndarray[Any, Any]]) -> Any:
    """What `callback_states` wrote down."""
    if "array" in entry:
        return arrays[_name(number, name, 0)]
    if "arrays" in entry:
        return [arrays[_name(number, name, place)] for place in range(entry["arrays"])]
    return entry["value"]


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(member) for key, member in value.items())
    if isinstance(value, list):
        return all(_is_plain(member) for member in value)
    return value is None or isinstance(value, bool | int | float | str | np.generic)


def _is_list_of_arrays(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(member, np.ndarray) for member in value)


def _name(number: int, name: str, place: int) -> str:
    return f"callbacks/{number}/{name}/{place:05d}"
