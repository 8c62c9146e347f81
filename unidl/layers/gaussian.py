"""Gaussian noise, added or multiplied."""

from __future__ import annotations

import math
from typing import Any

import keras

from unidl.layers.draws import next_key, normal, ops
from unidl.layers.own_stream import OwnStream


def _noise(layer: Any, inputs: Any, deviation: float) -> Any:
    """The layer's next noise for `inputs`, with this standard deviation."""
    values = normal(ops.shape(inputs), next_key(layer.seed_generator)) * deviation
    return ops.cast(values, inputs.dtype)


@keras.saving.register_keras_serializable("unidl")
class GaussianNoise(OwnStream, keras.layers.GaussianNoise):
    """Keras's layer that adds noise in training, with noise that is the same bits on every backend."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        return inputs + _noise(self, inputs, self.stddev) if training and self.stddev else inputs


@keras.saving.register_keras_serializable("unidl")
class GaussianDropout(OwnStream, keras.layers.GaussianDropout):
    """Keras's layer that multiplies with noise around 1 in training, with our noise."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or not self.rate:
            return inputs
        return inputs * (1.0 + _noise(self, inputs, math.sqrt(self.rate / (1.0 - self.rate))))
