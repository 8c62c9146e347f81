"""What a compiled step keeps as it was, on the backends where Keras's own steps do: a person is told once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unidl.backend import TrainLoop
from unidl.notices import notice

if TYPE_CHECKING:
    import keras


class CompiledIn:
    """Looks whether the steps of a model, from `loop`, still go by what its layers, loss and optimizer hold."""

    def __init__(self, model: keras.Model, loop: TrainLoop) -> None:
        from unidl.model_state import PythonValues

        self._model, self._loop = model, loop
        self._values = None if loop.follows_values else PythonValues(model)

    def look(self) -> None:
        """Tell of values that have changed since the last look, and of variables that the steps do not change."""
        from unidl.model_state import hidden_variables

        for changed in self._values.changed()[:1] if self._values is not None else ():
            notice(
                f"{self._model.name}: {changed} has changed since the steps were compiled, and they keep the value of "
                "then, as in Keras on this backend. Hold it in a keras.Variable, or compile the model again."
            )
        for variable in hidden_variables(self._model)[:1] if not self._loop.follows_variables else ():
            notice(
                f"{self._model.name}: the variable '{variable.path}' is in no list of the model, its metrics or its "
                "optimizer; the steps leave it as it is, as in Keras on this backend. Make it a weight of a layer."
            )
