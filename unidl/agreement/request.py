"""What a person asks to verify, checked before anything is computed."""

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
    """Return every trial; None means all that is here. What only GPUs compute, such as TF32, is left out on a CPU if
    something else is asked for as well.

    Raises `UsageError` for a word that is not known, naming those that are, `PrecisionError` for a
    precision that nothing is trained in, and `BackendError` without a framework.
    """
    chosen = registry.known_names("precision", precisions, precision.names())
    rows = {one: precision.named(one) for one in chosen}
    for row in rows.values():
        precision.require_training(row)  # a verification takes steps of the optimizer
    places = list(dict.fromkeys(devices or (["cpu", "gpu"] if gpus().found else ["cpu"])))
    for place in places:
        if kind_and_index(place) is None:
            raise UsageError(f"Cannot verify on device {place!r}. Known: cpu, gpu, or one by number such as gpu:1.")
    return [
        Setting(backend, place, one, implementation)
        for backend in registry.requested_backends(backends)
        for place in places
        for one in chosen
        for implementation in registry.known_names("implementation", implementations, IMPLEMENTATIONS)
        if rows[one].why_not_on_cpu is None or not place.startswith("cpu") or len(chosen) == 1
    ]
