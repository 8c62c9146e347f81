"""What becomes of the colours of an augmented image: steps that are one matrix and one shift an image, all of them one.

Colours are computed on the scale from 0 to 1. An image of one channel has brightness and contrast, and steps that mix
red, green and blue leave it as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from unidl.layers.affine import turn
from unidl.layers.draws import ops
from unidl.layers.steps import Factor, Step, between, limits, number, register

LUMA = (0.299, 0.587, 0.114)
"""The shares of red, green and blue in grey (ITU-R BT.601), as Pillow's mode "L" has them."""

HUE = (
    ((0.213, 0.715, 0.072), (0.213, 0.715, 0.072), (0.213, 0.715, 0.072)),
    ((0.787, -0.715, -0.072), (-0.213, 0.285, -0.072), (-0.213, -0.715, 0.928)),
    ((-0.213, -0.715, 0.928), (0.143, 0.140, -0.283), (-0.787, 0.715, 0.072)),
)
"""The constant part, that of the cosine and that of the sine in a turn of colours about grey (W3C, "Filter Effects
Module Level 1", hueRotate)."""


class Tint(NamedTuple):
    """colour' = gain * matrix @ colour + shift. gain: a number or (batch,). matrix: (batch, 3, 3), None for that which
    changes nothing. shift: a number, (batch, 1) or (batch, channels)."""

    gain: Any = 1.0
    matrix: Any = None
    shift: Any = 0.0

    def applied(self, colours: Any) -> Any:
        """colours: (batch, places, channels)."""
        gain = self.gain if isinstance(self.gain, float) else ops.reshape(self.gain, (-1, 1, 1))
        shift = self.shift if isinstance(self.shift, float) else self.shift[:, None, :]
        if self.matrix is None:
            return colours * gain + shift
        # Not a product of matrices: three by three are too small for what frameworks have for that.
        mixed = sum((colours[..., part : part + 1] * self.matrix[:, None, :, part] for part in range(3)), start=0.0)
        return mixed * gain + shift

    def mixed(self, matrix: Any) -> Tint:
        """Return it with a matrix (batch, 3, 3) behind it."""
        before = matrix if self.matrix is None else ops.matmul(matrix, self.matrix)
        shift = self.shift
        if not isinstance(shift, float):
            shift = ops.squeeze(ops.matmul(matrix, _of_three(shift)[..., None]), axis=-1)
        return Tint(self.gain, before, shift)


def tint(steps: Iterable[tuple[Colour, Any]], channels: int, mean: Any) -> Tint:
    """Return what steps do together. steps: each with its numbers from 0 to 1, (draws, batch). mean: the mean colours
    (batch, channels) of the images."""
    found = Tint()
    for step, drawn in steps:
        found = step.after(found, drawn, channels, mean)
    return found


