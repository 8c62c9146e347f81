"""Whether the kernels give what Keras's own give here: the same small operations, computed both ways."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

TOLERANCE = 1e-4
"""Largest difference, as a share of the largest value: float32 sums of some hundred products, in another order."""


def disagreement(kernels: Callable[[], AbstractContextManager[None]]) -> str | None:
    """Say which kernel computes something else than Keras, or return None. Draws no random number of anybody's."""
    with jax.default_device(jax.devices("cpu")[0]):
        layers = [*_recurrent(), _embedding()]
        shapes = [(2, 7, 6, 2), (3, 3, 2, 4), (2, 5, 3)]
        shapes += [weight.shape for layer in layers for weight in layer.trainable_variables]
        values = [jnp.asarray(np.sin(np.arange(math.prod(shape)) + 1).reshape(shape), jnp.float32) for shape in shapes]

        def results() -> Any:
            # A function of its own each time, since JAX would find the trace of the first one again.
            def compute(values: Any) -> Any:
                return _sum(layers, *values)

            return jax.jit(jax.value_and_grad(compute, has_aux=True))(values)

        expected = results()
        with kernels():
            found = results()
    for one, other in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        if not np.abs(one - other).max() <= TOLERANCE * np.abs(one).max():
            return "a kernel gives other values than Keras here"
    return None


def _recurrent() -> list[Any]:
    """Layers that begin without drawing."""
    options: Any = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros", "seed": 0, "dtype": "float32"}
    layers: list[Any] = [
        keras.layers.LSTM(4, return_sequences=True, name="check_lstm", **options),
        keras.layers.GRU(4, go_backwards=True, name="check_gru", **options),
    ]
    for layer in layers:
        layer.build((2, 5, 3))
    return layers


def _embedding() -> Any:
    layer: Any = keras.layers.Embedding(5, 3, embeddings_initializer="zeros", dtype="float32", name="check_embedding")
    layer.build((2, 5))
    return layer


def _sum(layers: list[Any], images: Any, filters: Any, steps: Any, *weights: Any) -> Any:
    """A number that depends on everything that the kernels compute, and the parts that it is made of."""
    ops: Any = keras.ops
    convolved = ops.conv(images, filters, data_format="channels_last")
    parts = [
        ops.conv(images, filters, strides=2, padding="same", data_format="channels_last"),
        ops.max_pool(convolved, 2, 2, data_format="channels_last"),
    ]
    *recurrent, embedding = layers
    vectors = embedding.stateless_call([weights[6]], [], jnp.arange(10).reshape(2, 5) % 5)[0]
    for layer, own in zip(recurrent, (weights[:3], weights[3:6]), strict=True):
        seeds = [variable.value for variable in layer.non_trainable_variables]
        parts += [layer.stateless_call(list(own), seeds, given)[0] for given in (steps, vectors)]
    return sum(jnp.sum(part * part) for part in parts), parts
