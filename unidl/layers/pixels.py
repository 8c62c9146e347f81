"""Steps of an augmentation that change the pixels of the sampled image: blur before its colours, erasing after."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from unidl.layers.draws import ops
from unidl.layers.steps import Step, between, limits, number, register

REACH = 3.0
"""How many standard deviations of a blur are computed; beyond them a thousandth of its weight is left."""

SMALLEST = 1e-3
"""Of a standard deviation in pixels, so that none is divided by zero; the same image as without blur."""


class Pixels(Step):
    """A step that is given clips (batch, frames, height, width, channels), floats, and returns such: an augmentation
    calls `step.applied(clips, drawn, scale)`."""

    def applied(self, clips: Any, drawn: Any, scale: float) -> Any:
        """Return the clips changed.

        Args:
            clips: floats of shape (batch, frames, height, width, channels).
            drawn: numbers from 0 to 1, of shape (draws, batch).
            scale: the value of white in the clips.

        Returns:
            Clips of the same shape.
        """
        raise NotImplementedError


@register
@dataclass(frozen=True)
class Blur(Pixels):
    """Blur images by a Gaussian.

    Args:
        deviation: its standard deviation in pixels, up to this, or (from, to); at most 10.
        probability: the share of images that are blurred.

    Raises:
        UsageError: for a value that cannot be.

    Examples:
        >>> from unidl import layers
        >>> layers.Blur(2.0)
        Blur(deviation=2.0, probability=0.5)
    """

    deviation: float | tuple[float, float] = 1.0
    probability: float = 0.5
    word: ClassVar[str] = "blur"
    draws: ClassVar[int] = 2

    def __post_init__(self) -> None:
        self._deviations()
        number(self, "probability", self.probability, low=0, high=1)

    def _deviations(self) -> tuple[float, float]:
        two = self.deviation if isinstance(self.deviation, tuple) else (0.0, self.deviation)
        return limits(self, "deviation", two, low=0, high=10)

    def applied(self, clips: Any, drawn: Any, scale: float) -> Any:
        first, last = self._deviations()
        deviation = ops.maximum(between(drawn[0], first, last), SMALLEST)
        deviation = ops.where(drawn[1] < self.probability, deviation, SMALLEST)
        reach = max(1, math.ceil(REACH * last))
        shares = [ops.exp(-0.5 * ops.square(step / deviation)) for step in range(reach + 1)]
        total = shares[0] + 2.0 * sum(shares[1:], start=0.0)
        shares = [ops.reshape(share / total, (-1, 1, 1, 1, 1)) for share in shares]
        for axis in (2, 3):
            clips = _blurred(clips, shares, axis)
        return clips


def _blurred(clips: Any, shares: list[Any], axis: int) -> Any:
    """The sum of neighbours along an axis, as many either way as there are shares; the outermost pixels go on."""
    reach, size = len(shares) - 1, ops.shape(clips)[axis]
    ends = [_part(clips, axis, 0, 1)] * reach, [_part(clips, axis, size - 1, size)] * reach
    wide = ops.concatenate([*ends[0], clips, *ends[1]], axis=axis)
    return sum(
        (_part(wide, axis, reach + by, reach + by + size) * shares[abs(by)] for by in range(-reach, reach + 1)),
        start=0.0,
    )


def _part(values: Any, axis: int, first: Any, end: Any) -> Any:
    return values[(*(slice(None),) * axis, slice(first, end))]


@register
@dataclass(frozen=True)
class Erasing(Pixels):
    """Put a rectangle of one grey somewhere into some images.

    Args:
        area: the largest share of an image that is erased; the smallest is a tenth of that.
        probability: the share of images in which something is.
        value: the grey, from 0 to 1.
        ratio: how much wider or higher, relative to the image, the rectangle may be.

    Raises:
        UsageError: for a value that cannot be.

    Examples:
        >>> from unidl import layers
        >>> layers.Erasing(0.1)
        Erasing(area=0.1, probability=0.5, value=0.5, ratio=2.0)
    """

    area: float = 0.2
    probability: float = 0.5
    value: float = 0.5
    ratio: float = 2.0
    word: ClassVar[str] = "erasing"
    draws: ClassVar[int] = 5

    def __post_init__(self) -> None:
        for name in ("area", "probability", "value"):
            number(self, name, getattr(self, name), low=0, high=1)
        number(self, "ratio", self.ratio, low=1, high=10)

    def applied(self, clips: Any, drawn: Any, scale: float) -> Any:
        height, width = ops.shape(clips)[2:4]
        area = between(drawn[0], self.area / 10, self.area)
        ratio = ops.exp((2.0 * drawn[1] - 1.0) * math.log(self.ratio))
        inside = drawn[4][:, None] < self.probability
        spans = []
        for share, place, size in ((area / ratio, drawn[2], height), (area * ratio, drawn[3], width)):
            side = ops.minimum(ops.sqrt(share), 1.0)
            begin = place * (1.0 - side)
            middles = (ops.cast(ops.arange(size), drawn.dtype) + 0.5) / ops.cast(size, drawn.dtype)
            spans.append(ops.logical_and(middles >= begin[:, None], middles < (begin + side)[:, None]))
        rows, columns = ops.logical_and(spans[0], inside), spans[1]
        erased = ops.logical_and(rows[:, None, :, None, None], columns[:, None, None, :, None])
        return ops.where(erased, ops.cast(self.value * scale, clips.dtype), clips)
