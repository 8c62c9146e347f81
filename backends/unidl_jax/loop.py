"""The training loop on JAX: state goes in and out of jitted functions, donated, and meets the Keras model at commit."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import keras
import numpy as np

from unidl.backend import Chunk, Tree
from unidl.errors import TrainingError

GPU_STEPS = 16
"""Steps a dispatch on a GPU, where launching one costs as much as a small step computes."""


class State(NamedTuple):
    """The values of the Keras variables, in the order in which `keras.Model.train_step` wants them on JAX."""

    trainable: list[jax.Array]
    non_trainable: list[jax.Array]
    optimizer: list[jax.Array]
    metrics: list[jax.Array]


class JaxLogs:
    """Metrics still on the device."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def read(self) -> dict[str, Any]:
        return _plain(jax.device_get(self._values))


class JaxLoop:
    """Implements `TrainLoop`. A step is Keras's own pure `train_step`, jitted; several steps are one `lax.scan`."""

    def __init__(self, model: keras.Model, device: Any, steps: int | None) -> None:
        self._model = model
        self._device = device
        # On the CPU a convolution inside a rolled loop misses XLA's fast path (jax issue 12868).
        self.steps_per_dispatch = steps or (GPU_STEPS if device.platform == "gpu" else 1)
        self.why_not_compiled: str | None = None
        self._state: State | None = None
        self._built = False
        compiled = jax.jit
        if model.run_eagerly or not model.jit_compile:
            cause = "run_eagerly=True" if model.run_eagerly else "jit_compile=False"
            self.why_not_compiled = f"the model was compiled with {cause}"
            self.steps_per_dispatch = 1
            compiled = _uncompiled
        self._train_one = compiled(self._train_step, donate_argnums=0)
        self._train_many = compiled(self._train_steps, donate_argnums=0)
        self._test_one = compiled(self._test_step)
        self._predict_one = compiled(self._predict_step)

    def run(self, chunk: Chunk) -> JaxLogs:
        state = self._read_state(chunk)
        step, rows = (self._train_one, chunk.rows[0]) if len(chunk.rows) == 1 else (self._train_many, chunk.rows)
        try:
            self._state, logs = step(state, self._batch(chunk, rows))
        except Exception as error:
            if any(value.is_deleted() for value in jax.tree.leaves(state)):
                raise self._failed(error) from error
            raise  # from tracing or compiling: the state is still ours
        return JaxLogs(logs)

    def test(self, chunk: Chunk) -> JaxLogs:
        state = self._read_state(chunk)
        logs = {}
        for rows in chunk.rows:
            metrics, logs = self._test_one(
                state.trainable, state.non_trainable, state.metrics, self._batch(chunk, rows)
            )
            state = self._state = state._replace(metrics=metrics)
        return JaxLogs(logs)

    def predict(self, chunk: Chunk) -> Tree:
        state = self._state or self._read_weights()
        outputs = [
            self._predict_one(state.trainable, state.non_trainable, self._batch(chunk, rows)) for rows in chunk.rows
        ]
        return keras.tree.map_structure(lambda *parts: np.concatenate([_numpy(part) for part in parts]), *outputs)

    def reset_metrics(self) -> None:
        self._model.reset_metrics()
        if self._state is not None:
            self._state = self._state._replace(metrics=self._values(self._model.metrics_variables))

    def commit(self) -> None:
        """Raises `TrainingError` if a step has failed since the last commit; the variables then stay as they were."""
        if self._state is None:
            return
        try:
            jax.block_until_ready(self._state)
        except jax.errors.JaxRuntimeError as error:
            raise self._failed(error) from error
        state, self._state = self._state, None
        for variables, values in zip(self._variables(), state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    def _failed(self, error: Exception) -> TrainingError:
        """Give up the state, which a failed step has taken along, and say so."""
        self._state = None
        return TrainingError(
            f"A step failed while JAX computed it: {_cause(error)}\n"
            "The steps since the last commit are lost: the model has the weights from the beginning of this epoch, or "
            "from the last batch that a callback looked at."
        )

    def _train_step(self, state: State, batch: Tree) -> tuple[State, dict[str, jax.Array]]:
        logs, new_state = self._model.train_step(tuple(state), batch)
        return State(*new_state), logs

    def _train_steps(self, state: State, batches: Tree) -> tuple[State, dict[str, jax.Array]]:
        state, logs = jax.lax.scan(self._train_step, state, batches)
        return state, jax.tree.map(lambda values: values[-1], logs)

    def _test_step(self, trainable: Any, non_trainable: Any, metrics: Any, batch: Tree) -> tuple[Any, Any]:
        logs, (_, _, metrics) = self._model.test_step((trainable, non_trainable, metrics), batch)
        return metrics, logs

    def _predict_step(self, trainable: Any, non_trainable: Any, batch: Tree) -> Tree:
        outputs, _ = self._model.predict_step((trainable, non_trainable), batch)
        return outputs

    def _batch(self, chunk: Chunk, rows: np.ndarray[Any, Any]) -> Tree:
        """Gather rows on the host and send them; a first axis of steps in `rows` stays the first axis."""
        return jax.device_put(_gathered(chunk, rows), self._device)

    def _read_state(self, chunk: Chunk) -> State:
        if not self._built:
            # Metrics and optimizer slots exist only once Keras has seen what a batch looks like.
            self._model._symbolic_build(data_batch=_gathered(chunk, chunk.rows[0]))
            self._built = True
        if self._state is None:
            # Copies, since the first step takes the arrays away: the variables must outlive a step that fails, and
            # two variables may share one array, which XLA refuses to take twice. The price is the state once more.
            self._state = State(*_copied(self._read_weights()))
        return self._state

    def _read_weights(self) -> State:
        return State(*(self._values(variables) for variables in self._variables()))

    def _variables(self) -> tuple[list[keras.Variable], ...]:
        model = self._model
        optimizer = model.optimizer.variables if model.optimizer is not None else []
        return model.trainable_variables, model.non_trainable_variables, optimizer, model.metrics_variables

    def _values(self, variables: list[keras.Variable]) -> list[jax.Array]:
        return [self._placed(variable.value) for variable in variables]

    def _placed(self, value: jax.Array) -> jax.Array:
        """The value on our device, and committed to it: a jitted function is compiled anew for one that is not."""
        if value.committed and value.devices() == {self._device}:
            return value
        return jax.device_put(value, self._device)


@jax.jit
def _copied(state: State) -> State:
    return jax.tree.map(jnp.copy, state)


def _gathered(chunk: Chunk, rows: np.ndarray[Any, Any]) -> Tree:
    return keras.tree.map_structure(lambda array: None if array is None else array[rows], chunk.data.parts())


def _uncompiled(function: Any, **_: Any) -> Any:
    return function


def _numpy(array: jax.Array) -> np.ndarray[Any, Any]:
    # Outputs are the same on every backend, and NumPy itself has no bfloat16.
    values = np.asarray(array)
    return values.astype(np.float32) if array.dtype == jnp.bfloat16 else values


def _plain(logs: dict[str, Any]) -> dict[str, Any]:
    """Floats, and arrays where a metric has several values, as Keras's History holds them."""
    plain: dict[str, Any] = {}
    for name, value in logs.items():
        if isinstance(value, dict):
            plain |= _plain(value)
        else:
            plain[name] = float(value) if np.ndim(value) == 0 else np.asarray(value)
    return plain


def _cause(error: Exception) -> str:
    """The line that tells most: the last one of a traceback of Python, else the first one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1] if "Traceback" in str(error) else lines[0]
