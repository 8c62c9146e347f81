"""What unidl records about a model: how it was built, its class names, vocabulary and value range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import keras

    from unidl.data import TableForm
    from unidl.data.tokenizer import Tokenizer


@dataclass(frozen=True)
class Architecture:
    """The call that builds a model: a builder of `unidl.models` by name, and its arguments.

    Args:
        builder: The name of the builder, such as "cnn".
        arguments: The arguments of its function by name, as JSON values.

    Examples:
        >>> from unidl.models import Architecture
        >>> Architecture("cnn", {"classes": 4}).builder
        'cnn'
    """

    builder: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Record:
    """What unidl knows of a model, kept beside it, so that the model itself stays a plain keras.Model.

    Args:
        architecture: How the model was built; None if it did not come from a builder.
        class_names: The name of each class; empty if they are not known.
        vocabulary: The word of each token; empty if there are none.
        value_range: (low, high) of the values of its images; None if unknown, or if it does not take images.
        value_range_fixed: Whether the model was built for this range, as on a pretrained base, and does not take
            another one.
        table: What it knows of the columns of a table; None if it does not predict from one.
        tokenizer: What turns texts into its inputs, for a model on a pretrained base that reads texts.
        head_names: The names of the classes of each head, for a model with several outputs that learned from such
            data; empty ones for a number.

    Examples:
        >>> from unidl.models import Record
        >>> Record(class_names=("cat", "dog")).value_range is None
        True
    """

    architecture: Architecture | None = None
    class_names: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()
    value_range: tuple[float, float] | None = None
    value_range_fixed: bool = False
    table: TableForm | None = None
    tokenizer: Tokenizer | None = None
    head_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, "tuple[str, ...]"])


_records: WeakKeyDictionary[keras.Model, Record] = WeakKeyDictionary()


def record_of(model: keras.Model) -> Record:
    """Return what is known of a model.

    Args:
        model: Any model.

    Returns:
        The record; an empty one for a model that unidl neither built nor trained.

    Examples:
        >>> import unidl
        >>> from unidl.models import record_of
        >>> model = unidl.build_cnn((8, 8, 1), classes=4, filters=(2,), dense_units=4)
        >>> record_of(model).architecture.builder
        'cnn'
    """
    return _records.get(model, Record())


def note(model: keras.Model, **changes: Any) -> None:
    """Add to what is known of a model.

    Args:
        model: Any model.
        **changes: The fields of `Record` to replace, by name.

    Examples:
        >>> import unidl
        >>> from unidl.models import note, record_of
        >>> model = unidl.build_cnn((8, 8, 1), classes=2, filters=(2,), dense_units=4)
        >>> note(model, class_names=("cat", "dog"))
        >>> record_of(model).class_names
        ('cat', 'dog')
    """
    _records[model] = replace(record_of(model), **changes)
