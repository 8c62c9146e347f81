"""The precision a built model runs in: fixed by its layers if it is a mixed one, else a matter of the device."""

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
    """Return what `model` computes in on `device`.

    request: as in `Trainer`. "auto" is what the layers were built in; None is that as well, and where they are float32,
    the precision its builder was given, then UNIDL_PRECISION, say whether TF32 may be used.

    Raises `PrecisionError` if the device cannot, or the request contradicts the layers.
    """
    architecture = record_of(model).architecture
    recorded = architecture.arguments.get("precision") if architecture is not None else None
    asked = os.environ.get("UNIDL_PRECISION")  # what a builder was given that was given nothing
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
    notice(f"precision float32: the layers of '{model.name}' were built in it, before {chosen.name} was asked for")
    return precision.FLOAT32


def require_training(model: keras.Model, row: Precision) -> None:
    """Raise `PrecisionError` if weights of a built model that are to learn cannot in this precision."""
    if any(str(variable.dtype) == row.variable_dtype for variable in model.trainable_variables):
        precision.require_training(row, model.optimizer)


def _built_in(model: keras.Model, words: Sequence[str | None]) -> Precision | None:
    """The precision that fixes the types of a model's layers, the one that somebody named first; None if it is a matter
    of the device."""
    policies = {layer.dtype_policy.name for layer in all_layers(model)} - {precision.FLOAT32.dtype_policy}
    if not policies:
        return None
    rows = (*(precision.named(word) for word in words if word not in (None, "auto")), *precision.TABLE)
    return next((row for row in rows if row.dtype_policy in policies), None)
