"""Implementations of the same training behind one protocol: unidl's loop, stock Keras, and hand-written code."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from unidl.backend import Backend, Batches, Device, Native, Precision, Task
from unidl.compare.workloads import LEARNING_RATE
from unidl.data.dataset import Split, take
from unidl.data.recognising import as_split
from unidl.errors import BackendError
from unidl.layer_paths import named_weights
from unidl.training import Trainer
from unidl.training.order import epoch_order

if TYPE_CHECKING:
    import keras

LOSS = "sparse_categorical_crossentropy"

KERAS_SETTINGS: Mapping[str, Mapping[str, Any]] = {"tensorflow": {"steps_per_execution": 8}}
"""Settings that make stock Keras faster at no cost. On TensorFlow, 8 steps per dispatch reduce the overhead of Python.
On PyTorch and JAX, Keras 3 still runs those steps one by one, or unrolls them into one program that takes 8 times as
long to compile, so the default is used there."""


@dataclass(frozen=True, eq=False)
class Conditions:
    """The arguments of every implementation."""

    backend: Backend
    model_name: str
    model: keras.Model
    data: Batches
    device: Device
    precision: Precision
    batch_size: int

    @property
    def rows(self) -> int:
        """Rows per epoch."""
        return len(self.data.y)

    def context(self) -> ExitStack:
        """Context for the device and the precision."""
        stack = ExitStack()
        stack.enter_context(self.backend.on(self.device))
        stack.enter_context(self.backend.precision(self.precision))
        return stack


class Implementation(Protocol):
    """A training under measurement. Every method returns once the device has finished."""

    @property
    def waiting_share(self) -> float | None:
        """Share of the time of the last training in which its steps waited for data; None if it is all in memory."""
        ...

    def first_steps(self, batches: Sequence[slice]) -> list[float]:
        """Take one step for each slice of the rows, and return the loss before each step."""
        ...

    def train(self, epochs: int) -> None:
        """Train for this many epochs, each in a different order."""
        ...

    def predict(self, x: Any, batch_size: int) -> np.ndarray[Any, Any]:
        """Return the probabilities (rows, classes) of `x`, in the usual way for this number of rows."""
        ...


def make(name: str, conditions: Conditions) -> Implementation:
    """Return the implementation of that name. Raises `BackendError` if the adapter does not provide it."""
    return ByStreaming(conditions) if isinstance(conditions.data, Split) else MAKERS[name](conditions)


class ByFit(ABC):
    """Trains a Keras model with a `fit` method and returns its last loss."""

    _conditions: Conditions
    waiting_share: float | None = None

    def first_steps(self, batches: Sequence[slice]) -> list[float]:
        data = self._conditions.data
        return [self._fit(data.x[batch], data.y[batch], epochs=1, shuffle=False) for batch in batches]

    def train(self, epochs: int) -> None:
        data = self._conditions.data
        self._fit(data.x, data.y, epochs=epochs, shuffle=True)
        _wait(self._conditions)

    @abstractmethod
    def _fit(self, x: Any, y: Any, *, epochs: int, shuffle: bool) -> float: ...


class ByUnidl(ByFit):
    """unidl's loop, as in ordinary use. precompute_frozen: as in `Trainer.fit`."""

    def __init__(self, conditions: Conditions, *, precompute_frozen: bool = False) -> None:
        import keras

        self._conditions = conditions
        self._precompute_frozen = precompute_frozen
        # No metrics except the loss: the hand-written implementations have none.
        self._trainer = Trainer(
            conditions.model,
            device=conditions.device.id,
            optimizer=keras.optimizers.Adam(LEARNING_RATE),
            loss=LOSS if _has_classes(conditions) else "mean_squared_error",
            metrics=[],
            precision=conditions.precision.name,
        )

    def predict(self, x: Any, batch_size: int) -> np.ndarray[Any, Any]:
        return self._trainer.predict(x, batch_size=batch_size)

    def _fit(self, x: Any, y: Any, *, epochs: int, shuffle: bool) -> float:
        self._trainer.forget_features()  # each training pays for its own
        self._trainer.fit(
            (x, y),
            epochs=epochs,
            batch_size=self._conditions.batch_size,
            shuffle=shuffle,
            precompute_frozen=self._precompute_frozen,
            progress="quiet",
        )
        return float(self._trainer.history["loss"][-1])


