"""The training loop on JAX: donated state passes through jitted functions and is written to the Keras model at
commit."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax.extend.core import jaxprs_in_params

from unidl.backend import Chunk, Tree
from unidl.errors import TrainingError
from unidl.keras_internals import all_layers
from unidl.logs import plain_logs
from unidl.model_state import build
from unidl_jax.data import DeviceData, gathered
from unidl_jax.replacing import corrections, kernels

STEPS = 1024
"""Maximum steps of a chunk; the trainer uses fewer if a step takes long."""

LACKS_XLA_ON_TENSORFLOW = tuple(
    getattr(keras.layers, f"Random{name}") for name in ("Perspective", "Rotation", "Shear", "Translation", "Zoom")
)
"""Layers that Keras marks as not compilable on every backend, because TensorFlow's XLA lacks
ImageProjectiveTransform."""


class State(NamedTuple):
    """Values of the Keras variables, in the order that `keras.Model.train_step` expects on JAX."""

    trainable: list[jax.Array]
    non_trainable: list[jax.Array]
    optimizer: list[jax.Array]
    metrics: list[jax.Array]


class JaxLogs:
    """Metrics that are still on the device."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def read(self) -> dict[str, Any]:
        return plain_logs(jax.device_get(self._values), np.asarray)


class JaxLoop:
    """Implements `TrainLoop`. A step is Keras's stateless `train_step`, jitted; several steps run in one XLA loop."""

    follows_variables = False  # a pure function discards everything it does not return

    def __init__(self, model: keras.Model, device: Any, steps: int | None) -> None:
        self._model = model
        self._device = device
        self.steps_per_dispatch = steps or STEPS
        self.why_not_compiled: str | None = None
        self._state: State | None = None
        self._placed_before: tuple[list[jax.Array], list[jax.Array]] = [], []
        self._built = False
        self._rolled: dict[Any, bool] = {}
        self._data = DeviceData(device)
        self._own_logs = any(
            getattr(type(model), name) is not getattr(keras.Model, name)
            for name in ("train_step", "compute_metrics", "get_metrics_result")
        )
        compiled = jax.jit
        self.why_not_compiled = _why_not_jitted(model)
        if self.why_not_compiled is not None:
            self.steps_per_dispatch = 1
            compiled = _uncompiled
        self.follows_values = self.why_not_compiled is not None
        self._train_one = compiled(self._train_step, donate_argnums=0)
        self._train_many = compiled(self._train_steps, donate_argnums=0)
        self._test_one = compiled(self._test_step)
        self._predict_one = compiled(self._predict_step)

    def run(self, chunk: Chunk) -> JaxLogs:
        self._read_state(chunk)
        logs: dict[str, Any] = {}
        for data, rows in self._data.pieces(chunk):
            logs = self._run(data, rows, partial=chunk.partial)
        return JaxLogs(logs)

    def _run(self, data: Tree, rows: np.ndarray[Any, Any], *, partial: bool) -> dict[str, Any]:
        state, logs = self._owned_state(), {}
        try:
            with self._kernels():
                if not partial and self._rolls(state, data, rows):
                    padded = np.zeros((self.steps_per_dispatch, rows.shape[1]), np.int32)
                    padded[: len(rows)] = rows
                    self._state, logs = self._train_many(state, data, padded, len(rows))
                else:
                    for batch in rows:
                        self._state, logs = self._train_one(state, data, batch)
                        state = self._state
        except Exception as error:
            if any(value.is_deleted() for value in jax.tree.leaves(state)):
                raise self._failed(error) from error
            raise  # from tracing or compiling: the state has not been donated
        return logs

    def test(self, chunk: Chunk) -> JaxLogs:
        self._read_state(chunk)
        logs = {}
        with self._corrections():
            for data, rows in self._data.pieces(chunk):
                for batch in rows:
                    state = self._owned_state()
                    others, metrics, logs = self._test_one(*state[:2], state.metrics, data, batch)
                    self._state = state._replace(non_trainable=others, metrics=metrics)
        return JaxLogs(logs)

    def predict(self, chunk: Chunk) -> Tree:
        trainable, others = self._weights() if self._state is None else self._state[:2]
        outputs: list[Tree] = []
        with self._corrections():
            for data, rows in self._data.pieces(chunk):
                for batch in rows:
                    output, others = self._predict_one(trainable, others, data, batch)
                    outputs.append(output)
        self._keep(others)
        return keras.tree.map_structure(lambda *parts: np.concatenate([_numpy(part) for part in parts]), *outputs)

    def _weights(self) -> tuple[list[jax.Array], list[jax.Array]]:
        """Return the weights on the device, where those that have not changed since the last time still are."""
        trainable, others = self._model.trainable_variables, self._model.non_trainable_variables
        values = [variable.value for variable in (*trainable, *others)]
        before = self._placed_before
        if len(before[0]) == len(values):
            pairs = zip(values, *before, strict=True)
            placed = [there if value is old else self._placed(value) for value, old, there in pairs]
        else:
            placed = [self._placed(value) for value in values]
        self._placed_before = values, placed
        return placed[: len(trainable)], placed[len(trainable) :]

    def _keep(self, values: list[jax.Array]) -> None:
        """Return the state that layers carry from batch to batch, such as that of a stateful LSTM."""
        if self._state is not None:
            self._state = self._state._replace(non_trainable=values)
            return
        for variable, value in zip(self._model.non_trainable_variables, values, strict=True):
            if variable.value is not value:
                variable.assign(self._returned(value))

    def reset_metrics(self) -> None:
        self._model.reset_metrics()
        if self._state is not None:
            self._state = self._state._replace(metrics=self._values(self._model.metrics_variables))

    def commit(self) -> None:
        """Commit. Raises `TrainingError` if a step has failed since the last commit; the variables are then
        unchanged."""
        if self._state is None:
            return
        try:
            jax.block_until_ready(self._state)
        except jax.errors.JaxRuntimeError as error:
            raise self._failed(error) from error
        state, self._state = self._state, None
        for variables, values in zip(self._variables(), state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(self._returned(value))

    def _returned(self, value: jax.Array) -> jax.Array:
        """Return a value of the state as a Keras variable holds it."""
        return value

    def _failed(self, error: Exception) -> TrainingError:
        """Drop the state, which a failed step has consumed, and return the error."""
        self._state = None
        return TrainingError(
            f"A training step failed in JAX: {_cause(error)}\n"
            "The steps since the last commit are lost: the model has the weights from the start of this epoch, or "
            "from the last batch at which a callback read them."
        )

    def _kernels(self) -> AbstractContextManager[None]:
        return kernels(self._device) if self.why_not_compiled is None else nullcontext()

    def _corrections(self) -> AbstractContextManager[None]:
        """Without the kernels that are there for speed, forward alone XLA's own are faster."""
        return corrections(self._device) if self.why_not_compiled is None else nullcontext()

    def _rolls(self, state: State, data: Tree, rows: np.ndarray[Any, Any]) -> bool:
        """Return whether several batches of this size run per dispatch, in an XLA loop."""
        if self.why_not_compiled is not None or self._own_logs or self.steps_per_dispatch == 1:
            return False
        size = rows.shape[1]
        if size not in self._rolled:
            self._rolled[size] = self._device.platform != "cpu" or not _convolves(
                self._train_one.trace(state, data, rows[0]).jaxpr
            )
        return self._rolled[size]

    def _train_step(self, state: State, data: Tree, rows: jax.Array) -> tuple[State, dict[str, jax.Array]]:
        logs, new_state = self._model.train_step(tuple(state), gathered(data, rows))
        return State(*new_state), logs

    def _train_steps(self, state: State, data: Tree, rows: jax.Array, count: jax.Array) -> tuple[State, Any]:
        """Take `count` steps. Since it is not a constant, the end of an epoch needs no second program."""

        def step(number: jax.Array, state: State) -> State:
            return self._train_step(state, data, rows[number])[0]

        state = jax.lax.fori_loop(0, count, step, state)
        mapping = list(zip(self._model.metrics_variables, state.metrics, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return state, self._model.get_metrics_result()

    def _test_step(
        self, trainable: Any, non_trainable: Any, metrics: Any, data: Tree, rows: jax.Array
    ) -> tuple[Any, Any, Any]:
        batch = gathered(data, rows)
        logs, (_, others, metrics) = self._model.test_step((trainable, non_trainable, metrics), batch)
        return others, metrics, logs

    def _predict_step(self, trainable: Any, non_trainable: Any, data: Tree, rows: jax.Array) -> tuple[Tree, Any]:
        return self._model.predict_step((trainable, non_trainable), gathered(data, rows))

    def _owned_state(self) -> State:
        """Return the state between two steps."""
        if self._state is None:
            raise RuntimeError("The state is read before the first step.")
        return self._state

    def _read_state(self, chunk: Chunk) -> None:
        if not self._built:
            # Metrics and optimizer slots exist only after Keras has seen the form of a batch.
            build(self._model, gathered(chunk.data.as_keras(), chunk.rows[0]))
            self._built = True
        if self._state is None:
            # Copies, since the first step consumes the arrays: the variables must survive a failing step, and
            # two variables may share an array, which XLA cannot donate twice. This costs a second copy of the state.
            self._placed_before = [], []
            self._state = State(*_copied(self._read_weights()))

    def _read_weights(self) -> State:
        return State(*(self._values(variables) for variables in self._variables()))

    def _variables(self) -> tuple[list[keras.Variable], ...]:
        model = self._model
        optimizer = model.optimizer.variables if model.optimizer is not None else []
        return model.trainable_variables, model.non_trainable_variables, optimizer, model.metrics_variables

    def _values(self, variables: list[keras.Variable]) -> list[jax.Array]:
        return [self._placed(variable.value) for variable in variables]

    def _placed(self, value: jax.Array) -> jax.Array:
        """Return the value committed to this device: a jitted function is recompiled for an uncommitted one."""
        if value.committed and value.devices() == {self._device}:
            return value
        return jax.device_put(value, self._device)


@jax.jit
def _copied(state: State) -> State:
    return jax.tree.map(jnp.copy, state)


def _convolves(jaxpr: Any) -> bool:
    """Return whether a program has an XLA convolution: inside a loop it misses the fast path of the CPU (jax issue
    12868)."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            return True
        if any(_convolves(inner) for inner in jaxprs_in_params(equation.params)):
            return True
    return False


def _why_not_jitted(model: Any) -> str | None:
    """Return why the model is not compiled: the user disabled it, or a layer cannot be compiled; else None."""
    if model.run_eagerly:
        return "the model was compiled with run_eagerly=True"
    if model.jit_compile:
        return None
    refused = [layer for layer in all_layers(model) if not layer.supports_jit]
    held = [layer for layer in refused if not isinstance(layer, LACKS_XLA_ON_TENSORFLOW)]
    if held:
        return f"Keras marks the layer '{held[0].name}' as not compilable"
    # Keras does not record whether the user or such a layer disabled compilation; run_eagerly=True is still visible.
    return None if refused else "the model was compiled with jit_compile=False"


def _uncompiled(function: Any, **_: Any) -> Any:
    return function


def _numpy(array: jax.Array) -> np.ndarray[Any, Any]:
    # Outputs have the same dtype on every backend, and NumPy has no bfloat16.
    values = np.asarray(array)
    return values.astype(np.float32) if array.dtype == jnp.bfloat16 else values


def _cause(error: Exception) -> str:
    """Return the most informative line: the last one of a Python traceback, else the first one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1] if "Traceback" in str(error) else lines[0]
