"""What a person asks to verify, checked before anything is computed."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from unidl import precision, registry
from unidl.agreement.certificate import Setting
from unidl.doctor.nvidia import gpus
from unidl.errors import BackendError, UsageError

IMPLEMENTATIONS = ("unidl", "keras")


def requested(
    backends: Sequence[str] | None,
    devices: Sequence[str] | None,
    precisions: Sequence[str],
    implementations: Sequence[str],
) -> list[Setting]:
    """Return every trial; None means all that is here. TF32, which only GPUs have, is left out on a CPU if something
    else is asked for as well.

    Raises `UsageError` for a word that is not known, naming those that are, and `BackendError` without a framework.
    """
    installed = [status.name for status in registry.backends() if status.installed]
    if not installed:
        raise BackendError("No deep-learning framework is installed; `unidl doctor` says how to install one.")
    known = list(registry.adapters())
    chosen = _known("precision", precisions, precision.NAMES)
    places = list(dict.fromkeys(devices or (["cpu", "gpu"] if gpus().found else ["cpu"])))
    for place in places:
        if re.fullmatch(r"(cpu|gpu)(:\d+)?", place) is None:
            raise UsageError(f"Cannot verify on device {place!r}. Known: cpu, gpu, or one by number such as gpu:1.")
    return [
        Setting(backend, place, one, implementation)
        for backend in _known("backend", backends or installed, known)
        for place in places
        for one in chosen
        for implementation in _known("implementation", implementations, IMPLEMENTATIONS)
        if one != "tf32" or not place.startswith("cpu") or chosen == ["tf32"]
    ]


def _known(kind: str, names: Sequence[str], known: Collection[str]) -> list[str]:
    """The names, each once."""
    for name in names:
        if name not in known:
            raise UsageError(f"Cannot verify {kind} {name!r}. Known: {', '.join(known)}.")
    return list(dict.fromkeys(names))
