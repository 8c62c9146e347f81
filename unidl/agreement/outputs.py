"""The outputs of a model for given rows, and in float64 their error bounds.

Imports Keras: import this module only once a backend is in use.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from unidl.agreement.disturbance import Disturbance
from unidl.agreement.oracle import largest
from unidl.agreement.start import packed
from unidl.agreement.tolerance import COVERAGE, SAMPLES, amplitude, terms
from unidl.agreement.watching import See, watched
from unidl.computes import Interface, Tensor
from unidl.errors import ModelError
from unidl.layer_paths import named_weights
from unidl.saving.saved import as_array, assign_weights

if TYPE_CHECKING:
    from unidl.backend import Precision

Arrays = Sequence[np.ndarray[Any, Any]]


def interface_of(model: keras.Model) -> Interface:
    """Return the inputs and outputs of a model. Raises `ModelError` if they are unknown, as of some subclasses."""
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not inputs or not outputs:
        raise ModelError(
            f"Cannot export the model '{model.name}': its inputs have no known shape. Build it from keras.Input, as "
            "keras.Model(inputs, model(inputs))."
        )

    def described(tensors: Sequence[Any], names: Sequence[str]) -> tuple[Tensor, ...]:
        return tuple(
            Tensor(name, tuple(tensor.shape), keras.backend.standardize_dtype(tensor.dtype))
            for name, tensor in zip(names, tensors, strict=True)
        )

    return Interface(
        described(inputs, [one.name for one in inputs]), described(outputs, _distinct(list(model.output_names)))
    )


class ModelOutputs:
    """A Keras model on the current backend, as what computes outputs (`unidl.computes.Computes`)."""

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self.interface = interface_of(model)

    def outputs(self, inputs: Arrays) -> list[np.ndarray[Any, Any]]:
        """Return the outputs in inference, computed eagerly."""
        found = self._model(packed(self._model, inputs), training=False)
        return [as_array(leaf) for leaf in keras.tree.flatten(found)]

    def seen(self, inputs: Arrays, see: See) -> list[np.ndarray[Any, Any]]:
        """Return the outputs while `see` observes or replaces the output of every layer."""
        with watched(self._model, see):
            return self.outputs(inputs)

    def bounds(self, inputs: Arrays, precision: Precision) -> list[float]:
        """Return the error bound of each output for a correct computation in a precision: how much the outputs change
        under perturbations as large as its roundings, as in `unidl.agreement.oracle`. The process must compute in
        float64."""
        sums: dict[int, float] = {}
        expected = self.seen(inputs, _measuring(sums))
        weights = {name: as_array(variable) for name, variable in named_weights(self._model).items()}
        moved = [0.0] * len(expected)
        for sample in range(SAMPLES):
            disturb = Disturbance(precision, sample)
            self._assign({name: disturb.weight(name, value) for name, value in weights.items()})
            found = self.seen(inputs, disturb.output)
            moved = [
                max(before, float(np.abs(one - other).max(initial=0.0)))
                for before, one, other in zip(moved, found, expected, strict=True)
            ]
        self._assign(weights)
        if not all(math.isfinite(one) for one in moved):
            raise ModelError(
                f"Cannot certify the model '{self._model.name}': its outputs are not finite for these rows in float64."
            )
        rounding = amplitude(precision.unit_roundoff, max(sums.values(), default=1.0))
        return [COVERAGE * one + rounding * largest(value) for one, value in zip(moved, expected, strict=True)]

    def _assign(self, weights: dict[str, np.ndarray[Any, Any]]) -> None:
        assign_weights(self._model, weights, Path("the perturbed weights"))


def _measuring(sums: dict[int, float]) -> See:
    """Return a function that keeps the length of the sums of the last layer."""

    def see(place: Any, operation: Any, inputs: Any, value: Any) -> Any:
        if hasattr(value, "shape"):
            sums.clear()
            sums[0] = terms(operation, inputs, value)
        return value

    return see


def _distinct(names: Sequence[str]) -> list[str]:
    """Return the names, numbered where two are equal."""
    return [name if names.count(name) == 1 else f"{name}_{number}" for number, name in enumerate(names)]
