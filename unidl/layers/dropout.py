"""Dropout in its kinds: single values, whole channels, and values of self-normalizing networks."""

from __future__ import annotations

from typing import Any

import keras

from unidl.layers.draws import keep_mask, next_key, ops
from unidl.layers.own_stream import OwnStream

SELU_NEGATIVE = -1.6732632423543772 * 1.0507009873554805
"""What SELU tends to far below zero: minus its alpha times its scale (Klambauer et al. 2017, "Self-normalizing neural
networks")."""


def _next_mask(layer: Any, inputs: Any, noise_shape: Any) -> Any:
    """The layer's next mask. noise_shape: sizes, None where it is that of `inputs`, for the last axes; None for all."""
    own = [None] * len(inputs.shape) if noise_shape is None else list(noise_shape)
    own = [1] * (len(inputs.shape) - len(own)) + own
    shape = [size if mine is None else mine for mine, size in zip(own, ops.shape(inputs), strict=True)]
    return keep_mask(shape, next_key(layer.seed_generator), 1.0 - layer.rate, rows=0 if own[0] is None else None)


def _dropped(layer: Any, inputs: Any, noise_shape: Any, training: bool) -> Any:
    if not training or layer.rate == 0:
        return inputs
    if layer.rate == 1:
        return ops.zeros_like(inputs)
    mask = _next_mask(layer, inputs, noise_shape)
    return ops.where(mask, inputs / (1.0 - layer.rate), ops.zeros((), dtype=inputs.dtype))


@keras.saving.register_keras_serializable("unidl")
class Dropout(OwnStream, keras.layers.Dropout):
    """Keras's dropout, with masks that are the same bits on every backend.

    In training a fraction of the inputs becomes 0, and the others are divided by 1 - rate; in inference all pass
    unchanged.

    Args:
        rate (float): Fraction to drop, from 0 to 1.
        noise_shape (tuple): The shape of the mask, with 1 where it holds for a whole axis and None for the size of the
            inputs. If None, that of the inputs.
        seed (int): From 0 to 2**31 - 1, the same stream on every backend. If None, it follows from the layer's name, so
            that layers of the same name draw the same numbers, regardless of the seed of the trainer or of Keras.
        **kwargs (Any): Arguments of every Keras layer, such as `name` and `dtype`.

    Raises:
        ModelError: If the seed is not such an integer.

    Examples:
        >>> from unidl import layers
        >>> import keras
        >>> import numpy as np
        >>> layer = layers.Dropout(0.5, seed=1)
        >>> print(keras.ops.convert_to_numpy(layer(np.ones((1, 8)), training=True)))
        [[0. 2. 2. 0. 0. 0. 0. 2.]]
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        return _dropped(self, inputs, self.noise_shape, training)


class _SpatialDropout(OwnStream):
    """Drops whole channels: a mask holds for all places of an image, a row or a volume."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        channels_first = getattr(self, "data_format", "channels_last") == "channels_first"
        places = [1] * (len(inputs.shape) - 2)
        shape = [None, None, *places] if channels_first else [None, *places, None]
        return _dropped(self, inputs, shape, training)


@keras.saving.register_keras_serializable("unidl")
class SpatialDropout1D(_SpatialDropout, keras.layers.SpatialDropout1D):
    """Keras's dropout of whole channels of (batch, steps, channels), with our masks.

    Args:
        rate (float): Fraction to drop, from 0 to 1.
        seed (int): From 0 to 2**31 - 1, the same stream on every backend. If None, it follows from the layer's name, so
            that layers of the same name draw the same numbers, regardless of the seed of the trainer or of Keras.
        name (str): The name of the layer.
        dtype (str): The dtype or dtype policy of the layer.

    Raises:
        ModelError: If the seed is not such an integer.

    Examples:
        >>> from unidl import layers
        >>> import keras
        >>> import numpy as np
        >>> layer = layers.SpatialDropout1D(0.5, seed=1)
        >>> print(keras.ops.convert_to_numpy(layer(np.ones((1, 2, 4)), training=True)))
        [[[0. 2. 2. 0.]
          [0. 2. 2. 0.]]]
    """


