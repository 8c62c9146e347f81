"""The training loop on TensorFlow: a `tf.function` of several steps that change the Keras variables in place."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from unidl.backend import Chunk, Device, Tree

STEPS = 8
"""Steps a dispatch: enough to hide the call of a `tf.function` behind a small step."""


class TensorFlowLogs:
    """Metrics still on the device."""

    def __init__(self, values: dict[str, tf.Tensor]) -> None:
        self._values = values

    def read(self) -> dict[str, float]:
        return {name: float(value) for name, value in self._values.items()}


class TensorFlowLoop:
    """Implements `TrainLoop`. A step is Keras's own `train_step`; several are a `tf.while_loop`."""

    def __init__(self, model: keras.Model, device: Device, steps: int | None) -> None:
        self._model = model
        self._device = device.id
        self.steps_per_dispatch = steps or STEPS
        self.why_not_compiled: str | None = None
        if model.run_eagerly:
            self.why_not_compiled = "the model was compiled with run_eagerly=True"
        elif type(model).train_step is not keras.Model.train_step:
            self.why_not_compiled = "the model has a train_step of its own, whose logs are wanted after each step"
        if self.why_not_compiled is not None:
            self.steps_per_dispatch = 1
        compiled = _uncompiled if model.run_eagerly else _compiled
        self._train_one = compiled(lambda batch: self._model.train_step(batch))
        self._train_many = compiled(self._train_steps)
        self._test_one = compiled(lambda batch: self._model.test_step(batch))
        self._predict_one = compiled(lambda batch: self._model.predict_step(batch))
        self._built = False

    def run(self, chunk: Chunk) -> TensorFlowLogs:
        self._build(chunk)
        with tf.device(self._device):
            if len(chunk.rows) == 1:
                return TensorFlowLogs(self._train_one(self._batch(chunk, chunk.rows[0])))
            return TensorFlowLogs(self._train_many(self._batch(chunk, chunk.rows)))

    def test(self, chunk: Chunk) -> TensorFlowLogs:
        self._build(chunk)
        logs = {}
        with tf.device(self._device):
            for rows in chunk.rows:
                logs = self._test_one(self._batch(chunk, rows))
        return TensorFlowLogs(logs)

    def predict(self, chunk: Chunk) -> Tree:
        with tf.device(self._device):
            outputs = [self._predict_one(self._batch(chunk, rows)) for rows in chunk.rows]
        return keras.tree.map_structure(lambda *parts: np.concatenate([part.numpy() for part in parts]), *outputs)

    def reset_metrics(self) -> None:
        self._model.reset_metrics()

    def commit(self) -> None:
        """Nothing to do: every step wrote to the Keras variables."""

    def _train_steps(self, batches: Tree) -> dict[str, tf.Tensor]:
        steps = tf.shape(tf.nest.flatten(batches)[0])[0]

        def step(index: tf.Tensor) -> tuple[tf.Tensor]:
            self._model.train_step(tf.nest.map_structure(lambda array: array[index], batches))
            return (index + 1,)

        tf.while_loop(lambda index: index < steps, step, (tf.constant(0),), parallel_iterations=1)
        return self._model.get_metrics_result()

    def _build(self, chunk: Chunk) -> None:
        """Create what Keras creates on seeing its first batch: a `tf.function` may not create variables later."""
        if not self._built:
            self._model._symbolic_build(data_batch=self._batch(chunk, chunk.rows[0]))
            self._built = True

    def _batch(self, chunk: Chunk, rows: np.ndarray[Any, Any]) -> Tree:
        return keras.tree.map_structure(lambda array: tf.convert_to_tensor(array[rows]), chunk.data.parts())


def _compiled(function: Any) -> Any:
    # A new trace for each shape is meant: full batches and the last, smaller one; relaxed shapes would slow both.
    return tf.function(function, autograph=False, reduce_retracing=False)


def _uncompiled(function: Any) -> Any:
    return function
