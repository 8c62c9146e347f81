"""Images read at other places: what all geometry of an augmentation comes down to, once for each image.

Written in `keras.ops`, for every backend. An adapter whose framework has a faster sampler puts it in the place of
`bilinear` while its loop runs, so call it as `sampling.bilinear`.

Imports Keras: import it only where a backend is already in use.
"""

from __future__ import annotations

from typing import Any

import keras  # pyright: ignore[reportMissingTypeStubs] - Keras ships none

ops: Any = keras.ops  # whose annotations allow for results that are not tensors

FILLS = ("reflect", "nearest", "constant")
"""What lies beyond the edges: the image mirrored (d c b a | a b c d | d c b a), its outermost pixels, or one value."""

PACKED = (2, 3, 4)
"""Channels of bytes that are packed into one number of 32 bits, so that each place is looked up once."""


def bilinear(images: Any, matrices: Any, fill: str = "reflect", fill_value: float = 0.0) -> Any:
    """Read each image at the places that its matrix leads to, between pixels in proportion to how close they are.

    images: (batch, height, width, channels), whole numbers or floats. matrices: (batch, 2, 3), floats: from (x, y, 1)
    of a pixel of the result to the (x, y) at which it is read, both counted from the centre of the first pixel.
    fill: one of `FILLS`; fill_value: what "constant" puts there. Returns values of the type of the matrices, in the
    range of the images and of their shape.
    """
    batch, height, width = ops.shape(images)[:3]
    x, y = coordinates(matrices, height, width)
    x, y = filled(x, width, fill), filled(y, height, fill)
    left, top = ops.floor(x), ops.floor(y)
    right_share, lower_share = x - left, y - top
    columns = [(left, 1.0 - right_share), (left + 1.0, right_share)]
    rows = [(top, 1.0 - lower_share), (top + 1.0, lower_share)]
    if fill == "constant":
        columns, rows = (
            [_weighed_inside(*one, size) for one in two] for two, size in ((columns, width), (rows, height))
        )
    places = _lookup(images, matrices.dtype)
    first = ops.reshape(ops.arange(batch, dtype="int32") * (height * width), (-1, 1, 1))
    total = 0.0
    for row, row_share in rows:
        begin = first + _place(row, height) * width
        line = sum((places(begin + _place(column, width)) * share[..., None] for column, share in columns), start=0.0)
        total = total + line * row_share[..., None]
    if fill == "constant" and fill_value:
        covered = (columns[0][1] + columns[1][1]) * (rows[0][1] + rows[1][1])
        total = total + ((1.0 - covered) * fill_value)[..., None]
    return total


def coordinates(matrices: Any, height: Any, width: Any) -> tuple[Any, Any]:
    """Return the x and the y at which each pixel of a result is read, both (batch, height, width).

    matrices: as for `bilinear`. No gradient goes back to them: they are drawn, not learned.
    """
    matrices = ops.stop_gradient(matrices)
    columns = ops.reshape(ops.arange(width, dtype=matrices.dtype), (1, 1, -1))
    rows = ops.reshape(ops.arange(height, dtype=matrices.dtype), (1, -1, 1))
    parts = [[ops.reshape(matrices[:, axis, part], (-1, 1, 1)) for part in range(3)] for axis in range(2)]
    x, y = (along_x * columns + (along_y * rows + offset) for along_x, along_y, offset in parts)
    return x, y


def filled(places: Any, size: Any, fill: str) -> Any:
    """Return the places of an axis inside the image at which those beyond its edges are read: "reflect" has mirrors
    at the edges, half a pixel beyond the outermost centres; "constant" leaves the places as they are."""
    if fill == "constant":
        return places
    if fill == "reflect":
        size = ops.cast(size, places.dtype)
        places = ops.mod(places + 0.5, 2.0 * size)
        places = ops.where(places >= size, 2.0 * size - places, places) - 0.5
    return _held(places, size)


def _held(places: Any, size: Any) -> Any:
    """The places, or the outermost centres for those beyond."""
    return ops.clip(places, 0.0, ops.cast(size, places.dtype) - 1.0)


def _weighed_inside(place: Any, share: Any, size: Any) -> tuple[Any, Any]:
    """A neighbour and its share, which is none beyond the edges."""
    inside = ops.logical_and(place >= 0.0, place <= ops.cast(size, place.dtype) - 1.0)
    return place, ops.where(inside, share, ops.zeros_like(share))


def _place(place: Any, size: Any) -> Any:
    return ops.cast(_held(place, size), "int32")


def _lookup(images: Any, dtype: Any) -> Any:
    """What gives the pixels (..., channels) at flat row numbers (...), as this type."""
    channels = images.shape[-1]
    if keras.backend.standardize_dtype(images.dtype) != "uint8" or channels not in PACKED:
        flat = ops.reshape(images, (-1, channels))
        return lambda numbers: ops.cast(ops.take(flat, numbers, axis=0), dtype)
    whole = ops.cast(images, "int32")
    words = whole[..., 0]
    for channel in range(1, channels):
        words = ops.bitwise_or(words, ops.left_shift(whole[..., channel], 8 * channel))
    words = ops.reshape(words, (-1,))

    def unpacked(numbers: Any) -> Any:
        found = ops.take(words, numbers, axis=0)
        parts = [ops.bitwise_and(ops.right_shift(found, 8 * channel), 255) for channel in range(channels)]
        return ops.cast(ops.stack(parts, axis=-1), dtype)

    return unpacked
