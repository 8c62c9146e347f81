"""Placement of the training rows on the device: all of them, or a few batches at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import jax
import keras
import numpy as np

from unidl.backend import Batches, Chunk, Tree

GATHERED_STEPS = 16
"""Number of batches gathered on the host at a time, for data too large for the device."""

RESIDENT_SHARE = 0.5
"""Data of up to this fraction of the free GPU memory is kept on the GPU."""


class DeviceData:
    """Data kept on a device while it is used for training."""

    def __init__(self, device: Any, put: Callable[[Tree], Tree] | None = None) -> None:
        """put: places data, instead of on the device alone."""
        self._device = device
        self._put = put or (lambda data: jax.device_put(data, device))
        self._resident: WeakKeyDictionary[Batches, Tree] = WeakKeyDictionary()

    def pieces(self, chunk: Chunk) -> Iterator[tuple[Tree, np.ndarray[Any, Any]]]:
        """Yield data on the device and the row numbers of batches in it: all of it, which stays there; or, if it
        is too large, a few batches at a time, in a constant size, so that a compiled program sees a single shape."""
        data = self._resident.get(chunk.data)
        if data is None and self._fits(chunk.data):
            data = self._resident[chunk.data] = self._put(chunk.data.as_keras())
        if data is not None:
            yield data, chunk.rows.astype(np.int32)
            return
        for needed, order in chunk.gathering(GATHERED_STEPS):
            yield self._put(gathered(chunk.data.as_keras(), needed)), order

    def _fits(self, data: Batches) -> bool:
        statistics = self._device.memory_stats() or {}
        if "bytes_limit" not in statistics:
            return True  # a CPU: the rows are already in its memory
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(data.parts()))
        return size <= RESIDENT_SHARE * (statistics["bytes_limit"] - statistics["bytes_in_use"])


def gathered(data: Tree, rows: Any) -> Tree:
    """Return these rows of each array."""
    return keras.tree.map_structure(lambda array: None if array is None else array[rows], data)
