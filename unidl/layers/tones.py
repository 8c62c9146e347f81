"""Changes of tones that no matrix of colours describes, as Pillow computes them on levels from 0 to 255."""

from __future__ import annotations

import math
from typing import Any

from unidl.layers.draws import ops

WHITE = 255.0
LEVELS = 256


def inverted(clips: Any) -> Any:
    """Return the negative. clips: floats from 0 to 1, (batch, frames, height, width, channels), as for all of these."""
    return 1.0 - clips


def solarized(clips: Any, share: float) -> Any:
    """Invert what is at least as bright as a threshold: white less `share` of all levels."""
    threshold = float(LEVELS - math.floor(share * LEVELS))
    return ops.where(_levels(clips) >= threshold, 1.0 - clips, clips)


def posterized(clips: Any, share: float) -> Any:
    """Keep the leading bits of each level: 8 for a share of 0, 4 for one of 1."""
    step = 2.0 ** round(4.0 * share)
    return ops.floor(_levels(clips) / step) * step / WHITE


def stretched(clips: Any) -> Any:
    """Stretch each channel of an image, so that its darkest pixel becomes black and its brightest one white."""
    low, high = (extreme(clips, axis=(1, 2, 3), keepdims=True) for extreme in (ops.min, ops.max))
    span = high - low
    flat = span <= 0.0
    return ops.where(flat, clips, (clips - low) / ops.where(flat, ops.ones_like(span), span))


def equalized(clips: Any) -> Any:
    """Map the levels of each channel of an image so that they are about equally frequent.

    A level becomes (step // 2 + pixels below it) // step, where step is a 255th of all pixels but those of the
    brightest level; it stays if that is nothing, as in `PIL.ImageOps.equalize`.
    """
    batch, channels = ops.shape(clips)[0], clips.shape[-1]
    levels = ops.cast(_levels(clips), "int32")
    brightest = ops.max(levels, axis=(1, 2, 3))  # (batch, channels)
    rows = ops.reshape(ops.arange(batch * channels, dtype="int32") * LEVELS, (batch, 1, 1, 1, channels))
    places = ops.reshape(levels + rows, (-1,))
    counts = ops.segment_sum(ops.ones_like(places), places, num_segments=batch * channels * LEVELS)
    counts = ops.reshape(ops.cast(counts, "int32"), (batch, channels, LEVELS))
    below = ops.cumsum(counts, axis=-1) - counts
    at_brightest = ops.take_along_axis(counts, brightest[..., None], axis=-1)
    step = (ops.sum(counts, axis=-1, keepdims=True) - at_brightest) // 255
    table = ops.minimum((step // 2 + below) // ops.maximum(step, 1), 255)
    table = ops.where(step == 0, ops.arange(LEVELS, dtype="int32"), table)
    found = ops.take(ops.reshape(table, (-1,)), places)
    return ops.cast(ops.reshape(found, ops.shape(clips)), clips.dtype) / WHITE


def sharpened(clips: Any, gain: Any) -> Any:
    """Return `gain` (batch, 1, 1, 1, 1) times the difference from the image smoothed by [[1, 1, 1], [1, 5, 1],
    [1, 1, 1]] / 13, added to that: 0 is smooth, 1 as it is, more is sharper. The outermost pixels stay."""
    height, width = ops.shape(clips)[2:4]
    if any(isinstance(side, int) and side < 3 for side in (height, width)):
        return clips
    rows: Any = sum((clips[:, :, by : height - 2 + by] for by in range(3)), start=0.0)
    inside = clips[:, :, 1 : height - 1, 1 : width - 1]
    square = sum((rows[:, :, :, by : width - 2 + by] for by in range(3)), start=0.0)
    smooth = (square + 4.0 * inside) / 13.0
    found = ops.clip(smooth + gain * (inside - smooth), 0.0, 1.0)
    found = ops.concatenate([clips[:, :, 1 : height - 1, :1], found, clips[:, :, 1 : height - 1, width - 1 :]], axis=3)
    return ops.concatenate([clips[:, :, :1], found, clips[:, :, height - 1 :]], axis=2)


def _levels(clips: Any) -> Any:
    return ops.round(clips * WHITE)
