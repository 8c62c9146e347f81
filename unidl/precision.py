"""The precisions, one row each, with the same meaning on every framework; "auto" selects one by device.

A custom precision is such a row, registered by an entry point of the group `unidl.precisions` under its name.
"""

from __future__ import annotations

import os
from typing import Any

from unidl import plugins
from unidl.backend import Device
from unidl.errors import PrecisionError
from unidl.notices import notice
from unidl.precision_row import Precision

GROUP = "unidl.precisions"

TABLE = (
    Precision("float32", dtype_policy="float32"),
    Precision(
        "tf32",
        dtype_policy="float32",
        products="tf32",
        unit_roundoff=2.0**-11,
        loss_tolerance=1e-2,
        least_capability=(8, 0),
        why_not_on_cpu="TF32 exists only in the Tensor Cores of NVIDIA GPUs; use 'float32' or 'auto'",
    ),
    Precision(
        "mixed_bfloat16",
        dtype_policy="mixed_bfloat16",
        compute_dtype="bfloat16",
        products="tf32",
        unit_roundoff=2.0**-8,
        loss_tolerance=5e-2,
        least_capability=(8, 0),
        automatic_from=(8, 0),
    ),
    Precision(
        "mixed_float16",
        dtype_policy="mixed_float16",
        compute_dtype="float16",
        products="tf32",
        loss_scaling=True,
        unit_roundoff=2.0**-11,
        loss_tolerance=2e-2,
        least_capability=(5, 3),
        automatic_from=(7, 0),
    ),
    Precision(
        "bfloat16",
        dtype_policy="bfloat16",
        compute_dtype="bfloat16",
        variable_dtype="bfloat16",
        products="tf32",
        unit_roundoff=2.0**-8,
        variable_roundoff=2.0**-8,
        loss_tolerance=5e-2,
        least_capability=(8, 0),
        training_note=(
            "weights have only 8 bits, so an update smaller than 1/512 of a weight is lost; 'mixed_bfloat16' keeps "
            "weights in float32"
        ),
    ),
    Precision(
        "float16",
        dtype_policy="float16",
        compute_dtype="float16",
        variable_dtype="float16",
        products="tf32",
        loss_scaling=True,
        unit_roundoff=2.0**-11,
        variable_roundoff=2.0**-11,
        loss_tolerance=2e-2,
        least_capability=(5, 3),
        why_not_train=(
            "the squared gradients stored by optimizers such as Adam underflow to 0, which makes their steps far too "
            "large; "
            "use 'mixed_float16', which keeps weights and optimizer in float32, or 'mixed_bfloat16'"
        ),
    ),
)
"""unidl's precisions. The capabilities are those of the CUDA C++ Programming Guide, "Compute Capabilities": Tensor
Cores have float16 from 7.0, TF32 and bfloat16 from 8.0. Tolerances of losses: in float32 implementations differ in the
order of summation, and Adam takes a full step even for the smallest gradient; TF32 and float16 have 10 bits of
mantissa, bfloat16 has 7."""

NAMES = tuple(row.name for row in TABLE)
FLOAT32 = TABLE[0]


def names() -> tuple[str, ...]:
    """Return the names of all precisions: those of unidl, then those of plugins.

    Returns:
        The names, without "auto".

    Examples:
        >>> from unidl import precision
        >>> precision.names()[:4]
        ('float32', 'tf32', 'mixed_bfloat16', 'mixed_float16')
    """
    return (*NAMES, *(name for name in plugins.found(GROUP) if name not in NAMES))


def named(name: str, *, source: str = "precision") -> Precision:
    """Return the precision of a name.

    Args:
        name: The name of a precision.
        source: Name of the setting, for the error message.

    Returns:
        The precision.

    Raises:
        PrecisionError: If there is none of this name.

    Examples:
        >>> from unidl import precision
        >>> precision.named("mixed_float16").loss_scaling
        True
    """
    for row in TABLE:
        if row.name == name:
            return row
    if name not in plugins.found(GROUP):
        allowed = ", ".join(repr(one) for one in ("auto", *names()))
        raise PrecisionError(f"Cannot use {source}={name!r}. Allowed: {allowed}.")
    row = plugins.load(GROUP, name, Precision, error=PrecisionError)
    if row.name != name:
        raise PrecisionError(
            f"Cannot use {source}={name!r}: the plugin of this name in the group {GROUP} defines a precision "
            f"named {row.name!r}. The names must be equal."
        )
    return row


