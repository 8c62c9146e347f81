"""The type in which the numbers of an array are computed with: the same one on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def computed_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return float32 for the wider floats, as in Keras's own `fit`, and this machine's byte order for all types."""
    if dtype.kind == "f" and dtype.itemsize > 4:
        return np.dtype(np.float32)
    return dtype.newbyteorder("=")


def computed(array: Array) -> Array:
    """Return the numbers in the type in which they are computed with, copied only if they have another one.

    What overflows becomes infinite, which the check before training names with its row.
    """
    with np.errstate(over="ignore"):
        return array.astype(computed_type(array.dtype), copy=False)


def is_computed(array: Array) -> bool:
    """Whether an array has the type in which its numbers are computed with."""
    return array.dtype == computed_type(array.dtype)
