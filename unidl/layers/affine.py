"""Matrices of two rows and three columns, one an image, of which most parts are 0 or 1 for all images.

Places are counted in pixels from the middle of an image, x to the right and y downwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from unidl.layers.draws import ops
from unidl.layers.steps import Size


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
