"""Images brought to the size and the scale that a model expects, as a part of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np

from unidl.errors import ModelError, UsageError
from unidl.layers.draws import ops
from unidl.layers.images import BYTE, ImageLayer, is_bytes
from unidl.shortening import shown

INTERPOLATIONS = ("bilinear", "bicubic")
"""Those that every backend computes alike, and as Pillow does, with antialiasing."""


class _Sized(ImageLayer):
    """A layer whose images have another height and width, and the type that they came with."""

    reads_shares: ClassVar[bool] = False

    def __init__(self, height: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, size in (("height", height), ("width", width)):
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise UsageError(
                    f"Cannot use {type(self).__name__}({name}={shown(size)}): it must be a whole number of at least 1."
                )
        self.height, self.width = height, width

    def _type_given(self, images: Any) -> str:
        return "uint8" if is_bytes(images) else self.compute_dtype

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-3], self.height, self.width, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"height": self.height, "width": self.width}


@keras.saving.register_keras_serializable("unidl")
class Resize(_Sized):
    """Bring images to another size, with antialiasing and the centres of pixels at halves, as Pillow does.

    Args:
        height: of the images that come out, in pixels.
        width: likewise.
        interpolation: "bilinear" or "bicubic".
        **kwargs: what every layer of Keras takes, such as name and dtype.

    Images of uint8 stay uint8, rounded; floats stay floats.

    Raises:
        UsageError: for a size or an interpolation that cannot be.

    Examples:
        >>> from unidl import layers
        >>> import numpy as np
        >>> tuple(layers.Resize(12, 16)(np.zeros((1, 24, 32, 3), np.uint8)).shape)
        (1, 12, 16, 3)
    """

    def __init__(self, height: int, width: int, *, interpolation: str = "bilinear", **kwargs: Any) -> None:
        super().__init__(height, width, **kwargs)
        if interpolation not in INTERPOLATIONS:
            raise UsageError(
                f"Cannot use Resize(interpolation={shown(interpolation)}): it must be one of "
                f"{', '.join(INTERPOLATIONS)}."
            )
        self.interpolation = interpolation

    def call(self, images: Any) -> Any:
        self._require_images(images)
        flat = ops.reshape(ops.cast(images, self._real_type), (-1, *ops.shape(images)[-3:]))
        resized = ops.image.resize(
            flat,
            (self.height, self.width),
            interpolation=self.interpolation,
            antialias=True,
            data_format="channels_last",
        )
        resized = ops.reshape(resized, (*ops.shape(images)[:-3], self.height, self.width, images.shape[-1]))
        if is_bytes(images):
            resized = ops.clip(ops.round(resized), 0.0, BYTE)
        return ops.cast(resized, self._type_given(images))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"interpolation": self.interpolation}


@keras.saving.register_keras_serializable("unidl")
class CenterCrop(_Sized):
    """Cut out the middle of images.

    Args:
        height: of the part, in pixels.
        width: likewise.
        **kwargs: what every layer of Keras takes, such as name and dtype.

    The part keeps the type of the images.

    Raises:
        UsageError: for a size that cannot be.
        ModelError: for images that are smaller.

    Examples:
        >>> from unidl import layers
        >>> import numpy as np
        >>> tuple(layers.CenterCrop(12, 16)(np.zeros((1, 24, 32, 3), np.uint8)).shape)
        (1, 12, 16, 3)
    """

    def call(self, images: Any) -> Any:
        self._require_images(images)
        height, width = ops.shape(images)[-3:-1]
        self._require_large_enough(height, width)
        top, left = (height - self.height) // 2, (width - self.width) // 2
        part = images[..., top : top + self.height, left : left + self.width, :]
        return ops.cast(part, self._type_given(images))

    def compute_output_shape(self, input_shape: Any) -> Any:
        self._require_large_enough(*input_shape[-3:-1])
        return super().compute_output_shape(input_shape)

    def _require_large_enough(self, height: Any, width: Any) -> None:
        known = isinstance(height, int) and isinstance(width, int)
        if known and (height < self.height or width < self.width):
            raise ModelError(
                f"Cannot cut {self.height} x {self.width} (height x width) out of images of {height} x {width}, in the "
                f"layer '{self.name}'. Resize them first."
            )


@keras.saving.register_keras_serializable("unidl")
class Normalize(ImageLayer):
    """Subtract a mean from the colours of images and divide them by a deviation.

    Args:
        mean: of each channel, or one number, on the scale from 0 to 1.
        deviation: the standard deviation, likewise; above 0.
        **kwargs: what every layer of Keras takes, such as name and dtype.

    Call it on uint8 from 0 to 255 or floats from 0 to 1; it returns floats.

    Raises:
        UsageError: for numbers that cannot be.
        ModelError: for images with another number of channels.

    Examples:
        >>> from unidl import layers
        >>> import numpy as np
        >>> float(layers.Normalize(0.5, 0.25)(np.full((1, 1, 1, 1), 255, np.uint8))[0, 0, 0, 0])
        2.0
    """

    def __init__(self, mean: float | Sequence[float], deviation: float | Sequence[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mean, self.deviation = (_numbers(name, one) for name, one in (("mean", mean), ("deviation", deviation)))
        if min(self.deviation) <= 0:
            raise UsageError(f"Cannot use Normalize(deviation={shown(deviation)}): it must be above 0.")

    def call(self, images: Any) -> Any:
        self._require_channels(images)
        mean, deviation = (
            ops.convert_to_tensor(np.array(one), dtype=self._real_type) for one in (self.mean, self.deviation)
        )
        return ops.cast((self._shares_of(images) - mean) / deviation, self.compute_dtype)

    def compute_output_spec(self, images: Any, training: bool = False) -> Any:
        self._require_channels(images)
        return super().compute_output_spec(images, training)

    def _require_channels(self, images: Any) -> None:
        self._require_images(images)
        for name, values in (("mean", self.mean), ("deviation", self.deviation)):
            if len(values) not in (1, images.shape[-1]):
                raise ModelError(
                    f"The {name} of the layer '{self.name}' is for {len(values)} channels, and the images have "
                    f"{images.shape[-1]}."
                )

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"mean": list(self.mean), "deviation": list(self.deviation)}


def _numbers(name: str, given: Any) -> tuple[float, ...]:
    values = np.atleast_1d(np.asarray(given, dtype=object))
    try:
        found = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        found = ()
    if not found or values.ndim != 1 or not np.isfinite(found).all():
        raise UsageError(f"Cannot use Normalize({name}={shown(given)}): it must be a number, or one for each channel.")
    return found
