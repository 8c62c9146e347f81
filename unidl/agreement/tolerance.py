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

from unidl.precision import FLOAT32

ROUNDINGS = 4
"""Of one value on its way through a layer: as a factor, after the sum, after the bias, after the activation."""
DEVIATIONS = 4
"""Standard deviations of the error of a sum that count as sound."""
SAMPLES = 6
"""How often the oracle is disturbed: what only one rounding in some hundred does, such as a ReLU that opens, is seen
because the disturbance is several times as large as the roundings."""

COVERAGE = 2
"""How much larger than the largest of the samples a bound is: six of them do not meet the worst case."""


def amplitude(unit_roundoff: float, terms: float) -> float:
    """Return by which share a value may be off that is a sum of so many terms, accumulated in float32.

    unit_roundoff: of the type in which factors of products are held.
    """
    return ROUNDINGS * unit_roundoff + DEVIATIONS * math.sqrt(terms) * FLOAT32.unit_roundoff


def terms(operation: Any, inputs: Any, output: Any) -> float:
    """Return how many terms the longest sum has that a layer takes for one number of its output."""
    import keras

    if isinstance(operation, keras.layers.Embedding):
        return 1
    kernels = [weight.shape[:-1] for weight in getattr(operation, "weights", ()) if len(weight.shape) > 1]
    if kernels:
        return sum(math.prod(shape) for shape in kernels)
    if isinstance(operation, keras.layers.BatchNormalization):
        return _size(output) / output.shape[operation.axis]
    return max(_size(inputs) / max(1, _size(output)), int(output.shape[-1]) if len(output.shape) else 1, 1)


def step_terms(optimizer: Any) -> float:
    """Return how many terms the size of an optimizer's step stands for. Adam divides by 1 - beta_2^t, which in the
    first steps has lost 1 / (1 - beta_2) to cancellation."""
    beta = getattr(getattr(optimizer, "inner_optimizer", optimizer), "beta_2", None)
    return 1 if beta is None else (1 / (1 - beta)) ** 2


def positions(inputs: Any, output: Any) -> float:
    """Return how many places of the batch a layer's gradients are summed over."""
    import keras

    tensors = [output, *keras.tree.flatten(inputs)]
    return max(math.prod(int(size) for size in tensor.shape[:-1]) for tensor in tensors if hasattr(tensor, "shape"))


def _size(tensors: Any) -> float:
    import keras

    leaves = [leaf for leaf in keras.tree.flatten(tensors) if hasattr(leaf, "shape")]
    return sum(math.prod(int(size) for size in leaf.shape) for leaf in leaves)
