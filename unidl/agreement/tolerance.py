"""How far a sound computation may be from the exact one, by the type it computes in and the sums that it takes.

Every layer of a backward stable computation gives what exact arithmetic would give for inputs and weights that are off
by a few roundings (Higham 2002, "Accuracy and Stability of Numerical Algorithms", chapter 3), and the error of a sum of
n terms grows with the root of n, not with n, where roundings are not all to one side (Higham and Mary 2019, "A new
approach to probabilistic rounding error analysis"). What that does to the layers behind, to gradients and to later
steps no formula tells for any model: it is found by disturbing the oracle that much, some times (as Parker 1997,
"Monte Carlo arithmetic").
"""

from __future__ import annotations

import math
from typing import Any

UNIT_ROUNDOFF = {
    "float32": 2.0**-24,
    "tf32": 2.0**-11,
    "mixed_bfloat16": 2.0**-8,
    "mixed_float16": 2.0**-11,
}
"""Half the distance from 1 to the next number, of the type in which factors of products are held."""
ROUNDINGS = 4
"""Of one value on its way through a layer: as a factor, after the sum, after the bias, after the activation."""
DEVIATIONS = 4
"""Standard deviations of the error of a sum that count as sound."""
SAMPLES = 6
"""How often the oracle is disturbed: what only one rounding in some hundred does, such as a ReLU that opens, is seen
because the disturbance is several times as large as the roundings."""


def amplitude(precision: str, terms: float) -> float:
    """Return by which share a value may be off that is a sum of so many terms, accumulated in float32."""
    return ROUNDINGS * UNIT_ROUNDOFF[precision] + DEVIATIONS * math.sqrt(terms) * UNIT_ROUNDOFF["float32"]


def terms(operation: Any, inputs: Any, output: Any) -> float:
    """Return how many terms the longest sum has that a layer takes for one number of its output."""
    import keras

    if isinstance(operation, keras.layers.Embedding):
        return 1
    kernels = [weight.shape[:-1] for weight in getattr(operation, "weights", ()) if len(weight.shape) > 1]
    if kernels:
        return sum(math.prod(shape) for shape in kernels)
    if isinstance(operation, keras.layers.BatchNormalization):
        return _size(inputs) / operation.gamma.shape[0] if operation.gamma is not None else _size(inputs)
    return max(_size(inputs) / max(1, _size(output)), int(output.shape[-1]) if len(output.shape) else 1, 1)


def step_terms(optimizer: Any) -> float:
    """Return how many terms the size of an optimizer's step stands for. Adam divides by 1 - beta_2^t, which in the
    first steps has lost 1 / (1 - beta_2) to cancellation."""
    beta = getattr(getattr(optimizer, "inner_optimizer", optimizer), "beta_2", None)
    return 1 if beta is None else (1 / (1 - beta)) ** 2


def cancellation(operation: Any, inputs: Any) -> tuple[Any, Any] | None:
    """Return what a normalization is given and what it multiplies that with, None for any other layer.

    (x - mean) / deviation is computed as x / deviation - mean / deviation as well, and so are its gradients; where x
    hardly varies both are large, and no disturbance of x shows what is lost.
    """
    import keras

    ops: Any = keras.ops
    [x, *_] = keras.tree.flatten(inputs)
    axes, groups = _normalized_axes(operation, len(x.shape))
    if axes is None:
        return None
    parts = x if groups is None else ops.reshape(x, (*x.shape[:-1], groups, x.shape[-1] // groups))
    shape = [1] * len(x.shape)  # of what the layer keeps for each channel
    for axis in [operation.axis] if isinstance(operation.axis, int) else operation.axis:
        shape[axis] = x.shape[axis]
    variance = ops.stop_gradient(ops.var(parts, axis=axes, keepdims=True))
    running = getattr(operation, "moving_variance", None)
    if running is not None:
        variance = ops.minimum(variance, ops.reshape(ops.convert_to_tensor(running), shape))
    slope = ops.reshape(ops.broadcast_to(ops.rsqrt(variance + operation.epsilon), parts.shape), x.shape)
    gamma = getattr(operation, "gamma", None)
    return x, slope if gamma is None else slope * ops.reshape(ops.convert_to_tensor(gamma), shape)


def _normalized_axes(operation: Any, rank: int) -> tuple[tuple[int, ...] | None, int | None]:
    """The axes over which a layer normalizes, None if it does not, and into how many groups it cuts the last one."""
    import keras

    if isinstance(operation, keras.layers.BatchNormalization):
        return tuple(axis for axis in range(rank) if axis != operation.axis % rank), None
    if isinstance(operation, keras.layers.LayerNormalization):
        axis = operation.axis
        return tuple(axis) if isinstance(axis, list | tuple) else (axis,), None
    if isinstance(operation, keras.layers.GroupNormalization):
        groups = operation.groups
        return (*range(1, rank - 1), rank), groups
    return None, None


def positions(inputs: Any, output: Any) -> float:
    """Return how many places of the batch a layer's gradients are summed over."""
    import keras

    tensors = [output, *keras.tree.flatten(inputs)]
    return max(math.prod(int(size) for size in tensor.shape[:-1]) for tensor in tensors if hasattr(tensor, "shape"))


def _size(tensors: Any) -> float:
    import keras

    leaves = [leaf for leaf in keras.tree.flatten(tensors) if hasattr(leaf, "shape")]
    return sum(math.prod(int(size) for size in leaf.shape) for leaf in leaves)
