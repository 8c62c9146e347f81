"""The precision a built model runs in: fixed by its layers if it is a mixed one, else a matter of the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unidl import precision
from unidl.backend import Device, Precision
from unidl.errors import PrecisionError
from unidl.keras_internals import all_layers
from unidl.models.records import record_of
from unidl.notices import notice

if TYPE_CHECKING:
    import keras

MIXED = ("mixed_bfloat16", "mixed_float16")


def precision_of(model: keras.Model, request: str | None, device: Device) -> Precision:
    """Return what `model` computes in on `device`.

    request: as in `Trainer`. "auto" is what the layers were built in; None is that as well, and where they are float32,
    the precision its builder was given, then UNIDL_PRECISION, say whether TF32 may be used.

    Raises `PrecisionError` if the device cannot, or the request contradicts the layers.
    """
    policies = {layer.dtype_policy.name for layer in all_layers(model)}
    built = next((name for name in MIXED if name in policies), None)
    if built is not None:
        if request not in (None, "auto", built):
            raise PrecisionError(
                f"Cannot use precision={request!r}: the layers of this model were built in {built!r}.\n"
                f"Build the model again with precision={request!r}."
            )
        return precision.resolve(built, device)
    if request == "auto":
        return Precision("float32")
    architecture = record_of(model).architecture
    asked = request or (architecture.arguments.get("precision") if architecture is not None else None)
    chosen = precision.resolve(asked, device)
    if chosen.name not in MIXED:
        return chosen
    if request is not None:
        raise PrecisionError(
            f"Cannot use precision={request!r}: the layers of this model were built in float32.\n"
            f"Build the model with precision={chosen.name!r}."
        )
    notice(f"precision float32: the layers of '{model.name}' were built in it, before {chosen.name} was asked for")
    return Precision("float32")
