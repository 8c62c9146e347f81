"""Floating-point operations of a training step, counted from the layers of a built Keras model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unidl.layer_paths import walk

if TYPE_CHECKING:
    import keras

GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}
TRAINED = 3
"""The forward pass, and one product of the same size each for the gradients of the inputs and the weights."""
PASSED_THROUGH = 2
"""The forward pass and the gradient of the inputs, for a frozen layer after a trainable one."""


def training_flops(model: keras.Model) -> float | None:
    """Return the floating-point operations of a training step per sample, 2 for a multiply-add.

    Layers that multiply by a matrix are counted: dense, convolution, recurrent, attention, EinsumDense. Those
    before the first trainable layer cost only their forward pass. None if a layer has a matrix but is unknown, such as
    a custom layer.
    """
    total, learning = 0.0, False
    try:
        for layer in _leaves(model):
            # Frozen layers before all trainable layers need no gradient.
            learning = learning or bool(layer.trainable_variables)
            factor = 1 if not learning else TRAINED if layer.trainable_variables else PASSED_THROUGH
            total += factor * _forward(layer)
    except _UnknownLayerError:
        return None
    return total


class _UnknownLayerError(Exception):
    pass


def _leaves(model: keras.Model) -> list[Any]:
    """Return the layers that compute: not models, and not the inner layers of recurrent and attention layers."""
    whole: list[str] = []
    found: list[Any] = []
    for path, layer in walk(model):
        inside = any(path.startswith(f"{outer}/") for outer in whole)
        if inside or _is_model(layer):
            continue
        if type(layer).__name__ in (*GATES, "MultiHeadAttention"):
            whole.append(path)
        found.append(layer)
    return found


def _is_model(layer: Any) -> bool:
    import keras

    return isinstance(layer, keras.Model)


def _forward(layer: Any) -> float:
    name = type(layer).__name__
    kernels = [weight for weight in layer.weights if len(weight.shape) >= 2]
    if not kernels or name in ("Embedding", "PositionEmbedding"):  # an embedding only looks up rows
        return 0.0
    if name in GATES:
        time_steps, features = _input_shape(layer)[-2:]
        return 2.0 * _size([time_steps]) * GATES[name] * layer.units * (features + layer.units)
    if name == "MultiHeadAttention":
        return _attention(layer)
    if name == "Dense":
        return 2.0 * _size(_input_shape(layer)[1:]) * layer.units
    if name in ("Conv1D", "Conv2D", "DepthwiseConv2D", "SeparableConv2D", "EinsumDense"):
        # Each kernel value is used once per output position, with any groups or multipliers.
        return 2.0 * _places(layer, name) * sum(_size(kernel.shape) for kernel in kernels)
    raise _UnknownLayerError


def _attention(layer: Any) -> float:
    """Count four projections of each step, and two products of all steps with all steps of the same sequence."""
    inputs = layer.input
    query, value = inputs[:2] if isinstance(inputs, list | tuple) else (inputs, inputs)
    if query is not value or len(query.shape) != 3:
        raise _UnknownLayerError
    steps = _size(query.shape[1:2])
    projections = steps * sum(_size(weight.shape) for weight in layer.weights if len(weight.shape) == 3)
    return 2.0 * (projections + 2 * steps**2 * layer.num_heads * layer.key_dim)


def _places(layer: Any, name: str) -> int:
    """Return how many times a kernel is applied to one sample."""
    output = _output_shape(layer)
    if name == "EinsumDense":
        return _einsum_places(layer)
    first = 2 if getattr(layer, "data_format", None) == "channels_first" else 1
    return _size(output[first : first + len(layer.kernel_size)])


def _einsum_places(layer: Any) -> int:
    """Return the sizes of the input axes, except the batch, that the kernel does not have."""
    left, _, _ = layer.equation.partition("->")
    inputs, _, kernel = left.partition(",")
    if "." in inputs:
        raise _UnknownLayerError
    sizes = dict(zip(inputs, _input_shape(layer), strict=True))
    return _size([size for axis, size in list(sizes.items())[1:] if axis not in kernel])


def _size(shape: Sequence[int | None]) -> int:
    if any(length is None for length in shape):
        raise _UnknownLayerError
    return math.prod(length for length in shape if length is not None)


def _input_shape(layer: Any) -> tuple[Any, ...]:
    try:
        return tuple(layer.input.shape)
    except (AttributeError, ValueError) as error:  # called inside a custom layer, so Keras stores no shape
        raise _UnknownLayerError from error


def _output_shape(layer: Any) -> tuple[Any, ...]:
    try:
        return tuple(layer.output.shape)
    except (AttributeError, ValueError) as error:
        raise _UnknownLayerError from error
