"""The training loop on PyTorch: Keras's step is traced and then run without Keras's layers.

Every step writes to the Keras variables, so `commit` does nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import keras
import numpy as np
import torch

from unidl.backend import Batches, Chunk, Tree
from unidl.keras_internals import rate_of
from unidl.kernels import noticing
from unidl.logs import plain_logs
from unidl.model_state import PythonValues, build
from unidl_torch.replacing import kernels
from unidl_torch.traced import ALIGNMENT, Leaves, nested, test_step, train_step
from unidl_torch.tracing import Step

STEPS = 1024
"""Maximum steps of a chunk; the trainer uses fewer if a step takes long."""

TRACED_AFTER = 8
"""Batches of one shape to evaluate or predict before the step is traced, which takes as long as several of them."""

INDEXED = ("float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "bool")
"""Dtypes whose rows are gathered by PyTorch; NumPy gathers the others."""

RESIDENT_SHARE = 0.5
"""Data of up to this fraction of the free GPU memory is kept on the GPU."""


class TorchLogs:
    """Metrics that are still on the device."""

    def __init__(self, values: dict[str, Any]) -> None:
        # Copies: some metrics return their own variable, which the next step changes.
        self._values: Any = keras.tree.map_structure(_copied, values)

    def read(self) -> dict[str, Any]:
        return plain_logs(self._values, _as_array)


class TorchLoop:
    """Implements `TrainLoop`."""

    follows_values = follows_variables = True

    def __init__(self, model: keras.Model, device: torch.device, steps: int | None) -> None:
        self._model = model
        self._device = device
        self.why_not_compiled = _why_plain(model)
        self._plain = self.why_not_compiled is not None
        self.steps_per_dispatch = 1 if self._plain else steps or STEPS
        self._built = False
        self._placed = False
        self._train, self._test, self._predict = new_steps(model)
        self._steps: tuple[Step, ...] = (self._train, self._test, self._predict)
        self._values: PythonValues | None = None
        self._data: WeakKeyDictionary[Batches, Tree] = WeakKeyDictionary()

    def run(self, chunk: Chunk) -> TorchLogs:
        self._prepare(chunk, training=True)
        form, batches = self._batches(chunk)
        if self._plain:
            return TorchLogs([self._model.train_step(nested(form, leaves)) for leaves in batches][-1])
        with noticing(not is_own(self._model, "compute_loss")), kernels(), self._sharing():
            self._train.take(form, batches, self._python_values())
        self.why_not_compiled = self._train.why_not_traced
        return self._metrics()

    def test(self, chunk: Chunk) -> TorchLogs:
        self._prepare(chunk, training=False)
        form, batches = self._batches(chunk)
        if self._plain or is_own(self._model, "test_step"):
            with torch.no_grad():
                return TorchLogs([self._model.test_step(nested(form, leaves)) for leaves in batches][-1])
        with kernels(), self._sharing():
            self._test.take(form, batches, self._python_values())
        return self._metrics()

    def predict(self, chunk: Chunk) -> Tree:
        self._set_mode(training=False)
        form, batches = self._batches(chunk)
        if len(chunk.rows) == 1 and not self._plain and self._values is not None:
            [leaves] = batches
            found = self._predict.again(leaves, self._python_values(), self._device)
            if found is not None:
                return keras.tree.map_structure(lambda part: np.array(_numpy(part)), found)
            batches = iter([leaves])
        move(self._model.variables, self._device)
        if self._plain:
            with torch.no_grad():
                outputs = [self._model.predict_step(nested(form, leaves)) for leaves in batches]
        else:
            with noticing(not is_own(self._model, "predict_step")), kernels():
                outputs = self._predict.take(form, batches, self._python_values())
        return keras.tree.map_structure(lambda *parts: np.concatenate([_numpy(part) for part in parts]), *outputs)

    def reset_metrics(self) -> None:
        self._model.reset_metrics()

    def commit(self) -> None:
        """Do nothing, since every step writes to the Keras variables."""
        self._placed = False
        self._set_mode(training=False)

    def _sharing(self) -> AbstractContextManager[Any]:
        """The context of a step that this process shares with others; there is none for a device alone."""
        return nullcontext()

    def _python_values(self) -> PythonValues:
        """Return the current Python values of the model; if one has changed, the steps are traced again."""
        if self._values is None:
            self._values = PythonValues(self._model)
        elif self._values.changed():
            for step in self._steps:
                step.forget()
        return self._values

    def _metrics(self) -> TorchLogs:
        with torch.no_grad():
            return TorchLogs(self._model.get_metrics_result())

    def _prepare(self, chunk: Chunk, *, training: bool) -> None:
        """Create everything that Keras creates at the first batch, and move it to the device."""
        self._set_mode(training=training)
        model = self._model
        if not self._built:
            form, batches = self._batches(chunk)
            build(model, nested(form, next(batches)))
            self._built = True
        if not self._placed:
            optimizer = model.optimizer.variables if model.optimizer is not None else []
            move([*model.variables, *optimizer, *model.metrics_variables], self._device)
            self._placed = True

    def _set_mode(self, *, training: bool) -> None:
        """Set the mode of PyTorch modules inside the model; Keras's own layers receive it in each call."""
        if self._model.training != training:
            self._model.train(training)

    def _batches(self, chunk: Chunk) -> tuple[Tree, Iterator[Leaves]]:
        """Return the nesting of a batch's tensors, and the tensors of each batch of the chunk, gathered on the device
        from data that is kept there if it fits."""
        data = self._data.get(chunk.data)
        if data is None:
            data = self._data[chunk.data] = resident(chunk.data.as_keras(), self._device)
        leaves = [leaf for leaf in keras.tree.flatten(data) if leaf is not None]
        order = torch.from_numpy(chunk.rows).to(self._device)
        return data, ([self._gathered(leaf, *rows) for leaf in leaves] for rows in zip(order, chunk.rows, strict=True))

    def _gathered(self, leaf: Any, order: torch.Tensor, rows: np.ndarray[Any, Any]) -> torch.Tensor:
        if isinstance(leaf, torch.Tensor):
            return leaf.index_select(0, order)
        return _tensor(leaf[rows]).to(self._device)


