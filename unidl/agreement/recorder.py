"""The gradient of every weight, as the training loop itself computes it.

Imports Keras: import it only where a backend is already in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from unidl.keras_internals import place_of


class Recorder(keras.optimizers.Optimizer):
    """An optimizer that changes no weight and keeps the last gradient of each."""

    def build(self, variables: Sequence[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        self.gradients = [self.add_variable_from_reference(variable, "gradient") for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        kept: Any = self.gradients[place_of(self, variable)]
        # Added, since TensorFlow hands on the gradients of a token that comes twice in a batch one by one.
        self.assign(kept, keras.ops.zeros(kept.shape, dtype=kept.dtype))
        self.assign_add(kept, gradient)


def recorded(optimizer: Any) -> list[Any]:
    """Return the gradients that a `Recorder` has kept, also one inside Keras's scaling of the loss."""
    return getattr(optimizer, "inner_optimizer", optimizer).gradients
