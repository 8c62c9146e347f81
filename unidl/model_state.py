"""What a step needs and reads besides the variables that a model lists: those that a first batch creates, Python values
of its parts, and variables that they hide.

A compiled step keeps a Python value as it was when the step was compiled, so adapters and the trainer look here whether
one has changed since. Imports Keras: import it only where a backend is already in use.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras  # pyright: ignore[reportMissingTypeStubs] - Keras ships none
import numpy as np

from unidl.backend import Tree
from unidl.keras_internals import FREEZES, INNER_MODULES, MODEL_HISTORY, PART_BOOKKEEPING, all_layers, create_variables

PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic)
MOST_MEMBERS = 64
"""A longer list is data, not a setting."""
MOST_BYTES = 4096
"""A larger array, likewise: it counts by its identity."""


class _Held(NamedTuple):
    """One attribute as it was: where it is, its value, and a copy of what a list or an object holds; None where the
    value cannot change."""

    part: str
    owner: dict[str, Any]
    attribute: str
    value: Any
    content: Any

    def is_same(self) -> bool:
        now = self.owner.get(self.attribute, _MISSING)
        if now is self.value:
            return self.content is None or _content(now, 2) == self.content
        return _content(now, 2) == (_content(self.value, 2) if self.content is None else self.content)


class PythonValues:
    """The Python values that layers, losses, metrics and the optimizer of a model hold, as they were last looked at.

    Numbers, words, and small lists, dicts and arrays of them; whether a layer is trainable; the same of a regularizer,
    a schedule or a settings object that one of them holds. Arrays of a framework count by their identity. Values that
    a function finds outside of them, in a global variable or a closure, are not seen.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._held, self._sizes = self._read()

    def changed(self) -> list[str]:
        """Return the attributes that have changed since the last look, such as "beta of the layer 'scale'"."""
        sizes = [len(owner) for owner, _ in self._sizes]
        if sizes == [size for _, size in self._sizes] and all(held.is_same() for held in self._held):
            return []
        before = {(held.part, held.attribute): held for held in self._held}
        self._held, self._sizes = self._read()
        after = {(held.part, held.attribute): held for held in self._held}
        names = [name for name, held in before.items() if name not in after or not held.is_same()]
        known = {part for part, _ in before}  # Keras builds its metrics at the first batch
        names += [name for name in after if name not in before and name[0] in known]
        return [f"{attribute} of {part}" for part, attribute in names]

    def restore(self) -> None:
        """Give attributes the values of the last look back, and take away new ones: those that a trial step counted."""
        for held in self._held:
            if held.owner.get(held.attribute, _MISSING) is not held.value:
                held.owner[held.attribute] = held.value
        for owner, size in self._sizes:
            for attribute in list(owner)[size:]:
                del owner[attribute]

    def _read(self) -> tuple[list[_Held], list[tuple[dict[str, Any], int]]]:
        held: list[_Held] = []
        sizes: list[tuple[dict[str, Any], int]] = []
        for name, part in _parts(self._model):
            skipped = _of_keras(isinstance(part, keras.Model)) if isinstance(part, keras.Layer) else PART_BOOKKEEPING
            owner: Any = vars(part)
            sizes.append((owner, len(owner)))
            for attribute, value in owner.items():
                content = None if attribute in skipped or attribute.startswith("_self_") else _content(value, 2)
                if content is not None:
                    held.append(_Held(name, owner, attribute, value, None if _is_fixed(value) else content))
        return held, sizes


def build(model: Any, batch: Tree) -> None:
    """Create what Keras creates on seeing its first batch, before a step is taken or a metric reset: weights, metrics,
    the variables of the optimizer. batch: what a step is handed. A model whose steps are its own may have no `call`, or
    one that takes something else; what its layers lack is then left to those steps."""
    base: Any = keras.Model
    own = type(model).train_step is not base.train_step
    if not own or type(model).call is not base.call:
        try:
            create_variables(model, batch)
        except Exception:
            if not own:
                raise
    layers: list[Any] = all_layers(model, include_self=False)
    if own and model.optimizer is not None and not model.optimizer.built and all(layer.built for layer in layers):
        model.optimizer.build(model.trainable_variables)


