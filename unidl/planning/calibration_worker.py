"""The memory of training steps in a process of its own: `python -m unidl.planning.calibration_worker`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.backend import Chunk, Profiles, TrainLoop
from unidl.planning.calibration import COUNTED, RESIDENT
from unidl.planning.resident import peak_bytes
from unidl.runs.configuration import RunConfiguration
from unidl.workers.serving import Answer, Command, serve

if TYPE_CHECKING:
    from unidl.training import Trainer

WHERE = {"UNIDL_DEVICE": "cpu", "UNIDL_PRECISION": "float32"}
STEPS = 4
"""Steps on each batch: in the first ones frameworks trace and compile."""
SMALLEST = 2
"""Rows of the batch that comes before those that count."""


def answer(command: Command) -> Answer:
    """Build the model of a run, and count."""
    from unidl import registry
    from unidl.runs.training import loaded
    from unidl.runs.variables import environment

    with environment(**WHERE):
        registry.use(command["backend"])
        ready = loaded(RunConfiguration.from_json(command["run"]), Path("."), trust=command["trust"])
        found, how = step_bytes(ready.trainer, ready.train, command["batches"], resident=command["resident"])
        return {"bytes": found, "how": how}


def step_bytes(trainer: Trainer, rows: Any, sizes: Sequence[int], *, resident: bool = False) -> tuple[list[float], str]:
    """Return the bytes of a training step for each size of batches, beside variables and data, and how they were
    found. resident: measure how this process grows, also where the framework counts."""
    backend, device = trainer.backend, trainer.device
    training: Any = backend  # narrowed below to another of its roles
    with backend.on(device), backend.precision(trainer.precision):
        chunks = [one_batch(trainer, rows, size) for size in sizes]
        if isinstance(backend, Profiles) and not resident:
            counted = [backend.step_bytes(trainer.model, chunk, device=device) for chunk in chunks]
            if None not in counted:
                return [float(size or 0) for size in counted], COUNTED
        loop = training.compile_loop(trainer.model, device=device, steps=1)
        return _resident(loop, one_batch(trainer, rows, SMALLEST), chunks), RESIDENT


def one_batch(trainer: Trainer, rows: Any, size: int) -> Chunk:
    """Return one batch of this size, which repeats the rows if they are fewer."""
    from unidl.training.order import chunks
    from unidl.training.runs import build_for
    from unidl.training.step_trial import few_rows

    few = few_rows(trainer.model, rows, size)
    build_for(trainer.model, few, size)
    order = np.resize(np.arange(len(few), dtype=np.int64), size)
    return next(chunks(few, order, batch_size=size, steps=1))


def _resident(loop: TrainLoop, smallest: Chunk, chunks: list[Chunk]) -> list[float]:
    """Return by how much the peak of this process has grown after steps on each chunk, which are in order of size.
    Memory that a framework keeps for the next step counts once, since each chunk takes more than the one before."""

    def steps(chunk: Chunk) -> None:
        for _ in range(STEPS):
            loop.run(chunk).read()

    loop.reset_metrics()
    steps(smallest)  # programs and threads are there before anything counts
    before = peak_bytes()
    found: list[float] = []
    for chunk in chunks:
        steps(chunk)
        found.append(float(peak_bytes() - before))
    return found


if __name__ == "__main__":
    serve(answer)
