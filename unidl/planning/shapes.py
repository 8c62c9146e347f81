"""The calls of all layers of a model, by their shapes alone: nothing is computed, and no weight has a value."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from unidl.data.trees import map_leaves
from unidl.errors import ModelError
from unidl.keras_internals import functional_of, inputs_of, without_values
from unidl.layer_paths import walk
from unidl.shortening import shortened
from unidl.standing_in import standing_in

if TYPE_CHECKING:
    import keras

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Value:
    """A tensor that a layer takes or gives, for one row. identity: equal for the same tensor."""

    identity: int
    shape: Shape

    @property
    def size(self) -> int:
        """Its elements."""
        return math.prod(self.shape)


@dataclass
class Call:
    """One call of a layer. inside: the calls of other layers that it made."""

    layer: Any
    path: str
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    inside: list[Call] = field(default_factory=list)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Build models without values: variables have shapes, and random initializers draw nothing."""
    import keras

    from unidl.models.initial_weights import building
    from unidl.models.initializers import RANDOM

    def zeros(self: Any, shape: Any, dtype: Any = None, **options: Any) -> Any:
        return keras.ops.zeros(shape, dtype=dtype or "float32")

    # Others inherit the method of one of these.
    drawing = [kind for kind in RANDOM if "__call__" in vars(kind)]
    with building, without_values(), standing_in(*((kind, "__call__", zeros) for kind in drawing)):
        yield


def calls_of_model(model: keras.Model, rows: Any = None) -> list[Call]:
    """Return the calls of a training step's forward pass, in order, for a batch of one row.

    rows: a tree of arrays (n, ...) that the model takes; without it, its own inputs have to have all lengths.
    Raises `ModelError` if the model cannot be called on them.
    """
    import keras

    inputs = _inputs(model, rows)
    recorder = _Recorder(model)

    class Once(keras.Operation):
        def call(self, inputs: Any) -> Any:
            recorder.started()
            return model(inputs, training=True)

    call: Any = keras.layers.Layer.__call__
    try:
        with shapes_only(), standing_in((keras.layers.Layer, "__call__", recorder.recording(call))):
            Once().compute_output_spec(inputs)
    except (ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise ModelError(f"Cannot plan the model '{model.name}': calling it failed: {shortened(error)}") from error
    return recorder.calls


def _inputs(model: keras.Model, rows: Any) -> Any:
    import keras

    def one(leaf: Any) -> Any:
        shape = (1, *leaf.shape[1:])
        if None in shape:
            raise ModelError(
                f"Cannot plan the model '{model.name}': it takes rows of shape {tuple(leaf.shape[1:])}, where None is "
                "any length. Give data with --data, which says how long rows are."
            )
        return keras.KerasTensor(shape, dtype=keras.backend.standardize_dtype(leaf.dtype))

    if rows is not None:
        return map_leaves(one, rows)
    functional = functional_of(model)
    if functional is None:
        raise ModelError(
            f"Cannot plan the model '{model.name}': it does not say what it takes. Give data with --data, or build it "
            "with keras.Input."
        )
    return keras.tree.map_structure(one, inputs_of(functional))


class _Recorder:
    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._paths = {id(layer): path for path, layer in walk(model)}
        self._kept: dict[int, Any] = {}
        self.started()

    def started(self) -> None:
        """Forget what an earlier attempt has recorded: some frameworks try twice."""
        self.calls: list[Call] = []
        self._open: list[Call] = []

    def recording(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return what replaces `Layer.__call__`."""

        def recorded(layer: Any, *args: Any, **kwargs: Any) -> Any:
            if layer is self._model:
                return call(layer, *args, **kwargs)
            made = Call(layer, self._paths.get(id(layer), str(layer.name)), self._values((args, kwargs)))
            (self._open[-1].inside if self._open else self.calls).append(made)
            self._open.append(made)
            try:
                result = call(layer, *args, **kwargs)
            finally:
                self._open.pop()
            made.outputs = self._values(result)
            return result

        return recorded

    def _values(self, tree: Any) -> list[Value]:
        import keras

        found: list[Value] = []
        for leaf in keras.tree.flatten(tree):
            if keras.ops.is_tensor(leaf) and len(leaf.shape):
                self._kept[id(leaf)] = leaf  # so that no other tensor gets its identity
                # A batch has one row, whatever axis a layer has made of it.
                found.append(Value(id(leaf), tuple(int(length) for length in leaf.shape)))
        return found
