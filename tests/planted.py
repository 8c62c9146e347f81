"""Two models, and the same with one fault, which is only where numbers are float32: the oracle is sound.

A worker imports this file; it contains no tests.
"""

from __future__ import annotations

from functools import partial

import keras
from keras import ops

from unidl.layers import Dropout
from unidl.models import initialise
from unidl.models.initial_weights import drawn_later


@drawn_later()
def images():
    """Convolution, pooling, resizing and normalization."""
    inputs = keras.Input((10, 8, 2), name="images")
    values = keras.layers.Conv2D(4, 3, 2, padding="same", activation="relu", name="conv")(inputs)
    values = keras.layers.BatchNormalization(name="norm")(values)
    values = keras.layers.AveragePooling2D(3, 2, padding="same", name="average")(values)
    values = keras.layers.Resizing(2, 1, antialias=False, name="resize")(values)
    values = keras.layers.Flatten(name="flat")(values)
    large = keras.initializers.VarianceScaling(20.0)
    values = keras.layers.Dense(6, activation="gelu", kernel_initializer=large, name="first")(values)
    values = keras.layers.LayerNormalization(name="layer_norm")(values)
    values = Dropout(0.3, seed=1, name="drop")(values)
    values = keras.layers.Dense(6, name="square")(values)
    values = keras.layers.Dense(3, name="scores")(values)
    return _ready(keras.Model(inputs, keras.layers.Softmax(name="probabilities")(values), name="images"))


@drawn_later()
def steps():
    """An embedding with padding, and two recurrent layers."""
    inputs = keras.Input((5,), dtype="int32", name="tokens")
    values = keras.layers.Embedding(7, 4, mask_zero=True, name="words")(inputs)
    values = keras.layers.LSTM(4, return_sequences=True, seed=0, name="long")(values)
    values = keras.layers.GRU(4, seed=0, name="gated")(values)
    values = keras.layers.Dense(7, name="scores")(values)
    return _ready(keras.Model(inputs, keras.layers.Softmax(name="probabilities")(values), name="steps"))


def faulty(model: str, fault: str, backend: str):
    """A model with one of `FAULTS`, on one backend."""
    found = {"images": images, "steps": steps}[model]()
    if keras.backend.backend() == backend and keras.config.floatx() == "float32":
        FAULTS[fault][2](found)
    return found


def _ready(model):
    initialise(model, seed=3)
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    return model


class HalfPadded(keras.layers.Conv2D):
    """Pads before the image what belongs behind it."""

    def call(self, inputs):
        padded = ops.pad(inputs, [[0, 0], [1, 0], [1, 0], [0, 0]])
        return ops.relu(ops.conv(padded, self.kernel, 2, "valid", "channels_last") + self.bias)


class CountsPadding(keras.layers.AveragePooling2D):
    """Averages over the zeros around the image as well."""

    def call(self, inputs):
        padded = ops.pad(inputs, [[0, 0], [1, 1], [0, 1], [0, 0]])
        return ops.average_pool(padded, 3, 2, "valid", "channels_last")


class SampleVariance(keras.layers.LayerNormalization):
    """Divides by n - 1."""

    def call(self, inputs):
        size = inputs.shape[-1]
        middle = inputs - ops.mean(inputs, -1, keepdims=True)
        variance = ops.sum(middle**2, -1, keepdims=True) / (size - 1)
        return middle / ops.sqrt(variance + self.epsilon) * self.gamma + self.beta


class Unscaled(Dropout):
    """Drops without making up for it."""

    def call(self, inputs, training=False):
        return super().call(inputs, training=training) * (0.7 if training else 1.0)


class Transposed(keras.layers.Dense):
    """Takes a square kernel the other way around."""

    def call(self, inputs, training=None):
        return ops.matmul(inputs, ops.transpose(self.kernel)) + self.bias


class Rounded(keras.layers.Dense):
    """Multiplies with 10 bits of mantissa, as TF32 does."""

    def call(self, inputs, training=None):
        short = [ops.cast(ops.cast(factor, "float16"), "float32") for factor in (inputs, self.kernel)]
        return ops.gelu(ops.matmul(*short) + self.bias, approximate=False)


class HalfGradient(keras.layers.Dense):
    """Right forward, and half of the kernel's gradient."""

    def call(self, inputs, training=None):
        kernel = 0.5 * self.kernel + 0.5 * ops.stop_gradient(self.kernel)
        return ops.matmul(inputs, kernel) + self.bias


class Unmasked(keras.layers.GRU):
    """Does not skip padding."""

    def call(self, sequences, initial_state=None, mask=None, training=False):
        return super().call(sequences, initial_state=initial_state, mask=None, training=training)


def _becomes(layer: str, kind: type):
    def plant(model):
        model.get_layer(layer).__class__ = kind

    return plant


def _with(layer: str, **changes):
    def plant(model):
        for name, value in changes.items():
            setattr(model.get_layer(layer), name, value)

    return plant


def _swap_gates(model):
    """Take the gates of input and forgetting for one another, in the cell, which is asked instead of a fused kernel."""
    layer = model.get_layer("long")
    right = layer.cell._compute_carry_and_output_fused
    layer.inner_loop = partial(keras.layers.RNN.inner_loop, layer)
    layer.cell._compute_carry_and_output_fused = lambda z, c: right((z[1], z[0], *z[2:]), c)


def _another_epsilon(model):
    model.compile(keras.optimizers.Adam(0.01, epsilon=1e-3), "sparse_categorical_crossentropy")


FAULTS = {
    "padding on the wrong side": ("images", "conv", _becomes("conv", HalfPadded)),
    "another epsilon": ("images", "norm", _with("norm", epsilon=1e-2)),
    "a stale statistic": ("images", "norm", _with("norm", momentum=1.0)),
    "an average over padding": ("images", "average", _becomes("average", CountsPadding)),
    "antialiasing": ("images", "resize", _with("resize", antialias=True)),
    "an approximate activation": ("images", "first", _with("first", activation=ops.gelu)),
    "short factors": ("images", "first", _becomes("first", Rounded)),
    "a variance over n - 1": ("images", "layer_norm", _becomes("layer_norm", SampleVariance)),
    "dropout that is not made up for": ("images", "drop", _becomes("drop", Unscaled)),
    "a transposed kernel": ("images", "square", _becomes("square", Transposed)),
    "half a gradient": ("images", "square", _becomes("square", HalfGradient)),
    "another optimizer": ("images", "the optimizer", _another_epsilon),
    "swapped gates": ("steps", "long", _swap_gates),
    "a skipped mask": ("steps", "gated", _becomes("gated", Unmasked)),
}
"""By name: the model, where the fault is, and what plants it."""
