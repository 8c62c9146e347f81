"""The training loop on TensorFlow: a `tf.function` of several steps that update the Keras variables in place."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from weakref import WeakKeyDictionary

import keras
import numpy as np
import tensorflow as tf

from unidl.backend import Batches, Chunk, Device, Tree
from unidl.kernels import noticing
from unidl.logs import plain_logs
from unidl.model_state import build
from unidl_tensorflow.keras_internals import native
from unidl_tensorflow.placing import place
from unidl_tensorflow.replacing import kernels

STEPS = 1024
"""Maximum steps of a chunk; the trainer uses fewer if a step takes long."""

GATHERED_STEPS = 16
"""Number of batches gathered on the host at a time, for data too large for the device."""

RESIDENT_BYTES = 2**31
"""Maximum bytes of data kept on a GPU; TensorFlow does not report the free memory."""


class TensorFlowLogs:
    """Metrics that are still on the device."""

    def __init__(self, values: dict[str, Any]) -> None:
        # Copies: in eager mode some metrics return their own variable, which the next step changes.
        self._values: Any = keras.tree.map_structure(tf.convert_to_tensor, values)

    def read(self) -> dict[str, Any]:
        return plain_logs(self._values, _numpy)


class TensorFlowLoop:
    """Implements `TrainLoop`. A step is Keras's own `train_step`; several are a `tf.while_loop`."""

    follows_variables = True

    def __init__(self, model: keras.Model, device: Device, steps: int | None) -> None:
        self._model = model
        self._device = device
        self.steps_per_dispatch = steps or STEPS
        self.why_not_compiled: str | None = None
        own = [name for name in ("train_step", "compute_metrics") if _is_own(model, name)]
        if model.run_eagerly:
            self.why_not_compiled = "the model was compiled with run_eagerly=True"
        elif own:
            self.why_not_compiled = f"the model overrides {own[0]}, whose logs are needed after each step"
        if self.why_not_compiled is not None:
            self.steps_per_dispatch = 1
        self.follows_values = bool(model.run_eagerly)
        self._built = False
        self._settled = False
        self._traced: list[tf.Variable] = []
        self._data: WeakKeyDictionary[Batches, Tree] = WeakKeyDictionary()
        self._make_functions()

    def run(self, chunk: Chunk) -> TensorFlowLogs:
        self._build(chunk)
        with self._placed(), self._kernels(), self._sharing():
            logs = {}
            # A loop for the last batch of an epoch would be an additional program.
            if self.steps_per_dispatch == 1 or chunk.partial:
                for rows in chunk.rows:
                    logs = self._train_one(_batch(chunk, rows), self._form())
                return TensorFlowLogs(logs)
            for data, rows in self._pieces(chunk):
                padded = np.zeros((self.steps_per_dispatch, rows.shape[1]), np.int32)
                padded[: len(rows)] = rows
                logs = self._train_many(data, tf.constant(padded), tf.constant(len(rows)), self._form())
            return TensorFlowLogs(logs)

    def test(self, chunk: Chunk) -> TensorFlowLogs:
        self._build(chunk)
        logs = {}
        with self._placed(), self._kernels(), self._sharing():
            for rows in chunk.rows:
                logs = self._test_one(_batch(chunk, rows), self._form())
        return TensorFlowLogs(logs)

    def predict(self, chunk: Chunk) -> Tree:
        self._settled = False
        with self._placed():
            outputs = [self._predicted(_batch(chunk, rows)) for rows in chunk.rows]
        return keras.tree.map_structure(lambda *parts: np.concatenate([_numpy(part) for part in parts]), *outputs)

    def _predicted(self, batch: Tree) -> Tree:
        """Compute the outputs by the function that was traced for the form of the batch, or by Keras's step."""
        is_one = isinstance(batch, tf.Tensor) and not self._model.run_eagerly
        form = (batch.shape, batch.dtype) if is_one else None
        if form in self._for_forms:
            return self._for_forms[form](batch)
        with self._kernels():
            outputs = self._predict_one(batch)
            if form is not None:
                self._for_forms[form] = self._predict_one.get_concrete_function(batch)
        return outputs

    def reset_metrics(self) -> None:
        self._model.reset_metrics()

    def commit(self) -> None:
        """Do nothing, since every step writes to the Keras variables."""
        self._settled = False

    def _sharing(self) -> AbstractContextManager[Any]:
        """The context of a step that this process shares with others; there is none for a device alone."""
        return nullcontext()

    def _uses_xla(self) -> bool:
        return bool(self._model.jit_compile)

    def _form(self) -> tuple[int, ...]:
        """What a trace depends on beside the shapes of a batch."""
        return ()

    def _make_functions(self) -> None:
        model = self._model

        def compiled(function: Any, jit_compile: bool = False) -> Any:
            if model.run_eagerly:
                return function
            # A new trace for each shape is intended: full batches and the last, smaller one; relaxed shapes slow down
            # both.
            return tf.function(function, autograph=False, reduce_retracing=False, jit_compile=jit_compile)

        xla = self._uses_xla()
        self._for_forms: dict[Any, Any] = {}
        self._train_one = compiled(lambda batch, form=(): model.train_step(batch), xla)
        self._test_one = compiled(lambda batch, form=(): model.test_step(batch), xla)
        self._predict_one = compiled(lambda batch: model.predict_step(batch), xla)
        # XLA compiles a step, not the loop around it, as in Keras.
        self._step = self._train_one if xla else model.train_step
        self._train_many = compiled(self._train_steps)

    def _train_steps(
        self, data: Tree, rows: tf.Tensor, count: tf.Tensor, form: tuple[int, ...]
    ) -> dict[str, tf.Tensor]:
        """Take `count` steps, of which each number needs no program of its own. form: another one needs another
        trace."""

        def step(index: tf.Tensor) -> tuple[tf.Tensor]:
            batch = rows[index]
            self._step(keras.tree.map_structure(lambda leaf: None if leaf is None else tf.gather(leaf, batch), data))
            return (index + 1,)

        tf.while_loop(lambda index: index < count, step, (tf.constant(0),), parallel_iterations=1)
        return self._model.get_metrics_result()

    def _pieces(self, chunk: Chunk) -> Iterator[tuple[Tree, np.ndarray[Any, Any]]]:
        """Yield data on the device and the row numbers of batches in it: all of it, which stays there; or, if it
        is too large, a few batches at a time, in a constant size, so that a traced program sees a single shape."""
        data = self._data.get(chunk.data)
        if data is None and self._fits(chunk.data):
            data = self._data[chunk.data] = _tensors(chunk.data.as_keras())
        if data is not None:
            yield data, chunk.rows
            return
        for needed, order in chunk.gathering(GATHERED_STEPS):
            yield _batch(chunk, needed), order

    def _fits(self, data: Batches) -> bool:
        arrays = [leaf for leaf in keras.tree.flatten(data.parts()) if leaf is not None]
        return self._device.kind != "gpu" or sum(leaf.nbytes for leaf in arrays) <= RESIDENT_BYTES

    @contextmanager
    def _kernels(self) -> Generator[None]:
        if self._model.run_eagerly:
            yield
            return
        own = any(_is_own(self._model, name) for name in ("train_step", "compute_loss", "test_step", "predict_step"))
        # XLA lacks operations that what is noticed is good for.
        with (
            noticing(not own and not self._uses_xla()),
            kernels(self._device, xla=self._uses_xla()),
        ):
            yield

    def _build(self, chunk: Chunk) -> None:
        """Create everything that Keras creates at the first batch: a `tf.function` must not create variables later."""
        if not self._built:
            build(self._model, _gathered(chunk, chunk.rows[0]))
            self._built = True

    def _placed(self) -> Any:
        """Move the model to the device, and return the scope in which to compute there."""
        if not self._settled:
            place(self._model, self._device)
            variables = [native(variable) for variable in self._model.variables]
            if any(new is not old for new, old in zip(variables, self._traced, strict=False)):
                # Traces refer to the earlier variables, but another loop has moved the model since.
                self._make_functions()
            self._traced = variables
            self._settled = True
        return tf.device(self._device.id)


def _is_own(model: keras.Model, method: str) -> bool:
    return getattr(type(model), method) is not getattr(keras.Model, method)


def _gathered(chunk: Chunk, rows: np.ndarray[Any, Any]) -> Tree:
    return keras.tree.map_structure(lambda array: None if array is None else array[rows], chunk.data.as_keras())


def _batch(chunk: Chunk, rows: np.ndarray[Any, Any]) -> Tree:
    return _tensors(_gathered(chunk, rows))


def _tensors(arrays: Tree) -> Tree:
    return keras.tree.map_structure(lambda array: None if array is None else tf.convert_to_tensor(array), arrays)


def _numpy(tensor: tf.Tensor) -> np.ndarray[Any, Any]:
    # Outputs have the same dtype on every backend, and NumPy has no bfloat16.
    return (tf.cast(tensor, tf.float32) if tensor.dtype == tf.bfloat16 else tensor).numpy()
