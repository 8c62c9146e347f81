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
    """Metadata stored outside the model, so that the model stays a plain keras.Model."""

    architecture: Architecture | None = None
    class_names: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()
    value_range: tuple[float, float] | None = None
    """Smallest and largest value of its images; None if unknown, or if it takes no images."""
    value_range_fixed: bool = False
    """Whether the model requires this range, for example because of a pretrained base."""


_records: WeakKeyDictionary[keras.Model, Record] = WeakKeyDictionary()


def record_of(model: keras.Model) -> Record:
    """Return the record of `model`; empty for a model that unidl did not build."""
    return _records.get(model, Record())


def note(model: keras.Model, **changes: Any) -> None:
    """Add to the record of `model`."""
    _records[model] = replace(record_of(model), **changes)
