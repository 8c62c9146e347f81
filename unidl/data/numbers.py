"""The dtype in which the values of an array are used in computations, equal on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def computed_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return float32 for wider floats, as in Keras's `fit`, and native byte order for all dtypes."""
    if dtype.kind == "f" and dtype.itemsize > 4:
        return np.dtype(np.float32)
    return dtype.newbyteorder("=")


def computed(array: Array) -> Array:
    """Convert values to the dtype used in computations, copying only if necessary.

    Overflow becomes infinity, which the check before training reports with its row.
    """
    with np.errstate(over="ignore"):
        return array.astype(computed_type(array.dtype), copy=False)


def is_computed(array: Array) -> bool:
    """Return whether an array already has the dtype used in computations."""
    return array.dtype == computed_type(array.dtype)
