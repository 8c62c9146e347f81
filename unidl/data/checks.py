"""Whether data fits a model, found out before training and told in the same words on every backend.

Out-of-range labels and tokens are why: JAX computes on with wrong values, torch and TensorFlow raise errors
that name neither row nor range.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from unidl.backend import Batches
from unidl.data.dataset import as_split
from unidl.data.inputs import matched_inputs, require_shape, require_tokens, token_limits
from unidl.data.labels import check_labels
from unidl.data.rows import first_bad
from unidl.data.trees import named_leaves
from unidl.errors import DataError

if TYPE_CHECKING:
    import keras


def check_fits(
    model: keras.Model, split: Batches, *, for_training: bool, name: str = "data", finite: bool = True
) -> None:
    """Raise `DataError`, naming the first bad row, if `model` cannot be run on `split`.

    for_training: labels and weights are checked too, as training and evaluation need them. name: what the
    messages call the data, such as "training data". finite: whether NaN and infinity are refused in x and y.
    What a subclassed model does not tell, its shapes above all, is not checked.
    """
    split = as_split(split)
    for part, array in named_leaves(split.x, "x"):
        _require_numbers(array, part, name)
    if finite:
        found = first_non_finite(split, name, with_targets=for_training)
        if found is not None:
            raise DataError(found.message)
    limits = token_limits(model)
    for position, part, array, expected in matched_inputs(model, split.x, name):
        require_shape(array, expected, part, name)
        if position in limits:
            require_tokens(array, limits[position], part, name)
    if for_training:
        _check_targets(model, split, name)


def check_numbers(split: Batches, name: str = "data") -> None:
    """Raise `DataError` if a part of the data holds no numbers: no more is known of what a model's own steps take."""
    for part in ("x", "y", "sample_weight"):
        for place, array in named_leaves(getattr(split, part), part):
            _require_numbers(array, place, name)


def _check_targets(model: keras.Model, split: Batches, name: str) -> None:
    if split.y is None and getattr(model, "loss", None) is not None:
        raise DataError(f"The {name} has no y, with which the model's loss compares its outputs. Pass (x, y).")
    for part, array in named_leaves(split.y, "y"):
        _require_numbers(array, part, name)
    for part, array in named_leaves(split.sample_weight, "sample_weight"):
        _require_numbers(array, part, name)
        found = first_bad(array, lambda block: (block >= 0) & np.isfinite(block))
        if found is not None:
            raise DataError(f"{part} is {found[1]} in row {found[0]} of the {name}; a weight must be 0 or positive.")
    check_labels(model, split.y, name)


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
    for part, tree in (("x", split.x), ("y", split.y if with_targets else None)):
        for place, array in named_leaves(tree, part):
            found = first_bad(array, np.isfinite) if array.dtype.kind == "f" else None
            if found is not None:
                row, value = found
                return NonFinite(
                    row,
                    f"{place} is {value} in row {row} of the {name}. Repair or remove such rows: one is enough to turn "
                    "every weight into NaN.",
                )
    return None
