"""Error bounds of a correct computation, by the dtype it computes in and the lengths of its sums.

Every layer of a backward stable computation returns the exact result for inputs and weights that are perturbed
by a few roundings (Higham 2002, "Accuracy and Stability of Numerical Algorithms", chapter 3), and the error of a sum of
n terms grows with the square root of n, not with n, if roundings are unbiased (Higham and Mary 2019, "A new
approach to probabilistic rounding error analysis"). No formula gives the effect on later layers, gradients and later
steps for arbitrary models: it is estimated by perturbing the oracle by that much several times (as in Parker 1997,
"Monte Carlo arithmetic").
"""

from __future__ import annotations

import math
from typing import Any

from unidl.precision import FLOAT32

ROUNDINGS = 4
"""Roundings of one value in a layer: as a factor, after the sum, after the bias, after the activation."""
DEVIATIONS = 4
"""Accepted standard deviations of the error of a sum."""
SAMPLES = 6
"""Number of perturbed runs of the oracle. Rare effects of rounding, such as a ReLU that switches, are observed
because the perturbation is several times as large as the roundings."""

COVERAGE = 2
"""Ratio of the bound to the largest deviation among the samples: six samples do not contain the worst case."""


def amplitude(unit_roundoff: float, terms: float) -> float:
    """Return the relative error bound of a sum of this many terms, accumulated in float32.

    unit_roundoff: of the dtype of the factors of products.
    """
    return ROUNDINGS * unit_roundoff + DEVIATIONS * math.sqrt(terms) * FLOAT32.unit_roundoff


def terms(operation: Any, inputs: Any, output: Any) -> float:
    """Return the number of terms of the longest sum that a layer computes for one value of its output."""
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
    """Return the equivalent number of terms of an optimizer's step. Adam divides by 1 - beta_2^t, which in the
    first steps loses a factor 1 / (1 - beta_2) to cancellation."""
    beta = getattr(getattr(optimizer, "inner_optimizer", optimizer), "beta_2", None)
    return 1 if beta is None else (1 / (1 - beta)) ** 2


def positions(inputs: Any, output: Any) -> float:
    """Return the number of positions of the batch over which a layer's gradients are summed."""
    import keras

    tensors = [output, *keras.tree.flatten(inputs)]
    return max(math.prod(int(size) for size in tensor.shape[:-1]) for tensor in tensors if hasattr(tensor, "shape"))


def _size(tensors: Any) -> float:
    import keras

    leaves = [leaf for leaf in keras.tree.flatten(tensors) if hasattr(leaf, "shape")]
    return sum(math.prod(int(size) for size in leaf.shape) for leaf in leaves)
