"""Bringing a Keras model to a device. A variable of TensorFlow cannot move: it is replaced by a copy there."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from unidl.backend import Device
from unidl_tensorflow.keras_internals import move, native, remember_variables


def place(model: keras.Model, device: Device) -> None:
    """Make every variable of `model`, its optimizer and its metrics live on `device`."""
    optimizer = model.optimizer.variables if model.optimizer is not None else []
    ending = f":{device.id}".upper()
    variables = [*model.variables, *optimizer, *model.metrics_variables]
    away = [variable for variable in variables if not native(variable).device.upper().endswith(ending)]
    if not away:
        return
    with tf.device(device.id):
        for variable in away:
            move(variable)
    if model.optimizer is not None:
        _remember(model.optimizer)
    # Keras's own functions were traced with the variables that are gone.
    model.train_function = model.test_function = model.predict_function = None


def _remember(optimizer: Any) -> None:
    """Let an optimizer, and those inside it, find their state again."""
    if hasattr(optimizer, "inner_optimizer"):
        _remember(optimizer.inner_optimizer)
    for member in getattr(optimizer, "optimizers", ()):
        _remember(member)
    remember_variables(optimizer)
