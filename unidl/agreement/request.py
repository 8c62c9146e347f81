"""What a person asks to verify, checked before anything is computed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from unidl import precision, registry
from unidl.agreement.certificate import Setting
from unidl.doctor.nvidia import gpus
from unidl.errors import UsageError

IMPLEMENTATIONS = ("unidl", "keras")


def requested(
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
        if re.fullmatch(r"(cpu|gpu)(:\d+)?", place) is None:
            raise UsageError(f"Cannot verify on device {place!r}. Known: cpu, gpu, or one by number such as gpu:1.")
    return [
        Setting(backend, place, one, implementation)
        for backend in registry.requested(backends)
        for place in places
        for one in chosen
        for implementation in registry.known_names("implementation", implementations, IMPLEMENTATIONS)
        if rows[one].why_not_on_cpu is None or not place.startswith("cpu") or len(chosen) == 1
    ]
