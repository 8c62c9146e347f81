"""Where the rows are that batches are made of: on the device, all of them or a few batches at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import jax
import keras
import numpy as np

from unidl.backend import Batches, Chunk, Tree

GATHERED_STEPS = 16
"""Batches that are gathered on the host at a time, of data too large for the device."""

RESIDENT_SHARE = 0.5
"""Data that fits into this share of the GPU memory that is free stays there."""


class DeviceData:
    """The data that stay on a device, as long as somebody trains on them."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self._resident: WeakKeyDictionary[Batches, Tree] = WeakKeyDictionary()

    def pieces(self, chunk: Chunk) -> Iterator[tuple[Tree, np.ndarray[Any, Any]]]:
        """Data on the device, and the rows of it that the batches are made of: all of it, which stays there; or, where
        that would be too large, a few batches at a time, in one size, so that a compiled program sees one shape."""
        data = self._resident.get(chunk.data)
        if data is None and self._fits(chunk.data):
            data = self._resident[chunk.data] = jax.device_put(chunk.data.as_keras(), self._device)
        if data is not None:
            yield data, chunk.rows.astype(np.int32)
            return
        for needed, order in chunk.gathering(GATHERED_STEPS):
            yield jax.device_put(gathered(chunk.data.as_keras(), needed), self._device), order

    def _fits(self, data: Batches) -> bool:
        statistics = self._device.memory_stats() or {}
        if "bytes_limit" not in statistics:
            return True  # a CPU: the rows are in its memory already
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(data.parts()))
        return size <= RESIDENT_SHARE * (statistics["bytes_limit"] - statistics["bytes_in_use"])


def gathered(data: Tree, rows: Any) -> Tree:
    """Those rows of each array."""
    return keras.tree.map_structure(lambda array: None if array is None else array[rows], data)
