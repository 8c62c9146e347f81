"""The training loop on PyTorch: eager steps on the Keras model itself, so there is nothing to commit."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import torch

from unidl.backend import Chunk, Tree

STEPS = 8
"""Steps a chunk: eager steps gain nothing from more, and the trainer looks around after each chunk."""


class TorchLogs:
    """Metrics still on the device."""

    def __init__(self, values: dict[str, torch.Tensor]) -> None:
        self._values = values

    def read(self) -> dict[str, float]:
        return {name: float(value) for name, value in self._values.items()}


class TorchLoop:
    """Implements `TrainLoop`. A step is Keras's own `train_step`."""

    def __init__(self, model: keras.Model, device: torch.device, steps: int | None) -> None:
        self._model = model
        self._device = device
        self.steps_per_dispatch = steps or STEPS
        self.why_not_compiled: str | None = None
        self._built = False

    def run(self, chunk: Chunk) -> TorchLogs:
        self._build(chunk)
        logs = {}
        for rows in chunk.rows:
            logs = self._model.train_step(self._batch(chunk, rows))
        return TorchLogs(logs)

    def test(self, chunk: Chunk) -> TorchLogs:
        self._build(chunk)
        logs = {}
        with torch.no_grad():
            for rows in chunk.rows:
                logs = self._model.test_step(self._batch(chunk, rows))
        return TorchLogs(logs)

    def predict(self, chunk: Chunk) -> Tree:
        self._move(self._model.variables)
        with torch.no_grad():
            outputs = [self._model.predict_step(self._batch(chunk, rows)) for rows in chunk.rows]
        return keras.tree.map_structure(lambda *parts: np.concatenate([_numpy(part) for part in parts]), *outputs)

    def reset_metrics(self) -> None:
        self._model.reset_metrics()

    def commit(self) -> None:
        """Nothing to do: every step wrote to the Keras variables."""

    def _build(self, chunk: Chunk) -> None:
        """Create what Keras creates on seeing its first batch, and bring all of it to the device."""
        if self._built:
            return
        model = self._model
        model._symbolic_build(data_batch=self._batch(chunk, chunk.rows[0]))
        optimizer = model.optimizer.variables if model.optimizer is not None else []
        self._move([*model.variables, *optimizer, *model.metrics_variables])
        self._built = True

    def _move(self, variables: list[keras.Variable]) -> None:
        for variable in variables:
            if variable.value.device != self._device:
                variable.value.data = variable.value.data.to(self._device)

    def _batch(self, chunk: Chunk, rows: np.ndarray[Any, Any]) -> Tree:
        return keras.tree.map_structure(
            lambda array: torch.from_numpy(array[rows]).to(self._device), chunk.data.parts()
        )


def _numpy(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    # NumPy has no bfloat16.
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).cpu().numpy()
