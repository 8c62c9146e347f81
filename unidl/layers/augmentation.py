"""Keras's layers for augmentation in the training step, with parameters that are the same bits everywhere.

Each image of a batch has parameters of its own, drawn anew in each call in training; in inference images pass as they
are. Those that turn, shift and zoom read each pixel once, by `unidl.sampling`, where Keras's code reads it a dozen
times; `unidl.layers.Augmentation` does so once for all changes together.
"""

from __future__ import annotations

from typing import Any

import keras

from unidl import sampling
from unidl.errors import BackendError
from unidl.layers.affine import Affine
from unidl.layers.draws import next_key, ops, uniform
from unidl.layers.own_stream import OwnStream
from unidl.layers.steps import Size


class _Draws:
    """Stands where Keras's layers look for `random`: they draw their parameters by `uniform` alone."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend

    def uniform(
        self, shape: Any, minval: float = 0.0, maxval: float = 1.0, dtype: str | None = None, seed: Any = None
    ) -> Any:
        if self.backend.name != keras.config.backend():
            raise BackendError(
                f"Cannot augment in a pipeline of '{self.backend.name}': the layers of unidl draw on "
                f"'{keras.config.backend()}', in the model. Put them there, or use those of keras.layers here."
            )
        return keras.ops.cast(uniform(shape, next_key(seed), float(minval), float(maxval)), dtype or "float32")


class _Backend:
    """Keras's backend for layers that work on data, but for its random numbers."""

    def __init__(self, backend: Any) -> None:
        self._own = backend
        self.random = _Draws(backend)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)


class _Augmentation(OwnStream):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.backend = _Backend(self.backend)


class _Moved(_Augmentation):
    """A layer whose images are read at other places: by ours, where it computes what Keras's does, to a grey level."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        layer: Any = self
        self._sampled = (
            layer.interpolation == "bilinear"
            and layer.fill_mode in sampling.FILLS
            and layer.data_format == "channels_last"
            and layer.compute_dtype.startswith(("float", "bfloat"))
        )
        if self._sampled:
            layer.supports_jit = True  # Keras's cannot be compiled by XLA on TensorFlow

    def transform_images(self, images: Any, transformation: Any, training: bool = True) -> Any:
        layer: Any = self
        if not training or not self._sampled:
            stock: Any = super()
            return stock.transform_images(images, transformation, training)
        real = "float64" if layer.compute_dtype == "float64" else "float32"
        batch, height, width = ops.shape(images)[:3]
        matrices = self._matrices(transformation, batch, Size(height, width), real)
        return ops.cast(sampling.bilinear(images, matrices, layer.fill_mode, layer.fill_value), layer.compute_dtype)

    def _matrices(self, transformation: Any, batch: Any, size: Size, real: str) -> Any:
        """(batch, 2, 3), of what Keras's layer has drawn."""
        raise NotImplementedError


@keras.saving.register_keras_serializable("unidl")
class RandomFlip(_Augmentation, keras.layers.RandomFlip):
    """Keras's flip of images, left to right, top to bottom, or both."""


@keras.saving.register_keras_serializable("unidl")
class RandomTranslation(_Moved, keras.layers.RandomTranslation):
    """Keras's shift of images, by shares of their height and width."""

    def _matrices(self, transformation: Any, batch: Any, size: Size, real: str) -> Any:
        shifts = ops.cast(transformation["translations"], real)
        return Affine(c=-shifts[:, 0], f=-shifts[:, 1]).matrices(batch, size, real)


@keras.saving.register_keras_serializable("unidl")
class RandomRotation(_Moved, keras.layers.RandomRotation):
    """Keras's rotation of images, by shares of a full turn."""

    def _matrices(self, transformation: Any, batch: Any, size: Size, real: str) -> Any:
        rows = ops.reshape(ops.cast(transformation["rotation_matrix"], real), (-1, 8))
        return ops.reshape(rows[:, :6], (-1, 2, 3))


@keras.saving.register_keras_serializable("unidl")
class RandomZoom(_Moved, keras.layers.RandomZoom):
    """Keras's zoom into images and out of them."""

    def _matrices(self, transformation: Any, batch: Any, size: Size, real: str) -> Any:
        height, width = (ops.cast(transformation[f"{name}_zoom"], real)[:, 0] for name in ("height", "width"))
        return Affine(a=width, e=height).matrices(batch, size, real)


@keras.saving.register_keras_serializable("unidl")
class RandomBrightness(_Augmentation, keras.layers.RandomBrightness):
    """Keras's change of brightness; images from 0 to 1 need `value_range=(0, 1)`."""

    def transform_images(self, images: Any, transformation: Any, training: bool = True) -> Any:
        # Keras adds to the images in place (`images += ...`): on PyTorch the caller's own images change.
        images = self.backend.numpy.copy(images) if training else images
        return super().transform_images(images, transformation, training)


@keras.saving.register_keras_serializable("unidl")
class RandomContrast(_Augmentation, keras.layers.RandomContrast):
    """Keras's change of contrast; images from 0 to 1 need `value_range=(0, 1)`."""
