"""The interface between unidl and its adapters: protocols and value types. How to write one: `backends/README.md`.

An adapter imports this module, `unidl.errors`, `unidl.kernels`, `unidl.keras_internals`, `unidl.keras_places`,
`unidl.logs`, `unidl.model_state`, `unidl.replacements` and `unidl.sampling`, nothing else of the core; the core imports
no framework.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from unidl.backend_values import Batches as Batches
from unidl.backend_values import Chunk as Chunk
from unidl.backend_values import Device as Device
from unidl.backend_values import Devices as Devices
from unidl.backend_values import Group as Group
from unidl.backend_values import KernelOff as KernelOff
from unidl.backend_values import MemoryUse as MemoryUse
from unidl.backend_values import Operation as Operation
from unidl.backend_values import StepProfile as StepProfile
from unidl.backend_values import Task as Task
from unidl.backend_values import Tree as Tree
from unidl.precision_row import Precision as Precision

if TYPE_CHECKING:
    import keras  # pyright: ignore[reportMissingTypeStubs] - Keras ships none
    import numpy as np


class Logs(Protocol):
    """Metrics after a chunk. Reading them waits for the device; creating them does not."""

    def read(self) -> dict[str, float]:
        """Return the metrics, waiting for the device.

        Returns:
            Values by name, including "loss", in the order in which Keras reports them.
        """
        ...


class TrainLoop(Protocol):
    """One compiled model on one device. Between `run` and `commit` the Keras variables may be stale."""

    steps_per_dispatch: int
    """Maximum steps of a chunk for this model and device; the trainer uses fewer if steps take long."""

    why_not_compiled: str | None
    """Why steps run one by one in plain Keras instead of in the adapter's compiled loop; None if they do not."""

    follows_values: bool
    """Whether changes of Python values between two chunks, such as a dropout rate or the attribute `trainable` of a
    layer, take effect. Otherwise steps keep the values at the time of compilation."""

    follows_variables: bool
    """Whether a step updates variables that are not listed by the model, its metrics or its optimizer."""

    def run(self, chunk: Chunk) -> Logs:
        """Take one optimizer step per row of `chunk.rows`.

        Args:
            chunk: The batches, (steps, batch).

        Returns:
            The metrics since the last `reset_metrics`.
        """
        ...

    def test(self, chunk: Chunk) -> Logs:
        """Update the metrics with each batch, without changing weights.

        Args:
            chunk: The batches, (steps, batch).

        Returns:
            The metrics since the last `reset_metrics`.
        """
        ...

    def predict(self, chunk: Chunk) -> Tree:
        """Return the outputs of all batches, concatenated along the first axis.

        Args:
            chunk: The batches, (steps, batch).

        Returns:
            NumPy arrays (steps * batch, ...), nested as the model's outputs are.
        """
        ...

    def reset_metrics(self) -> None:
        """Reset the metrics."""
        ...

    def commit(self) -> None:
        """Write the current state to all Keras variables (weights, optimizer, metrics, seeds).

        The next `run`, `test` or `predict` reads the variables again, so a callback may change them after this call.
        """
        ...


@runtime_checkable
class Backend(Protocol):
    """The protocol that every adapter implements."""

    name: str
    """The name for users: that of the adapter."""

    def versions(self) -> dict[str, str]:
        """Return the versions of the framework and of Keras.

        Returns:
            Versions by distribution name, the framework first.
        """
        ...

    def devices(self) -> Devices:
        """Return the devices that the framework sees.

        Returns:
            The devices, CPUs first.
        """
        ...

    def on(self, device: Device) -> AbstractContextManager[Any]:
        """Return a context in which new variables and computations are placed on a device.

        Args:
            device: One of `devices()`.

        Returns:
            The context manager.
        """
        ...

    def precision(self, policy: Precision) -> AbstractContextManager[Any]:
        """Return a context in which float32 matrix products and convolutions use `policy.products`.

        Args:
            policy: The precision; its `products` is "float32" (full float32) or "tf32".

        Returns:
            The context manager.

        Raises:
            BackendError: For arithmetic that this framework lacks, as `policy.products_in` does.
        """
        ...

    def synchronise(self, tree: Tree) -> None:
        """Wait until every array in `tree` has been computed.

        Args:
            tree: A nest of the framework's arrays.
        """
        ...

    def memory(self, device: Device, reset: bool = False) -> MemoryUse:
        """Return the memory use of the framework on a device.

        Args:
            device: One of `devices()`.
            reset: Whether to restart the peak from the current value.

        Returns:
            The bytes; None if unknown.
        """
        ...


