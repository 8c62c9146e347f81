"""Colours in other spaces, and back: grey, HSV and YCbCr."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from unidl.errors import ModelError, UsageError
from unidl.layers.colour import LUMA
from unidl.layers.draws import ops
from unidl.layers.images import ImageLayer
from unidl.shortening import shown

YCBCR = (
    LUMA,
    (-0.5 * LUMA[0] / (1 - LUMA[2]), -0.5 * LUMA[1] / (1 - LUMA[2]), 0.5),
    (0.5, -0.5 * LUMA[1] / (1 - LUMA[0]), -0.5 * LUMA[2] / (1 - LUMA[0])),
)
"""From red, green and blue to brightness and the differences of blue and red, which are 0.5 for grey (ITU-T T.871, the
YCbCr of JPEG)."""

MIDDLE = np.array([0.0, 0.5, 0.5])

SPACES = {"rgb": 3, "gray": 1, "hsv": 3, "ycbcr": 3}
"""The channels of each space."""


@keras.saving.register_keras_serializable("unidl")
class ColourSpace(ImageLayer):
    """Bring images from one colour space to another.

    Args:
        target: "rgb", "gray", "hsv" or "ycbcr".
        source: what the images are in, likewise; "gray" becomes the same red, green and blue.
        **kwargs: what every layer of Keras takes, such as name and dtype.

    Call it on uint8 from 0 to 255 or floats from 0 to 1; it returns floats from 0 to 1, hues as shares of the circle.

    Raises:
        UsageError: for a space that cannot be.
        ModelError: for images with another number of channels.

    Examples:
        >>> from unidl import layers
        >>> import numpy as np
        >>> tuple(layers.ColourSpace("gray")(np.zeros((1, 4, 4, 3), np.uint8)).shape)
        (1, 4, 4, 1)
    """

    def __init__(self, target: str, source: str = "rgb", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, space in (("target", target), ("source", source)):
            if space not in SPACES:
                raise UsageError(
                    f"Cannot use ColourSpace({name}={shown(space)}): it must be one of {', '.join(SPACES)}."
                )
        self.target, self.source = target, source

    def call(self, images: Any) -> Any:
        self._require_channels(images)
        values = self._shares_of(images)
        if self.source != self.target:
            values = _FROM_RGB[self.target](_TO_RGB[self.source](values))
        return ops.cast(values, self.compute_dtype)

    def compute_output_spec(self, images: Any, training: bool = False) -> Any:
        self._require_channels(images)
        return super().compute_output_spec(images, training)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], SPACES[self.target])

    def _require_channels(self, images: Any) -> None:
        self._require_images(images)
        if images.shape[-1] != SPACES[self.source]:
            raise ModelError(
                f"The layer '{self.name}' takes images in {self.source}, with {SPACES[self.source]} channels, and was "
                f"given {images.shape[-1]}."
            )

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"target": self.target, "source": self.source}


def to_gray(colours: Any) -> Any:
    """(..., 3) to (..., 1)."""
    return sum(share * colours[..., place : place + 1] for place, share in enumerate(LUMA))


def to_ycbcr(colours: Any) -> Any:
    """(..., 3) to (..., 3)."""
    return _mixed(colours, np.array(YCBCR)) + ops.convert_to_tensor(MIDDLE, dtype=colours.dtype)


def from_ycbcr(values: Any) -> Any:
    """The way back from `to_ycbcr`."""
    colours = _mixed(values - ops.convert_to_tensor(MIDDLE, dtype=values.dtype), np.linalg.inv(np.array(YCBCR)))
    return ops.clip(colours, 0.0, 1.0)


def _mixed(colours: Any, matrix: np.ndarray) -> Any:
    columns = ops.convert_to_tensor(matrix.T, dtype=colours.dtype)
    return sum(colours[..., place : place + 1] * columns[place] for place in range(3))


def to_hsv(colours: Any) -> Any:
    """(..., 3) to hue, saturation and value; grey has the hue 0 (Smith 1978, "Color gamut transform pairs")."""
    red, green, blue = (colours[..., place] for place in range(3))
    value = ops.max(colours, axis=-1)
    chroma = value - ops.min(colours, axis=-1)
    divisor = ops.where(chroma > 0, chroma, ops.ones_like(chroma))
    of_red = ops.mod((green - blue) / divisor, 6.0)
    of_green, of_blue = (blue - red) / divisor + 2.0, (red - green) / divisor + 4.0
    sixths = ops.where(ops.equal(value, red), of_red, ops.where(ops.equal(value, green), of_green, of_blue))
    hue = ops.where(chroma > 0, sixths / 6.0, ops.zeros_like(chroma))
    saturation = chroma / ops.where(value > 0, value, ops.ones_like(value))
    return ops.stack([hue, saturation, value], axis=-1)


def from_hsv(values: Any) -> Any:
    """The way back from `to_hsv`."""
    hue, saturation, value = (values[..., place] for place in range(3))
    parts = []
    for begin in (5.0, 3.0, 1.0):
        place = ops.mod(hue * 6.0 + begin, 6.0)
        share = ops.clip(ops.minimum(place, 4.0 - place), 0.0, 1.0)
        parts.append(value - value * saturation * share)
    return ops.stack(parts, axis=-1)


def _same(colours: Any) -> Any:
    return colours


_FROM_RGB = {"rgb": _same, "gray": to_gray, "hsv": to_hsv, "ycbcr": to_ycbcr}
_TO_RGB = {
    "rgb": _same,
    "gray": lambda grey: ops.concatenate([grey] * 3, axis=-1),
    "hsv": from_hsv,
    "ycbcr": from_ycbcr,
}
