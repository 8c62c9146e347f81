"""Models of any shape, each from a number: what a sound backend must never be accused with.

A worker imports this file; it contains no tests.
"""

from __future__ import annotations

import keras
from keras import layers

from unidl.layers import Dropout
from unidl.models import initialise
from unidl.models.initial_weights import drawn_later
from unidl.random import stream

ACTIVATIONS = ("relu", "tanh", "gelu", "selu", "softplus", "sigmoid", "elu", "silu", "leaky_relu", "hard_sigmoid")
OPTIMIZERS = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Nadam", "Adamax")


@drawn_later()
def build(seed: int) -> keras.Model:
    """A network for images, for tokens, for series or for rows, with some layers of those that suit it."""
    drawn = stream(seed, "random model")
    make = (_images, _tokens, _series, _rows)[seed % 4]
    inputs, values = make(drawn)
    values = layers.Dense(int(drawn.integers(2, 6)), name="scores")(values)
    classify = bool(drawn.integers(2))
    outputs = layers.Softmax(name="probabilities")(values) if classify else values
    model = keras.Model(inputs, outputs, name=f"model_{seed}")
    initialise(model, seed=seed)
    optimizer = getattr(keras.optimizers, str(drawn.choice(OPTIMIZERS)))(float(drawn.choice([0.001, 0.01])))
    model.compile(optimizer, "sparse_categorical_crossentropy" if classify else "mean_squared_error")
    return model


def _images(drawn):
    shape = tuple(int(side) for side in drawn.integers(5, 12, size=2))
    inputs = values = keras.Input((*shape, int(drawn.integers(1, 4))))
    for number in range(int(drawn.integers(1, 4))):
        values = _image_layer(drawn, number)(values)
        values = _between(drawn, number)(values)
        if drawn.integers(3) == 0:
            values = layers.Add()([values, layers.Conv2D(values.shape[-1], 1, name=f"side_{number}")(values)])
        if drawn.integers(2) and min(values.shape[1:3]) > 2:
            values = _pooling(drawn)(values)
    return inputs, layers.Flatten()(values) if drawn.integers(2) else layers.GlobalAveragePooling2D()(values)


def _image_layer(drawn, number):
    filters = int(drawn.integers(2, 6))
    options = {"padding": "same", "activation": _activation(drawn), "name": f"conv_{number}"}
    kind = int(drawn.integers(4))
    size, step = int(drawn.integers(1, 4)), int(drawn.integers(1, 3))
    if kind == 0:
        return layers.SeparableConv2D(filters, size, step, **options)
    if kind == 1:
        return layers.DepthwiseConv2D(size, step, depth_multiplier=int(drawn.integers(1, 3)), **options)
    if kind == 2:
        return layers.Conv2DTranspose(filters, size, step, **options)
    return layers.Conv2D(filters, size, step, **options)


def _pooling(drawn):
    kind = layers.MaxPooling2D if drawn.integers(2) else layers.AveragePooling2D
    return kind(int(drawn.integers(2, 4)), 2, padding="same")


def _tokens(drawn):
    inputs = keras.Input((int(drawn.integers(2, 7)),), dtype="int32")
    size = int(drawn.integers(2, 7))
    values = layers.Embedding(9, size, mask_zero=bool(drawn.integers(2)), name="words")(inputs)
    return inputs, _recurrent(drawn, values)


def _series(drawn):
    inputs = values = keras.Input((int(drawn.integers(3, 8)), int(drawn.integers(1, 5))))
    if drawn.integers(2):
        values = layers.Conv1D(4, 2, padding="causal", activation=_activation(drawn), name="filter")(values)
    if drawn.integers(3) == 0:
        values = layers.MultiHeadAttention(2, 3, seed=0, name="attention")(values, values)
        values = layers.LayerNormalization(name="after_attention")(values)
        return inputs, layers.GlobalAveragePooling1D()(values)
    return inputs, _recurrent(drawn, values)


def _recurrent(drawn, values):
    kind = layers.LSTM if drawn.integers(2) else layers.GRU
    units = int(drawn.integers(2, 6))
    if drawn.integers(2):
        first = kind(units, return_sequences=True, seed=0, name="first")
        values = layers.Bidirectional(first, name="both")(values) if drawn.integers(2) else first(values)
        values = Dropout(0.25, seed=2, name="between")(values)
    return kind(units, seed=0, go_backwards=bool(drawn.integers(2)), name="last")(values)


def _rows(drawn):
    inputs = values = keras.Input((int(drawn.integers(1, 9)),))
    for number in range(int(drawn.integers(1, 5))):
        values = layers.Dense(int(drawn.integers(1, 12)), activation=_activation(drawn), name=f"dense_{number}")(values)
        values = _between(drawn, number)(values)
        if drawn.integers(3) == 0:
            values = layers.Concatenate()([values, keras.ops.square(values) * 0.5])
    return inputs, values


def _between(drawn, number):
    kind = int(drawn.integers(6))
    if kind == 0:
        return layers.BatchNormalization(name=f"batch_norm_{number}")
    if kind == 1:
        return layers.LayerNormalization(name=f"layer_norm_{number}")
    if kind == 2:
        return Dropout(0.3, seed=number, name=f"drop_{number}")
    if kind == 3:
        return layers.Activation(_activation(drawn), name=f"activation_{number}")
    if kind == 4:
        return layers.GroupNormalization(1, name=f"group_norm_{number}")
    return layers.Rescaling(0.5, 0.1, name=f"rescaling_{number}")


def _activation(drawn):
    return str(drawn.choice(ACTIVATIONS))
