"""The state of callbacks as values for a checkpoint; Keras's callbacks have no interface for it."""

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
    """Return the state of each callback as JSON values, and its arrays by their names in a checkpoint.

    A custom callback provides its state with `state_dict()` and restores it with `load_state_dict(state)`.
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
                    f"Cannot save the state of the callback {type(callback).__name__}: {name!r} is a "
                    f"{type(value).__name__}. A state_dict may contain numbers, strings, lists and dicts of them, and "
                    "NumPy arrays."
                )
        states.append({"class": type(callback).__name__, "values": values})
    return states, arrays


def require_states(states: Any, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Raise `ValueError` unless `states` has the form returned by `callback_states` and all of its arrays exist."""
    if not isinstance(states, list):
        raise ValueError("'callbacks' is not a list")
    expected: set[str] = set()
    for number, state in enumerate(states):
        if not isinstance(state, dict) or set(state) != {"class", "values"} or not isinstance(state["values"], dict):
            raise ValueError(f"the keys of callback {number} must be exactly a class and values")
        for name, entry in state["values"].items():
            expected |= {_name(number, name, place) for place in range(_array_count(number, name, entry, len(arrays)))}
    if expected != {name for name in arrays if name.startswith("callbacks/")}:
        raise ValueError("the arrays of its callbacks do not match their states")


def _array_count(number: int, name: str, entry: Any, most: int) -> int:
    match entry:
        case {"value": _, **rest} if not rest:
            return 0
        case {"array": True, **rest} if not rest:
            return 1
        case {"arrays": int(count), **rest} if not rest and 0 <= count <= most:
            return count
    raise ValueError(f"{name!r} of callback {number} is neither a value nor an array")


def matched_states(
    callbacks: Sequence[Any],
    states: Sequence[Mapping[str, Any]],
    arrays: Mapping[str, np.ndarray[Any, Any]],
) -> list[tuple[Any, dict[str, Any]]]:
    """Return each callback with its saved state, for `restore_callbacks`; nothing is changed yet.

    Raises `UsageError` if the callbacks differ, or a Keras callback cannot have such a state.
    """
    remembering = _with_memory(callbacks)
    found, expected = [type(callback).__name__ for callback, _ in remembering], [state["class"] for state in states]
    if found != expected:
        raise UsageError(f"its callbacks with state were {expected}, but these are {found}.")
    matched: list[tuple[Any, dict[str, Any]]] = []
    for number, ((callback, known), state) in enumerate(zip(remembering, states, strict=True)):
        values = {name: _value(number, name, entry, arrays) for name, entry in state["values"].items()}
        if not hasattr(callback, "load_state_dict"):
            _refuse_foreign(type(callback).__name__, values, known)
        matched.append((callback, values))
    return matched


def restore_callbacks(matched: Sequence[tuple[Any, Mapping[str, Any]]]) -> None:
    """Restore the state of the callbacks."""
    for callback, values in matched:
        if hasattr(callback, "load_state_dict"):
            callback.load_state_dict(values)
        else:
            for name, value in values.items():
                setattr(callback, name, value)


def _refuse_foreign(kind: str, values: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Raise `UsageError` for an attribute that a file would set but the callback itself never changes."""
    for name, value in values.items():
        plain = value is None or isinstance(value, bool | int | float | np.ndarray) or _is_list_of_arrays(value)
        if name not in known or not plain:
            raise UsageError(f"its {kind} never stores {name!r} as a {type(value).__name__}.")


def _with_memory(callbacks: Sequence[Any]) -> list[tuple[Any, dict[str, Any]]]:
    """Return the callbacks that may have state, with their attributes."""
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
    """The value stored by `callback_states`."""
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
