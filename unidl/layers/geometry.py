"""Where each pixel of an augmented image comes from: steps of geometry, each one matrix, and all of them one product.

Places are counted in pixels from the middle of an image, x to the right and y downwards. A matrix leads from a place of
the result to the place at which it is read, so that the first step of several is the leftmost factor.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from unidl.layers.draws import ops
from unidl.layers.steps import Factor, Size, Step, between, limits, number, refused, register


class Affine(NamedTuple):
    """x' = a x + b y + c and y' = d x + e y + f. Each is a number for all images, or one an image (batch,)."""

    a: Any = 1.0
    b: Any = 0.0
    c: Any = 0.0
    d: Any = 0.0
    e: Any = 1.0
    f: Any = 0.0

    def then(self, other: Affine) -> Affine:
        """Return the product, which goes through `other` first: the step of `self` comes before that of `other`."""
        a, b, c, d, e, f = self
        return Affine(
            _sum(_product(a, other.a), _product(b, other.d)),
            _sum(_product(a, other.b), _product(b, other.e)),
            _sum(_sum(_product(a, other.c), _product(b, other.f)), c),
            _sum(_product(d, other.a), _product(e, other.d)),
            _sum(_product(d, other.b), _product(e, other.e)),
            _sum(_sum(_product(d, other.c), _product(e, other.f)), f),
        )

    def matrices(self, batch: Any, size: Size, dtype: Any) -> Any:
        """Return it for places counted from the first pixel, as `sampling.bilinear` takes it: (batch, 2, 3)."""
        x, y = ((ops.cast(side, dtype) - 1.0) / 2.0 for side in (size.width, size.height))
        a, b, c, d, e, f = self
        rows = ((a, b, c + x - a * x - b * y), (d, e, f + y - d * x - e * y))
        flat = [ops.broadcast_to(ops.cast(one, dtype), (batch,)) for row in rows for one in row]
        return ops.reshape(ops.stack(flat, axis=-1), (-1, 2, 3))


def product(parts: Iterable[Affine]) -> Affine:
    """Return the matrix of several steps, in their order."""
    total = Affine()
    for part in parts:
        total = total.then(part)
    return total


def _product(one: Any, other: Any) -> Any:
    """Without the work for the 0 and the 1 of which most matrices consist."""
    for factor, rest in ((one, other), (other, one)):
        if isinstance(factor, float) and factor in (0.0, 1.0):
            return rest if factor else 0.0
    return one * other


def _sum(one: Any, other: Any) -> Any:
    for term, rest in ((one, other), (other, one)):
        if isinstance(term, float) and term == 0.0:
            return rest
    return one + other


def turn(share: Any) -> tuple[Any, Any]:
    """Return cosine and sine of a share of a full turn, exact for quarters, which float32's pi is not."""
    quarters = ops.round(share * 4.0)
    rest = (share * 4.0 - quarters) * (math.pi / 2)
    cosine, sine = ops.cos(rest), ops.sin(rest)
    quarter = ops.mod(quarters, 4.0)
    odd, behind = ops.equal(ops.mod(quarter, 2.0), 1.0), quarter >= 2.0
    cosine, sine = ops.where(odd, -sine, cosine), ops.where(odd, cosine, sine)
    return ops.where(behind, -cosine, cosine), ops.where(behind, -sine, sine)


class Geometry(Step):
    """A step that moves pixels."""

    def affine(self, drawn: Any, size: Size) -> Affine:
        """Return its matrix for numbers from 0 to 1, (draws, batch)."""
        raise NotImplementedError


@register
@dataclass(frozen=True)
class Flip(Geometry):
    """Mirror every second image.

    Args:
        direction: "horizontal" (left to right), "vertical" (upside down), or "both", each by itself.
        probability: the share of images that are mirrored.
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
        vertical: by so many pixels a column.
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
