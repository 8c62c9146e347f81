"""Checks that a kernel agrees with Keras: values and gradients of small operations, computed both ways."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from unidl import sampling as read_at
from unidl.replacements import InUse
from unidl_jax.keras_internals import GPU_THERE, chooses_cudnn

TOLERANCE = 1e-4
"""Largest difference relative to the largest value: for float32 sums of about a hundred products, in a different
order."""

HALF_TOLERANCE = 4e-3
"""The same for float16: four of its roundoffs, 2**-10."""

ops: Any = keras.ops  # whose annotations allow for results that are not arrays
IMAGES = (2, 7, 6, 2)


def convolution(in_use: InUse) -> str | None:
    """Compare a plain convolution, and one with strides and padding."""

    def compute(images: Any, filters: Any) -> list[Any]:
        strided = ops.conv(images, filters, strides=2, padding="same", data_format="channels_last")
        return [ops.conv(images, filters, data_format="channels_last"), strided]

    return _disagreement(in_use, compute, [IMAGES, (3, 3, 2, 4)])


def max_pooling(in_use: InUse) -> str | None:
    """Compare pooling of non-overlapping windows."""
    return _disagreement(in_use, lambda images: [ops.max_pool(images, 2, 2, data_format="channels_last")], [IMAGES])


def sampling(in_use: InUse) -> str | None:
    """Compare images that are read at other places, and their gradients, with each way of filling them up."""
    matrices = np.array([[[0.9, -0.5, 2.3], [0.4, 1.1, -3.2]]] * IMAGES[0], np.float32)
    return _disagreement(
        in_use,
        lambda images: [read_at.bilinear(images, jnp.asarray(matrices), fill, 0.5) for fill in read_at.FILLS],
        [IMAGES],
    )


def attention(in_use: InUse) -> str | None:
    """Compare attention in float16, and its gradients, with the same in float32."""
    wide = [np.sin(np.arange(24) + first).reshape(1, 3, 2, 4) for first in range(3)]

    def results(dtype: Any) -> Any:
        def loss(parts: Any) -> Any:
            outputs: Any = ops.dot_product_attention(*parts, is_causal=True)
            return jnp.sum(outputs.astype(jnp.float32) ** 2), outputs

        return jax.jit(jax.value_and_grad(loss, has_aux=True))([jnp.asarray(part, dtype) for part in wide])

    with _on_the_cpu():
        expected = results(jnp.float32)
        try:
            with in_use():
                found = results(jnp.float16)
        except ValueError as error:
            return f"JAX refuses it: {error}"
    apart = _difference(expected, found, HALF_TOLERANCE)
    return None if apart is None else f"its values differ from Keras's in float32 {apart}"


def lstm_beside_a_gpu(in_use: InUse) -> str | None:
    """Ask Keras on the CPU of a machine with a GPU whether it calls cuDNN, also if this machine has none."""
    with _on_the_cpu(), _beside_a_gpu(), in_use():
        chosen = chooses_cudnn(keras.activations.tanh, keras.activations.sigmoid)
    return "Keras calls cuDNN, which computes on GPUs only" if chosen else None


def embedding(in_use: InUse) -> str | None:
    """Compare looked-up rows and the gradient of their table."""
    return _disagreement(in_use, lambda table: [_looked_up(_embedding(), table)], [(5, 3)])


def lstm(in_use: InUse) -> str | None:
    """Compare an LSTM on numbers and after an Embedding."""
    return _recurrent(in_use, lambda **options: keras.layers.LSTM(4, return_sequences=True, **options))


def gru(in_use: InUse) -> str | None:
    """Compare a GRU with go_backwards, on numbers and after an Embedding."""
    return _recurrent(in_use, lambda **options: keras.layers.GRU(4, go_backwards=True, **options))


def _recurrent(in_use: InUse, make: Callable[..., Any]) -> str | None:
    # Layers with constant initial weights. Keras's own computes without cuDNN, which it would call beside a GPU.
    constant: Any = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros", "seed": 0}
    ours, plain = (make(**constant, use_cudnn=cudnn, dtype="float32", name="check") for cudnn in ("auto", False))
    embedding = _embedding()
    for layer in (ours, plain):
        layer.build((2, 5, 3))

    def computed_by(layer: Any) -> Callable[..., list[Any]]:
        seeds = [variable.value for variable in layer.non_trainable_variables]

        def compute(steps: Any, table: Any, *weights: Any) -> list[Any]:
            vectors = _looked_up(embedding, table)
            return [layer.stateless_call(list(weights), seeds, given)[0] for given in (steps, vectors)]

        return compute

    shapes = [(2, 5, 3), (5, 3), *(one.shape for one in ours.trainable_variables)]
    return _disagreement(in_use, computed_by(ours), shapes, computed_by(plain))


def _embedding() -> Any:
    layer: Any = keras.layers.Embedding(5, 3, embeddings_initializer="zeros", dtype="float32", name="check")
    layer.build((2, 5))
    return layer


def _looked_up(embedding: Any, table: Any) -> Any:
    return embedding.stateless_call([table], [], jnp.arange(10).reshape(2, 5) % 5)[0]


def _disagreement(
    in_use: InUse,
    compute: Callable[..., list[Any]],
    shapes: Sequence[tuple[int, ...]],
    by_keras: Callable[..., list[Any]] | None = None,
) -> str | None:
    """Return how results or gradients of `compute` for inputs of these shapes differ with the kernel from those of
    `by_keras`, or of `compute` without it; None if they agree."""
    with _on_the_cpu():
        values = [jnp.asarray(np.sin(np.arange(math.prod(shape)) + 1).reshape(shape), jnp.float32) for shape in shapes]

        def results(compute: Callable[..., list[Any]]) -> Any:
            # A new function each time, since JAX would reuse the trace of the first one.
            def loss(values: Any) -> Any:
                parts = compute(*values)
                return sum(jnp.sum(part * part) for part in parts), parts

            return jax.jit(jax.value_and_grad(loss, has_aux=True))(values)

        expected = results(by_keras or compute)
        with in_use():
            found = results(compute)
    apart = _difference(expected, found, TOLERANCE)
    return None if apart is None else f"its values differ from Keras's {apart}"


@contextmanager
def _on_the_cpu() -> Generator[None]:
    """Compute on the CPU in full float32, whatever else the machine has: where the kernels compute."""
    with jax.default_device(jax.local_devices(backend="cpu")[0]), jax.default_matmul_precision("highest"):
        yield


@contextmanager
def _beside_a_gpu() -> Generator[None]:
    """Let Keras find a GPU, as on a machine that has one."""
    if GPU_THERE.owner is None:
        yield
        return
    before = getattr(GPU_THERE.owner, GPU_THERE.attribute)
    setattr(GPU_THERE.owner, GPU_THERE.attribute, lambda: True)
    try:
        yield
    finally:
        setattr(GPU_THERE.owner, GPU_THERE.attribute, before)


def _difference(expected: Any, found: Any, tolerance: float) -> str | None:
    """Say by how much two trees of arrays differ, relative to the largest value of each array; None if they agree. In
    NumPy: JAX compiles a program for each shape that it subtracts."""
    pairs = zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True)
    arrays = [(np.asarray(one, np.float64), np.asarray(other, np.float64)) for one, other in pairs]
    apart = [np.abs(one - other).max() / max(np.abs(one).max(), np.finfo(np.float64).tiny) for one, other in arrays]
    largest = float(np.max(apart))  # NaN if one is
    return None if largest <= tolerance else f"by {largest:.1e} of the largest"