def new_steps(model: Any) -> tuple[Step, Step, Step]:
    """Training, testing and prediction of a model."""

    def train(batch: Tree) -> None:
        model.train_step(batch)

    def test(batch: Tree) -> None:
        model.test_step(batch)

    lengths: list[int] = []
    return (
        Step(
            train,
            partial(train_step, model),
            lambda: [*model.variables, *model.optimizer.variables, *model.metrics_variables],
            after=1,
            gradients=True,
            lengths=lengths,
        ),
        Step(
            test,
            partial(test_step, model),
            lambda: [*model.variables, *model.metrics_variables],
            after=TRACED_AFTER,
            lengths=lengths,
        ),
        Step(model.predict_step, model.predict_step, lambda: model.variables, after=TRACED_AFTER, lengths=lengths),
    )


def move(variables: Sequence[keras.Variable], device: torch.device) -> None:
    """Move the values of Keras variables to a device, and on the CPU to aligned memory unless two variables share
    memory. The parameters remain the same objects, since Keras refers to them."""
    for variable in variables:
        if variable.value.device != device:
            variable.value.data = variable.value.data.to(device)
    if device.type != "cpu" or not any(variable.value.data_ptr() % ALIGNMENT for variable in variables):
        return
    each = {id(variable): variable for variable in variables}.values()
    users = Counter(variable.value.untyped_storage().data_ptr() for variable in each)
    for variable in each:
        if variable.value.data_ptr() % ALIGNMENT and users[variable.value.untyped_storage().data_ptr()] == 1:
            variable.value.data = variable.value.data.clone()


def resident(data: Tree, device: torch.device) -> Tree:
    """Return the arrays as tensors on the device: on the CPU with the same memory, on a GPU copied; or the arrays
    themselves if they are too large or PyTorch cannot gather their rows."""
    arrays = [leaf for leaf in keras.tree.flatten(data) if leaf is not None]
    if (
        device.type == "cuda"
        and sum(leaf.nbytes for leaf in arrays) > RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]
    ):
        return data
    return keras.tree.map_structure(lambda leaf: _placed(leaf, device), data)


def _placed(leaf: Any, device: torch.device) -> Any:
    shares = leaf is not None and leaf.dtype.name in INDEXED and leaf.flags.writeable and min(leaf.strides) >= 0
    if not shares:
        return leaf
    return torch.from_numpy(leaf).to(device)


def _why_plain(model: Any) -> str | None:
    """Return why the steps of a model are run by Keras; None if they are traced."""
    if model.run_eagerly:
        return "the model was compiled with run_eagerly=True"
    if model.jit_compile:
        return "jit_compile=True is not supported: torch.compile fails at the backward pass inside Keras's step"
    rate = rate_of(model.optimizer)
    if callable(rate) and not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule | keras.Variable):
        return "the learning rate is a function, which must be called in each step"
    for name in ("train_step", "compute_metrics", "get_metrics_result"):
        if is_own(model, name):
            return f"the model overrides {name}"
    return None


def is_own(model: Any, method: str) -> bool:
    return not getattr(type(model), method).__module__.startswith("keras.")


def _tensor(array: np.ndarray[Any, Any]) -> Any:
    """Return the rows as a tensor. Keras converts dtypes that PyTorch does not accept from NumPy, such as ml_dtypes'
    bfloat16."""
    return torch.from_numpy(array) if array.dtype.kind in "biuf" else keras.ops.convert_to_tensor(array)


def _copied(value: Any) -> Any:
    if isinstance(value, keras.Variable):
        value = value.value
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


def _numpy(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    # NumPy has no bfloat16.
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).cpu().numpy()


def _as_array(value: Any) -> np.ndarray[Any, Any]:
    return _numpy(value) if isinstance(value, torch.Tensor) else np.asarray(value)
