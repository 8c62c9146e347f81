"""What every layer of a model gives, one after another, to be written down or to be disturbed.

Imports Keras: import it only where a backend is already in use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras

from unidl.keras_internals import carry_mask
from unidl.layer_paths import stem, walk
from unidl.standing_in import standing_in

See = Callable[["Place", Any, Any, Any], Any]
"""Is given a place, the layer or operation there, its inputs and one output, and returns what goes on from there."""

LOOPS = (keras.layers.RNN, keras.layers.TimeDistributed)
"""What calls the layers inside it in a loop of the framework, whose steps nobody can look into."""


@dataclass(frozen=True)
class Place:
    """One output of one layer, or of one operation between layers, in one of its calls."""

    path: str
    kind: str
    call: int = 1
    output: int = 0

    def __str__(self) -> str:
        more = f" call {self.call}" if self.call > 1 else ""
        return f"{self.path}{more}{f' output {self.output}' if self.output else ''}"


def operations(model: keras.Model) -> dict[int, tuple[str, Any]]:
    """Return the path of everything in `model` that can be watched, by its id: layers, and operations of `keras.ops`
    between them; with the object, so that no id is used again."""
    found: dict[int, tuple[str, Any]] = {}
    hidden: list[str] = []
    for path, layer in walk(model):
        if any(path.startswith(f"{loop}/") for loop in hidden):
            continue
        if isinstance(layer, LOOPS):
            hidden.append(path)
        if path and not isinstance(layer, keras.layers.InputLayer):
            found[id(layer)] = path, layer
        if isinstance(layer, keras.Model) and hasattr(layer, "operations"):
            counts: Counter[str] = Counter()
            for operation in layer.operations:
                if isinstance(operation, keras.layers.Layer):
                    continue
                name, _ = stem(operation)
                own = f"{name}#{counts[name]}"
                counts[name] += 1
                found[id(operation)] = f"{path}/{own}" if path else own, operation
    return found


@contextmanager
def watched(model: keras.Model, see: See) -> Iterator[None]:
    """Inside it `see` looks at what each layer gives, whenever the model is called, in the order of the computation."""
    known = operations(model)
    calls: Counter[str] = Counter()
    owners: tuple[Any, ...] = (keras.layers.Layer, keras.Operation)
    originals = [owner.__call__ for owner in owners]

    def seen(original: Any) -> Any:
        def call(self: Any, *inputs: Any, **options: Any) -> Any:
            outputs = original(self, *inputs, **options)
            if id(self) not in known or (original is originals[1] and isinstance(self, keras.layers.Layer)):
                return outputs
            path = known[id(self)][0]
            calls[path] += 1
            kind = type(self).__name__
            return _replaced(
                outputs,
                lambda number, value: see(Place(path, kind, calls[path], number), self, (inputs, options), value),
            )

        return call

    pairs = zip(owners, originals, strict=True)
    with standing_in(*((owner, "__call__", seen(original)) for owner, original in pairs)):
        yield


def _replaced(outputs: Any, see: Callable[[int, Any], Any]) -> Any:
    """The outputs as `see` returns them, with what Keras has written on the tensors."""
    leaves = keras.tree.flatten(outputs)
    new = [see(number, leaf) for number, leaf in enumerate(leaves)]
    if all(one is other for one, other in zip(new, leaves, strict=True)):
        return outputs
    for one, other in zip(new, leaves, strict=True):
        if one is not other:
            carry_mask(other, one)
    return keras.tree.pack_sequence_as(outputs, new)
