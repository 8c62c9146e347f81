"""What normalizations lose to cancellation, which no disturbance of their inputs shows.

(x - mean) / deviation is computed as x / deviation - mean / deviation as well, and so are its gradients: where x hardly
varies both are large. And an error of the mean is one of all numbers that are normalized together, which does not
average out behind.

Imports Keras: import it only where a backend is already in use.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras

ops: Any = keras.ops  # whose annotations allow for results that are no tensors

Noise = Callable[[Sequence[int], float], Any]
"""Returns a tensor of a shape, around 0, as large as the roundings of sums of so many terms."""


def normalization_noise(operation: Any, inputs: Any, noise: Noise) -> Any:
    """Return what to add to the output of a normalization, None for any other layer. Its value and its gradients are as
    large as what roundings inside the layer may do."""
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
    # Keras takes the variance as the mean of the squares minus the square of the mean.
    squares = ops.mean(still**2, axis=axes, keepdims=True)
    lost = lost + (parts - mean) * (squares / (variance + operation.epsilon)) * noise(size.shape, together)
    # These add nothing but to the gradients: to each its own, and to all of a mean the same.
    # Both are off by what is lost in the normalized x as well, which they are multiplied with.
    condition = 1 + size * ops.rsqrt(variance + operation.epsilon)
    lost = lost + (parts - still) * condition * noise(parts.shape, 1)
    lost = lost + (mean - ops.stop_gradient(mean)) * condition * noise(parts.shape, together)
    return ops.reshape(lost * slope, x.shape)


def _slope(operation: Any, x: Any, parts: Any, variance: Any) -> Any:
    """What the layer multiplies x with, in the shape of x."""
    shape = [1] * len(x.shape)  # of what it keeps for each channel
    for axis in [operation.axis] if isinstance(operation.axis, int) else operation.axis:
        shape[axis] = x.shape[axis]
    running = getattr(operation, "moving_variance", None)
    if running is not None:
        variance = ops.minimum(variance, ops.reshape(ops.convert_to_tensor(running), shape))
    slope = ops.reshape(ops.broadcast_to(ops.rsqrt(variance + operation.epsilon), parts.shape), x.shape)
    gamma = getattr(operation, "gamma", None)
    return slope if gamma is None else slope * ops.reshape(ops.convert_to_tensor(gamma), shape)


def _normalized(operation: Any, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape that a layer gives its inputs, of this shape, and the axes of that over which it normalizes; none if it
    does not."""
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