@keras.saving.register_keras_serializable("unidl")
class SpatialDropout2D(_SpatialDropout, keras.layers.SpatialDropout2D):
    """Keras's dropout of whole channels of images, with our masks.

    Images are (batch, height, width, channels), or (batch, channels, height, width).

    Args:
        rate (float): Fraction to drop, from 0 to 1.
        data_format (str): "channels_last" or "channels_first". If None, that of Keras's configuration.
        seed (int): From 0 to 2**31 - 1, the same stream on every backend. If None, it follows from the layer's name, so
            that layers of the same name draw the same numbers, regardless of the seed of the trainer or of Keras.
        name (str): The name of the layer.
        dtype (str): The dtype or dtype policy of the layer.

    Raises:
        ModelError: If the seed is not such an integer.

    Examples:
        >>> from unidl import layers
        >>> import keras
        >>> import numpy as np
        >>> layer = layers.SpatialDropout2D(0.5, seed=1)
        >>> print(keras.ops.convert_to_numpy(layer(np.ones((1, 1, 2, 3)), training=True)))
        [[[[0. 2. 2.]
           [0. 2. 2.]]]]
    """


@keras.saving.register_keras_serializable("unidl")
class SpatialDropout3D(_SpatialDropout, keras.layers.SpatialDropout3D):
    """Keras's dropout of whole channels of volumes, with our masks.

    Volumes are (batch, depth, height, width, channels), or (batch, channels, depth, height, width).

    Args:
        rate (float): Fraction to drop, from 0 to 1.
        data_format (str): "channels_last" or "channels_first". If None, that of Keras's configuration.
        seed (int): From 0 to 2**31 - 1, the same stream on every backend. If None, it follows from the layer's name, so
            that layers of the same name draw the same numbers, regardless of the seed of the trainer or of Keras.
        name (str): The name of the layer.
        dtype (str): The dtype or dtype policy of the layer.

    Raises:
        ModelError: If the seed is not such an integer.

    Examples:
        >>> from unidl import layers
        >>> import keras
        >>> import numpy as np
        >>> layer = layers.SpatialDropout3D(0.5, seed=1)
        >>> print(keras.ops.convert_to_numpy(layer(np.ones((1, 1, 1, 2, 3)), training=True)))
        [[[[[0. 2. 2.]
            [0. 2. 2.]]]]]
    """


@keras.saving.register_keras_serializable("unidl")
class AlphaDropout(OwnStream, keras.layers.AlphaDropout):
    """Keras's dropout for networks of SELU, with our masks: mean and variance stay.

    Args:
        rate (float): Fraction to drop, from 0 to 1.
        noise_shape (tuple): The shape of the mask, with 1 where it holds for a whole axis and None for the size of the
            inputs. If None, that of the inputs.
        seed (int): From 0 to 2**31 - 1, the same stream on every backend. If None, it follows from the layer's name, so
            that layers of the same name draw the same numbers, regardless of the seed of the trainer or of Keras.
        **kwargs (Any): Arguments of every Keras layer, such as `name` and `dtype`.

    Raises:
        ModelError: If the seed is not such an integer.

    Examples:
        >>> from unidl import layers
        >>> import keras
        >>> import numpy as np
        >>> layer = layers.AlphaDropout(0.5, seed=1)
        >>> print(keras.ops.convert_to_numpy(layer(np.ones((1, 4)), training=True)).round(3))
        [[-0.779  1.666  1.666 -0.779]]
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.rate == 0:
            return inputs
        mask = _next_mask(self, inputs, self.noise_shape)
        keep = 1.0 - self.rate
        # Klambauer et al., section "New dropout technique": dropped values become SELU_NEGATIVE, and a and b undo what
        # this does to mean and variance. At rate 1 all values are dropped and no variance is left to keep.
        a = (keep * (1.0 + self.rate * SELU_NEGATIVE**2)) ** -0.5 if keep else 0.0
        b = -a * SELU_NEGATIVE * self.rate
        return ops.where(mask, a * inputs + b, ops.convert_to_tensor(a * SELU_NEGATIVE + b, dtype=inputs.dtype))
