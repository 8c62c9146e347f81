"""Augmentation of images in the training step: Keras's layers, with parameters that are the same bits everywhere.

Each image of a batch has parameters of its own, drawn anew in each call in training; in inference images pass as they
are. The images are moved by Keras's code, on the model's device.
"""

from __future__ import annotations

from typing import Any

import keras

from unidl.errors import BackendError
from unidl.layers.draws import next_key, uniform
from unidl.layers.own_stream import OwnStream


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


@keras.saving.register_keras_serializable("unidl")
class RandomFlip(_Augmentation, keras.layers.RandomFlip):
    """Keras's flip of images, left to right, top to bottom, or both."""


@keras.saving.register_keras_serializable("unidl")
class RandomTranslation(_Augmentation, keras.layers.RandomTranslation):
    """Keras's shift of images, by shares of their height and width."""


@keras.saving.register_keras_serializable("unidl")
class RandomRotation(_Augmentation, keras.layers.RandomRotation):
    """Keras's rotation of images, by shares of a full turn."""


@keras.saving.register_keras_serializable("unidl")
class RandomZoom(_Augmentation, keras.layers.RandomZoom):
    """Keras's zoom into images and out of them."""


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
