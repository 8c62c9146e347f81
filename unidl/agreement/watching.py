"""Observation of the output of every layer of a model, to record or to perturb it.

Imports Keras: import this module only once a backend is in use.
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
"""Called with a place, its layer or operation, the inputs and one output; returns the output to continue with."""

LOOPS = (keras.layers.RNN, keras.layers.TimeDistributed)
"""Layers that call inner layers in a loop of the framework, whose steps cannot be observed."""


@dataclass(frozen=True)
class Place:
    """One output of one call of a layer, or of an operation between layers."""

    path: str
    kind: str
    call: int = 1
    output: int = 0

    def __str__(self) -> str:
        more = f" call {self.call}" if self.call > 1 else ""
        return f"{self.path}{more}{f' output {self.output}' if self.output else ''}"


def operations(model: keras.Model) -> dict[int, tuple[str, Any]]:
    """Return the paths of everything in `model` that can be observed, by id: layers, and operations of `keras.ops`
    between them; with the objects, so that no id is reused."""
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
    """Pass the output of each layer to `see` whenever the model is called, in order of computation."""
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
    """Return the outputs as returned by `see`, with the attributes that Keras set on the tensors."""
    leaves = keras.tree.flatten(outputs)
    new = [see(number, leaf) for number, leaf in enumerate(leaves)]
    if all(one is other for one, other in zip(new, leaves, strict=True)):
        return outputs
    for one, other in zip(new, leaves, strict=True):
        if one is not other:
            carry_mask(other, one)
    return keras.tree.pack_sequence_as(outputs, new)
