"""Warnings about values that compiled steps do not follow, on backends where Keras's own steps do not either."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unidl.backend import TrainLoop
from unidl.notices import notice

if TYPE_CHECKING:
    import keras


class CompiledIn:
    """Checks whether the steps of a model, from `loop`, match the current values of its layers, loss and optimizer."""

    def __init__(self, model: keras.Model, loop: TrainLoop) -> None:
        from unidl.model_state import PythonValues

        self._model, self._loop = model, loop
        self._values = None if loop.follows_values else PythonValues(model)

    def look(self) -> None:
        """Warn about values that have changed since the last check, and about variables that the steps do not
        update."""
        from unidl.model_state import hidden_variables

        for changed in self._values.changed()[:1] if self._values is not None else ():
            notice(
                f"{self._model.name}: {changed} has changed since the steps were compiled, but they keep the old "
                "value, as in Keras on this backend. Store it in a keras.Variable, or compile the model again."
            )
        for variable in hidden_variables(self._model)[:1] if not self._loop.follows_variables else ():
            notice(
                f"{self._model.name}: the variable '{variable.path}' is not tracked by the model, its metrics or its "
                "optimizer; the steps do not update it, as in Keras on this backend. Make it a weight of a layer."
            )