@runtime_checkable
class Trains(Protocol):
    """The role of an adapter that can train."""

    def compile_loop(self, model: keras.Model, *, device: Device, steps: int | None = None) -> TrainLoop:
        """Prepare the loop of a compiled Keras model on a device.

        Computes nothing yet; `unidl.model_state.build` creates missing state at the first chunk.

        Args:
            model: The model, compiled.
            device: One of `devices()`.
            steps: Optimizer steps per dispatch, or None for the default of this framework.

        Returns:
            The loop.
        """
        ...


class Share(Protocol):
    """The rows of one batch that a device computes, and what it exchanges with the other devices within a step."""

    first: Any
    """The number of its first row in the batch: an int, or an int32 scalar of the framework."""
    rows: int
    """The number of its rows."""
    total: int
    """The number of rows of the whole batch."""

    def sum(self, tensors: Sequence[Any]) -> list[Any]:
        """Sum floating-point tensors over all devices.

        Args:
            tensors: Tensors of the same shapes and dtypes on every device.

        Returns:
            The sums, on every device; their gradients are summed as well.
        """
        ...

    def gather(self, tensor: Any) -> Any:
        """Return the rows of all devices in the order of the batch, without a gradient.

        Args:
            tensor: (rows, ...).

        Returns:
            (total, ...), on every device.
        """
        ...


@runtime_checkable
class Distributes(Protocol):
    """The role of an adapter that trains one model on several devices.

    They belong to several processes, if its `Adapter` has `join`, or to one, if `shares_in_process`.
    """

    divides_evenly: bool
    """Whether a batch is only shared if every device gets equally many rows; another is computed by each device."""

    shares_in_process: bool
    """Whether several devices of one process can share a batch."""

    def compile_shared_loop(
        self,
        model: keras.Model,
        *,
        devices: Sequence[Device],
        within: Callable[[Share], AbstractContextManager[Any]],
        steps: int | None = None,
    ) -> TrainLoop:
        """Prepare a loop in which each device computes its share of each batch.

        All processes call its methods with the same chunks. A batch with fewer rows than there are devices is computed
        whole by each of them, as is one that cannot be shared evenly if `divides_evenly`.

        Args:
            model: The model, compiled.
            devices: The devices of this process; one unless `shares_in_process`.
            within: Returns the context in which a step of training or evaluation of a share is traced or computed:
                there Keras computes what it would compute for the whole batch.
            steps: As for `Trains.compile_loop`.

        Returns:
            The loop.
        """
        ...


@runtime_checkable
class Kernels(Protocol):
    """The role of an adapter whose loop replaces some Keras functions by its own kernels."""

    def kernels(self, device: Device) -> AbstractContextManager[Any]:
        """Return a context in which Keras computes as in the adapter's loop.

        Kernels that do not support this Keras or this device are not used.

        Args:
            device: One of `devices()`.

        Returns:
            The context manager.
        """
        ...

    def kernels_off(self, device: Device) -> Sequence[KernelOff]:
        """Return the kernels for a device that are disabled with this Keras.

        The first call may check them, which takes seconds.

        Args:
            device: One of `devices()`.

        Returns:
            The kernels, each with the reason.
        """
        ...


@runtime_checkable
class Profiles(Protocol):
    """The role of an adapter that says what a training step takes (`unidl plan --calibrate`, `unidl profile`)."""

    def step_bytes(self, model: keras.Model, chunk: Chunk, *, device: Device) -> int | None:
        """Return the memory of a training step at its peak, beside variables and data.

        That is activations, gradients and temporary values. The model is left as it is.

        Args:
            model: The model, compiled and built.
            chunk: One batch, (1, batch).
            device: One of `devices()`.

        Returns:
            The bytes; None if this framework does not count them.
        """
        ...

    def profile_step(self, model: keras.Model, chunk: Chunk, *, device: Device) -> StepProfile:
        """Take training steps as the loop does, and record their operations.

        The model is changed.

        Args:
            model: The model, compiled and built.
            chunk: The batches, (steps, batch); some of them only warm up.
            device: One of `devices()`.

        Returns:
            The operations, and the time of a step without recording.

        Raises:
            BackendError: If the steps of this model are not compiled, or this framework records no operations.
        """
        ...


