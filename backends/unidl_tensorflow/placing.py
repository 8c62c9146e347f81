"""Bringing a Keras model to a device. A variable of TensorFlow cannot move: it is replaced by a copy there."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from unidl.backend import Device


def place(model: keras.Model, device: Device) -> None:
    """Make every variable of `model`, its optimizer and its metrics live on `device`."""
    optimizer = model.optimizer.variables if model.optimizer is not None else []
    ending = f":{device.id}".upper()
    variables = [*model.variables, *optimizer, *model.metrics_variables]
    away = [variable for variable in variables if not variable._value.device.upper().endswith(ending)]
    if not away:
        return
    with tf.device(device.id):
        for variable in away:
            variable._initialize(tf.identity(variable._value))
    if model.optimizer is not None:
        _remember(model.optimizer)
    # Keras's own functions were traced with the variables that are gone.
    model.train_function = model.test_function = model.predict_function = None


def _remember(optimizer: Any) -> None:
    """Let an optimizer find its state again: it looks for it by a number that TensorFlow gives each variable."""
    if hasattr(optimizer, "inner_optimizer"):
        _remember(optimizer.inner_optimizer)
    for member in getattr(optimizer, "optimizers", ()):
        _remember(member)
    if getattr(optimizer, "built", False) and hasattr(optimizer, "_trainable_variables_indices"):
        optimizer._trainable_variables_indices = {
            optimizer._var_key(variable): index for index, variable in enumerate(optimizer._trainable_variables)
        }
