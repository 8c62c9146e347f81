"""The seam: what an adapter implements, and the values that cross it. How to write one: `backends/README.md`.

An adapter imports this module, `unidl.errors`, `unidl.kernels`, `unidl.keras_internals`, `unidl.keras_places`,
`unidl.logs`, `unidl.model_state`, `unidl.replacements` and `unidl.sampling`, nothing else of the core; the core imports
no framework.
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
"""A nest of dicts, lists and tuples with arrays at its leaves, as Keras uses for inputs and outputs."""


@dataclass(frozen=True)
class Device:
    """One device of this machine, as every adapter names it."""

    kind: Literal["cpu", "gpu"]
    index: int = 0
    name: str = ""
    memory_bytes: int | None = None
    compute_capability: tuple[int, int] | None = None
    """NVIDIA's (major, minor); None for any other device. 7.0 and up has float16 Tensor Cores, 8.0 and up TF32 and
    bfloat16 as well (CUDA C++ Programming Guide, "Compute Capabilities")."""

    @property
    def id(self) -> str:
        """The name Keras and the user know it by: "cpu:0", "gpu:1"."""
        return f"{self.kind}:{self.index}"


@dataclass(frozen=True)
class Devices:
    """The devices a framework sees, and a sentence if this build of it could never see a GPU."""

    found: tuple[Device, ...]
    cpu_only: str | None = None


@dataclass(frozen=True)
class MemoryUse:
    """Bytes that a framework holds on one device; None where it cannot tell."""

    current_bytes: int | None
    peak_bytes: int | None


@dataclass(frozen=True, eq=False)
class Batches:
    """Rows that batches are made of, in host memory: NumPy arrays that share their first axis, or nests of such.

    `x` alone is enough for prediction; `y` and `sample_weight` may be None.
    """

    x: Tree
    y: Tree = None
    sample_weight: Tree = None

    def parts(self) -> tuple[Tree, ...]:
        """Return (x,), (x, y) or (x, y, sample_weight), whichever is there."""
        if self.sample_weight is not None:
            return self.x, self.y, self.sample_weight
        return (self.x,) if self.y is None else (self.x, self.y)

    def as_keras(self) -> Tree:
        """Return what `keras.Model.fit` hands to a model's steps: these parts, or `x` itself where it is all there is
        and neither a list nor a tuple, which a step would unpack as the parts."""
        parts = self.parts()
        return self.x if len(parts) == 1 and not isinstance(self.x, (list, tuple)) else parts


@dataclass(frozen=True, eq=False)
class Chunk:
    """A few steps of one global order: row `rows[k]` of `data` is the batch of step k.

    rows: (steps, batch) int64, every row number inside the data. An adapter is free to keep `data` on its device and
    gather there, or to gather on the host.
    """

    data: Batches
    rows: np.ndarray[Any, np.dtype[np.int64]]
    partial: bool = False
    """Whether this is what is left over at the end of an epoch: one batch, smaller than the others."""

    def gathering(self, steps: int) -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
        """For data too large for a device: what to gather on the host for at most `steps` batches at a time, as row
        numbers, and where each batch then finds its rows (steps, batch), int32. The row numbers are as many each time,
        so that a compiled program sees one shape."""
        import numpy as np

        for first in range(0, len(self.rows), steps):
            rows = self.rows[first : first + steps]
            needed = rows.reshape(-1)
            if len(self.rows) > 1:
                needed = np.resize(needed, steps * rows.shape[1])
            yield needed, np.arange(rows.size, dtype=np.int32).reshape(rows.shape)


class Logs(Protocol):
    """Metrics as they stand after a chunk. Nothing waits for the device until somebody reads."""

    def read(self) -> dict[str, float]:
        """Name to value, in the order in which Keras reports them, "loss" among them."""
        ...


class TrainLoop(Protocol):
    """One compiled model on one device. Between `run` and `commit` the Keras variables may be stale."""

    steps_per_dispatch: int
    """The most steps of a chunk for this model and device; the trainer takes fewer where steps take long."""

    why_not_compiled: str | None
    """Why steps run one by one in plain Keras instead of in the adapter's own loop; None if they do not."""

    follows_values: bool
    """Whether a Python value that somebody changes between two chunks, such as the rate of a dropout or whether a layer
    is trainable, counts from then on. Where it does not, the steps keep it as it was when they were compiled."""

    follows_variables: bool
    """Whether a step changes variables that neither the model, its metrics nor its optimizer lists."""

    def run(self, chunk: Chunk) -> Logs:
        """Take one optimizer step a row of `chunk.rows` and return the metrics since the last `reset_metrics`."""
        ...

    def test(self, chunk: Chunk) -> Logs:
        """Update the metrics with each batch; no weight changes."""
        ...

    def predict(self, chunk: Chunk) -> Tree:
        """Return the outputs of every batch, joined along the first axis, as NumPy arrays."""
        ...

    def reset_metrics(self) -> None:
        """Start the metrics afresh."""
        ...

    def commit(self) -> None:
        """Make every Keras variable (weights, optimizer, metrics, seeds) true again.

        The next `run`, `test` or `predict` reads the variables anew, so a callback may change them after this.
        """
        ...


