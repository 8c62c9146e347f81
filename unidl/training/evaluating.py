"""Evaluation and prediction: one pass over data in its own order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from unidl.backend import Batches, Logs, TrainLoop, Tree
from unidl.data.dataset import Split
from unidl.data.trees import leaves
from unidl.training.order import chunks, epoch_order
from unidl.training.progress import Metrics

if TYPE_CHECKING:
    import keras

UNTIMED_STEPS = 16
"""Most batches of a dispatch, since nobody looks here at the time that a step takes."""


def evaluated(
    loop: TrainLoop,
    data: Split,
    batch_size: int,
    callbacks: keras.callbacks.CallbackList | None = None,
) -> Metrics:
    """Return the metrics of the model on `data`, in its own order. callbacks: told of single batches if one looks."""
    told = callbacks if callbacks is not None and looks_at_batches(callbacks, "test") else None
    order = epoch_order(len(data), seed=0, epoch=0, shuffle=False)
    logs: Logs | None = None
    try:
        loop.reset_metrics()
        steps = 1 if told is not None else min(UNTIMED_STEPS, loop.steps_per_dispatch)
        for step, chunk in enumerate(chunks(data, order, batch_size=batch_size, steps=steps)):
            if told is not None:
                told.on_test_batch_begin(step)
            logs = loop.test(chunk)
            if told is not None:
                loop.commit()
                told.on_test_batch_end(step, loss_first(logs.read()))
        return loss_first(logs.read() if logs is not None else {})
    finally:
        loop.commit()


def predicted(loop: TrainLoop, data: Batches, batch_size: int) -> Tree:
    """Return the outputs of the model for the rows of `data`, in their order, as NumPy arrays."""
    import keras

    order = epoch_order(len(leaves(data.x)[0]), seed=0, epoch=0, shuffle=False)
    steps = min(UNTIMED_STEPS, loop.steps_per_dispatch)
    parts = [loop.predict(chunk) for chunk in chunks(data, order, batch_size=batch_size, steps=steps)]
    return keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)


def loss_first(metrics: Metrics) -> Metrics:
    """Order metrics as people read them."""
    return {name: metrics[name] for name in sorted(metrics, key=lambda name: name != "loss")}


def looks_at_batches(callback: keras.callbacks.Callback, phase: Literal["train", "test"]) -> bool:
    """Whether a callback, or one in a list of them, has a hook of its own for single batches, in its class or on the
    instance. One whose `save_freq` is "epoch", as Keras's ModelCheckpoint has by default, does nothing there."""
    import keras

    if isinstance(callback, keras.callbacks.CallbackList):
        return any(looks_at_batches(member, phase) for member in callback.callbacks)
    if phase == "train" and getattr(callback, "save_freq", None) == "epoch":
        return False
    plain: Any = keras.callbacks.Callback
    hooks = [f"on_{phase}_batch_begin", f"on_{phase}_batch_end"]
    if phase == "train":
        hooks += ["on_batch_begin", "on_batch_end"]
    return any(getattr(getattr(callback, hook), "__func__", None) is not getattr(plain, hook) for hook in hooks)
