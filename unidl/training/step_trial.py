"""A few steps with batches of one size, for their time and their memory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.backend import Chunk
from unidl.data.dataset import take
from unidl.training.checking import checked
from unidl.training.runs import build_for

if TYPE_CHECKING:
    from unidl.data.dataset import Split
    from unidl.training.trainer import Trainer


@dataclass(frozen=True)
class StepTrial:
    """What a trial has found. step_seconds: the least of its steps. peak_bytes: of the device, or None."""

    batch_size: int
    step_seconds: float
    peak_bytes: int | None


def try_steps(trainer: Trainer, data: Split, batch_size: int, steps: int) -> StepTrial:
    """Take steps on batches of this size; the data is repeated if it has fewer rows. The model is changed by them.

    Raises whatever the framework raises, such as an error that the memory is not enough.
    """
    few = take(data, slice(0, min(len(data), batch_size)))
    with trainer.backend.on(trainer.device), trainer.backend.precision(trainer.precision):
        rows = checked(trainer.model, few, "training data", step="train_step", batch_size=batch_size)
        build_for(trainer.model, rows, batch_size)
        loop: Any = trainer.backend.compile_loop(trainer.model, device=trainer.device, steps=1)
        loop.reset_metrics()
        chunk = Chunk(rows, np.resize(np.arange(len(rows), dtype=np.int64), (1, batch_size)))
        trainer.backend.memory(trainer.device, reset=True)
        seconds: list[float] = []
        for _ in range(steps + 2):  # the first two compile and trace
            started = time.perf_counter()
            loop.run(chunk).read()
            seconds.append(time.perf_counter() - started)
        loop.commit()
    return StepTrial(batch_size, min(seconds[2:]), trainer.backend.memory(trainer.device).peak_bytes)
