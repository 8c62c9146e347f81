"""Gaussian noise, added or multiplied."""

from __future__ import annotations

import math
from typing import Any

import keras

from unidl.errors import ModelError
from unidl.layers.draws import next_key, normal, ops
from unidl.layers.own_stream import OwnStream


def _noise(layer: Any, inputs: Any, deviation: float) -> Any:
    """The layer's next noise for `inputs`, with this standard deviation."""
    return ops.cast(normal(ops.shape(inputs), next_key(layer.seed_generator), deviation), layer.compute_dtype)


@keras.saving.register_keras_serializable("unidl")
class GaussianNoise(OwnStream, keras.layers.GaussianNoise):
    """Keras's layer that adds noise in training, with noise that is the same bits on every backend.

    Args:
        stddev (float): The standard deviation of the noise, from 0 to 1.
        seed (int): From 0 to 2**31 - 1, the same stream on every backend. If None, it follows from the layer's name, so
            that layers of the same name draw the same numbers, regardless of the seed of the trainer or of Keras.
        **kwargs (Any): Arguments of every Keras layer, such as `name` and `dtype`.

    Raises:
        ModelError: If the seed is not such an integer.

    Examples:
        >>> from unidl import layers
        >>> import keras
        >>> import numpy as np
        >>> layer = layers.GaussianNoise(0.1, seed=1)
        >>> print(keras.ops.convert_to_numpy(layer(np.zeros((1, 3)), training=True)).round(4))
        [[-0.2306  0.0007  0.1188]]
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        return ops.add(inputs, _noise(self, inputs, self.stddev)) if training and self.stddev else inputs


@keras.saving.register_keras_serializable("unidl")
class GaussianDropout(OwnStream, keras.layers.GaussianDropout):
    """Keras's layer that multiplies with noise around 1 in training, with our noise.

    Args:
        rate (float): From 0 up to, but not including, 1, where the noise would be infinite; its variance is rate / (1 -
            rate).
        seed (int): From 0 to 2**31 - 1, the same stream on every backend. If None, it follows from the layer's name, so
            that layers of the same name draw the same numbers, regardless of the seed of the trainer or of Keras.
        **kwargs (Any): Arguments of every Keras layer, such as `name` and `dtype`.

    Raises:
        ModelError: If the rate is 1, or the seed is not such an integer.

    Examples:
        >>> from unidl import layers
        >>> import keras
        >>> import numpy as np
        >>> layer = layers.GaussianDropout(0.5, seed=1)
        >>> print(keras.ops.convert_to_numpy(layer(np.ones((1, 3)), training=True)).round(4))
        [[-1.306   1.0068  2.1879]]
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(rate, seed=seed, **kwargs)
        if self.rate >= 1:
            raise ModelError(f"Cannot multiply with noise of an infinite variance: rate={self.rate}. Take one below 1.")

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or not self.rate:
            return inputs
        return ops.multiply(inputs, 1.0 + _noise(self, inputs, math.sqrt(self.rate / (1.0 - self.rate))))
