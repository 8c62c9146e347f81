"""The model in float64, and the change of each of its values under perturbations as large as rounding errors.

Imports Keras: import this module only once a backend is in use.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.agreement.disturbance import Disturbance
from unidl.agreement.files import Bounds, Quantity, Values, deviations
from unidl.agreement.model_runs import ModelRuns
from unidl.agreement.start import Start
from unidl.agreement.tolerance import COVERAGE, SAMPLES, amplitude, positions, terms
from unidl.agreement.watching import Place
from unidl.backend import Precision
from unidl.errors import ModelError

if TYPE_CHECKING:
    import keras


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
            name: COVERAGE * moved[name] + self._rounding(name, precision) * largest(values[name]) for name in values
        }

    def _disturbed(self, precision: Precision, sample: int) -> Values:
        disturb = Disturbance(precision, sample)
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


def largest(values: np.ndarray[Any, Any]) -> float:
    """Return the largest absolute value that is finite."""
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
