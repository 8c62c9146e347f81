"""Recording of the gradient of every weight, as computed by the training loop.

Imports Keras: import this module only once a backend is in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from unidl.keras_internals import place_of


class Recorder(keras.optimizers.Optimizer):
    """An optimizer that leaves the weights unchanged and stores the last gradient of each."""

    def build(self, variables: Sequence[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        self.gradients = [self.add_variable_from_reference(variable, "gradient") for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        kept: Any = self.gradients[place_of(self, variable)]
        # Summed, since TensorFlow passes the gradients of a repeated token separately.
        self.assign(kept, keras.ops.zeros(kept.shape, dtype=kept.dtype))
        self.assign_add(kept, gradient)


def recorded(optimizer: Any) -> list[Any]:
    """Return the gradients stored by a `Recorder`, even if it is wrapped in Keras's LossScaleOptimizer."""
    return getattr(optimizer, "inner_optimizer", optimizer).gradients
