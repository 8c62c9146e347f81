"""Checks that a kernel agrees with Keras: small models and optimizers, computed both ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from unidl import sampling as read_at
from unidl.replacements import InUse

TOLERANCE = 1e-4
"""Largest difference relative to the largest value: for float32 sums of about a hundred products, in a different
order."""

layers: Any = keras.layers
FLOAT32: Any = {"dtype": "float32"}
ROWS = 70
"""Large enough for several cores to process a part of each batch."""


def convolution(in_use: InUse) -> str | None:
    """Compare a convolution with bias and ReLU."""
    return _of_layers(in_use, _images(), [_convolution()])


def max_pooling(in_use: InUse) -> str | None:
    """Compare pooling after a convolution."""
    return _of_layers(in_use, _images(), [_convolution(), layers.MaxPooling2D(2, padding="same", **FLOAT32)])


def normalization(in_use: InUse) -> str | None:
    """Compare batch normalization of images and its running statistics."""
    return _of_layers(in_use, _images(), [layers.BatchNormalization(**FLOAT32)])


def sampling(in_use: InUse) -> str | None:
    """Compare images that are read at other places, and their gradients, with each way of filling them up."""
    given: Any = keras.ops.convert_to_tensor(np.array([[[0.9, -0.5, 2.3], [0.4, 1.1, -3.2]]] * 3), dtype="float32")
    matrices = tf.convert_to_tensor(given)
    whys = (_disagreement(in_use, partial(_sampled, matrices, fill)) for fill in read_at.FILLS)
    return next((why for why in whys if why is not None), None)


def _sampled(matrices: tf.Tensor, fill: str) -> list[Any]:
    images = _images()
    with tf.GradientTape() as tape:
        tape.watch(images)
        found = read_at.bilinear(images, matrices, fill, 0.5)
        loss = tf.reduce_sum(found * found)
    return [found.numpy(), tf.convert_to_tensor(tape.gradient(loss, images)).numpy()]


def embedding(in_use: InUse) -> str | None:
    """Compare looked-up rows and the gradient of their table."""
    return _of_layers(in_use, _tokens(), [_embedding()])


def lstm(in_use: InUse) -> str | None:
    """Compare an LSTM on numbers and after an Embedding."""
    return _recurrent(in_use, layers.LSTM)


def gru(in_use: InUse) -> str | None:
    """Compare a GRU on numbers and after an Embedding."""
    return _recurrent(in_use, layers.GRU)


def adam(in_use: InUse) -> str | None:
    """Compare two steps of Adam."""
    gradient = tf.constant([[1.0, -2.0, 0.1], [0.0, 3.0, 1e-4]])
    return _disagreement(in_use, lambda: _steps(keras.optimizers.Adam, gradient))


def repeated_tokens(in_use: InUse) -> str | None:
    """Compare the update of a table row that has two gradients with Keras's update for their sum. For
    Adam a gradient that is scaled as a whole makes no difference; for Adagrad it does."""
    gradient = tf.IndexedSlices(tf.fill((3, 3), 0.1), tf.constant([1, 0, 1]), dense_shape=tf.constant([2, 3]))
    kind, total = keras.optimizers.Adagrad, tf.convert_to_tensor(gradient)
    return _disagreement(in_use, lambda: _steps(kind, gradient), lambda: _steps(kind, total))


def _recurrent(in_use: InUse, kind: Any) -> str | None:
    options: Any = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros", "seed": 0, **FLOAT32}
    steps = tf.sin(tf.reshape(tf.range(ROWS * 5 * 3, dtype=tf.float32), (ROWS, 5, 3)))
    stacked = [kind(4, return_sequences=True, go_backwards=True, **options), kind(3, **options)]
    return _of_layers(in_use, steps, stacked) or _of_layers(in_use, _tokens(), [_embedding(), kind(3, **options)])


def _images() -> tf.Tensor:
    return tf.sin(tf.reshape(tf.range(3 * 5 * 4 * 2, dtype=tf.float32), (3, 5, 4, 2)))


def _tokens() -> tf.Tensor:
    return tf.reshape(tf.range(ROWS * 5) % 10, (ROWS, 5))


def _convolution() -> Any:
    return layers.Conv2D(3, 2, activation="relu", kernel_initializer="zeros", **FLOAT32)


def _embedding() -> Any:
    return layers.Embedding(10, 3, embeddings_initializer="zeros", **FLOAT32)


def _of_layers(in_use: InUse, values: tf.Tensor, made: Sequence[Any]) -> str | None:
    """Compare outputs, gradients and state of layers."""
    inputs = keras.Input(values.shape[1:], batch_size=len(values), dtype=values.dtype.name)
    model = keras.Sequential([inputs, *made])
    return _disagreement(in_use, lambda: _computed(model, values))


def _disagreement(
    in_use: InUse, compute: Callable[[], list[Any]], expect: Callable[[], list[Any]] | None = None
) -> str | None:
    """Return how the result of `compute` with the kernel differs from Keras's, or from that of `expect`; None if
    equal."""
    with tf.device("cpu:0"):
        expected = (expect or compute)()
        with in_use():
            found = compute()
    for one, other in zip(expected, found, strict=True):
        if not np.abs(one - other).max() <= TOLERANCE * np.abs(one).max():
            return "its values differ from Keras's"
    return None


def _computed(model: Any, values: tf.Tensor) -> list[Any]:
    """Return outputs and gradients for fixed weights, and the other state of the model."""
    for number, weight in enumerate(model.weights):
        places = np.arange(np.prod(weight.shape)) * (1 + 0.1 * number)
        weight.assign(np.sin(places + 1).reshape(weight.shape))
    with tf.GradientTape() as tape:
        outputs = model(values, training=True)
        loss = tf.reduce_sum(outputs * outputs)
    sought: Any = tape.gradient(loss, [weight.value for weight in model.trainable_variables])
    gradients = [tf.convert_to_tensor(gradient).numpy() for gradient in sought]
    return [outputs.numpy(), *gradients, *(weight.numpy() for weight in model.non_trainable_weights)]


def _steps(kind: Any, gradient: Any) -> list[Any]:
    """Return a table after one and after two steps of an optimizer with this gradient."""
    dtype = layers.Layer(**FLOAT32).variable_dtype  # float64 during a verification
    variable, gradient = keras.Variable(np.zeros((2, 3)), dtype=dtype), tf.cast(gradient, dtype)
    optimizer = kind(0.1)
    found: list[Any] = []
    for _ in range(2):
        optimizer.apply([gradient], [variable])
        found.append(variable.numpy())
    return found