@runtime_checkable
class Backend(Protocol):
    """What every adapter implements."""

    name: str

    def versions(self) -> dict[str, str]:
        """Distribution name to version, the framework first."""
        ...

    def devices(self) -> Devices:
        """The devices the framework sees, CPUs first."""
        ...

    def on(self, device: Device) -> AbstractContextManager[Any]:
        """Inside it new variables and computations go to `device`."""
        ...

    def precision(self, policy: Precision) -> AbstractContextManager[Any]:
        """Inside it float32 matrix products and convolutions are computed as `policy.products` says: true float32, or
        TF32. Raises `BackendError` for an arithmetic that this framework does not have; `policy.products_in` does."""
        ...

    def synchronise(self, tree: Tree) -> None:
        """Wait until every array in `tree` is computed."""
        ...

    def memory(self, device: Device, reset: bool = False) -> MemoryUse:
        """What the framework holds on `device`; with `reset`, the peak starts anew from here."""
        ...


@runtime_checkable
class Trains(Protocol):
    """The role of an adapter that can train."""

    def compile_loop(self, model: keras.Model, *, device: Device, steps: int | None = None) -> TrainLoop:
        """Prepare the loop of a compiled Keras model on `device`. steps: optimizer steps a dispatch, or None for what
        suits this framework. Computes nothing yet. `build` makes what the model still lacks at the first chunk."""
        ...


@dataclass(frozen=True)
class KernelOff:
    """A kernel of an adapter that stays off with this Keras, and why."""

    name: str
    why: str
    corrects: str | None = None
    """The numbers that stay wrong without it, for a kernel that corrects some of Keras's; None for a faster one."""

    def __str__(self) -> str:
        if self.corrects is None:
            return f"no kernel for {self.name}: {self.why}"
        return (
            f"the correction of {self.name} cannot be applied ({self.why}); Keras's own numbers stay: {self.corrects}"
        )


@runtime_checkable
class Kernels(Protocol):
    """The role of an adapter whose loop computes with kernels of its own in place of some of Keras's."""

    def kernels(self, device: Device) -> AbstractContextManager[Any]:
        """Inside it Keras computes on `device` as it does in the adapter's loop; where its kernels are not for this
        Keras or this device, that is as it always does."""
        ...

    def kernels_off(self, device: Device) -> Sequence[KernelOff]:
        """Return the kernels for `device` that stay off with this Keras, each with the reason. The first call may check
        them, which takes seconds."""
        ...


def kernels_off(backend: Backend, device: Device) -> Sequence[KernelOff]:
    """Return the kernels of a backend for `device` that stay off; none, if it has no such role."""
    return backend.kernels_off(device) if isinstance(backend, Kernels) else ()


@dataclass(frozen=True, eq=False)
class Task:
    """A training that the comparison gives to a hand-written reference: the same model, weights and data as ours."""

    model: str
    """Which model: the name of a workload, as `unidl compare --models` takes it."""
    weights: Mapping[str, np.ndarray[Any, Any]]
    """The initial weights by the path of their layer and their name, as in "conv_1/kernel", in Keras's layouts."""
    data: Batches
    """Rows to train on; y holds the number of the class."""
    learning_rate: float
    """Adam's, constant."""
    device: Device
    precision: Precision


class Reference(Protocol):
    """One model and its training in the framework alone, as a good engineer of that framework writes it by hand."""

    def train(self, rows: np.ndarray[Any, np.dtype[np.int64]]) -> float:
        """Take one Adam step on the mean crossentropy for each row of `rows` (steps, batch), wait for the last one and
        return its loss."""
        ...

    def predict(self, x: Tree) -> np.ndarray[Any, Any]:
        """Return the probabilities (batch, classes) of one batch, in float32."""
        ...


@runtime_checkable
class Native(Protocol):
    """The role of an adapter that brings references for `unidl compare`."""

    def reference(self, task: Task) -> Reference:
        """Prepare the reference of `task`. Raises `BackendError` if there is none for this model or precision."""
        ...


@dataclass(frozen=True)
class Adapter:
    """What an entry point of the group `unidl.backends` names: all there is to say before the framework is imported."""

    name: str
    """What the user says: the value of UNIDL_BACKEND."""
    framework: str
    """The framework's own spelling, for messages."""
    keras_backend: str
    """The value of KERAS_BACKEND."""
    module: str
    """The framework's import name; the backend counts as installed if this can be found."""
    distributions: tuple[str, ...]
    """Where the version is read: the first of these that is installed."""
    install: str
    """The command that installs the framework."""
    load: Callable[[], Backend]
    """Imports the framework and Keras, and returns the backend. Called once, after the environment is set."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """Environment variables to set, where the user has not, before the framework is imported."""
    memory_on_demand: Mapping[str, str] = field(default_factory=dict[str, str])
    """The same, that keep the framework from taking the whole GPU memory; left out if UNIDL_PREALLOCATE=1."""
    float64: Mapping[str, str] = field(default_factory=dict[str, str])
    """What must be set beside them for the framework to compute in float64 where it is asked to."""
    compiles_loops: bool = False
    """Whether each loop over time steps is compiled, and anew in each call, even where nothing else is."""
