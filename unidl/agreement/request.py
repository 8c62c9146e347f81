"""Validation of a verification request before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence

from unidl import precision, registry
from unidl.agreement.certificate import Setting
from unidl.devices import kind_and_index
from unidl.errors import UsageError
from unidl.machine.nvidia import gpus

IMPLEMENTATIONS = ("unidl", "keras")


def requested_settings(
    backends: Sequence[str] | None,
    devices: Sequence[str] | None,
    precisions: Sequence[str],
    implementations: Sequence[str],
) -> list[Setting]:
    """Return the settings to try; None selects everything available. Precisions that need a GPU, such as TF32, are left
    out on a CPU if another precision is also requested.

    Raises `UsageError` for an unknown name, listing the known ones, `PrecisionError` for a
    precision that does not support training, and `BackendError` if no framework is installed.
    """
    chosen = registry.known_names("precision", precisions, precision.names())
    rows = {one: precision.named(one) for one in chosen}
    for row in rows.values():
        precision.require_training(row)  # a verification takes steps of the optimizer
    places = list(dict.fromkeys(devices or (["cpu", "gpu"] if gpus().found else ["cpu"])))
    for place in places:
        if kind_and_index(place) is None:
            raise UsageError(f"Cannot verify on device {place!r}. Known: cpu, gpu, or a numbered device such as gpu:1.")
    return [
        Setting(backend, place, one, implementation)
        for backend in registry.requested_backends(backends)
        for place in places
        for one in chosen
        for implementation in registry.known_names("implementation", implementations, IMPLEMENTATIONS)
        if rows[one].why_not_on_cpu is None or not place.startswith("cpu") or len(chosen) == 1
    ]
