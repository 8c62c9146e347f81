"""The range of values that images have: 0 to 1 or 0 to 255 look alike to a person and not at all to a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from unidl.data.dataset import Dataset
from unidl.data.rows import Numbers, Reading, look_through
from unidl.data.source import Column
from unidl.errors import DataError

ValueRange = tuple[float, float]

UNIT: ValueRange = (0.0, 1.0)
SIGNED: ValueRange = (-1.0, 1.0)
BYTES: ValueRange = (0.0, 255.0)
WORDS: ValueRange = (0.0, 65535.0)
USUAL = (UNIT, SIGNED, BYTES, WORDS)
"""The ranges between which images can be converted without looking at other images."""

ROUNDING = 1e-3
"""How far, as a share of its range, an image may reach beyond it: resizing and arithmetic in float16 do."""
SAMPLED_OF_SOURCE = 32
"""The same of a source, whose rows may have to be decoded one by one."""
SAMPLED_ROWS = 1024
"""Images that are looked at, spread over all: a range does not hide in the others."""


def are_images(x: Any) -> bool:
    """Whether x is one array of images: (rows, height, width, 1 or 3)."""
    return isinstance(x, np.ndarray) and x.ndim == 4 and x.shape[3] in (1, 3) and x.dtype.kind in "iuf"


def range_of(x: Any) -> ValueRange | None:
    """Return the range of the values of images: one of `USUAL`, else from the least to the largest one that there is.

    None for what is not an array of images, and where the values do not tell, as those of black images do not: whole
    numbers of 0 and 1, floats of 0 alone.
    """
    if not are_images(x) or not x.size:
        return None
    ends = Ends(len(x))
    look_through(x, ends)
    return ends.range_in(x)


class Ends:
    """Asks for the range of the values of images, as `range_of` returns it, of a few that are spread over all."""

    is_answered = False

    def __init__(self, count: int) -> None:
        """count: how many images there are."""
        self.rows: np.ndarray | None = np.unique(np.linspace(0, count - 1, SAMPLED_ROWS).astype(np.int64))
        self._ends: list[float] = []

    def look(self, rows: Numbers, block: np.ndarray) -> None:
        wanted: Any = self.rows
        first = int(rows[0])
        place, end = np.searchsorted(wanted, (first, first + len(block)))
        for row in wanted[place:end] - first:
            self._ends += (float(block[row].min()), float(block[row].max()))

    def range_in(self, x: np.ndarray) -> ValueRange | None:
        """Return the range of these images, when their rows have been looked at."""
        return _range_of(x.dtype.kind, float(np.min(self._ends)), float(np.max(self._ends)))


def ask_range(reading: Reading, x: Any) -> Callable[[], ValueRange | None]:
    """Ask for what `range_of` returns; what this returns gives it when all is answered. Of a column a few rows tell."""
    if isinstance(x, Column):
        is_images = x.ndim == 4 and x.shape[3] in (1, 3)
        few = x[np.unique(np.linspace(0, len(x) - 1, SAMPLED_OF_SOURCE).astype(np.int64))] if is_images else None
        return lambda: range_of(few)
    if not are_images(x) or not x.size:
        return lambda: None
    ends = Ends(len(x))
    reading.ask(x, ends)
    return lambda: ends.range_in(x)


def in_range(images: np.ndarray, found: ValueRange | None, wanted: ValueRange | None, whose: str) -> np.ndarray:
    """Return images whose values have the range `found` with values of the range `wanted`, as float32.

    They come back as they are where one of the ranges is not known. whose: who wants the range, for the message. Raises
    `DataError` for a range that is none of `USUAL`, unless both are.
    """
    usual = [known in USUAL for known in (found, wanted)]
    if found is None or wanted is None or found == wanted or not any(usual):
        return images
    if not all(usual):
        raise DataError(
            f"The images have values {written(found)}, and {whose} learned on values {written(wanted)}, into which "
            "unidl cannot convert them. Prepare the images as those were, and pass them to Trainer.predict or "
            "Trainer.evaluate."
        )
    share = (images.astype(np.float32) - np.float32(found[0])) / np.float32(found[1] - found[0])
    return share * np.float32(wanted[1] - wanted[0]) + np.float32(wanted[0])


def dataset_in_range(data: Dataset, wanted: ValueRange | None, whose: str) -> Dataset:
    """Return the data with images of the values that a model learned on; what is not images comes back as it is.

    Raises `DataError` if they cannot be converted. whose: what the message calls the model.
    """
    found = range_of(data.train.x) or range_of(data.test.x)
    if found is None or wanted is None or found == wanted:
        return data
    train, test = (replace(part, x=in_range(part.x, found, wanted, whose)) for part in (data.train, data.test))
    return replace(data, train=train, test=test)


def written(value_range: ValueRange) -> str:
    """Return a range as people read it."""
    return f"from {value_range[0]:.4g} to {value_range[1]:.5g}"


def scaled_bytes(*images: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return uint8 images, (n, h, w) or (n, h, w, c), as float32 in [0, 1] of 4 axes; others as they are.

    So are other whole numbers from 0 to 255, if the rows are images of 1 or 3 channels. images: the parts of one data
    set, of which one decides for all.
    """
    if all(part.dtype == np.uint8 and part.ndim in (3, 4) for part in images):
        return tuple(_scaled(part[..., np.newaxis] if part.ndim == 3 else part) for part in images)
    if all(are_images(part) and part.dtype.kind in "iu" and part.size for part in images):
        low, high = min(int(part.min()) for part in images), max(int(part.max()) for part in images)
        if low >= 0 and 1 < high <= BYTES[1]:
            return tuple(_scaled(part) for part in images)
    return images


def _range_of(kind: str, low: float, high: float) -> ValueRange | None:
    """The range of images with these ends, of a kind of NumPy's types."""
    if not np.isfinite([low, high]).all() or low == high == 0:
        return None
    if kind in "iu":
        if low < 0 or high > WORDS[1]:
            return low, high
        return None if high <= 1 else BYTES if high <= BYTES[1] else WORDS
    return _usual(low, high) or (low, high)


def _scaled(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float32) / np.float32(255)


def _usual(low: float, high: float) -> ValueRange | None:
    """Which range floats from `low` to `high` are of. Images without a bright spot do not tell bytes from others."""
    for known in USUAL:
        beyond = ROUNDING * (known[1] - known[0])
        # Values of up to 1.5 are 0 to 1, made brighter; up to 16, of 17 greys: neither is a range of bytes.
        bright = known in (UNIT, SIGNED) or high > known[1] / 2
        if bright and low >= known[0] - beyond and high <= known[1] + beyond:
            return known
    return None
