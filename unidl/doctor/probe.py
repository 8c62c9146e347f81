"""Load one backend in a separate process: `python -m unidl.doctor.probe`.

Keras runs on one framework per process, and a broken framework may terminate the process that loads it.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from unidl import devices, precision, registry
from unidl.backend import Device, kernels_off
from unidl.errors import UnidlError
from unidl.workers.serving import Answer, Command, serve


def described(name: str) -> dict[str, Any]:
    """Load the backend and describe it, in the fields of `unidl.doctor.frameworks.Answer`."""
    registry.use(name)
    started = time.perf_counter()
    backend = registry.current()
    load_seconds = time.perf_counter() - started
    seen = backend.devices()
    has_gpu = any(device.kind == "gpu" for device in seen.found)
    placement = devices.automatic(backend, seen)
    return {
        "versions": backend.versions(),
        "load_seconds": round(load_seconds, 3),
        "devices": [asdict(device) for device in seen.found],
        "why_no_gpu": None if has_gpu else devices.why_no_gpu(backend, seen),
        "device": placement.device.id,
        "device_reason": placement.reason,
        "precision": precision.resolve("auto", placement.device).name,
        "precision_reason": _capability(placement.device),
        "kernels_off": [str(one) for one in kernels_off(backend, placement.device)],
    }


def _capability(device: Device) -> str:
    """Return the fact on which the choice of a precision is based."""
    if device.kind == "cpu":
        return "a CPU has no Tensor Cores"
    if device.compute_capability is None:
        return f"{device.name} does not report its compute capability"
    return f"{device.name} has compute capability {'.'.join(str(part) for part in device.compute_capability)}"


def answer(command: Command) -> Answer:
    """Describe a backend, or return why it cannot be loaded, whatever fails inside the framework."""
    try:
        return described(command["backend"])
    except UnidlError as error:
        return {"why_not": str(error)}
    except Exception as error:  # noqa: BLE001 - a framework may raise anything; it becomes the reason in its row
        return {"why_not": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    serve(answer)
