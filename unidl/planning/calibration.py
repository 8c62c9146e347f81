"""The memory of a training step as a framework on this machine takes it: counted for two batches, in a process of its
own, and continued to others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unidl.errors import BackendError
from unidl.runs.configuration import RunConfiguration
from unidl.workers.process import WorkerError, WorkerProcess, python_module

LIMIT_SECONDS = 600.0
ROOM = 0.5
"""Share of the free memory that the batches which are counted may take, by the shapes of the model."""
COUNTED, RESIDENT = "counted by the framework", "peak of a process"


@dataclass(frozen=True)
class Calibration:
    """Memory beside weights and optimizer: fixed_bytes, and row_bytes for each row of a batch. batches: those that were
    counted; how: `COUNTED` or `RESIDENT`."""

    backend: str
    fixed_bytes: float
    row_bytes: float
    batches: tuple[int, int]
    how: str

    def bytes(self, batch_size: int) -> float:
        """Return what a batch takes in float32."""
        return max(0.0, self.fixed_bytes + self.row_bytes * batch_size)


def line_through(backend: str, sizes: Mapping[int, float], how: str) -> Calibration:
    """Return what the bytes of two batches say of others."""
    (small, one), (large, two) = sorted(sizes.items())
    slope = max(0.0, (two - one) / (large - small))
    return Calibration(backend, one - slope * small, slope, (small, large), how)


def batches_for(batch_size: int, row_bytes: float, free_bytes: float | None) -> tuple[int, int]:
    """Return the two batches that are counted for a plan of batches of this size: it and half of it, since kernels for
    few rows are often others; or smaller ones that fit. row_bytes: what a row takes, by the shapes."""
    size = max(2, batch_size)
    while size > 2 and free_bytes is not None and size * row_bytes > ROOM * free_bytes:
        size = max(2, size // 2)
    return size // 2, size


def calibrate(
    configuration: RunConfiguration, backend: str, sizes: tuple[int, int], *, trust: bool = False
) -> Calibration:
    """Count the memory of two batches of these sizes on the CPU.

    Raises `BackendError` if the process fails, with its reason.
    """
    found, how = counted(configuration, backend, sizes, trust=trust)
    return line_through(backend, dict(zip(sizes, found, strict=True)), how)


def counted(
    configuration: RunConfiguration,
    backend: str,
    sizes: Sequence[int],
    *,
    trust: bool = False,
    resident: bool = False,
) -> tuple[list[float], str]:
    """Return the memory of training steps on batches of these sizes, and how it was found. resident: measure how a
    process grows, also where a framework counts. Raises `BackendError`."""
    worker = WorkerProcess(python_module("unidl.planning.calibration_worker"))
    command: dict[str, Any] = {
        "command": "count",
        "run": configuration.to_json(),
        "trust": trust,
        "backend": backend,
        "batches": list(sizes),
        "resident": resident,
    }
    try:
        answer = worker.ask(command, LIMIT_SECONDS)
    except WorkerError as error:
        raise BackendError(
            f"Cannot count the memory of batches of {' and '.join(map(str, sizes))} rows with {backend}: {error}. "
            "Leave out --calibrate to plan from the shapes alone."
        ) from error
    finally:
        worker.close()
    return answer["bytes"], answer["how"]
