"""Whether the kernels give what Keras's own give here: the same small models, computed both ways."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

TOLERANCE = 1e-4
"""Largest difference, as a share of the largest value: float32 sums of some hundred products, in another order."""


def disagreement(kernels: Callable[[], AbstractContextManager[None]]) -> str | None:
    """Say which kernel computes something else than Keras, or return None. Draws no random number of anybody's."""
    with tf.device("cpu:0"):
        images = tf.sin(tf.reshape(tf.range(3 * 5 * 4 * 2, dtype=tf.float32), (3, 5, 4, 2)))
        normalization = keras.layers.BatchNormalization(name="one", dtype="float32")
        inputs = keras.Input((5, 4, 2), name="images")
        models = {"BatchNormalization": (keras.Sequential([inputs, normalization], name="check"), images)}
        layers: list[Any] = [
            keras.layers.Conv2D(3, 2, activation="relu", kernel_initializer="zeros", name="one", dtype="float32"),
            keras.layers.MaxPooling2D(2, padding="same", name="two", dtype="float32"),
        ]
        models["pooling"] = (keras.Sequential([inputs, *layers], name="check"), images)
        steps = tf.sin(tf.reshape(tf.range(70 * 5 * 3, dtype=tf.float32), (70, 5, 3)))
        for kind in (keras.layers.LSTM, keras.layers.GRU):
            options: Any = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros", "dtype": "float32"}
            layers = [
                kind(4, return_sequences=True, go_backwards=True, name="one", seed=0, **options),
                kind(3, name="two", seed=0, **options),
            ]
            model = keras.Sequential([keras.Input((5, 3), batch_size=70, name="inputs"), *layers], name="check")
            models[kind.__name__] = (model, steps)
            embedding = keras.layers.Embedding(10, 3, embeddings_initializer="zeros", dtype="float32", name="zero")
            tokens = keras.Input((5,), batch_size=70, dtype="int32", name="inputs")
            reading = keras.Sequential([tokens, embedding, kind(3, name="two", seed=0, **options)], name="check")
            models[f"{kind.__name__} behind an Embedding"] = (reading, tf.reshape(tf.range(70 * 5) % 10, (70, 5)))
        for name, (model, values) in models.items():
            expected = _step(model, values)
            with kernels():
                found = _step(model, values)
            for one, other in zip(expected, found, strict=True):
                if not np.abs(one - other).max() <= TOLERANCE * np.abs(one).max():
                    return f"the kernel for {name}, or for Adam, gives other values than Keras here"
        expected = _rows_that_come_twice()
        with kernels():
            found = _rows_that_come_twice()
    if not np.abs(expected - found).max() <= TOLERANCE * np.abs(expected).max():
        return "the kernel for the gradients of an Embedding gives other values than Keras here"
    return None


def _rows_that_come_twice() -> Any:
    """How far SGD changes a table of two rows, of which one has two gradients: Keras itself adds up what comes of
    them, where the optimizer is this one."""
    variable = keras.Variable(np.zeros((2, 3)), dtype="float32")
    gradient = tf.IndexedSlices(tf.ones((3, 3)), tf.constant([1, 0, 1]), dense_shape=tf.constant([2, 3]))
    optimizer: Any = keras.optimizers.SGD(0.5)
    optimizer.apply([gradient], [variable])
    return variable.numpy()


def _step(model: Any, values: tf.Tensor) -> list[Any]:
    """Outputs and gradients from weights that are the same each time, the outputs after two steps of Adam, and what
    else the model keeps."""
    for number, weight in enumerate(model.weights):
        places = np.arange(np.prod(weight.shape)) * (1 + 0.1 * number)
        weight.assign(np.sin(places + 1).reshape(weight.shape))
    optimizer = keras.optimizers.Adam(1e-3)
    results: list[Any] = []
    for _ in range(2):
        with tf.GradientTape() as tape:
            outputs = model(values, training=True)
            loss = tf.reduce_sum(outputs * outputs)
        sought: Any = tape.gradient(loss, [weight.value for weight in model.trainable_variables])
        # The rows of an embedding added up: what Keras's Adam makes of them one by one is looked at elsewhere.
        gradients = [tf.convert_to_tensor(gradient) for gradient in sought]
        optimizer.apply(gradients, model.trainable_variables)
        results += [outputs.numpy(), *(gradient.numpy() for gradient in gradients)]
    return results + [weight.numpy() for weight in model.non_trainable_weights]
