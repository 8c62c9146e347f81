"""Random changes as large as the rounding errors of a precision, of the weights and of every layer's output.

Imports Keras: import this module only once a backend is in use.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from unidl.agreement.normalizing import normalization_noise
from unidl.agreement.tolerance import amplitude, positions, step_terms, terms
from unidl.agreement.watching import Place
from unidl.backend import Precision
from unidl.random import stream

ops: Any = keras.ops  # Keras's annotations allow results that are not tensors


class Disturbance:
    """Random factors near 1, within the rounding error of a precision. Deterministic for a given sample."""

    def __init__(self, precision: Precision, sample: int) -> None:
        self._precision = precision
        self._sample = sample
        self._drawn = stream(sample, "disturbance")

    def weight(self, name: str, value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the perturbed weight; integers are unchanged."""
        if value.dtype.kind != "f":
            return value
        sums = math.prod(value.shape[:-1]) if value.ndim > 1 else 1
        drawn = stream(self._sample, "disturbed weight", name)
        return value * self._factors(drawn, value.shape, sums)

    def rate(self, optimizer: Any) -> float:
        """Return the factor of the learning rate, which models roundings inside the optimizer."""
        # Optimizers compute in the dtype of the weights.
        off = amplitude(self._precision.variable_roundoff, step_terms(optimizer))
        return 1 + off * float(stream(self._sample, "disturbed rate").uniform(-1, 1))

    def output(self, place: Place, operation: Any, inputs: Any, value: Any) -> Any:
        """Return the perturbed output of a layer."""
        if not (hasattr(value, "dtype") and "float" in keras.backend.standardize_dtype(value.dtype)):
            return value

        def noise(shape: Sequence[int], sums: float) -> Any:
            return ops.convert_to_tensor(self._factors(self._drawn, shape, sums) - 1, dtype=value.dtype)

        off = value + value * noise(value.shape, terms(operation, inputs, value))
        # This changes only the gradient: a layer's gradients are summed over all positions of its output.
        off = off + (value - ops.stop_gradient(value)) * noise(value.shape, positions(inputs, value))
        lost = normalization_noise(operation, inputs, noise)
        return off if lost is None else off + lost

    def _factors(self, drawn: np.random.Generator, shape: Sequence[int], sums: float) -> np.ndarray[Any, Any]:
        return np.asarray(1 + amplitude(self._precision.unit_roundoff, sums) * drawn.uniform(-1, 1, size=tuple(shape)))
