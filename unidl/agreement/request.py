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
    """Return every trial; None means all that is here. TF32, which only GPUs have, is left out on a CPU if something
    else is asked for as well.

    Raises `UsageError` for a word that is not known, naming those that are, and `BackendError` without a framework.
    """
    chosen = registry.known_names("precision", precisions, precision.NAMES)
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
        if one != "tf32" or not place.startswith("cpu") or chosen == ["tf32"]
    ]
