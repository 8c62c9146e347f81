"""What layers of images share: what they take, and the scale from 0 to 1."""

from __future__ import annotations

from typing import Any, ClassVar

import keras

from unidl.errors import ModelError
from unidl.layers.draws import ops

BYTE = 255.0
"""White, in images of uint8."""


class ImageLayer(keras.layers.Layer):
    """A layer of images (batch, height, width, channels) or clips (batch, frames, height, width, channels), of uint8
    from 0 to 255 or floats."""

    reads_shares: ClassVar[bool] = True
    """Whether floats must be from 0 to 1."""

    def __init__(self, **kwargs: Any) -> None:
        # An image of float32 stays one in a model of mixed precision: places and colours in float16 would be off.
        super().__init__(**{"autocast": False} | kwargs)

    @property
    def _real_type(self) -> str:
        """The type to compute in: float32, and float64 where a model is verified."""
        return "float64" if self.compute_dtype == "float64" else "float32"

    def _shares_of(self, images: Any) -> Any:
        """Return images as floats, those of uint8 from 0 to 1."""
        self._require_images(images)
        values = ops.cast(images, self._real_type)
        return values / BYTE if is_bytes(images) else values

    def _require_images(self, images: Any) -> None:
        """Raise `ModelError` for what is neither images nor clips, or of another type."""
        if len(images.shape) not in (4, 5) or images.shape[-1] is None:
            raise ModelError(
                f"The layer '{self.name}' takes images (batch, height, width, channels) or clips (batch, frames, "
                f"height, width, channels), with a known number of channels, and was given {tuple(images.shape)}."
            )
        dtype = keras.backend.standardize_dtype(images.dtype)
        if dtype != "uint8" and "float" not in dtype:
            wanted = "floats from 0 to 1" if self.reads_shares else "floats"
            raise ModelError(
                f"The layer '{self.name}' takes images of type uint8, from 0 to 255, or {wanted}, and was given "
                f"{dtype}. Convert them with astype('uint8')."
            )

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def _type_given(self, images: Any) -> str:
        """Return the type of what comes out."""
        return self.compute_dtype

    def compute_output_spec(self, images: Any, training: bool = False) -> Any:
        self._require_images(images)
        return keras.KerasTensor(self.compute_output_shape(tuple(images.shape)), dtype=self._type_given(images))


def is_bytes(images: Any) -> bool:
    """Whether images are of uint8."""
    return keras.backend.standardize_dtype(images.dtype) == "uint8"


def range_taken(model: keras.Model) -> tuple[float, float] | None:
    """Return from where to where the images of a model go that begins with layers of this package: the type of its
    input tells. None for all others."""
    if not getattr(model, "inputs", None):
        return None
    for layer in model.layers:
        if isinstance(layer, ImageLayer):
            if layer.reads_shares:
                read: Any = layer.input
                return (0.0, BYTE) if read.dtype == "uint8" else (0.0, 1.0)
        elif not isinstance(layer, keras.layers.InputLayer):
            return None
    return None
