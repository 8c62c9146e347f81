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
    """Keras's flip of images, left to right, top to bottom, or both, with draws that are the same on every backend.

    Images are (batch, height, width, channels). In training each image of a batch gets its own random parameters; in
    inference images pass unchanged.

    Args:
        mode (str): "horizontal" (left to right), "vertical" (top to bottom) or "horizontal_and_vertical".
        seed (int): From 0 to 2**31 - 1, the same stream on every backend. If None, it follows from the layer's name, so
            that layers of the same name draw the same numbers, regardless of the seed of the trainer or of Keras.
        data_format (str): "channels_last" or "channels_first". If None, that of Keras's configuration.
        **kwargs (Any): Arguments of every Keras layer, such as `name` and `dtype`.

    Raises:
        ModelError: If the seed is not such an integer.

    Examples:
        >>> import numpy as np
        >>> from unidl import layers
        >>> images = np.random.default_rng(0).random((2, 4, 4, 3)).astype("float32")
        >>> layer = layers.RandomFlip("horizontal", seed=1)
        >>> tuple(layer(images, training=True).shape)
        (2, 4, 4, 3)
    """


@keras.saving.register_keras_serializable("unidl")
class RandomTranslation(_Augmentation, keras.layers.RandomTranslation):
    """Keras's shift of images, by fractions of their height and width, with draws that are the same on every backend.

    Images are (batch, height, width, channels). In training each image of a batch gets its own random parameters; in
    inference images pass unchanged.

    Args:
        height_factor (float | tuple): The largest shift down and up as a fraction of the height, such as 0.2, or (low,
            high), where positive numbers move down.
        width_factor (float | tuple): The largest shift right and left as a fraction of the width, such as 0.2, or (low,
            high), where positive numbers move right.
        fill_mode (str): What comes into the image where it was moved away: "reflect", "constant", "wrap" or "nearest".
        interpolation (str): "bilinear" or "nearest".
        seed (int): From 0 to 2**31 - 1, the same stream on every backend. If None, it follows from the layer's name, so
            that layers of the same name draw the same numbers, regardless of the seed of the trainer or of Keras.
        fill_value (float): The value that comes into the image with fill_mode="constant".
        data_format (str): "channels_last" or "channels_first". If None, that of Keras's configuration.
        **kwargs (Any): Arguments of every Keras layer, such as `name` and `dtype`.

    Raises:
        ModelError: If the seed is not such an integer.

    Examples:
        >>> import numpy as np
        >>> from unidl import layers
        >>> images = np.random.default_rng(0).random((2, 4, 4, 3)).astype("float32")
        >>> layer = layers.RandomTranslation(0.2, 0.2, seed=1)
        >>> tuple(layer(images, training=True).shape)
        (2, 4, 4, 3)
    """


@keras.saving.register_keras_serializable("unidl")
class RandomRotation(_Augmentation, keras.layers.RandomRotation):
    """Keras's rotation of images, by fractions of a full turn, with draws that are the same on every backend.

    Images are (batch, height, width, channels). In training each image of a batch gets its own random parameters; in
    inference images pass unchanged.

    Args:
        factor (float | tuple): The largest rotation either way as a fraction of a full turn, such as 0.1 (36 degrees),
            or (low, high), where positive numbers turn counter-clockwise.
        fill_mode (str): What comes into the image where it was moved away: "reflect", "constant", "wrap" or "nearest".
        interpolation (str): "bilinear" or "nearest".
        seed (int): From 0 to 2**31 - 1, the same stream on every backend. If None, it follows from the layer's name, so
            that layers of the same name draw the same numbers, regardless of the seed of the trainer or of Keras.
        fill_value (float): The value that comes into the image with fill_mode="constant".
        data_format (str): "channels_last" or "channels_first". If None, that of Keras's configuration.
        **kwargs (Any): Arguments of every Keras layer, such as `name` and `dtype`.

    Raises:
        ModelError: If the seed is not such an integer.

    Examples:
        >>> import numpy as np
        >>> from unidl import layers
        >>> images = np.random.default_rng(0).random((2, 4, 4, 3)).astype("float32")
        >>> layer = layers.RandomRotation(0.1, seed=1)
        >>> tuple(layer(images, training=True).shape)
        (2, 4, 4, 3)
    """


