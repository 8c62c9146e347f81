"""What Keras lacks on JAX: kernels that compute the same numbers faster, in place of Keras's while our loop traces.

Each replaces one function of Keras 3.15 on the CPU, and only if it gives the same values and gradients:
`REPLACEMENTS.why_not` says why none is in use.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import keras
from keras.src import backend as keras_backend
from keras.src.backend.jax import nn as keras_nn

from unidl.kernels import Replacements, looked_up, noticed
from unidl_jax import kernel_checks, kernels_images, kernels_recurrent

ops: Any = keras.ops  # whose annotations allow for results that are no arrays


def kernels(device: Any) -> AbstractContextManager[None]:
    """Inside it Keras traces with these kernels, where they suit and `device` is a CPU; else with its own."""
    return REPLACEMENTS.where_sound() if device.platform == "cpu" else nullcontext()


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
        and keras_backend.standardize_data_format(data_format) == "channels_last"
        and dilation_rate in (1, (1, 1), [1, 1])
        and inputs.dtype == weights.dtype == jnp.float32
        and inputs.shape[-1] == weights.shape[2]
    )
    if not suits:
        return _conv(inputs, kernel, strides, padding, data_format, dilation_rate)
    steps = (strides, strides) if isinstance(strides, int) else tuple(strides)
    convolution = (inputs, weights, steps, padding.upper())
    outputs: Any = kernels_images.convolution(*convolution)
    # Of a convolution without outputs Keras says what is wrong.
    if outputs.size == 0 or kernels_images.patch_bytes(*convolution) > kernels_images.LARGEST_PATCHES:
        return _conv(inputs, kernel, strides, padding, data_format, dilation_rate)
    return outputs


def max_pool(
    inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: str | None = None
) -> Any:
    """Max-pooling over windows of images that do not overlap."""
    size = (pool_size, pool_size) if isinstance(pool_size, int) else tuple(pool_size)
    steps = size if strides is None else (strides, strides) if isinstance(strides, int) else tuple(strides)
    suits = (
        getattr(inputs, "ndim", 0) == 4
        and len(size) == 2
        and steps == size
        and padding == "valid"
        and keras_backend.standardize_data_format(data_format) == "channels_last"
        and jnp.issubdtype(inputs.dtype, jnp.floating)
        and inputs.shape[1] >= size[0]
        and inputs.shape[2] >= size[1]
    )
    return (
        kernels_images.max_pool(inputs, size) if suits else _max_pool(inputs, pool_size, strides, padding, data_format)
    )


def lstm(
    inputs: Any, initial_state_h: Any, initial_state_c: Any, mask: Any, kernel: Any, recurrent_kernel: Any, bias: Any,
    activation: Any, recurrent_activation: Any, return_sequences: bool = False, go_backwards: bool = False,
    unroll: bool = False, **options: Any,
) -> Any:  # fmt: skip
    """An LSTM without mask and with the usual activations. inputs: (batch, time, features)."""
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
    """A GRU with reset_after, without mask and with the usual activations. inputs: (batch, time, features)."""
    if not reset_after or not _suits_fused(inputs, mask, bias, activation, recurrent_activation, unroll):
        return _gru(
            inputs, initial_state, mask, kernel, recurrent_kernel, bias, activation, recurrent_activation,
            return_sequences, go_backwards, unroll, reset_after,
        )  # fmt: skip
    of_inputs, of_hidden = ops.convert_to_tensor(bias)
    projected = _projected(inputs, kernel, of_inputs, go_backwards)
    outputs = kernels_recurrent.gru(projected, initial_state, ops.convert_to_tensor(recurrent_kernel), of_hidden)
    return outputs[-1], _in_batch(outputs, return_sequences), [outputs[-1]]


_conv = keras_nn.conv
_max_pool = keras_nn.max_pool
_lstm = keras_backend.lstm
_gru = keras_backend.gru

REPLACEMENTS = Replacements(
    [
        (keras_nn, "conv", conv),
        (keras_nn, "max_pool", max_pool),
        (keras_backend, "lstm", lstm),
        (keras_backend, "gru", gru),
        (keras.layers.Embedding, "call", noticed(keras.layers.Embedding.call)),
    ],
    keras="3.15.",
    disagreement=kernel_checks.disagreement,
    checked={"keras": "3.15.1", "jax": "0.10.2"},  # elsewhere the check takes 3 s in each process
)


def _suits_fused(inputs: Any, mask: Any, bias: Any, activation: Any, recurrent_activation: Any, unroll: bool) -> bool:
    return (
        mask is None
        and bias is not None
        and not unroll
        and activation is keras.activations.tanh
        and recurrent_activation is keras.activations.sigmoid
        and isinstance(inputs, jax.Array)
        and inputs.dtype == jnp.float32
    )


def _projected(inputs: jax.Array, kernel: Any, bias: jax.Array, backwards: bool) -> jax.Array:
    """The inputs (batch, time, features) times their kernel, and the bias, in the order in which a layer reads them:
    (time, batch, gates)."""
    table, steps = looked_up(inputs) or (None, inputs)
    steps = steps.swapaxes(0, 1)
    steps = steps[::-1] if backwards else steps
    factors: Any = steps.reshape(-1, inputs.shape[-1]) if table is None else table
    products = factors @ ops.convert_to_tensor(kernel) + bias
    return products.reshape(*steps.shape[:2], -1) if table is None else ops.take(products, steps, axis=0)


def _in_batch(outputs: jax.Array, return_sequences: bool) -> jax.Array:
    return (outputs if return_sequences else outputs[-1:]).swapaxes(0, 1)
