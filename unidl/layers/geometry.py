"""Where each pixel of an augmented image comes from: steps of geometry, each one matrix, and all of them one product.

A matrix leads from a place of the result to the place at which it is read, so that the first step of several is the
leftmost factor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from unidl.layers.affine import Affine, turn
from unidl.layers.draws import ops
from unidl.layers.steps import Factor, Size, Step, between, limits, number, refused, register


class Geometry(Step):
    """A step that moves pixels: an augmentation calls `step.affine(drawn, size)`."""

    def affine(self, drawn: Any, size: Size) -> Affine:
        """Return where the pixels of each image are read.

        Args:
            drawn: numbers from 0 to 1, of shape (draws, batch).
            size: height and width of the images, in pixels.

        Returns:
            A matrix an image.
        """
        raise NotImplementedError


@register
@dataclass(frozen=True)
class Flip(Geometry):
    """Mirror every second image.

    Args:
        direction: "horizontal" (left to right), "vertical" (upside down), or "both", each by itself.
        probability: the share of images that are mirrored.

    Raises:
        UsageError: for a value that cannot be.

    Examples:
        >>> from unidl import layers
        >>> layers.Flip("vertical")
        Flip(direction='vertical', probability=0.5)
    """

    direction: str = "horizontal"
    probability: float = 0.5
    word: ClassVar[str] = "flip"
    draws: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.direction not in ("horizontal", "vertical", "both"):
            raise refused(self, "direction", self.direction, "it must be 'horizontal', 'vertical' or 'both'")
        number(self, "probability", self.probability, low=0, high=1)

    def affine(self, drawn: Any, size: Size) -> Affine:
        across, down = (1.0 - 2.0 * ops.cast(drawn[place] < self.probability, drawn.dtype) for place in range(2))
        return Affine(
            a=1.0 if self.direction == "vertical" else across, e=1.0 if self.direction == "horizontal" else down
        )


@register
@dataclass(frozen=True)
class Rotation(Geometry):
    """Turn images about their middle.

    Args:
        factor: by up to this share of a full turn either way, or (from, to); 0.25 is a quarter, and above 0 is
            counter-clockwise.

    Raises:
        UsageError: for a value that cannot be.

    Examples:
        >>> from unidl import layers
        >>> layers.Rotation(0.25)
        Rotation(factor=0.25)
    """

    factor: Factor = 0.1
    word: ClassVar[str] = "rotation"

    def __post_init__(self) -> None:
        limits(self, "factor", self.factor, low=-1, high=1)

    def affine(self, drawn: Any, size: Size) -> Affine:
        cosine, sine = turn(between(drawn[0], *limits(self, "factor", self.factor, low=-1, high=1)))
        return Affine(a=cosine, b=-sine, d=sine, e=cosine)


@register
@dataclass(frozen=True)
class Zoom(Geometry):
    """Show more of the surroundings of images, or less of the images.

    Args:
        factor: how much larger or smaller, as a share, the part that is shown becomes; or (from, to), where 0.2 shows
            a part 1.2 times as wide and as high, and -0.2 one of 0.8.

    Raises:
        UsageError: for a value that cannot be.

    Examples:
        >>> from unidl import layers
        >>> layers.Zoom((-0.3, 0.0))
        Zoom(factor=(-0.3, 0.0))
    """

    factor: Factor = 0.2
    word: ClassVar[str] = "zoom"

    def __post_init__(self) -> None:
        limits(self, "factor", self.factor, low=-0.95, high=10)

    def affine(self, drawn: Any, size: Size) -> Affine:
        first, last = limits(self, "factor", self.factor, low=-0.95, high=10)
        scale = between(drawn[0], 1.0 + first, 1.0 + last)
        return Affine(a=scale, e=scale)


@register
@dataclass(frozen=True)
class Translation(Geometry):
    """Shift images.

    Args:
        height: by up to this share of the height either way, or (from, to); above 0 is downwards.
        width: by shares of the width; above 0 is to the right. None: as `height`.

    Raises:
        UsageError: for a value that cannot be.

    Examples:
        >>> from unidl import layers
        >>> layers.Translation(0.1, 0.2)
        Translation(height=0.1, width=0.2)
    """

    height: Factor = 0.1
    width: Factor | None = None
    word: ClassVar[str] = "translation"
    draws: ClassVar[int] = 2

    def __post_init__(self) -> None:
        self._limits()

    def _limits(self) -> tuple[tuple[float, float], ...]:
        width = self.height if self.width is None else self.width
        pairs = (("height", self.height), ("width", width))
        return tuple(limits(self, name, value, low=-1, high=1) for name, value in pairs)

    def affine(self, drawn: Any, size: Size) -> Affine:
        down, across = (between(drawn[place], *two) for place, two in enumerate(self._limits()))
        return Affine(c=-across * ops.cast(size.width, drawn.dtype), f=-down * ops.cast(size.height, drawn.dtype))


@register
@dataclass(frozen=True)
class Shear(Geometry):
    """Push rows of pixels sideways, and columns up and down, in proportion to how far from the middle they are.

    Args:
        horizontal: by up to this many pixels a row either way, or (from, to).
        vertical: by this many pixels per column.

    Raises:
        UsageError: for a value that cannot be.

    Examples:
        >>> from unidl import layers
        >>> layers.Shear(0.2)
        Shear(horizontal=0.2, vertical=0.0)
    """

    horizontal: Factor = 0.1
    vertical: Factor = 0.0
    word: ClassVar[str] = "shear"
    draws: ClassVar[int] = 2

    def __post_init__(self) -> None:
        self._limits()

    def _limits(self) -> tuple[tuple[float, float], ...]:
        pairs = (("horizontal", self.horizontal), ("vertical", self.vertical))
        return tuple(limits(self, name, value, low=-2, high=2) for name, value in pairs)

    def affine(self, drawn: Any, size: Size) -> Affine:
        across, down = (between(drawn[place], *two) for place, two in enumerate(self._limits()))
        return Affine(b=across, d=down)


@register
@dataclass(frozen=True)
class Crop(Geometry):
    """Show a part of images, anywhere in them, as large as the whole.

    Args:
        area: the smallest share of the area of an image that is shown, or (from, to).
        ratio: how much wider or higher, relative to the image, the part may be.

    Raises:
        UsageError: for a value that cannot be.

    Examples:
        >>> from unidl import layers
        >>> layers.Crop(0.25, ratio=1.0)
        Crop(area=0.25, ratio=1.0)
    """

    area: float | tuple[float, float] = 0.5
    ratio: float = 4 / 3
    word: ClassVar[str] = "crop"
    draws: ClassVar[int] = 4

    def __post_init__(self) -> None:
        self._areas()
        number(self, "ratio", self.ratio, low=1, high=10)

    def _areas(self) -> tuple[float, float]:
        two = self.area if isinstance(self.area, tuple) else (self.area, 1.0)
        return limits(self, "area", two, low=0.01, high=1)

    def affine(self, drawn: Any, size: Size) -> Affine:
        area = between(drawn[0], *self._areas())
        ratio = ops.exp((2.0 * drawn[1] - 1.0) * math.log(self.ratio))
        width, height = (ops.minimum(ops.sqrt(one), 1.0) for one in (area * ratio, area / ratio))
        x, y = (
            (0.5 - share / 2.0) * (2.0 * place - 1.0) * ops.cast(side, drawn.dtype)
            for share, place, side in ((width, drawn[2], size.width), (height, drawn[3], size.height))
        )
        return Affine(a=width, c=x, e=height, f=y)
