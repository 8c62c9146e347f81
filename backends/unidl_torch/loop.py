"""The training loop on PyTorch: eager steps on the Keras model itself, so there is nothing to commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import torch

from unidl.backend import Chunk, Tree

STEPS = 8
"""Steps a chunk: eager steps gain nothing from more, and the trainer looks around after each chunk."""


class TorchLogs:
    """Metrics still on the device."""

    def __init__(self, values: dict[str, Any]) -> None:
        # Copies: some metrics give their own variable, which the next step changes.
        self._values: Any = keras.tree.map_structure(_copied, values)

    def read(self) -> dict[str, Any]:
        return _plain(self._values)


class TorchLoop:
    """Implements `TrainLoop`. A step is Keras's own `train_step`."""

    def __init__(self, model: keras.Model, device: torch.device, steps: int | None) -> None:
        self._model = model
        self._device = device
        self.steps_per_dispatch = steps or STEPS
        self.why_not_compiled: str | None = None
        if model.run_eagerly:
            self.why_not_compiled = "the model was compiled with run_eagerly=True"
        elif model.jit_compile:
            self.why_not_compiled = (
                "jit_compile=True is not followed: torch.compile breaks off at the backward pass inside Keras's step"
            )
        if self.why_not_compiled is not None:
            self.steps_per_dispatch = 1
        self._built = False
        self._placed = False

    def run(self, chunk: Chunk) -> TorchLogs:
        self._prepare(chunk, training=True)
        logs = {}
        for rows in chunk.rows:
            logs = self._model.train_step(self._batch(chunk, rows))
        return TorchLogs(logs)

    def test(self, chunk: Chunk) -> TorchLogs:
        self._prepare(chunk, training=False)
        logs = {}
        with torch.no_grad():
            for rows in chunk.rows:
                logs = self._model.test_step(self._batch(chunk, rows))
        return TorchLogs(logs)

    def predict(self, chunk: Chunk) -> Tree:
        self._set_mode(training=False)
        move(self._model.variables, self._device)
        with torch.no_grad():
            outputs = [self._model.predict_step(self._batch(chunk, rows)) for rows in chunk.rows]
        return keras.tree.map_structure(lambda *parts: np.concatenate([_numpy(part) for part in parts]), *outputs)

    def reset_metrics(self) -> None:
        self._model.reset_metrics()

    def commit(self) -> None:
        """Nothing to bring back, since every step wrote to the Keras variables."""
        self._placed = False
        self._set_mode(training=False)

    def _prepare(self, chunk: Chunk, *, training: bool) -> None:
        """Create what Keras creates on seeing its first batch, and bring all of it to the device."""
        self._set_mode(training=training)
        model = self._model
        if not self._built:
            model._symbolic_build(data_batch=self._batch(chunk, chunk.rows[0]))
            self._built = True
        if not self._placed:
            optimizer = model.optimizer.variables if model.optimizer is not None else []
            move([*model.variables, *optimizer, *model.metrics_variables], self._device)
            self._placed = True

    def _set_mode(self, *, training: bool) -> None:
        """Tell the PyTorch modules that a model may hold; Keras's own layers are told in each call."""
        if self._model.training != training:
            self._model.train(training)

    def _batch(self, chunk: Chunk, rows: np.ndarray[Any, Any]) -> Tree:
        return keras.tree.map_structure(
            lambda array: None if array is None else _tensor(array[rows]).to(self._device), chunk.data.parts()
        )


def move(variables: Sequence[keras.Variable], device: torch.device) -> None:
    """Bring the values of Keras variables to a device. The parameters stay the same objects, which Keras remembers."""
    for variable in variables:
        if variable.value.device != device:
            variable.value.data = variable.value.data.to(device)


def _tensor(array: np.ndarray[Any, Any]) -> Any:
    """The rows as a tensor. Keras converts what PyTorch does not take from NumPy, such as the bfloat16 of ml_dtypes."""
    return torch.from_numpy(array) if array.dtype.kind in "biuf" else keras.ops.convert_to_tensor(array)


def _copied(value: Any) -> Any:
    if isinstance(value, keras.Variable):
        value = value.value
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


def _numpy(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    # NumPy has no bfloat16.
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).cpu().numpy()


def _plain(logs: dict[str, Any]) -> dict[str, Any]:
    """Floats, and arrays where a metric has several values, as Keras's History holds them."""
    plain: dict[str, Any] = {}
    for name, value in logs.items():
        if isinstance(value, dict):
            plain |= _plain(value)
        else:
            array = _numpy(value) if isinstance(value, torch.Tensor) else np.asarray(value)
            plain[name] = float(array) if array.ndim == 0 else array
    return plain
