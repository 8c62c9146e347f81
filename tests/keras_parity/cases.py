"""A case of parity as a value, and what the tables of cases are written with: small models, small data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

BATCH = 8
STEPS = 4
EPOCHS = 2
ROWS = BATCH * STEPS

SMOOTH = 1e-3
"""Share of its way by which a weight may be off where a step is smooth in the gradient: SGD, Adagrad. Sums of some
hundred float32 products that are added in another order differ by 1e-6 of their size, where they cancel by more."""

SIGN_LIKE = 1e-2
"""The same for Adam and its kin, which divide a gradient by its own size: where it is almost zero, its last bits decide
on a whole step."""


UNTRACED = {"torch": "cannot be traced"}
"""For `Case.plain`: Keras looks at values there, in `ops.cond` or by asking a tensor for its number."""

OWN = {"torch": "overrides", "tensorflow": "overrides"}
"""For `Case.plain`: what the user wrote takes each step."""


@dataclass(frozen=True)
class Case:
    """A model that Keras trains, and what it is trained on.

    build: gives the model, compiled. data: what `fit` is given, (x,), (x, y) or (x, y, sample_weight). share: how far
    the weights may be off, as a share of the way that they went. evaluates: whether `evaluate` and `predict` are
    compared as well. built: whether the model has its weights before training.

    plain: the backends where its steps are not compiled, and words of the sentence that says why.
    reference: gives the same model in a form that Keras computes correctly where it computes this one incorrectly;
    faults: the backends where it does, and how. untrained: the backends where Keras's own `fit` fails, and words of its
    error.
    unsaved: words of the sentence that says why a checkpoint of it would never be read.
    """

    name: str
    build: Callable[[], keras.Model]
    data: tuple[Any, ...]
    share: float = SMOOTH
    evaluates: bool = False
    built: bool = True
    plain: Mapping[str, str] = field(default_factory=dict[str, str])
    reference: Callable[[], keras.Model] | None = None
    faults: Mapping[str, str] = field(default_factory=dict[str, str])
    untrained: Mapping[str, str] = field(default_factory=dict[str, str])
    unsaved: str | None = None


def compiled(model: keras.Model, **arguments: Any) -> keras.Model:
    """The model, compiled with SGD and the mean squared error unless told otherwise."""
    model.compile(**{"optimizer": keras.optimizers.SGD(0.02), "loss": "mean_squared_error"} | arguments)
    return model


def chain(shape: tuple[int | None, ...], *parts: Any, dtype: str = "float32", **arguments: Any) -> keras.Model:
    """A compiled Sequential model of inputs (batch, *shape)."""
    return compiled(keras.Sequential([keras.Input(shape, dtype=dtype), *parts]), **arguments)


def regressor(shape: tuple[int | None, ...], *parts: Any, **arguments: Any) -> keras.Model:
    """The same with two numbers at its end, from all that the last part gives."""
    return chain(shape, *parts, keras.layers.Flatten(), keras.layers.Dense(2), **arguments)


def noise(*shape: int, seed: int = 0, rows: int = ROWS) -> np.ndarray:
    """Rows of normal numbers."""
    return np.random.default_rng(seed).normal(size=(rows, *shape)).astype(np.float32)


def uniform(*shape: int, low: float = 0.0, high: float = 1.0, seed: int = 0) -> np.ndarray:
    """Rows of numbers between two others."""
    return np.random.default_rng(seed).uniform(low, high, size=(ROWS, *shape)).astype(np.float32)


def whole(count: int, *shape: int, low: int = 0, seed: int = 0) -> np.ndarray:
    """Rows of whole numbers from `low` to `count` - 1."""
    return np.random.default_rng(seed).integers(low, count, size=(ROWS, *shape)).astype(np.int32)


def one_hot(classes: int, seed: int = 0) -> np.ndarray:
    """Rows with a 1 at their class."""
    return np.eye(classes, dtype=np.float32)[whole(classes, seed=seed)]


def padded(vocabulary: int, length: int, seed: int = 0) -> np.ndarray:
    """Rows of tokens, with zeros at their end, of another length each."""
    tokens = whole(vocabulary, length, low=1, seed=seed)
    lengths = whole(length + 1, low=2, seed=seed + 1)
    return np.where(np.arange(length) < lengths[:, None], tokens, 0).astype(np.int32)


TO_TWO = noise(2, seed=1)
"""What a `regressor` is to learn."""
