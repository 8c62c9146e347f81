"""The range of values of the images that a model learns on: kept with the model, and held to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.data import value_range
from unidl.data.rows import Reading
from unidl.data.trees import leaves
from unidl.data.value_range import BYTES, UNIT, USUAL, WORDS, ValueRange, written
from unidl.errors import DataError
from unidl.models.records import note, record_of
from unidl.training.image_bytes import are_bytes, converts, takes_floats

if TYPE_CHECKING:
    import keras


def ask_range(reading: Reading, model: keras.Model, x: Any, name: str, *, learns: bool, streamed: bool = False) -> None:
    """Have the model learn the range of the values of images, or be held to the one that it has learned.

    streamed: whether x is one of the batches that others make. learns: whether it is going to learn on x: then the
    range is noted, if x is images whose values tell. `DataError` is raised if x is images whose values have plainly
    another range than those the model takes, which it does if it has learned on some, is on a base that
    has, or begins with an augmentation.
    """
    from unidl.layers.images import range_taken

    taken = range_taken(model)
    if taken is not None and not record_of(model).value_range_fixed:
        note(model, value_range=taken, value_range_fixed=True)
    record = record_of(model)
    notes = learns and not record.value_range_fixed
    if any(are_bytes(leaf, anywhere=streamed) for leaf in leaves(x)):
        _meet_bytes(model, notes, name)
        return
    if converts(model) and any(are_bytes(leaf, anywhere=True) for leaf in leaves(x)):
        return  # in memory: the step makes of them what the model takes
    if not notes and record.value_range is None:
        return
    answer = value_range.ask_range(reading, x)

    def hear() -> None:
        found = answer()
        if not notes:
            _hold_range(model, x, found, name)
        elif found is not None:
            note(model, value_range=found)

    reading.then(hear)


def _meet_bytes(model: keras.Model, notes: bool, name: str) -> None:
    """Let a model that learns on images that are read as bytes take 0 to 1, which the step makes of them: see
    `image_bytes`; one that wants whole numbers takes them as they are."""
    if notes:
        note(model, value_range=UNIT if takes_floats(model) else BYTES)
    wanted = record_of(model).value_range
    if wanted is not None and wanted not in USUAL:
        raise DataError(
            f"x of the {name} has images of bytes, and the model '{model.name}' takes images with values "
            f"{written(wanted)}, into which unidl cannot convert them. Prepare the images as those were, and pass "
            "arrays."
        )


def _hold_range(model: keras.Model, x: Any, found: ValueRange | None, name: str) -> None:
    """Raise `DataError` if images of this range are plainly others than the model takes.

    Bright images of bytes for a model of 0 to 1 are such; so are several images of values between 0 and 1 for a model
    of bytes, which could not be dark ones.
    """
    wanted = record_of(model).value_range
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
        f"x of the {name} has images with values {written(found)}, and the model '{model.name}' takes images with "
        f"values {written(wanted)}. {remedy}"
    )


def _has_fractions(x: Any) -> bool:
    """Whether there are several images, with values between 0 and 1."""
    return len(x) > 1 and x.dtype.kind == "f" and bool(np.any((x[:2] > 0) & (x[:2] < 1)))