@keras.saving.register_keras_serializable("unidl")
class RandomZoom(_Augmentation, keras.layers.RandomZoom):
    """Keras's zoom into images and out of them, with draws that are the same on every backend.

    Images are (batch, height, width, channels). In training each image of a batch gets its own random parameters; in
    inference images pass unchanged.

    Args:
        height_factor (float | tuple): The largest zoom of the height either way as a fraction of it, such as 0.2, or
            (low, high), where positive numbers zoom out.
        width_factor (float | tuple): The same of the width. If None, that of the height, so that shapes stay as they
            are.
        fill_mode (str): What comes into the image where it was moved away: "reflect", "constant", "wrap" or "nearest".
        interpolation (str): "bilinear" or "nearest".
        seed (int): From 0 to 2**31 - 1, the same stream on every backend. If None, it follows from the layer's name, so
            that layers of the same name draw the same numbers, regardless of the seed of the trainer or of Keras.
        fill_value (float): The value that comes into the image with fill_mode="constant".
        data_format (str): "channels_last" or "channels_first". If None, that of Keras's configuration.
        **kwargs (Any): Arguments of every Keras layer, such as `name` and `dtype`.

    Raises:
        ModelError: If the seed is not such an integer.

    Examples:
        >>> import numpy as np
        >>> from unidl import layers
        >>> images = np.random.default_rng(0).random((2, 4, 4, 3)).astype("float32")
        >>> layer = layers.RandomZoom(0.2, seed=1)
        >>> tuple(layer(images, training=True).shape)
        (2, 4, 4, 3)
    """


@keras.saving.register_keras_serializable("unidl")
class RandomBrightness(_Augmentation, keras.layers.RandomBrightness):
    """Keras's change of brightness, with draws that are the same on every backend.

    Images are (batch, height, width, channels). In training each image of a batch gets its own random parameters; in
    inference images pass unchanged.

    Args:
        factor (float | tuple): The largest change either way as a fraction of the value range, from 0 to 1, or (low,
            high) from -1 to 1.
        value_range (tuple): The least and the largest value of an image; images from 0 to 1 need `value_range=(0, 1)`.
        seed (int): From 0 to 2**31 - 1, the same stream on every backend. If None, it follows from the layer's name, so
            that layers of the same name draw the same numbers, regardless of the seed of the trainer or of Keras.
        **kwargs (Any): Arguments of every Keras layer, such as `name` and `dtype`.

    Raises:
        ModelError: If the seed is not such an integer.

    Examples:
        >>> import numpy as np
        >>> from unidl import layers
        >>> images = np.random.default_rng(0).random((2, 4, 4, 3)).astype("float32")
        >>> layer = layers.RandomBrightness(0.2, value_range=(0, 1), seed=1)
        >>> tuple(layer(images, training=True).shape)
        (2, 4, 4, 3)
    """

    def transform_images(self, images: Any, transformation: Any, training: bool = True) -> Any:
        # Keras adds to the images in place (`images += ...`): on PyTorch the caller's own images change.
        images = self.backend.numpy.copy(images) if training else images
        return super().transform_images(images, transformation, training)


@keras.saving.register_keras_serializable("unidl")
class RandomContrast(_Augmentation, keras.layers.RandomContrast):
    """Keras's change of contrast, with draws that are the same on every backend.

    Images are (batch, height, width, channels). In training each image of a batch gets its own random parameters; in
    inference images pass unchanged.

    Args:
        factor (float | tuple): (lower, upper), each from 0 to 1: values are moved to 1 - lower to 1 + upper times their
            distance from the mean of their channel. A single number is the upper one, and the lower one is 0.
        value_range (tuple): The least and the largest value of an image; images from 0 to 1 need `value_range=(0, 1)`.
        seed (int): From 0 to 2**31 - 1, the same stream on every backend. If None, it follows from the layer's name, so
            that layers of the same name draw the same numbers, regardless of the seed of the trainer or of Keras.
        **kwargs (Any): Arguments of every Keras layer, such as `name` and `dtype`.

    Raises:
        ModelError: If the seed is not such an integer.

    Examples:
        >>> import numpy as np
        >>> from unidl import layers
        >>> images = np.random.default_rng(0).random((2, 4, 4, 3)).astype("float32")
        >>> layer = layers.RandomContrast(0.2, value_range=(0, 1), seed=1)
        >>> tuple(layer(images, training=True).shape)
        (2, 4, 4, 3)
    """
