"""What several devices would not compute as one does, and is therefore refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras  # pyright: ignore[reportMissingTypeStubs] - Keras ships none

from unidl.backend import Chunk, Logs, TrainLoop, Tree
from unidl.errors import ModelError, UsageError
from unidl.keras_internals import all_layers, symbolic_mask
from unidl.layers import foreign_draws

COUPLING = ("Dice", "Tversky", "CTC", "dice", "tversky", "ctc")
"""Losses of Keras that are not means over rows of a loss of each row."""


class ExactLoop:
    """A `TrainLoop` over several devices, which raises `ModelError` before the first step that would not compute what
    one device computes."""

    def __init__(self, model: keras.Model, loop: TrainLoop, *, divides_by: int | None) -> None:
        """divides_by: the number of devices, where a batch must have a multiple of it to be shared; else None."""
        self._model, self._loop, self._divides_by = model, loop, divides_by
        self._checked = False
        self.steps_per_dispatch = loop.steps_per_dispatch
        self.follows_values, self.follows_variables = loop.follows_values, loop.follows_variables

    @property
    def why_not_compiled(self) -> str | None:
        return self._loop.why_not_compiled

    def run(self, chunk: Chunk) -> Logs:
        self._require_exact()
        count, rows = self._divides_by, chunk.rows.shape[1]
        if count is not None and rows % count and not chunk.partial:
            raise UsageError(
                f"Cannot share batches of {rows} rows among {count} devices, of which each computes equally many on "
                f"this backend. Use batch_size={rows // count * count or count} or {(rows // count + 1) * count}."
            )
        return self._loop.run(chunk)

    def test(self, chunk: Chunk) -> Logs:
        self._require_exact()
        return self._loop.test(chunk)

    def predict(self, chunk: Chunk) -> Tree:
        return self._loop.predict(chunk)

    def reset_metrics(self) -> None:
        self._loop.reset_metrics()

    def commit(self) -> None:
        self._loop.commit()

    def _require_exact(self) -> None:
        if self._checked:
            return
        reason = self.why_not_compiled or next(_reasons(self._model), None)
        if reason is not None:
            raise ModelError(
                f"Cannot train or evaluate '{self._model.name}' over several devices with the numbers of one: "
                f"{reason}.\nChange this, or use one device."
            )
        self._checked = True


def _reasons(model: Any) -> Iterator[str]:
    base: Any = keras.Model
    for name in ("train_step", "compute_loss", "compute_metrics"):
        if getattr(type(model), name) is not getattr(base, name):
            yield f"the model overrides {name}, which sees only the rows of its device"
    for one in keras.tree.flatten(getattr(model, "loss", None)):
        yield from _of_loss(one)
    for layer in all_layers(model):
        yield from _of_layer(layer)
    if any(symbolic_mask(output) is not None for output in _outputs(model)):
        yield "an output has a mask, of which every device keeps another number of steps"
    for path in foreign_draws(model):
        yield f"the layer '{path}' draws with Keras's generators, equally on each device (those in unidl.layers do not)"


def _of_loss(loss: Any) -> Iterator[str]:
    if loss is None:
        return
    found = keras.losses.get(loss)
    name = getattr(found, "name", None) or getattr(found, "__name__", type(found).__name__)
    kind: Any = found if not isinstance(found, keras.losses.Loss) else type(found)
    if not kind.__module__.startswith("keras.") or kind.__name__ in COUPLING:
        yield f"the loss '{name}' may depend on more than the mean over rows"
    elif isinstance(found, keras.losses.Loss) and found.reduction != "sum_over_batch_size":
        yield f"the loss '{name}' has reduction={found.reduction!r} (allowed: 'sum_over_batch_size')"


def _of_layer(layer: Any) -> Iterator[str]:
    if getattr(layer, "activity_regularizer", None) is not None:
        yield f"the layer '{layer.name}' has an activity regularizer, a sum over rows"
    if getattr(layer, "stateful", False) and isinstance(layer, keras.layers.RNN):
        yield f"the layer '{layer.name}' is stateful: it keeps a state for each row of a batch"


def _outputs(model: Any) -> list[Any]:
    try:
        return list(keras.tree.flatten(model.outputs))
    except AttributeError:
        return []
