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
    """The selected device, and why it was selected.

    Args:
        device: The device.
        reason: Which setting requested it, or, if "auto" had to use the CPU, why.

    Examples:
        >>> from unidl import devices
        >>> placement = devices.resolve("cpu")
        >>> placement.device.kind
        'cpu'
    """

    device: Device
    reason: str


def resolve(request: str | None = None) -> Placement:
    """Resolve a request to a device of the current backend.

    Args:
        request: "cpu", "gpu" or one by number such as "gpu:1". None and "auto" mean UNIDL_DEVICE, then automatic: the
            first GPU, else the CPU.

    Returns:
        The device, and why it was selected.

    Raises:
        DeviceError: If the request is not an allowed value, or names a device that does not exist.

    Examples:
        >>> from unidl import devices
        >>> devices.resolve("cpu").device.id
        'cpu:0'
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
    """Parse "cpu", "gpu" or "gpu:1".

    Args:
        name: The name of a device.

    Returns:
        The kind and the number of the device; None for any other string.

    Examples:
        >>> from unidl.devices import kind_and_index
        >>> kind_and_index("gpu:1"), kind_and_index("tpu")
        (('gpu', 1), None)
    """
    match = re.fullmatch(r"(cpu|gpu)(?::(\d+))?", name)
    return None if match is None else (match[1], int(match[2] or 0))


def why_no_gpu(backend: Backend, devices: Devices) -> str:
    """Return in one sentence, without a final full stop, why the backend sees no GPU.

    Args:
        backend: The backend.
        devices: The devices that it sees.

    Returns:
        The sentence.

    Examples:
        >>> from unidl import registry
        >>> from unidl.backend import Device, Devices
        >>> from unidl.devices import why_no_gpu
        >>> why_no_gpu(registry.current(), Devices((Device("cpu"),), "this is a CPU-only build"))
        'this is a CPU-only build'
    """
    if devices.cpu_only is not None:
        return devices.cpu_only
    if not _nvidia_driver_loads():
        return "this machine has no NVIDIA driver"
    for variable in ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"):
        if os.environ.get(variable) in ("", "-1", "none", "void"):
            return f"{variable}={os.environ[variable]!r} hides every GPU"
    return f"{backend.name} finds no GPU, although an NVIDIA driver is installed"


def automatic(backend: Backend, devices: Devices) -> Placement:
    """Return the first GPU, else the CPU and why.

    Args:
        backend: The backend.
        devices: The devices that it sees.

    Returns:
        The device, and why it was selected.

    Examples:
        >>> from unidl import registry
        >>> from unidl.backend import Device, Devices
        >>> from unidl.devices import automatic
        >>> automatic(registry.current(), Devices((Device("cpu"), Device("gpu", name="A100")))).device.id
        'gpu:0'
    """
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
