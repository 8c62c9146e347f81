"""The model in float64, and how far each of its numbers moves when it is disturbed as much as roundings may.

Imports Keras: import it only where a backend is already in use.
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

ops: Any = keras.ops  # whose annotations allow for results that are no tensors


class Oracle:
    """The values of a model in a process that computes in float64, and the bounds around them."""

    def __init__(self, model: keras.Model, start: Start, runs: ModelRuns) -> None:
        self._model = model
        self._start = start
        self._runs = runs
        self._sums: dict[str, float] = {}
        self._positions: dict[str, float] = {}

    @property
    def paths(self) -> list[str]:
        """The layers in the order of the computation, once `values` has been called."""
        return list(self._positions)

    def values(self) -> Values:
        """Return what the model gives, undisturbed."""
        values = self._runs.values(self._runs.eagerly, self._measure)
        for name, value in values.items():
            if not np.isfinite(value).all():
                raise ModelError(
                    f"Cannot verify the model '{self._model.name}': in float64 its {' '.join(name).strip()} is not "
                    "finite for a random batch. Compile it with a loss that takes any numbers, or say another --input."
                )
        return values

    def bounds(self, values: Values, precision: Precision) -> Bounds:
        """Return how far a sound computation in this precision may be from each value."""
        moved: Bounds = dict.fromkeys(values, 0.0)
        for sample in range(SAMPLES):
            for name, deviation in deviations(self._disturbed(precision, sample), values).items():
                moved[name] = max(moved[name], deviation)
        for name, deviation in moved.items():
            if not math.isfinite(deviation):
                raise ModelError(
                    f"Cannot verify the model '{self._model.name}': its {' '.join(name).strip()} becomes infinite, or "
                    "of another shape, when it is disturbed as little as roundings do."
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
        """Note how long the sums of a layer are, and leave its output as it is."""
        if hasattr(value, "shape"):
            self._sums[str(place)] = terms(operation, inputs, value)
            self._positions[place.path] = max(positions(inputs, value), self._positions.get(place.path, 1))
        return value

    def _rounding(self, name: Quantity, precision: Precision) -> float:
        """The error of the last sum that a value comes from, as a share of its size."""
        if name.kind == "weight":
            return amplitude(precision.variable_roundoff, 1)
        if name.kind == "gradient":
            return amplitude(precision.unit_roundoff, self._places(name.place))
        return amplitude(precision.unit_roundoff, self._sums.get(name.place, len(self._start.x[0])))

    def _places(self, weight: str) -> float:
        """Over how many places the gradient of a weight is summed: those of its layer, or of the one around that."""
        path = weight.rpartition("/")[0]
        while path and path not in self._positions:
            path = path.rpartition("/")[0]
        return self._positions.get(path, max(self._positions.values(), default=1))


class _Disturbance:
    """Random factors near 1, as far from it as a precision allows. The same for the same sample."""

    def __init__(self, precision: Precision, sample: int) -> None:
        self._precision = precision
        self._sample = sample
        self._drawn = stream(sample, "disturbance")

    def weight(self, name: str, value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """A weight as it goes on; whole numbers stay."""
        if value.dtype.kind != "f":
            return value
        sums = math.prod(value.shape[:-1]) if value.ndim > 1 else 1
        drawn = stream(self._sample, "disturbed weight", name)
        return value * self._factors(drawn, value.shape, sums)

    def rate(self, optimizer: Any) -> float:
        """The factor of the learning rate: what roundings inside the optimizer do to a step."""
        # Optimizers compute in the type of the weights.
        off = amplitude(self._precision.variable_roundoff, step_terms(optimizer))
        return 1 + off * float(stream(self._sample, "disturbed rate").uniform(-1, 1))

    def output(self, place: Place, operation: Any, inputs: Any, value: Any) -> Any:
        """A layer's output as it goes on."""
        if not (hasattr(value, "dtype") and "float" in keras.backend.standardize_dtype(value.dtype)):
            return value

        def noise(shape: Sequence[int], sums: float) -> Any:
            return ops.convert_to_tensor(self._factors(self._drawn, shape, sums) - 1, dtype=value.dtype)

        off = value + value * noise(value.shape, terms(operation, inputs, value))
        # This adds nothing but to the gradient: the sums of a layer's gradients go over all places of its output.
        off = off + (value - ops.stop_gradient(value)) * noise(value.shape, positions(inputs, value))
        lost = normalization_noise(operation, inputs, noise)
        return off if lost is None else off + lost

    def _factors(self, drawn: np.random.Generator, shape: Sequence[int], sums: float) -> np.ndarray[Any, Any]:
        return np.asarray(1 + amplitude(self._precision.unit_roundoff, sums) * drawn.uniform(-1, 1, size=tuple(shape)))


def _largest(values: np.ndarray[Any, Any]) -> float:
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
