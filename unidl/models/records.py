"""What unidl records about a model: how it was built, its class names, vocabulary and value range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Architecture:
    """The call that builds a model: a builder of `unidl.models` by name, and its arguments as JSON values."""

    builder: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Record:
    """Kept beside a model, so that the model itself stays a plain keras.Model."""

    architecture: Architecture | None = None
    class_names: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()
    value_range: tuple[float, float] | None = None
    """From where to where the values of its images go; None if nobody knows, or it takes no images."""
    value_range_fixed: bool = False
    """Whether the model was built for this range, as on a base that has learned, and takes no other one."""


_records: WeakKeyDictionary[keras.Model, Record] = WeakKeyDictionary()


def record_of(model: keras.Model) -> Record:
    """Return what is known of `model`; an empty record for a stranger's model."""
    return _records.get(model, Record())


def note(model: keras.Model, **changes: Any) -> None:
    """Add to what is known of `model`."""
    _records[model] = replace(record_of(model), **changes)
