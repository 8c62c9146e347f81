"""The precision policy: "auto", "float32", "tf32", "mixed_bfloat16", "mixed_float16", the same on every framework."""

from __future__ import annotations

import os
from typing import Any, get_args

from unidl.backend import Device, Precision, PrecisionName
from unidl.errors import PrecisionError
from unidl.notices import notice

NAMES: tuple[PrecisionName, ...] = get_args(PrecisionName)
NEEDED_CAPABILITY: dict[PrecisionName, tuple[int, int]] = {
    "tf32": (8, 0),
    "mixed_bfloat16": (8, 0),
    "mixed_float16": (5, 3),
}
"""NVIDIA compute capability from which the arithmetic exists (CUDA C++ Programming Guide, "Compute Capabilities")."""


def resolve(request: str | None, device: Device) -> Precision:
    """Turn a request into what is computed on `device`.

    request: None means UNIDL_PRECISION, then Keras's own dtype policy, which is float32 unless the program set another.
    Raises `PrecisionError` if the word is unknown, or the device cannot compute this way.
    """
    if request:
        source, wanted = "precision", request
    elif os.environ.get("UNIDL_PRECISION"):
        source, wanted = "UNIDL_PRECISION", os.environ["UNIDL_PRECISION"]
    else:
        source, wanted = "keras.config.dtype_policy()", _keras_policy()
    if wanted == "auto":
        chosen = automatic(device)
        notice(f"precision {chosen.name}: chosen for {device.name or device.id}")
        return chosen
    for name in NAMES:
        if name == wanted:
            why_not = why_not_on(name, device)
            if why_not is not None:
                raise PrecisionError(f"Cannot use {source}={wanted!r} on {device.id}: {why_not}.")
            return Precision(name)
    allowed = ", ".join(repr(name) for name in ("auto", *NAMES))
    raise PrecisionError(f"Cannot use {source}={wanted!r}. Allowed: {allowed}.")


def why_not_on(name: PrecisionName, device: Device) -> str | None:
    """Say why `device` cannot compute in this precision, or return None if it can.

    A CPU can compute in both mixed precisions, if slowly: there they serve to try a program before it meets a GPU.
    """
    needed = NEEDED_CAPABILITY.get(name)
    if needed is None or (device.kind == "cpu" and name != "tf32"):
        return None
    if device.kind == "cpu":
        return "TF32 exists only in the Tensor Cores of NVIDIA GPUs; use 'float32' or 'auto'"
    has = device.compute_capability
    if has is None:
        return f"{device.name} does not tell a compute capability" if name == "tf32" else None
    if has < needed:
        return f"it needs compute capability {needed[0]}.{needed[1]}, and {device.name} has {has[0]}.{has[1]}"
    return None


def _keras_policy() -> str:
    """The name of Keras's own dtype policy."""
    import keras  # pyright: ignore[reportMissingTypeStubs] - Keras ships none

    policy: Any = keras.config.dtype_policy()
    return str(policy.name)


def automatic(device: Device) -> Precision:
    """bfloat16 where Tensor Cores have it, float16 where they have only that, float32 elsewhere."""
    has = device.compute_capability
    if device.kind == "cpu" or has is None or has < (7, 0):
        return Precision("float32")
    return Precision("mixed_bfloat16" if has >= (8, 0) else "mixed_float16")
