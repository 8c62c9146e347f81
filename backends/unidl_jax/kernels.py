"""Kernels for JAX that compute the same results faster than Keras's functions, which they replace during tracing.

Each replaces one function of Keras on the CPU, and only if it returns the same values and gradients there:
`REPLACEMENTS.off` returns the disabled ones with reasons. Import this module through `unidl_jax.replacing`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import keras

from unidl.kernels import looked_up, noticed, recurs_plainly
from unidl.replacements import Replacement, Replacements
from unidl_jax import kernel_checks, kernels_images, kernels_recurrent
from unidl_jax.keras_internals import (
    ATTENTION,
    CONVOLUTION,
    EMBEDDING,
    GPU_THERE,
    GRU,
    LSTM,
    MAX_POOLING,
    SAMPLING,
    is_channels_last,
)

ops: Any = keras.ops  # Keras's annotations allow results that are not arrays


def conv(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """A two-dimensional convolution whose gradients are matrix products."""
    weights = ops.convert_to_tensor(kernel)
    suits = (
        getattr(inputs, "ndim", 0) == 4
        and is_channels_last(data_format)
        and dilation_rate in (1, (1, 1), [1, 1])
        and inputs.dtype == weights.dtype == jnp.float32
        and inputs.shape[-1] == weights.shape[2]
    )
    if not suits:
        return _conv(inputs, kernel, strides, padding, data_format, dilation_rate)
    steps = (strides, strides) if isinstance(strides, int) else tuple(strides)
    convolution = (inputs, weights, steps, padding.upper())
    outputs: Any = kernels_images.convolution(*convolution)
    # For a convolution without outputs Keras raises an error.
    if outputs.size == 0 or kernels_images.patch_bytes(*convolution) > kernels_images.LARGEST_PATCHES:
        return _conv(inputs, kernel, strides, padding, data_format, dilation_rate)
    return outputs


def max_pool(
    inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: str | None = None
) -> Any:
    """Max-pooling over non-overlapping windows of images."""
    size = (pool_size, pool_size) if isinstance(pool_size, int) else tuple(pool_size)
    steps = size if strides is None else (strides, strides) if isinstance(strides, int) else tuple(strides)
    suits = (
        getattr(inputs, "ndim", 0) == 4
        and len(size) == 2
        and steps == size
        and padding == "valid"
        and is_channels_last(data_format)
        and jnp.issubdtype(inputs.dtype, jnp.floating)
        and inputs.shape[1] >= size[0]
        and inputs.shape[2] >= size[1]
    )
    return (
        kernels_images.max_pool(inputs, size) if suits else _max_pool(inputs, pool_size, strides, padding, data_format)
    )


def bilinear(images: Any, matrices: Any, fill: str = "reflect", fill_value: float = 0.0) -> Any:
    """Images read at other places, with mirrored or repeated edges."""
    if fill == "constant" or not isinstance(images, jax.Array) or matrices.dtype != jnp.float32:
        return _bilinear(images, matrices, fill, fill_value)
    return kernels_images.bilinear(images, matrices, fill)


def lstm(
    inputs: Any, initial_state_h: Any, initial_state_c: Any, mask: Any, kernel: Any, recurrent_kernel: Any, bias: Any,
    activation: Any, recurrent_activation: Any, return_sequences: bool = False, go_backwards: bool = False,
    unroll: bool = False, **options: Any,
) -> Any:  # fmt: skip
    """An LSTM without mask and with default activations. inputs: (batch, time, features)."""
    if options or not _suits_fused(inputs, mask, bias, activation, recurrent_activation, unroll):
        return _lstm(
            inputs, initial_state_h, initial_state_c, mask, kernel, recurrent_kernel, bias, activation,
            recurrent_activation, return_sequences, go_backwards, unroll, **options,
        )  # fmt: skip
    projected = _projected(inputs, kernel, ops.convert_to_tensor(bias), go_backwards)
    recurrent = ops.convert_to_tensor(recurrent_kernel)
    outputs, cell = kernels_recurrent.lstm(projected, initial_state_h, initial_state_c, recurrent)
    return outputs[-1], _in_batch(outputs, return_sequences), [outputs[-1], cell]


def gru(
    inputs: Any, initial_state: Any, mask: Any, kernel: Any, recurrent_kernel: Any, bias: Any, activation: Any,
    recurrent_activation: Any, return_sequences: bool = False, go_backwards: bool = False, unroll: bool = False,
    reset_after: bool = True,
) -> Any:  # fmt: skip
    """A GRU with reset_after, without mask and with default activations. inputs: (batch, time, features)."""
    if not reset_after or not _suits_fused(inputs, mask, bias, activation, recurrent_activation, unroll):
        return _gru(
            inputs, initial_state, mask, kernel, recurrent_kernel, bias, activation, recurrent_activation,
            return_sequences, go_backwards, unroll, reset_after,
        )  # fmt: skip
    of_inputs, of_hidden = ops.convert_to_tensor(bias)
    projected = _projected(inputs, kernel, of_inputs, go_backwards)
    outputs = kernels_recurrent.gru(projected, initial_state, ops.convert_to_tensor(recurrent_kernel), of_hidden)
    return outputs[-1], _in_batch(outputs, return_sequences), [outputs[-1]]


def attention(query: Any, key: Any, value: Any, bias: Any = None, **options: Any) -> Any:
    """Attention in float16, computed in float32. query, key, value: (batch, time, heads, depth)."""
    if not query.dtype == key.dtype == value.dtype == jnp.float16:
        return _attention(query, key, value, bias, **options)
    wide = [None if one is None else ops.cast(one, "float32") for one in (query, key, value, bias)]
    return ops.cast(_attention(*wide, **options), "float16")


def gpu_there() -> bool:
    """Whether there is a GPU to compute on: not in a training on the CPU, whatever the machine has."""
    return False


_conv, _max_pool, _bilinear, _lstm, _gru, _attention = (
    place.original for place in (CONVOLUTION, MAX_POOLING, SAMPLING, LSTM, GRU, ATTENTION)
)

REPLACEMENTS = Replacements(
    [
        Replacement("convolution", CONVOLUTION, conv, kernel_checks.convolution),
        Replacement("max-pooling", MAX_POOLING, max_pool, kernel_checks.max_pooling),
        Replacement("sampling", SAMPLING, bilinear, kernel_checks.sampling),
        Replacement(
            "attention in float16",
            ATTENTION,
            attention,
            kernel_checks.attention,
            corrects="dot-product attention in float16 is an error of JAX on the CPU",
        ),
        Replacement(
            "LSTM beside a GPU",
            GPU_THERE,
            gpu_there,
            kernel_checks.lstm_beside_a_gpu,
            corrects="an LSTM on the CPU of a machine with a GPU is an error of JAX: Keras asks for cuDNN",
        ),
        Replacement("Embedding", EMBEDDING, noticed(EMBEDDING.original), kernel_checks.embedding),
        Replacement("LSTM", LSTM, lstm, kernel_checks.lstm),
        Replacement("GRU", GRU, gru, kernel_checks.gru),
    ],
    package="unidl_jax",
    modules=("jax", "jaxlib"),
)


def _suits_fused(inputs: Any, mask: Any, bias: Any, activation: Any, recurrent_activation: Any, unroll: bool) -> bool:
    return (
        recurs_plainly(mask, activation, recurrent_activation, unroll)
        and bias is not None
        and isinstance(inputs, jax.Array)
        and inputs.dtype == jnp.float32
    )


def _projected(inputs: jax.Array, kernel: Any, bias: jax.Array, backwards: bool) -> jax.Array:
    """Return the inputs (batch, time, features) times their kernel plus the bias, in the order in which a layer reads
    them: (time, batch, gates)."""
    table, steps = looked_up(inputs) or (None, inputs)
    steps = steps.swapaxes(0, 1)
    steps = steps[::-1] if backwards else steps
    factors: Any = steps.reshape(-1, inputs.shape[-1]) if table is None else table
    products = factors @ ops.convert_to_tensor(kernel) + bias
    return products.reshape(*steps.shape[:2], -1) if table is None else ops.take(products, steps, axis=0)


def _in_batch(outputs: jax.Array, return_sequences: bool) -> jax.Array:
    return (outputs if return_sequences else outputs[-1:]).swapaxes(0, 1)
