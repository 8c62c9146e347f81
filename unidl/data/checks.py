"""Whether data fits a model, found out before training and told in the same words on every backend.

Out-of-range labels and tokens are why: JAX computes on with wrong values, torch and TensorFlow raise errors
that name neither row nor range.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from unidl.backend import Batches
from unidl.data.dataset import Split
from unidl.data.inputs import ask_tokens, matched_inputs, require_shape, token_limits
from unidl.data.labels import ask_labels
from unidl.data.rows import Reading
from unidl.data.trees import named_leaves
from unidl.errors import DataError

if TYPE_CHECKING:
    import keras


def check_fits(model: keras.Model, split: Split, *, for_training: bool, name: str = "data") -> None:
    """Raise `DataError`, naming the first bad row, if `model` cannot be run on `split`: see `ask_fits`."""
    reading = Reading(later=False)
    ask_fits(reading, model, split, for_training=for_training, name=name)
    reading.read()


def ask_fits(reading: Reading, model: keras.Model, split: Split, *, for_training: bool, name: str = "data") -> None:
    """Have `DataError` raised, naming the first bad row, if `model` cannot be run on `split`; at once for types and
    shapes, for which no value needs to be read.

    for_training: labels and weights are checked too, as training and evaluation need them. name: what the
    messages call the data, such as "training data".
    What a subclassed model does not tell, its shapes above all, is not checked.
    """
    for part, array in named_leaves(split.x, "x"):
        _require_numbers(array, part, name)
    limits = token_limits(model)
    for position, part, array, expected in matched_inputs(model, split.x, name):
        require_shape(array, expected, part, name)
        if position in limits:
            ask_tokens(reading, array, limits[position], part, name)
    if for_training:
        _ask_targets(reading, model, split, name)


def check_numbers(split: Batches, name: str = "data") -> None:
    """Raise `DataError` if a part of the data holds no numbers: no more is known of what a model's own steps take."""
    for part in ("x", "y", "sample_weight"):
        for place, array in named_leaves(getattr(split, part), part):
            _require_numbers(array, place, name)


def _ask_targets(reading: Reading, model: keras.Model, split: Split, name: str) -> None:
    if split.y is None and getattr(model, "loss", None) is not None:
        raise DataError(f"The {name} has no y, with which the model's loss compares its outputs. Pass (x, y).")
    for part, array in named_leaves(split.y, "y"):
        _require_numbers(array, part, name)
    for part, array in named_leaves(split.sample_weight, "sample_weight"):
        _require_numbers(array, part, name)
        _ask_weights(reading, array, part, name)
    ask_labels(reading, model, split.y, name)


def _ask_weights(reading: Reading, array: np.ndarray, part: str, name: str) -> None:
    weight = reading.first_bad(array, lambda block: (block >= 0) & np.isfinite(block))

    def hear() -> None:
        if weight.found is not None:
            row, value = weight.found
            raise DataError(f"{part} is {value} in row {row} of the {name}; a weight must be 0 or positive.")

    reading.then(hear)


def _require_numbers(array: np.ndarray, part: str, name: str) -> None:
    """V is what NumPy calls bfloat16 and its like."""
    if array.dtype.kind not in "biufV":
        raise DataError(
            f"{part} of the {name} holds values of the type {array.dtype}, and models take numbers. Encode them first."
        )


@dataclass(frozen=True)
class NonFinite:
    """The first row of some data with NaN or infinity in it."""

    row: int
    message: str


def first_non_finite(split: Batches, name: str = "data", *, with_targets: bool = True) -> NonFinite | None:
    """Return the first row of x, or of y, with a value that is NaN or infinite; None if there is none."""
    reading = Reading(later=False)
    answer = ask_finite(reading, split, name, with_targets=with_targets)
    reading.read()
    return answer()


def ask_finite(
    reading: Reading, split: Batches, name: str, *, with_targets: bool = True
) -> Callable[[], NonFinite | None]:
    """Ask for what `first_non_finite` returns; what this returns gives it when all is answered."""
    parts = {"x": split.x, "y": split.y if with_targets else None}
    asked = [
        (place, reading.first_bad(array, np.isfinite))
        for part, tree in parts.items()
        for place, array in named_leaves(tree, part)
        if array.dtype.kind == "f"
    ]

    def answer() -> NonFinite | None:
        for place, question in asked:
            if question.found is not None:
                row, value = question.found
                return NonFinite(
                    row,
                    f"{place} is {value} in row {row} of the {name}. Repair or remove such rows: one is enough to turn "
                    "every weight into NaN.",
                )
        return None

    return answer
