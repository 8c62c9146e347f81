"""Rounding errors of normalization layers due to cancellation, which perturbing their inputs does not reveal.

(x - mean) / deviation may also be computed as x / deviation - mean / deviation, and its gradients likewise: where x
hardly varies, both terms are large. An error of the mean is shared by all values that are normalized together, so it
does not average out in later layers.

Imports Keras: import this module only once a backend is in use.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras

ops: Any = keras.ops  # Keras's annotations allow results that are not tensors

Noise = Callable[[Sequence[int], float], Any]
"""Returns a tensor of the given shape, centered at 0, with the magnitude of rounding errors of sums of that many
terms."""


def normalization_noise(operation: Any, inputs: Any, noise: Noise) -> Any:
    """Return the perturbation to add to the output of a normalization layer, None for other layers. Its value and
    gradients are as large as the effect of roundings inside the layer."""
    x = next((leaf for leaf in keras.tree.flatten(inputs) if hasattr(leaf, "shape")), None)
    if x is None:
        return None
    shape, axes = _normalized(operation, tuple(x.shape))
    if not axes:
        return None
    parts = ops.reshape(x, shape)
    variance = ops.stop_gradient(ops.var(parts, axis=axes, keepdims=True))
    slope = ops.reshape(_slope(operation, x, parts, variance), parts.shape)
    still, mean = ops.stop_gradient(parts), ops.mean(parts, axis=axes, keepdims=True)
    together = math.prod(parts.shape[axis] for axis in axes)
    size = ops.mean(ops.abs(still), axis=axes, keepdims=True)
    lost = ops.abs(still) * noise(parts.shape, 1) + size * noise(size.shape, together)
    # Keras computes the variance as the mean of the squares minus the square of the mean.
    squares = ops.mean(still**2, axis=axes, keepdims=True)
    lost = lost + (parts - mean) * (squares / (variance + operation.epsilon)) * noise(size.shape, together)
    # These terms change only the gradients: one individually, the other equally for all values that share a mean.
    # Both include the error of the normalized x, by which they are multiplied.
    condition = 1 + size * ops.rsqrt(variance + operation.epsilon)
    lost = lost + (parts - still) * condition * noise(parts.shape, 1)
    lost = lost + (mean - ops.stop_gradient(mean)) * condition * noise(parts.shape, together)
    return ops.reshape(lost * slope, x.shape)


def _slope(operation: Any, x: Any, parts: Any, variance: Any) -> Any:
    """Return the factor by which the layer multiplies x, in the shape of x."""
    shape = [1] * len(x.shape)  # shape of its parameters per channel
    for axis in [operation.axis] if isinstance(operation.axis, int) else operation.axis:
        shape[axis] = x.shape[axis]
    running = getattr(operation, "moving_variance", None)
    if running is not None:
        variance = ops.minimum(variance, ops.reshape(ops.convert_to_tensor(running), shape))
    slope = ops.reshape(ops.broadcast_to(ops.rsqrt(variance + operation.epsilon), parts.shape), x.shape)
    gamma = getattr(operation, "gamma", None)
    return slope if gamma is None else slope * ops.reshape(ops.convert_to_tensor(gamma), shape)


def _normalized(operation: Any, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shape to which a layer reshapes its inputs, and the axes over which it normalizes; no axes if it
    does not normalize."""
    rank = len(shape)
    if isinstance(operation, keras.layers.BatchNormalization):
        return shape, tuple(axis for axis in range(rank) if axis != operation.axis % rank)
    if isinstance(operation, keras.layers.LayerNormalization):
        axes = [operation.axis] if isinstance(operation.axis, int) else operation.axis
        return shape, tuple(axis % rank for axis in axes)
    if isinstance(operation, keras.layers.GroupNormalization):
        axis, groups = operation.axis % rank, operation.groups
        cut = (*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])
        return cut, tuple(other for other in range(1, rank + 1) if other != axis)
    return shape, ()
