"""State of a training step besides the variables that a model lists: variables created by the first batch, Python
values of its parts, and unlisted variables.

A compiled step keeps the Python values from the time of compilation, so adapters and the trainer use this module to
detect changes. Imports Keras: import this module only once a backend is in use.
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
"""Maximum length of a list; a longer one is data, not a setting."""
MOST_BYTES = 4096
"""Maximum size of an array that is compared by value; larger ones are compared by identity."""


class _Held(NamedTuple):
    """A snapshot of one attribute: its owner, its value, and a copy of the content of a list or an object; None if the
    value is immutable."""

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
    """A snapshot of the Python values of the layers, losses, metrics and optimizer of a model.

    It covers numbers, strings, and small lists, dicts and arrays of them; whether a layer is trainable; and those of a
    regularizer, a schedule or a settings object that one of them holds. Framework arrays are compared by identity.
    Values that a function reads from global variables or closures are not covered.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._held, self._sizes = self._read()
        self.snapshots = 1
        """How many snapshots were needed: attributes are new, or have other values, since the one before."""

    def changed(self) -> list[str]:
        """Return the attributes that have changed since the last call, such as "beta of the layer 'scale'"."""
        sizes = [len(owner) for owner, _ in self._sizes]
        if sizes == [size for _, size in self._sizes] and all(held.is_same() for held in self._held):
            return []
        before = {(held.part, held.attribute): held for held in self._held}
        self._held, self._sizes = self._read()
        self.snapshots += 1
        after = {(held.part, held.attribute): held for held in self._held}
        names = [name for name, held in before.items() if name not in after or not held.is_same()]
        known = {part for part, _ in before}  # Keras builds metrics at the first batch
        names += [name for name in after if name not in before and name[0] in known]
        return [f"{attribute} of {part}" for part, attribute in names]

    def restore(self) -> None:
        """Restore the attributes of the last snapshot and delete new ones, to undo the effects of a trial step."""
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
    """Create everything that Keras creates at the first batch, before a step is taken or a metric is reset: weights,
    metrics, optimizer variables. batch: the argument of a step. A model with custom steps may have no `call`, or one
    with other arguments; missing variables of its layers are then created by those steps."""
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
    """Return the variables that are attributes of the loss, a metric, the optimizer or a layer of `model` but that
    neither the model nor its optimizer lists, such as a counter in a loss, or one in Keras's Nadam."""
    optimizer = model.optimizer.variables if model.optimizer is not None else []
    listed = {id(variable) for variable in (*model.variables, *optimizer, *model.metrics_variables)}
    found: dict[int, keras.Variable] = {}
    for _, part in _parts(model):
        for value in vars(part).values():
            members = value if isinstance(value, list | tuple) else value.values() if type(value) is dict else (value,)
            found |= {id(one): one for one in members if isinstance(one, keras.Variable) and id(one) not in listed}
    return list(found.values())


def _parts(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """Yield the parts that a step calls, each once, with a description."""
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
            for one in getattr(metric, "metrics", (metric,)):  # metrics of `compile` are inside a container metric
                yield "metric", one
    optimizers = [model.optimizer]
    for optimizer in optimizers:
        if optimizer is not None:
            yield "optimizer", optimizer
            optimizers += [getattr(optimizer, "inner_optimizer", None), *getattr(optimizer, "optimizers", ())]


def _content(value: Any, depth: int) -> Any:
    """Return a key that is equal only for equal values; None for objects that a step does not read as values."""
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
    """Return whether an object is immutable."""
    return isinstance(value, PLAIN) or (isinstance(value, tuple) and all(isinstance(one, PLAIN) for one in value))


_MISSING = object()

_LISTED_ELSEWHERE = (
    *(keras.Variable, keras.Layer, keras.Initializer, keras.DTypePolicy, keras.optimizers.Optimizer, keras.Metric),
    *(type, types.ModuleType, types.FunctionType, types.MethodType),
)
"""Attributes that are compared elsewhere, used only before training, or code."""

_INNER = (*INNER_MODULES, "torch", "jax", "tensorflow")
"""Modules whose objects hold internal state and compiled programs."""


@functools.cache
def _of_keras(whole_model: bool) -> frozenset[str]:
    """Return the attributes that Keras sets in every layer or model, except the one that freezes it."""
    names = set(vars(keras.Layer(name="any")))
    if whole_model:
        inputs = keras.Input((1,), name="any_input")
        model = keras.Model(inputs, inputs, name="any_model")
        model.compile(optimizer="sgd", loss="mse")
        names |= set(vars(model)) | set(vars(keras.Sequential([inputs], name="any_sequential")))
        names |= {*MODEL_HISTORY}
    return frozenset(names - {FREEZES})
