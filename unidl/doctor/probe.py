"""`python -m unidl.doctor.probe NAME FILE`: load one backend in this process and write what it says to FILE.

A process of its own because Keras runs on one framework a process, and because a broken framework may end it.
The answer goes to a file since frameworks write to stdout and stderr as they please.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unidl import devices, precision, registry
from unidl.backend import Device, kernels_off
from unidl.errors import UnidlError


def answer(name: str) -> dict[str, Any]:
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
    """What the choice of a precision rests on."""
    if device.kind == "cpu":
        return "a CPU has no Tensor Cores"
    if device.compute_capability is None:
        return f"{device.name} tells no compute capability"
    return f"{device.name} has compute capability {'.'.join(str(part) for part in device.compute_capability)}"


def main(name: str, file: Path) -> None:
    """Write the answer, or the reason why there is none, whatever goes wrong inside the framework."""
    try:
        result = answer(name)
    except UnidlError as error:
        result = {"why_not": str(error)}
    except Exception as error:  # noqa: BLE001 - a framework may raise anything; it becomes the reason in its row
        result = {"why_not": f"{type(error).__name__}: {error}"}
    # Renamed when complete, so that a file that exists can be trusted.
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(result), encoding="utf-8")
    unfinished.replace(file)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
