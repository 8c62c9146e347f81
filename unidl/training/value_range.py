"""The range of values of the images that a model learns on: kept with the model, and held to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.data.value_range import BYTES, UNIT, USUAL, WORDS, range_of, written
from unidl.errors import DataError
from unidl.models.records import note, record_of

if TYPE_CHECKING:
    import keras


def learn_range(model: keras.Model, x: Any, name: str) -> None:
    """Note on what range of values `model` is going to learn, if x is images whose values tell.

    Raises `DataError` if the model is on a base that takes images of another range.
    """
    found, record = range_of(x), record_of(model)
    if record.value_range_fixed:
        hold_range(model, x, name)
    elif found is not None:
        note(model, value_range=found)


def hold_range(model: keras.Model, x: Any, name: str) -> None:
    """Raise `DataError` if x is images whose values have plainly another range than those the model takes.

    Bright images of bytes for a model of 0 to 1 are such; so are several images of values between 0 and 1 for a model
    of bytes, which could not be dark ones.
    """
    wanted = record_of(model).value_range
    found = range_of(x) if wanted is not None else None
    if wanted not in USUAL or found not in USUAL:
        return
    too_large = found in (BYTES, WORDS) and found[1] > wanted[1]
    too_small = wanted in (BYTES, WORDS) and found == UNIT and _has_fractions(x)
    if not (too_large or too_small):
        return
    remedy = "Bring the values into that range."
    if UNIT in (found, wanted):
        remedy = f"Pass x / {found[1]:g}." if too_large else f"Pass x * {wanted[1]:g}."
    raise DataError(
        f"x of the {name} is images with values {written(found)}, and the model '{model.name}' takes images with "
        f"values {written(wanted)}. {remedy}"
    )


def _has_fractions(x: Any) -> bool:
    """Whether there are several images, with values between 0 and 1."""
    return len(x) > 1 and x.dtype.kind == "f" and bool(np.any((x[:2] > 0) & (x[:2] < 1)))
