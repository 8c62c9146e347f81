"""Validation of a comparison request before anything is measured."""

from __future__ import annotations

import os
from collections.abc import Sequence

from unidl import precision, registry
from unidl.compare import workloads
from unidl.compare.cells import Cell, Group, cells
from unidl.devices import ALLOWED, kind_and_index
from unidl.doctor.frameworks import ask
from unidl.errors import DeviceError
from unidl.machine.nvidia import gpus


def requested_groups(
    *,
    models: Sequence[str] | None,
    backends: Sequence[str] | None,
    device: str | None,
    precisions: Sequence[str] | None,
    batch_sizes: Sequence[int] | None,
    against: Sequence[str],
    features: bool = True,
    data: str | None = None,
    image_size: int | None = None,
) -> dict[Group, tuple[Cell, ...]]:
    """Return the groups; None means the default.

    Raises `UsageError`, `BackendError` or `DeviceError` for an unknown name, listing the known ones, and
    `PrecisionError` for a precision that does not support training.
    """
    chosen_backends = registry.requested_backends(backends)
    return cells(
        models=registry.known_names(
            "model", models or (workloads.DEFAULT if data is None else ("cnn",)), workloads.names()
        ),
        backends=chosen_backends,
        device=resolve_device(device, chosen_backends),
        precisions=_trainable(precisions or (_default_precision(),)),
        batch_sizes=batch_sizes or (),
        against=against,
        features=features,
        data=data,
        image_size=image_size,
    )


def resolve_device(request: str | None, backends: Sequence[str]) -> str:
    """Return "cpu", "gpu" or "gpu:1". "auto" is the GPU if one of the backends can use it; the cells of the others
    then fail with the reason, since CPU results would not be comparable."""
    wanted = request or os.environ.get("UNIDL_DEVICE") or "auto"
    if wanted != "auto":
        if kind_and_index(wanted) is None:
            raise DeviceError(f"Cannot use device={wanted!r}. Allowed: {ALLOWED}.")
        return wanted
    if not gpus().found:
        return "cpu"
    seen = {device.kind for name in backends for device in ask(name).devices}
    return "gpu" if "gpu" in seen else "cpu"


def _trainable(names: Sequence[str]) -> list[str]:
    """Return the precisions without duplicates, all of which support training."""
    chosen = registry.known_names("precision", names, precision.names())
    for one in chosen:
        precision.require_training(precision.named(one))
    return chosen


def _default_precision() -> str:
    wanted = os.environ.get("UNIDL_PRECISION") or "auto"
    return "float32" if wanted == "auto" else wanted
