"""The device policy: resolve "auto", "cpu", "gpu" or "gpu:1" to a device, or state why it is unavailable."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import re
from dataclasses import dataclass

from unidl import registry
from unidl.backend import Backend, Device, Devices
from unidl.errors import DeviceError
from unidl.notices import notice

ALLOWED = "'auto', 'cpu', 'gpu', or a numbered device such as 'gpu:1'"


@dataclass(frozen=True)
class Placement:
    """The device that was chosen and, if `auto` had to take the CPU, why."""

    device: Device
    reason: str


def resolve(request: str | None = None) -> Placement:
    """Turn a request into a device of the backend in use. request: None and "auto" mean UNIDL_DEVICE, then automatic:
    the first GPU, else the CPU.

    Raises `DeviceError` if the request is not one of the allowed words, or names a device that is not there.
    """
    explicit = request not in (None, "auto")
    wanted = str(request) if explicit else os.environ.get("UNIDL_DEVICE") or "auto"
    source = "device" if explicit else "UNIDL_DEVICE"
    named = kind_and_index(wanted)
    if named is None and wanted != "auto":
        raise DeviceError(f"Cannot use {source}={wanted!r}. Allowed: {ALLOWED}.")
    backend = registry.current()
    devices = backend.devices()
    if named is None:
        placement = automatic(backend, devices)
        notice(f"device {placement.device.id}: {placement.reason}")
        return placement
    kind, index = named
    of_kind = [device for device in devices.found if device.kind == kind]
    for device in of_kind:
        if device.index == index:
            return Placement(device, f"requested by {source}={wanted!r}")
    if of_kind:
        ids = ", ".join(repr(device.id) for device in of_kind)
        raise DeviceError(f"Cannot use {source}={wanted!r}: {backend.name} sees only {ids}.")
    raise DeviceError(
        f"Cannot use {source}={wanted!r}: {why_no_gpu(backend, devices)}.\n"
        "Use 'cpu' or 'auto', or fix this; `unidl doctor` shows what each framework sees."
    )


def kind_and_index(name: str) -> tuple[str, int] | None:
    """Return what "cpu", "gpu" or "gpu:1" names; None for what is no such name."""
    match = re.fullmatch(r"(cpu|gpu)(?::(\d+))?", name)
    return None if match is None else (match[1], int(match[2] or 0))


def why_no_gpu(backend: Backend, devices: Devices) -> str:
    """Say in one sentence, without its full stop, why the backend sees no GPU."""
    if devices.cpu_only is not None:
        return devices.cpu_only
    if not _nvidia_driver_loads():
        return "this machine has no NVIDIA driver"
    for variable in ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"):
        if os.environ.get(variable) in ("", "-1", "none", "void"):
            return f"{variable}={os.environ[variable]!r} hides every GPU"
    return f"{backend.name} finds no GPU, although an NVIDIA driver is installed"


def automatic(backend: Backend, devices: Devices) -> Placement:
    """Return the first GPU, else the CPU and why."""
    for device in devices.found:
        if device.kind == "gpu":
            return Placement(device, f"the first GPU, {device.name}")
    return Placement(devices.found[0], f"no GPU: {why_no_gpu(backend, devices)}")


def _nvidia_driver_loads() -> bool:
    """Return whether NVIDIA's driver library, which every CUDA program needs, can be loaded."""
    library = ctypes.util.find_library("cuda") or ctypes.util.find_library("nvcuda") or "libcuda.so.1"
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
