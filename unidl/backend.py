"""The interface between unidl and its adapters: protocols and value types. How to write one: `backends/README.md`.

An adapter imports this module, `unidl.errors`, `unidl.kernels`, `unidl.keras_internals`, `unidl.keras_places`,
`unidl.logs`, `unidl.model_state` and `unidl.replacements`, nothing else of the core; the core imports no framework.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from unidl.precision_row import Precision as Precision

if TYPE_CHECKING:
    import keras  # pyright: ignore[reportMissingTypeStubs] - Keras ships none
    import numpy as np

Tree = Any
"""A nest of dicts, lists and tuples with arrays as leaves, as Keras uses for inputs and outputs."""


@dataclass(frozen=True)
class Device:
    """One device of this machine, named the same way by every adapter.

    Args:
        kind: "cpu" or "gpu".
        index: Number of the device among those of its kind, from 0.
        name: The name of the product.
        memory_bytes: Memory of the device; None if unknown.
        compute_capability: NVIDIA's (major, minor); None for any other device. 7.0 and higher have float16 Tensor
            Cores, 8.0 and higher also TF32 and bfloat16 (CUDA C++ Programming Guide, "Compute Capabilities").

    Examples:
        >>> from unidl.backend import Device
        >>> Device("gpu", 1).id
        'gpu:1'
    """

    kind: Literal["cpu", "gpu"]
    index: int = 0
    name: str = ""
    memory_bytes: int | None = None
    compute_capability: tuple[int, int] | None = None

    @property
    def id(self) -> str:
        """The name used by Keras and by users: "cpu:0", "gpu:1"."""
        return f"{self.kind}:{self.index}"


@dataclass(frozen=True)
class Devices:
    """The devices that a framework sees.

    Args:
        found: The devices, CPUs first.
        cpu_only: A sentence if this build of the framework cannot use GPUs at all; else None.

    Examples:
        >>> from unidl.backend import Device, Devices
        >>> Devices((Device("cpu"),), "this is a CPU-only build").found[0].id
        'cpu:0'
    """

    found: tuple[Device, ...]
    cpu_only: str | None = None


@dataclass(frozen=True)
class MemoryUse:
    """Bytes that a framework has allocated on one device.

    Args:
        current_bytes: What is allocated now; None if unknown.
        peak_bytes: The maximum since the last reset; None if unknown.

    Examples:
        >>> from unidl.backend import MemoryUse
        >>> MemoryUse(current_bytes=1024, peak_bytes=4096).peak_bytes
        4096
    """

    current_bytes: int | None
    peak_bytes: int | None


@dataclass(frozen=True, eq=False)
class Batches:
    """Rows from which batches are formed, in host memory.

    The parts are NumPy arrays of equal length along the first axis, or nests of them. `x` alone is enough for
    prediction.

    Args:
        x: The inputs, (rows, ...).
        y: The targets, (rows, ...), or None.
        sample_weight: Weight of each row, (rows,) or (rows, steps), or None.

    Examples:
        >>> import numpy as np
        >>> from unidl.backend import Batches
        >>> batches = Batches(np.zeros((4, 3)), np.zeros(4))
        >>> [part.shape for part in batches.parts()]
        [(4, 3), (4,)]
    """

    x: Tree
    y: Tree = None
    sample_weight: Tree = None

    def parts(self) -> tuple[Tree, ...]:
        """Return (x,), (x, y) or (x, y, sample_weight), depending on what is set.

        Returns:
            The parts that are not None.
        """
        if self.sample_weight is not None:
            return self.x, self.y, self.sample_weight
        return (self.x,) if self.y is None else (self.x, self.y)

    def as_keras(self) -> Tree:
        """Return what `keras.Model.fit` passes to a model's steps.

        Returns:
            The parts, or only `x` if there is nothing else and it is neither a list nor a tuple, which a step would
                unpack.

        Examples:
            >>> import numpy as np
            >>> from unidl.backend import Batches
            >>> Batches(np.zeros((4, 3))).as_keras().shape
            (4, 3)
        """
        parts = self.parts()
        return self.x if len(parts) == 1 and not isinstance(self.x, (list, tuple)) else parts


@dataclass(frozen=True, eq=False)
class Chunk:
    """Consecutive steps of the global order: the rows `rows[k]` of `data` are the batch of step k.

    An adapter may keep `data` on its device and gather there, or gather on the host.

    Args:
        data: The rows to gather from.
        rows: (steps, batch) int64, valid row numbers of `data`.
        partial: Whether this is the remainder of an epoch: one batch that is smaller than the others.

    Examples:
        >>> import numpy as np
        >>> from unidl.backend import Batches, Chunk
        >>> chunk = Chunk(Batches(np.arange(6.0)), np.array([[4, 0], [2, 5]]))
        >>> chunk.data.x[chunk.rows].tolist()
        [[4.0, 0.0], [2.0, 5.0]]
    """

    data: Batches
    rows: np.ndarray[Any, np.dtype[np.int64]]
    partial: bool = False

    def gathering(self, steps: int) -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
        """Split the gathering of data that is too large for a device.

        The number of rows is constant, so that a compiled program sees a single shape.

        Args:
            steps: Maximum number of batches at a time.

        Yields:
            The row numbers to gather on the host, (rows,) int64, and the positions of each batch in them, (steps,
                batch) int32.

        Examples:
            >>> import numpy as np
            >>> from unidl.backend import Batches, Chunk
            >>> chunk = Chunk(Batches(np.arange(6.0)), np.array([[4, 0], [2, 5]]))
            >>> [(rows.tolist(), places.tolist()) for rows, places in chunk.gathering(steps=1)]
            [([4, 0], [[0, 1]]), ([2, 5], [[0, 1]])]
        """
        import numpy as np

        for first in range(0, len(self.rows), steps):
            rows = self.rows[first : first + steps]
            needed = rows.reshape(-1)
            if len(self.rows) > 1:
                needed = np.resize(needed, steps * rows.shape[1])
            yield needed, np.arange(rows.size, dtype=np.int32).reshape(rows.shape)


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


@dataclass(frozen=True)
class KernelOff:
    """A kernel of an adapter that is disabled with this Keras, and why."""

    name: str
    """Name of the kernel."""
    why: str
    """The reason, as a clause without its full stop."""
    corrects: str | None = None
    """The results that remain wrong without it, for a kernel that corrects Keras; None for one that is only faster."""

    def __str__(self) -> str:
        if self.corrects is None:
            return f"no kernel for {self.name}: {self.why}"
        return (
            f"the correction of {self.name} cannot be applied ({self.why}); Keras's own results are used: "
            f"{self.corrects}"
        )


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


@dataclass(frozen=True, eq=False)
class Task:
    """A training task for a hand-written reference: the same model, weights and data as for unidl's loop."""

    model: str
    """The name of a workload, as in `unidl compare --models`."""
    weights: Mapping[str, np.ndarray[Any, Any]]
    """Initial weights in Keras's layouts, by layer path and name, such as "conv_1/kernel"."""
    data: Batches
    """Training rows; y holds class indices."""
    learning_rate: float
    """Constant learning rate of Adam."""
    device: Device
    """The device that computes."""
    precision: Precision
    """What to compute in."""


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
    compiles_loops: bool = False
    """Whether eager mode compiles loops over time steps, again in each call."""
