"""The formats of `unidl export`, one line each."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING

from unidl import registry
from unidl.errors import UsageError

if TYPE_CHECKING:
    from unidl.deploy.format import Exporter, Format

OURS = {
    "onnx": "unidl.deploy.onnx_file:ONNX",
    "openvino": "unidl.deploy.openvino_file:OPENVINO",
    "litert": "unidl.deploy.litert_file:LITERT",
    "stablehlo": "unidl.deploy.framework_files:STABLEHLO",
    "pt2": "unidl.deploy.framework_files:PT2",
    "saved-model": "unidl.deploy.framework_files:SAVED_MODEL",
}
"""Locations of the values, which are imported on first use."""


def names() -> list[str]:
    """Return the names of all formats."""
    return list(OURS)


def form(name: str) -> Format:
    """Return the format of a name. Raises `UsageError` for an unknown one, listing the known ones."""
    if name not in OURS:
        raise UsageError(f"Cannot export to {name!r}. Known formats: {', '.join(OURS)}.")
    module, _, attribute = OURS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def exporters(chosen: Format, backend: str | None = None) -> list[Exporter]:
    """Return the exporters that are installed, best first. backend: the only one to use, None for any.

    Raises `UsageError` if there is none, saying what each one lacks, or if the runtime is missing: a file that cannot
    be run cannot be certified.
    """
    if backend is not None and backend not in [one.backend for one in chosen.exporters]:
        raise UsageError(
            f"Cannot export to {chosen.name} with --backend {backend}: only "
            f"{_joined([one.backend for one in chosen.exporters])} can. Leave --backend out: a run can be exported by "
            "another backend than the one that trained it."
        )
    why_not = chosen.runtime.why_not()
    if why_not is not None:
        raise UsageError(f"Cannot export to {chosen.name}, since the file could not be certified: {why_not}.")
    installed = {row.name for row in registry.backends() if row.installed}
    ready: list[Exporter] = []
    lacking: list[str] = []
    for one in chosen.exporters:
        if backend not in (None, one.backend):
            continue
        reason = _why_not_installed(one, installed)
        if reason is None:
            ready.append(one)
        else:
            lacking.append(reason)
    if not ready:
        raise UsageError(f"Cannot export to {chosen.name}: {'; '.join(lacking)}.")
    return ready


def _why_not_installed(one: Exporter, installed: set[str]) -> str | None:
    adapter = registry.adapters().get(one.backend)
    if adapter is None or one.backend not in installed:
        install = f": {adapter.install}" if adapter is not None else ""
        return f"the backend {one.backend} is not installed{install}"
    for module, install in one.modules.items():
        if importlib.util.find_spec(module) is None:
            return f"the backend {one.backend} needs {module} for it: {install}"
    return None


def _joined(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