def hidden_variables(model: keras.Model) -> list[keras.Variable]:
    """Return the variables that the loss, a metric, the optimizer or a layer of `model` holds as attributes and that
    neither the model nor its optimizer lists, such as the counter of a loss, or one of Keras's Nadam."""
    optimizer = model.optimizer.variables if model.optimizer is not None else []
    listed = {id(variable) for variable in (*model.variables, *optimizer, *model.metrics_variables)}
    found: dict[int, keras.Variable] = {}
    for _, part in _parts(model):
        for value in vars(part).values():
            members = value if isinstance(value, list | tuple) else value.values() if type(value) is dict else (value,)
            found |= {id(one): one for one in members if isinstance(one, keras.Variable) and id(one) not in listed}
    return list(found.values())


def _parts(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """What a step calls, each once, with words that say what it is."""
    seen: set[int] = set()
    for kind, part in _kinds_and_parts(model):
        if hasattr(part, "__dict__") and id(part) not in seen:
            seen.add(id(part))
            yield f"the {kind} '{getattr(part, 'name', None) or type(part).__name__}'", part


def _kinds_and_parts(model: Any) -> Iterator[tuple[str, Any]]:
    for layer in all_layers(model):
        yield "layer", layer
    if model.compiled:
        for loss in keras.tree.flatten(model.loss):
            if not isinstance(loss, str | types.FunctionType):
                yield "loss", loss
        for metric in model.metrics:
            for one in getattr(metric, "metrics", (metric,)):  # those of `compile` are in one that holds them
                yield "metric", one
    optimizers = [model.optimizer]
    for optimizer in optimizers:
        if optimizer is not None:
            yield "optimizer", optimizer
            optimizers += [getattr(optimizer, "inner_optimizer", None), *getattr(optimizer, "optimizers", ())]


def _content(value: Any, depth: int) -> Any:
    """Something that is equal only for equal values; None for what is no value that a step reads as it is."""
    if isinstance(value, PLAIN):
        return (type(value), value if value == value else "nan")
    if isinstance(value, np.ndarray):
        return (value.shape, value.tobytes()) if value.nbytes <= MOST_BYTES else id(value)
    if isinstance(value, dict):
        return _content(list(value.items()), depth + 1) if all(isinstance(key, str) for key in value) else None
    if isinstance(value, list | tuple):
        if not depth or len(value) > MOST_MEMBERS or (value and isinstance(value[0], keras.Variable)):
            return None
        members = [_content(member, depth - 1) for member in value]
        return None if all(member is None for member in members) else (type(value), *members)
    if isinstance(value, _LISTED_ELSEWHERE) or not hasattr(value, "__dict__"):
        return None
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return id(value)
    if not depth or type(value).__module__.startswith(_INNER):
        return None
    return (type(value), *((name, _content(member, depth - 1)) for name, member in vars(value).items()))


def _is_fixed(value: Any) -> bool:
    """Whether an object keeps its value as long as it is that object."""
    return isinstance(value, PLAIN) or (isinstance(value, tuple) and all(isinstance(one, PLAIN) for one in value))


_MISSING = object()

_LISTED_ELSEWHERE = (
    *(keras.Variable, keras.Layer, keras.Initializer, keras.DTypePolicy, keras.optimizers.Optimizer, keras.Metric),
    *(type, types.ModuleType, types.FunctionType, types.MethodType),
)
"""What is compared in its own place, is used before training only, or is code."""

_INNER = (*INNER_MODULES, "torch", "jax", "tensorflow")
"""Modules whose objects hold bookkeeping and compiled programs."""


@functools.cache
def _of_keras(whole_model: bool) -> frozenset[str]:
    """The attributes that Keras itself gives to every layer, or to every model, but for the one that freezes it."""
    names = set(vars(keras.Layer(name="any")))
    if whole_model:
        inputs = keras.Input((1,), name="any_input")
        model = keras.Model(inputs, inputs, name="any_model")
        model.compile(optimizer="sgd", loss="mse")
        names |= set(vars(model)) | set(vars(keras.Sequential([inputs], name="any_sequential")))
        names |= {*MODEL_HISTORY}
    return frozenset(names - {FREEZES})
