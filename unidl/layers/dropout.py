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
    return keep_mask(shape, next_key(layer.seed_generator), 1.0 - layer.rate)


def _dropped(layer: Any, inputs: Any, noise_shape: Any, training: bool) -> Any:
    if not training or layer.rate == 0:
        return inputs
    if layer.rate == 1:
        return ops.zeros_like(inputs)
    mask = _next_mask(layer, inputs, noise_shape)
    return ops.where(mask, inputs / (1.0 - layer.rate), ops.zeros((), dtype=inputs.dtype))


@keras.saving.register_keras_serializable("unidl")
class Dropout(OwnStream, keras.layers.Dropout):
    """Keras's dropout, with masks that are the same bits on every backend."""

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
    """Keras's dropout of whole channels of (batch, steps, channels), with our masks."""


@keras.saving.register_keras_serializable("unidl")
class SpatialDropout2D(_SpatialDropout, keras.layers.SpatialDropout2D):
    """Keras's dropout of whole channels of images, with our masks."""


@keras.saving.register_keras_serializable("unidl")
class SpatialDropout3D(_SpatialDropout, keras.layers.SpatialDropout3D):
    """Keras's dropout of whole channels of volumes, with our masks."""


@keras.saving.register_keras_serializable("unidl")
class AlphaDropout(OwnStream, keras.layers.AlphaDropout):
    """Keras's dropout for networks of SELU, with our masks: mean and variance stay."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.rate == 0:
            return inputs
        mask = _next_mask(self, inputs, self.noise_shape)
        keep = 1.0 - self.rate
        # Klambauer et al., section "New dropout technique": dropped values become SELU_NEGATIVE, and a and b undo what
        # this does to mean and variance. At rate 1 all values are dropped and no variance is left to keep.
        a = (keep * (1.0 + self.rate * SELU_NEGATIVE**2)) ** -0.5 if keep else 0.0
        b = -a * SELU_NEGATIVE * self.rate
        return ops.where(mask, a * inputs + b, ops.full((), a * SELU_NEGATIVE + b, dtype=inputs.dtype))