def resolve(request: str | None, device: Device) -> Precision:
    """Resolve a request to a precision on a device.

    Args:
        request: The name of a precision, or "auto". None means UNIDL_PRECISION, then Keras's own dtype policy, which is
            float32 unless the program set another.
        device: The device that computes.

    Returns:
        The precision.

    Raises:
        PrecisionError: If the name is unknown, or the device cannot compute in this precision.

    Examples:
        >>> from unidl import precision
        >>> from unidl.backend import Device
        >>> precision.resolve("auto", Device("cpu")).name
        'float32'
    """
    if request:
        source, wanted = "precision", request
    elif os.environ.get("UNIDL_PRECISION"):
        source, wanted = "UNIDL_PRECISION", os.environ["UNIDL_PRECISION"]
    else:
        source, wanted = "keras.config.dtype_policy()", _keras_policy()
    if wanted == "auto":
        chosen = automatic(device)
        notice(f"precision {chosen.name}: selected for {device.name or device.id}")
        return chosen
    row = named(wanted, source=source)
    why_not = why_not_on(row, device)
    if why_not is not None:
        raise PrecisionError(f"Cannot use {source}={wanted!r} on {device.id}: {why_not}.")
    return row


def why_not_on(row: Precision, device: Device) -> str | None:
    """Return why a device cannot compute in a precision.

    A CPU can compute in every 16-bit type, although slowly, which is enough to try a program before it runs on a GPU.

    Args:
        row: The precision.
        device: The device.

    Returns:
        A clause without its full stop, or None if the device can.

    Examples:
        >>> from unidl import precision
        >>> from unidl.backend import Device
        >>> gpu = Device("gpu", name="an older GPU", compute_capability=(7, 5))
        >>> precision.why_not_on(precision.named("mixed_float16"), gpu) is None
        True
        >>> precision.why_not_on(precision.named("mixed_bfloat16"), gpu) is None
        False
    """
    if device.kind == "cpu":
        return row.why_not_on_cpu
    needed, has = row.least_capability, device.compute_capability
    if needed is None:
        return None
    if has is None:
        return f"{device.name} does not report a compute capability" if row.why_not_on_cpu is not None else None
    if has < needed:
        return f"it needs compute capability {needed[0]}.{needed[1]}, but {device.name} has {has[0]}.{has[1]}"
    return None


def require_training(row: Precision, optimizer: Any = None) -> None:
    """Raise unless a model can be trained in a precision, and give notice once of what is lost where that is known.

    Args:
        row: The precision.
        optimizer: The optimizer to train with; None for any.

    Raises:
        PrecisionError: If no model can be trained in this precision, or not with this optimizer.

    Examples:
        >>> from unidl import precision
        >>> precision.require_training(precision.named("mixed_bfloat16"))
    """
    if row.why_not_train is not None:
        raise PrecisionError(f"Cannot train in precision {row.name!r}: {row.why_not_train}.")
    beta = getattr(getattr(optimizer, "inner_optimizer", optimizer), "beta_2", None)
    # Numbers below 1 are spaced half as far apart as those above.
    if beta is not None and 1 - beta <= row.variable_roundoff / 2:
        raise PrecisionError(
            f"Cannot train in precision {row.name!r} with {type(optimizer).__name__}: its beta_2={beta:g} is rounded "
            f"to 1 in {row.variable_dtype}, so no step changes a weight. Use an optimizer without it, such as "
            "keras.optimizers.SGD, or a precision that keeps weights in float32, such as 'mixed_bfloat16'."
        )
    if row.training_note is not None:
        notice(f"precision {row.name}: {row.training_note}")


def scales_loss(dtype_policy: str) -> bool:
    """Return whether gradients of layers with a Keras dtype policy would vanish without loss scaling.

    Args:
        dtype_policy: The name of the policy.

    Returns:
        True if they would.

    Examples:
        >>> from unidl import precision
        >>> precision.scales_loss("mixed_float16"), precision.scales_loss("float32")
        (True, False)
    """
    return any(row.loss_scaling for row in TABLE if row.dtype_policy == dtype_policy)


def _keras_policy() -> str:
    """Return the name of Keras's global dtype policy."""
    import keras  # pyright: ignore[reportMissingTypeStubs] - Keras ships none

    policy: Any = keras.config.dtype_policy()
    return str(policy.name)


def automatic(device: Device) -> Precision:
    """Return what "auto" means on a device.

    Args:
        device: The device that computes.

    Returns:
        Mixed bfloat16 where Tensor Cores have it, mixed float16 where they have only that, else float32.

    Examples:
        >>> from unidl import precision
        >>> from unidl.backend import Device
        >>> precision.automatic(Device("gpu", compute_capability=(8, 0))).name
        'mixed_bfloat16'
    """
    has = device.compute_capability
    if device.kind == "cpu" or has is None:
        return FLOAT32
    suited = [row for row in TABLE if row.automatic_from is not None and row.automatic_from <= has]
    return max(suited, key=lambda row: row.automatic_from or (0, 0), default=FLOAT32)
