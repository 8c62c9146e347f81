"""A few steps with batches of one size, for their time and their memory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from unidl.backend import Backend, Device, TrainLoop
from unidl.data.dataset import Split, take
from unidl.training.checking import checked
from unidl.training.order import chunks

if TYPE_CHECKING:
    import keras

COMPILING_STEPS = 2
"""In which frameworks trace and compile; their time does not count."""


@dataclass(frozen=True)
class StepTrial:
    """What a trial has found. step_seconds: the least of its steps. peak_bytes: of the device, or None."""

    batch_size: int
    step_seconds: float
    peak_bytes: int | None


def few_rows(model: keras.Model, data: Split, batch_size: int) -> Split:
    """Return the rows that batches of this size are made of, as the model takes them. Raises `DataError`."""
    few = take(data, slice(0, min(len(data), batch_size)))
    return checked(model, few, "training data", step="train_step", batch_size=batch_size)


def timed_steps(
    loop: TrainLoop, backend: Backend, device: Device, rows: Split, batch_size: int, steps: int
) -> StepTrial:
    """Take steps on batches of this size, which repeat the rows if those are fewer."""
    order = np.resize(np.arange(len(rows), dtype=np.int64), batch_size)
    chunk = next(chunks(rows, order, batch_size=batch_size, steps=1))
    backend.memory(device, reset=True)
    loop.reset_metrics()
    seconds: list[float] = []
    for _ in range(steps + COMPILING_STEPS):
        started = time.perf_counter()
        loop.run(chunk).read()
        seconds.append(time.perf_counter() - started)
    loop.commit()
    return StepTrial(batch_size, min(seconds[COMPILING_STEPS:]), backend.memory(device).peak_bytes)
