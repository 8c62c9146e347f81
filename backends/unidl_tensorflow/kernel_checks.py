"""Whether a kernel gives what Keras gives here: the same small models and optimizers, computed both ways."""

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
"""Largest difference, as a share of the largest value: float32 sums of some hundred products, in another order."""

layers: Any = keras.layers
FLOAT32: Any = {"dtype": "float32"}
ROWS = 70
"""Enough for several cores to take a part of each batch."""


def convolution(in_use: InUse) -> str | None:
    """Compare a convolution with bias and ReLU."""
    return _of_layers(in_use, _images(), [_convolution()])


def max_pooling(in_use: InUse) -> str | None:
    """Compare pooling behind a convolution."""
    return _of_layers(in_use, _images(), [_convolution(), layers.MaxPooling2D(2, padding="same", **FLOAT32)])


def normalization(in_use: InUse) -> str | None:
    """Compare batch normalization of images, and the statistics that it keeps."""
    return _of_layers(in_use, _images(), [layers.BatchNormalization(**FLOAT32)])


def sampling(in_use: InUse) -> str | None:
    """Compare images that are read at other places, and their gradients, with each way of filling them up."""
    matrices = tf.constant([[[0.9, -0.5, 2.3], [0.4, 1.1, -3.2]]] * 3)
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
    """Compare the rows that are looked up, and the gradient of their table."""
    return _of_layers(in_use, _tokens(), [_embedding()])


def lstm(in_use: InUse) -> str | None:
    """Compare an LSTM on numbers, and behind an Embedding."""
    return _recurrent(in_use, layers.LSTM)


def gru(in_use: InUse) -> str | None:
    """Compare a GRU on numbers, and behind an Embedding."""
    return _recurrent(in_use, layers.GRU)


def adam(in_use: InUse) -> str | None:
    """Compare two steps of Adam."""
    gradient = tf.constant([[1.0, -2.0, 0.1], [0.0, 3.0, 1e-4]])
    return _disagreement(in_use, lambda: _steps(keras.optimizers.Adam, gradient))


def repeated_tokens(in_use: InUse) -> str | None:
    """Compare what an optimizer makes of a row of a table that has two gradients with what Keras makes of their sum. To
    Adam a gradient that is too large as a whole is the same; to Adagrad it is not."""
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
    """Compare outputs, gradients, and what layers keep."""
    inputs = keras.Input(values.shape[1:], batch_size=len(values), dtype=values.dtype.name)
    model = keras.Sequential([inputs, *made])
    return _disagreement(in_use, lambda: _computed(model, values))


def _disagreement(
    in_use: InUse, compute: Callable[[], list[Any]], expect: Callable[[], list[Any]] | None = None
) -> str | None:
    """Say whether what `compute` gives differs with the kernel from what Keras gives, or from what `expect` does."""
    with tf.device("cpu:0"):
        expected = (expect or compute)()
        with in_use():
            found = compute()
    for one, other in zip(expected, found, strict=True):
        if not np.abs(one - other).max() <= TOLERANCE * np.abs(one).max():
            return "it gives other values than Keras here"
    return None


def _computed(model: Any, values: tf.Tensor) -> list[Any]:
    """Outputs and gradients from weights that are the same each time, and what else the model keeps."""
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
    """A table after one and after two steps of an optimizer with this gradient."""
    dtype = layers.Layer(**FLOAT32).variable_dtype  # float64, where a model is verified in it
    variable, gradient = keras.Variable(np.zeros((2, 3)), dtype=dtype), tf.cast(gradient, dtype)
    optimizer = kind(0.1)
    found: list[Any] = []
    for _ in range(2):
        optimizer.apply([gradient], [variable])
        found.append(variable.numpy())
    return found
