"""The precision in which a built model runs: fixed by its layers if mixed, otherwise chosen for the device."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from unidl import precision
from unidl.backend import Device, Precision
from unidl.errors import PrecisionError
from unidl.keras_internals import all_layers
from unidl.models.records import record_of
from unidl.notices import notice

if TYPE_CHECKING:
    import keras


def precision_of(model: keras.Model, request: str | None, device: Device) -> Precision:
    """Return the precision of `model` on `device`.

    request: as in `Trainer`. "auto" is the precision of the layers; None is the same, except that for float32 layers
    the builder's argument, then UNIDL_PRECISION, decide whether TF32 may be used.

    Raises `PrecisionError` if the device does not support it, or the request contradicts the layers.
    """
    architecture = record_of(model).architecture
    recorded = architecture.arguments.get("precision") if architecture is not None else None
    asked = os.environ.get("UNIDL_PRECISION")  # the default of builders
    built = _built_in(model, [request, recorded, asked if asked in precision.names() else None])
    if built is not None:
        if request not in (None, "auto", built.name):
            raise PrecisionError(
                f"Cannot use precision={request!r}: the layers of this model were built in {built.name!r}.\n"
                f"Build the model again with precision={request!r}."
            )
        return precision.resolve(built.name, device)
    if request == "auto":
        return precision.FLOAT32
    chosen = precision.resolve(request or recorded, device)
    if chosen.dtype_policy == precision.FLOAT32.dtype_policy:
        return chosen
    if request is not None:
        raise PrecisionError(
            f"Cannot use precision={request!r}: the layers of this model were built in float32.\n"
            f"Build the model with precision={chosen.name!r}."
        )
    notice(f"precision float32: the layers of '{model.name}' were built in float32 before {chosen.name} was requested")
    return precision.FLOAT32


def require_training(model: keras.Model, row: Precision) -> None:
    """Raise `PrecisionError` if the trainable weights of a built model cannot be trained in this precision."""
    if any(str(variable.dtype) == row.variable_dtype for variable in model.trainable_variables):
        precision.require_training(row, model.optimizer)


def _built_in(model: keras.Model, words: Sequence[str | None]) -> Precision | None:
    """Return the precision that fixes the dtypes of a model's layers, preferably as named by the user; None if it
    depends on the device."""
    policies = {layer.dtype_policy.name for layer in all_layers(model)} - {precision.FLOAT32.dtype_policy}
    if not policies:
        return None
    rows = (*(precision.named(word) for word in words if word not in (None, "auto")), *precision.TABLE)
    return next((row for row in rows if row.dtype_policy in policies), None)