class ByStreaming(ByUnidl):
    """unidl's loop on data that is read from a disk when it is needed."""

    def first_steps(self, batches: Sequence[slice]) -> list[float]:
        return [self._fit_on(take(self._split, batch), epochs=1, shuffle=False) for batch in batches]

    def train(self, epochs: int) -> None:
        self._fit_on(self._split, epochs=epochs, shuffle=True)
        _wait(self._conditions)
        self.waiting_share = self._trainer.waiting_share

    @property
    def _split(self) -> Split:
        return as_split(self._conditions.data)

    def _fit_on(self, split: Split, *, epochs: int, shuffle: bool) -> float:
        self._trainer.fit(
            split, epochs=epochs, batch_size=self._conditions.batch_size, shuffle=shuffle, progress="quiet"
        )
        return float(self._trainer.history["loss"][-1])


class ByKeras(ByFit):
    """Stock `compile` and `fit`, with `KERAS_SETTINGS`."""

    def __init__(self, conditions: Conditions) -> None:
        import keras

        self._conditions = conditions
        self._model = conditions.model
        settings = KERAS_SETTINGS.get(conditions.backend.name, {})
        with conditions.context():
            # `compile` adds the loss scaling that float16 needs only if the whole model has that policy.
            optimizer: Any = keras.optimizers.Adam(LEARNING_RATE)
            if conditions.precision.loss_scaling:
                optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
            self._model.compile(optimizer=optimizer, loss=LOSS, **settings)

    def predict(self, x: Any, batch_size: int) -> np.ndarray[Any, Any]:
        with self._conditions.context():
            if len(x) <= batch_size:  # recommended by Keras's documentation for a single batch
                return np.asarray(self._model.predict_on_batch(x))
            return self._model.predict(x, batch_size=batch_size, verbose=0)

    def _fit(self, x: Any, y: Any, *, epochs: int, shuffle: bool) -> float:
        batch_size = self._conditions.batch_size
        with self._conditions.context():
            history = self._model.fit(x, y, batch_size, epochs, verbose=0, shuffle=shuffle)
        return float(history.history["loss"][-1])


class ByHand:
    """The adapter's reference, without Keras."""

    waiting_share: float | None = None

    def __init__(self, conditions: Conditions) -> None:
        backend = conditions.backend
        if not isinstance(backend, Native):
            raise BackendError(f"backend '{backend.name}' provides no hand-written reference")
        weights = {path: np.array(variable) for path, variable in named_weights(conditions.model).items()}
        self._conditions = conditions
        self._epoch = 0
        self._reference = backend.reference(
            Task(
                conditions.model_name, weights, conditions.data, LEARNING_RATE, conditions.device, conditions.precision
            )
        )

    def first_steps(self, batches: Sequence[slice]) -> list[float]:
        rows = np.arange(self._conditions.rows, dtype=np.int64)
        with self._conditions.context():
            return [float(self._reference.train(rows[batch][np.newaxis])) for batch in batches]

    def train(self, epochs: int) -> None:
        # On a GPU the frameworks' own default for float32 is TF32, or is not, depending on the framework.
        with self._conditions.context():
            for _ in range(epochs):
                order = epoch_order(self._conditions.rows, seed=0, epoch=self._epoch, shuffle=True)
                self._reference.train(order.reshape(-1, self._conditions.batch_size))
                self._epoch += 1

    def predict(self, x: Any, batch_size: int) -> np.ndarray[Any, Any]:
        with self._conditions.context():
            parts = [self._reference.predict(x[first : first + batch_size]) for first in range(0, len(x), batch_size)]
        return np.concatenate(parts)


def _has_classes(conditions: Conditions) -> bool:
    return conditions.data.y.dtype.kind in "iu"


def _wait(conditions: Conditions) -> None:
    """Wait for the weights: reading the loss of a step does not imply that its weights have been written."""
    import keras

    # As tensors: TensorFlow's variables are not tensors, so they would not be waited for.
    weights = [keras.ops.convert_to_tensor(variable) for variable in conditions.model.trainable_variables]
    conditions.backend.synchronise(weights)


MAKERS: Mapping[str, Callable[[Conditions], Implementation]] = {
    "unidl": ByUnidl,
    "unidl-features": partial(ByUnidl, precompute_frozen=True),
    "keras": ByKeras,
    "native": ByHand,
}
