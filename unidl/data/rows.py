"""Looking for the first bad row of an array, in one pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unidl.data.numbers import computed

_BLOCK_VALUES = 1 << 20
"""Values looked at in one go, so that the mask stays in the processor's cache."""


def first_bad(array: np.ndarray, is_good: Callable[[np.ndarray], np.ndarray]) -> tuple[int, str] | None:
    """Return the first row with a value that is not good, and that value as text; None if all are good.

    The values are looked at in the type in which they are computed with.
    """
    if array.size == 0:
        return None
    rows = max(_BLOCK_VALUES // array[0].size, 1)
    for start in range(0, len(array), rows):
        block = computed(array[start : start + rows])
        good = is_good(block)
        if not good.all():
            row = int(np.argmin(good.reshape(len(block), -1).all(axis=1)))
            value = np.ravel(block[row])[np.argmin(np.ravel(good[row]))]
            return start + row, f"{value:.9g}" if array.dtype.kind == "f" else str(value)
    return None


def every(array: np.ndarray, is_good: Callable[[np.ndarray], np.ndarray]) -> bool:
    """Return whether all values are good."""
    return first_bad(array, is_good) is None


def is_whole(block: np.ndarray) -> np.ndarray:
    """Where the values are whole numbers, whatever their type."""
    if block.dtype.kind in "biu":
        return np.ones(block.shape, dtype=bool)
    return block == np.floor(block)