def kernels_off(backend: Backend, device: Device) -> Sequence[KernelOff]:
    """Return the disabled kernels of a backend for a device.

    Args:
        backend: Any backend.
        device: One of its devices.

    Returns:
        The kernels, each with the reason; empty if the backend does not have the role `Kernels`.

    Examples:
        >>> from unidl import registry
        >>> from unidl.backend import Device, KernelOff, kernels_off
        >>> all(isinstance(kernel, KernelOff) for kernel in kernels_off(registry.current(), Device("cpu")))
        True
    """
    return backend.kernels_off(device) if isinstance(backend, Kernels) else ()


class Reference(Protocol):
    """One model and its training in idiomatic, hand-written framework code, without Keras."""

    def train(self, rows: np.ndarray[Any, np.dtype[np.int64]]) -> float:
        """Take one Adam step on the mean cross-entropy for each row of `rows`, and wait for the last one.

        Args:
            rows: (steps, batch) int64, row numbers of the task's data.

        Returns:
            The loss of the last step.
        """
        ...

    def predict(self, x: Tree) -> np.ndarray[Any, Any]:
        """Return the probabilities of one batch.

        Args:
            x: The inputs, (batch, ...).

        Returns:
            (batch, classes) float32.
        """
        ...


@runtime_checkable
class Native(Protocol):
    """The role of an adapter that provides references for `unidl compare`."""

    def reference(self, task: Task) -> Reference:
        """Prepare the reference of a task.

        Args:
            task: What to train.

        Returns:
            The reference, which starts with the weights of the task.

        Raises:
            BackendError: If there is none for this model or precision.
        """
        ...


@runtime_checkable
class Exports(Protocol):
    """The role of an adapter that can write models for other programs (`unidl export`)."""

    def export(self, model: keras.Model, kind: str) -> bytes:
        """Return the inference of a model as the content of one file, which takes any number of rows.

        Args:
            model: The model; its inputs and outputs are passed flat, in Keras's order.
            kind: What to write, such as "onnx"; those that `unidl.deploy.formats` names for this adapter.

        Returns:
            The content of the file.

        Raises:
            ModelError: If this kind of file cannot hold the model.
        """
        ...


@dataclass(frozen=True)
class Adapter:
    """The value of an entry point in the group `unidl.backends`: what is known before the framework is imported."""

    name: str
    """The name for users, as in UNIDL_BACKEND."""
    framework: str
    """The framework's name as it is written in messages."""
    keras_backend: str
    """The value of KERAS_BACKEND."""
    module: str
    """The framework's import name; the backend counts as installed if this module is found."""
    distributions: tuple[str, ...]
    """Distributions of the framework; the version is that of the first one installed."""
    install: str
    """The command that installs the framework."""
    load: Callable[[], Backend]
    """Imports the framework and Keras, and returns the backend. Called once, after the environment has been set."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """Environment variables to set before the framework is imported, unless the user has set them."""
    memory_on_demand: Mapping[str, str] = field(default_factory=dict[str, str])
    """The same, to keep the framework from reserving all GPU memory; ignored if UNIDL_PREALLOCATE=1."""
    float64: Mapping[str, str] = field(default_factory=dict[str, str])
    """Additional variables that the framework needs to compute in float64."""
    join: Callable[[Group], None] | None = None
    """Makes this process one of several that train together. Called before `load`, and only where there are several;
    None if the backend computes in one process only."""
    runtimes: Mapping[str, Callable[[bytes], tuple[Callable[[Sequence[Any]], Sequence[Any]], Mapping[str, str]]]] = (
        field(default_factory=dict[str, Any])
    )
    """By the name of a format that only this framework runs: loads a file without Keras, and returns a function from
    inputs to outputs and the versions of the framework."""
    compiles_loops: bool = False
    """Whether eager mode compiles loops over time steps, again in each call."""
