"""Queries each adapter and its framework in a separate process."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from unidl import registry
from unidl.backend import Device
from unidl.workers.process import WorkerError, WorkerProcess, python_module

TIMEOUT_SECONDS = 240
"""Loading TensorFlow from a cold disk takes half a minute, and so does the first kernel check on a busy machine; the
limit is four times that."""

log = logging.getLogger("unidl")


@dataclass(frozen=True)
class Answer:
    """What a loaded backend reports about itself, or why it cannot be loaded."""

    why_not: str | None = None
    versions: dict[str, str] = field(default_factory=dict[str, str])
    load_seconds: float | None = None
    """Seconds to import the framework and Keras."""
    devices: tuple[Device, ...] = ()
    why_no_gpu: str | None = None
    device: str | None = None
    """The device that "auto" selects, as `Device.id`; `precision` likewise."""
    device_reason: str | None = None
    precision: str | None = None
    precision_reason: str | None = None
    kernels_off: tuple[str, ...] = ()
    """Sentences about kernels that are disabled with this Keras."""


@dataclass(frozen=True)
class Framework:
    """One known backend."""

    name: str
    framework: str
    """The framework's name as it is written in messages."""
    installed: bool
    version: str | None
    selected: bool
    """Whether unidl would use it now."""
    usable: bool
    answer: Answer


def frameworks() -> tuple[Framework, ...]:
    """Query every known backend in turn. Raises `BackendError` if the adapters cannot be listed."""
    rows: list[Framework] = []
    for status in registry.backends():
        if status.installed:
            log.info("querying %s in a separate process", status.framework)
            answer = ask(status.name)
        else:
            answer = Answer(why_not=status.why_not)
        usable = answer.why_not is None
        rows.append(
            Framework(
                status.name,
                status.framework,
                status.installed,
                status.version,
                status.selected,
                usable,
                answer,
            )
        )
    return tuple(rows)


def ask(name: str, timeout_seconds: float = TIMEOUT_SECONDS) -> Answer:
    """Load one backend in a separate process. If that process fails in any way, the failure becomes the reason."""
    worker = WorkerProcess(python_module("unidl.doctor.probe"))
    try:
        found = worker.ask({"command": "load", "backend": name}, timeout_seconds)
    except WorkerError as error:
        return Answer(why_not=f"loading it failed: {error}")
    finally:
        worker.close()
    found["devices"] = tuple(_device(**row) for row in found.get("devices", ()))
    found["kernels_off"] = tuple(found.get("kernels_off", ()))
    return Answer(**found)


def _device(compute_capability: list[int] | None, **fields: Any) -> Device:
    """JSON has no tuples."""
    major_minor = (compute_capability[0], compute_capability[1]) if compute_capability else None
    return Device(compute_capability=major_minor, **fields)
