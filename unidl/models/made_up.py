"""Synthetic data for the comparison, whose speed does not depend on the values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unidl.backend import Batches
from unidl.random import stream


def images(height: int, width: int, channels: int) -> Callable[[int], Batches]:
    """Return a function that makes n images (height, width, channels) with values from 0 to 1 and ten classes."""

    def make(rows: int) -> Batches:
        generator = stream(0, "compare", "images", rows)
        x = generator.random((rows, height, width, channels), dtype=np.float32)
        return Batches(x, generator.integers(10, size=rows, dtype=np.int32))

    return make


def words(length: int, classes: int | None = None) -> Callable[[int], Batches]:
    """Return a function that makes n windows of `length` tokens out of 1 000. Labels: classes, or the next token if
    None."""

    def make(rows: int) -> Batches:
        generator = stream(0, "compare", "words", rows)
        tokens = generator.integers(1000, size=(rows, length + 1), dtype=np.int32)
        return Batches(tokens[:, :-1], tokens[:, -1] if classes is None else tokens[:, -1] % classes)

    return make


def numbers(columns: int) -> Callable[[int], Batches]:
    """Return a function that makes n rows of numbers around 0, of ten classes."""

    def make(rows: int) -> Batches:
        generator = stream(0, "compare", "numbers", rows)
        x = generator.standard_normal((rows, columns), dtype=np.float32)
        return Batches(x, generator.integers(10, size=rows, dtype=np.int32))

    return make
