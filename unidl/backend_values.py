"""The values that cross the interface between unidl and its adapters, as `unidl.backend` gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from unidl.precision_row import Precision

if TYPE_CHECKING:
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
class Group:
    """The place of this process among those that train one model together.

    Args:
        rank: The number of this process, from 0.
        size: The number of processes.
        local_rank: The number of this process on its machine, from 0.
        addresses: "host:port" of each process, free for its framework to listen at; the others meet at the first one.

    Examples:
        >>> from unidl.backend import Group
        >>> Group(0, 2, 0, ("127.0.0.1:4000", "127.0.0.1:4001")).size
        2
    """

    rank: int
    size: int
    local_rank: int
    addresses: tuple[str, ...]


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


@dataclass(frozen=True)
class Operation:
    """One operation that a profiler has seen; several may run at the same time.

    Args:
        name: What ran, such as "dot" or "conv2d".
        scope: The names from which its layer is known, outermost first, such as "cnn/conv_1"; "" if there are none.
        start_seconds: When it started, from any time on.
        end_seconds: When it ended.
        lane: The thread or the stream that ran it; there, one that runs inside another is part of it.

    Examples:
        >>> from unidl.backend import Operation
        >>> Operation("dot", "cnn/predictions", 0.0, 0.5, "thread 1").end_seconds
        0.5
    """

    name: str
    scope: str
    start_seconds: float
    end_seconds: float
    lane: str


@dataclass(frozen=True)
class StepProfile:
    """Training steps as a profiler has seen them.

    Args:
        operations: Those of all steps.
        steps: The number of steps.
        step_seconds: The time of one of them without recording, the middle one of several.
        source: The program that recorded them, such as "jax.profiler".

    Examples:
        >>> from unidl.backend import StepProfile
        >>> StepProfile((), 2, 0.1, "a clock").steps
        2
    """

    operations: tuple[Operation, ...]
    steps: int
    step_seconds: float
    source: str


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
