"""The model in float64, and the change of each of its values under perturbations as large as rounding errors.

Imports Keras: import this module only once a backend is in use.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from unidl.agreement.files import Bounds, Quantity, Values, deviations
from unidl.agreement.model_runs import ModelRuns
from unidl.agreement.normalizing import normalization_noise
from unidl.agreement.start import Start
from unidl.agreement.tolerance import COVERAGE, SAMPLES, amplitude, positions, step_terms, terms
from unidl.agreement.watching import Place
from unidl.backend import Precision
from unidl.errors import ModelError
from unidl.random import stream

ops: Any = keras.ops  # Keras's annotations allow results that are not tensors


class Oracle:
    """The values of a model in a process that computes in float64, and their error bounds."""

    def __init__(self, model: keras.Model, start: Start, runs: ModelRuns) -> None:
        self._model = model
        self._start = start
        self._runs = runs
        self._sums: dict[str, float] = {}
        self._positions: dict[str, float] = {}

    @property
    def paths(self) -> list[str]:
        """The layers in order of computation, available after a call of `values`."""
        return list(self._positions)

    def values(self) -> Values:
        """Return the unperturbed values of the model."""
        values = self._runs.values(self._runs.eagerly, self._measure)
        for name, value in values.items():
            if not np.isfinite(value).all():
                raise ModelError(
                    f"Cannot verify the model '{self._model.name}': in float64 its {' '.join(name).strip()} is not "
                    "finite for a random batch. Compile it with a loss that accepts any values, or change --input."
                )
        return values

    def bounds(self, values: Values, precision: Precision) -> Bounds:
        """Return the error bound of each value for a correct computation in this precision."""
        moved: Bounds = dict.fromkeys(values, 0.0)
        for sample in range(SAMPLES):
            for name, deviation in deviations(self._disturbed(precision, sample), values).items():
                moved[name] = max(moved[name], deviation)
        for name, deviation in moved.items():
            if not math.isfinite(deviation):
                raise ModelError(
                    f"Cannot verify the model '{self._model.name}': its {' '.join(name).strip()} becomes infinite, or "
                    "changes its shape, under perturbations as small as rounding errors."
                )
        return {
            name: COVERAGE * moved[name] + self._rounding(name, precision) * _largest(values[name]) for name in values
        }

    def _disturbed(self, precision: Precision, sample: int) -> Values:
        disturb = _Disturbance(precision, sample)
        weights = {name: disturb.weight(name, value) for name, value in self._start.weights.items()}
        rate = disturb.rate(self._model.optimizer)
        return self._runs.values(self._runs.eagerly, disturb.output, weights=weights, rate_factor=rate)

    def _measure(self, place: Place, operation: Any, inputs: Any, value: Any) -> Any:
        """Record the length of a layer's sums, and return its output unchanged."""
        if hasattr(value, "shape"):
            self._sums[str(place)] = terms(operation, inputs, value)
            self._positions[place.path] = max(positions(inputs, value), self._positions.get(place.path, 1))
        return value

    def _rounding(self, name: Quantity, precision: Precision) -> float:
        """Return the relative error of the last sum in the computation of a value."""
        if name.kind == "weight":
            return amplitude(precision.variable_roundoff, 1)
        if name.kind == "gradient":
            return amplitude(precision.unit_roundoff, self._places(name.place))
        return amplitude(precision.unit_roundoff, self._sums.get(name.place, len(self._start.x[0])))

    def _places(self, weight: str) -> float:
        """Return over how many positions the gradient of a weight is summed: those of its layer, or of the enclosing
        one."""
        path = weight.rpartition("/")[0]
        while path and path not in self._positions:
            path = path.rpartition("/")[0]
        return self._positions.get(path, max(self._positions.values(), default=1))


class _Disturbance:
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


def _largest(values: np.ndarray[Any, Any]) -> float:
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