class Colour(Step):
    """A step that changes colours: an augmentation calls `step.after(before, drawn, channels, mean)`."""

    needs_mean: ClassVar[bool] = False

    def after(self, before: Tint, drawn: Any, channels: int, mean: Any) -> Tint:
        """Return what the steps before and this one do together.

        Args:
            before: what the steps before do.
            drawn: numbers from 0 to 1, of shape (draws, batch).
            channels: of the images.
            mean: the mean colours of the images, of shape (batch, channels).

        Returns:
            A matrix and a shift an image.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Graded(Colour):
    """A step that goes as far as its `factor` says, from `lowest` to `highest` at most."""

    factor: Factor = 0.2
    lowest: ClassVar[float] = -1
    highest: ClassVar[float] = 10

    def __post_init__(self) -> None:
        self._limits()

    def _limits(self, around: float = 0.0) -> tuple[float, float]:
        first, last = limits(self, "factor", self.factor, low=self.lowest, high=self.highest)
        return around + first, around + last


@register
@dataclass(frozen=True)
class Brightness(Graded):
    """Make images lighter or darker.

    Args:
        factor: by up to this share of the whole range either way, or (from, to).

    Raises:
        UsageError: for a value that cannot be.

    Examples:
        >>> from unidl import layers
        >>> layers.Brightness(0.1)
        Brightness(factor=0.1)
    """

    word: ClassVar[str] = "brightness"
    highest: ClassVar[float] = 1

    def after(self, before: Tint, drawn: Any, channels: int, mean: Any) -> Tint:
        added = between(drawn[0], *self._limits())
        return before._replace(shift=before.shift + added[:, None])


@register
@dataclass(frozen=True)
class Contrast(Graded):
    """Pull colours away from the mean grey of the image, or towards it.

    Args:
        factor: by up to this share either way, or (from, to): 0.2 makes differences 1.2 times as large.

    Raises:
        UsageError: for a value that cannot be.

    Examples:
        >>> from unidl import layers
        >>> layers.Contrast((0.0, 0.5))
        Contrast(factor=(0.0, 0.5))
    """

    word: ClassVar[str] = "contrast"
    needs_mean: ClassVar[bool] = True

    def after(self, before: Tint, drawn: Any, channels: int, mean: Any) -> Tint:
        return contrasted(before, between(drawn[0], *self._limits(1.0)), channels, mean)


@register
@dataclass(frozen=True)
class Saturation(Graded):
    """Make colours stronger, or paler.

    Args:
        factor: by up to this share either way, or (from, to): -1 is grey.

    Raises:
        UsageError: for a value that cannot be.

    Examples:
        >>> from unidl import layers
        >>> layers.Saturation(0.3)
        Saturation(factor=0.3)
    """

    word: ClassVar[str] = "saturation"

    def after(self, before: Tint, drawn: Any, channels: int, mean: Any) -> Tint:
        return saturated(before, between(drawn[0], *self._limits(1.0)), channels)


@register
@dataclass(frozen=True)
class Grayscale(Colour):
    """Take the colours from some images.

    Args:
        probability: the share of images that become grey.

    Raises:
        UsageError: for a value that cannot be.

    Examples:
        >>> from unidl import layers
        >>> layers.Grayscale(0.2)
        Grayscale(probability=0.2)
    """

    probability: float = 0.1
    word: ClassVar[str] = "grayscale"

    def __post_init__(self) -> None:
        number(self, "probability", self.probability, low=0, high=1)

    def after(self, before: Tint, drawn: Any, channels: int, mean: Any) -> Tint:
        return saturated(before, ops.cast(drawn[0] >= self.probability, drawn.dtype), channels)


@register
@dataclass(frozen=True)
class Hue(Graded):
    """Turn colours round the circle of hues, each image by one angle; how light they are stays about the same.

    Args:
        factor: by up to this share of a full turn either way, or (from, to).

    Raises:
        UsageError: for a value that cannot be.

    Examples:
        >>> from unidl import layers
        >>> layers.Hue(0.05)
        Hue(factor=0.05)
    """

    factor: Factor = 0.05
    word: ClassVar[str] = "hue"
    highest: ClassVar[float] = 1

    def after(self, before: Tint, drawn: Any, channels: int, mean: Any) -> Tint:
        if channels != 3:
            return before
        share = between(drawn[0], *self._limits())
        cosine, sine = (ops.reshape(one, (-1, 1, 1)) for one in turn(share))
        constant, of_cosine, of_sine = (_constant(part, cosine) for part in HUE)
        return before.mixed(constant + cosine * of_cosine + sine * of_sine)


def contrasted(before: Tint, gain: Any, channels: int, mean: Any) -> Tint:
    """Return `before` with differences from the mean grey `gain` times as large, (batch,). mean: as for `tint`."""
    grey = _grey(before.applied(mean[:, None, :])[:, 0], channels)
    shift = before.shift * gain[:, None] + (1.0 - gain)[:, None] * grey
    return Tint(before.gain * gain, before.matrix, shift)


def saturated(before: Tint, share: Any, channels: int) -> Tint:
    """Return `before` with this share of its colours (batch,), and grey for the rest."""
    if channels != 3:
        return before
    share = ops.reshape(share, (-1, 1, 1))
    grey, same = _constant((LUMA,) * 3, share), _constant(np.eye(3), share)
    return before.mixed(share * same + (1.0 - share) * grey)


def _grey(colours: Any, channels: int) -> Any:
    """The grey (batch, 1) of colours (batch, channels)."""
    if channels != 3:
        return ops.mean(colours, axis=-1, keepdims=True)
    return ops.sum(colours * _constant(LUMA, colours), axis=-1, keepdims=True)


def _of_three(shift: Any) -> Any:
    """A shift (batch, 1) or (batch, 3) as (batch, 3)."""
    return shift if shift.shape[-1] == 3 else ops.concatenate([shift] * 3, axis=-1)


def _constant(values: Any, like: Any) -> Any:
    return ops.convert_to_tensor(np.asarray(values, np.float64), dtype=like.dtype)
