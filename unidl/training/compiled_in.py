"""Warnings about values that compiled steps do not follow, on backends where Keras's own steps do not either."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unidl.backend import TrainLoop
from unidl.notices import notice

if TYPE_CHECKING:
    import keras


FIRST_EPOCHS = 2
"""Epochs at whose ends variables are looked for that the steps do not update, which takes as long as some steps. One
that comes later comes as a new attribute."""


class CompiledIn:
    """Checks whether the steps of a model, from `loop`, match the current values of its layers, loss and optimizer."""

    def __init__(self, model: keras.Model, loop: TrainLoop) -> None:
        from unidl.model_state import PythonValues

        self._model, self._loop = model, loop
        self._values = None if loop.follows_values else PythonValues(model)
        self._epochs = self._snapshot = 0

    def look(self) -> None:
        """Warn about values that have changed since the last check, and about variables that the steps do not
        update."""
        from unidl.model_state import hidden_variables

        for changed in self._values.changed()[:1] if self._values is not None else ():
            notice(
                f"{self._model.name}: {changed} has changed since the steps were compiled, but they keep the old "
                "value, as in Keras on this backend. Store it in a keras.Variable, or compile the model again."
            )
        snapshot = self._values.snapshots if self._values is not None else 0
        self._epochs += 1
        if self._loop.follows_variables or (snapshot == self._snapshot and self._epochs > FIRST_EPOCHS):
            return
        self._snapshot = snapshot
        for variable in hidden_variables(self._model)[:1]:
            notice(
                f"{self._model.name}: the variable '{variable.path}' is not tracked by the model, its metrics or its "
                "optimizer; the steps do not update it, as in Keras on this backend. Make it a weight of a layer."
            )
