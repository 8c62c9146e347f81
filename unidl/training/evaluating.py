"""Evaluation and prediction: one pass over data in its own order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from unidl.backend import Batches, Logs, TrainLoop, Tree
from unidl.data.dataset import Split
from unidl.training.order import chunks, one_pass
from unidl.training.progress import Metrics
from unidl.training.telling import Callbacks

UNTIMED_STEPS = 16
"""Most batches of a dispatch: here the time of a step is not watched."""


def evaluated(
    loop: TrainLoop,
    data: Split,
    batch_size: int,
    callbacks: Callbacks | None = None,
    *,
    steps: int | None = None,
) -> Metrics:
    """Return the metrics of the model on `data`, in its own order. callbacks: told of single batches if one looks.
    steps: the most batches."""
    told = callbacks if callbacks is not None and callbacks.look_at_batches("test") else None
    logs: Logs | None = None
    try:
        loop.reset_metrics()
        size = 1 if told is not None else min(UNTIMED_STEPS, loop.steps_per_dispatch)
        for step, chunk in enumerate(
            chunks(data, one_pass(data, batch_size, steps), batch_size=batch_size, steps=size)
        ):
            if told is not None:
                told.tell("on_test_batch_begin", step)
            logs = loop.test(chunk)
            if told is not None:
                loop.commit()
                told.tell("on_test_batch_end", step, loss_first(logs.read()))
        return loss_first(logs.read() if logs is not None else {})
    finally:
        loop.commit()


def predicted(
    loop: TrainLoop,
    data: Batches,
    batch_size: int,
    callbacks: Callbacks | None = None,
    *,
    steps: int | None = None,
) -> Tree:
    """Return the outputs of the model for the rows of `data`, in their order, as NumPy arrays. callbacks, steps: as in
    `evaluated`."""
    import keras

    parts = predicted_parts(loop, data, batch_size, callbacks, steps=steps)
    return keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)


def predicted_parts(
    loop: TrainLoop,
    data: Batches,
    batch_size: int,
    callbacks: Callbacks | None = None,
    *,
    steps: int | None = None,
) -> Iterator[Tree]:
    """Yield the outputs of `predicted` as they are computed, those of a few batches at a time."""
    told = callbacks if callbacks is not None and callbacks.look_at_batches("predict") else None
    size = 1 if told is not None else min(UNTIMED_STEPS, loop.steps_per_dispatch)
    order = one_pass(data, batch_size, steps)
    for step, chunk in enumerate(chunks(data, order, batch_size=batch_size, steps=size)):
        if told is not None:
            told.tell("on_predict_batch_begin", step)
        outputs = loop.predict(chunk)
        if told is not None:
            told.tell("on_predict_batch_end", step, {"outputs": outputs})
        yield outputs


def loss_first(metrics: Metrics) -> Metrics:
    """Order metrics as people read them."""
    return {name: metrics[name] for name in sorted(metrics, key=lambda name: name != "loss")}
