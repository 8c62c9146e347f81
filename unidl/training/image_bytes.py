"""Images of bytes stay bytes up to the device; the compiled step makes of them what the model takes."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

import numpy as np

from unidl.backend import Batches, Tree
from unidl.data.source import Column
from unidl.data.trees import leaves
from unidl.data.value_range import BYTES, USUAL, ValueRange
from unidl.models.records import record_of

if TYPE_CHECKING:
    import keras

AXES = (4, 5)
"""Of images (rows, height, width, channels), and of clips, which have time before height."""

_calls: WeakKeyDictionary[keras.Model, dict[ValueRange, Any]] = WeakKeyDictionary()
"""One function a model and range: what is compiled of a step holds on to it."""


def are_bytes(leaf: Any, *, anywhere: bool = False) -> bool:
    """Whether these are images, or clips, that are read as bytes: 0 is always dark and 255 bright.

    anywhere: whether arrays in memory count, and not only what is read when it is needed."""
    read = anywhere or isinstance(leaf, Column)
    return read and leaf.dtype == np.uint8 and leaf.ndim in AXES and leaf.shape[-1] in (1, 3)


def converts(model: keras.Model) -> bool:
    """Whether the step makes of bytes in memory what the model takes, which it does for a model that has learned on
    another range than theirs, or was built for one. Other models get arrays in memory as they are, as in Keras."""
    wanted = record_of(model).value_range
    return wanted in USUAL and wanted != BYTES and takes_floats(model) and "call" not in vars(model)


def takes_floats(model: keras.Model) -> bool:
    """Whether no input of a model wants whole numbers, as a model with its own scaling of bytes does."""
    return not any("int" in str(tensor.dtype) for tensor in getattr(model, "inputs", None) or ())


@contextmanager
def bytes_scaled(model: keras.Model, *data: Batches | None) -> Generator[None]:
    """Inside it the model, when it is called on bytes, computes on the range of values that it takes, in float32.

    data: what it is going to be called on: nothing changes if these are not images of bytes, or the model has learned
    on bytes.
    """
    wanted = record_of(model).value_range
    found = any(are_bytes(leaf, anywhere=True) for one in data if one is not None for leaf in leaves(one.x))
    if not found or wanted is None or not converts(model):
        yield
        return
    # As an attribute of this model alone, by which Keras calls it; every backend compiles what is called.
    model.__dict__["call"] = _scaling(model, wanted)
    try:
        yield
    finally:
        model.__dict__.pop("call", None)


def _scaling(model: keras.Model, wanted: ValueRange) -> Any:
    made = _calls.setdefault(model, {})
    if wanted not in made:
        made[wanted] = _made(type(model).call, ref(model), wanted)
    return made[wanted]


def _made(call: Any, model: Any, wanted: ValueRange) -> Any:
    from keras import backend, ops, tree

    # A product, and not a quotient, which some compilers make a product of and others not.
    factor = np.float32((wanted[1] - wanted[0]) / BYTES[1])
    offset = np.float32(wanted[0])

    def scaled(values: Any) -> Any:
        if not hasattr(values, "dtype") or backend.standardize_dtype(values.dtype) != "uint8":
            return values
        if len(values.shape) not in AXES or values.shape[-1] not in (1, 3):
            return values
        converted: Any = ops.cast(values, "float32")
        floats = converted * factor
        return floats + offset if offset else floats

    @wraps(call)
    def in_range(inputs: Tree, *arguments: Any, **options: Any) -> Tree:
        return call(model(), tree.map_structure(scaled, inputs), *arguments, **options)

    return in_range
