"""The device policy: resolve "auto", "cpu", "gpu" or "gpu:1" to a device, or state why it is unavailable."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import re
from dataclasses import dataclass

from unidl import registry
from unidl.backend import Backend, Device, Devices, Distributes
from unidl.errors import DeviceError
from unidl.notices import notice
from unidl.ranks.exchange import Ranks
from unidl.ranks.joining import ranks

ALLOWED = "'auto', 'cpu', 'gpu', a numbered device such as 'gpu:1', or all that this process has: 'cpus' or 'gpus'"


@dataclass(frozen=True)
class Placement:
    """The selected device, and why it was selected.

    Args:
        device: The device of this process.
        reason: Which setting requested it, or, if "auto" had to use the CPU, why.
        rank: The number of this process among those that train together.
        size: The number of these processes.
        others: Further devices of this process, which share each batch with the first one.

    Examples:
        >>> from unidl import devices
        >>> placement = devices.resolve("cpu")
        >>> placement.device.kind
        'cpu'
    """

    device: Device
    reason: str
    rank: int = 0
    size: int = 1
    others: tuple[Device, ...] = ()

    @property
    def devices(self) -> tuple[Device, ...]:
        """All devices of this process."""
        return self.device, *self.others

    @property
    def is_shared(self) -> bool:
        """Whether several devices, of one or several processes, share each batch."""
        return self.size > 1 or bool(self.others)


def resolve(request: str | None = None) -> Placement:
    """Resolve a request to a device of the current backend.

    Args:
        request: "cpu", "gpu" or one by number such as "gpu:1"; "cpus" or "gpus" for all of a kind that this process
            has, which share each batch. None and "auto" mean UNIDL_DEVICE, then automatic: the first GPU, else the CPU.

    Returns:
        The device, and why it was selected.

    Raises:
        DeviceError: If the request is not an allowed value, or names a device that does not exist, or names one device
            for several processes.

    Examples:
        >>> from unidl import devices
        >>> devices.resolve("cpu").device.id
        'cpu:0'
    """
    explicit = request not in (None, "auto")
    wanted = str(request) if explicit else os.environ.get("UNIDL_DEVICE") or "auto"
    source = "device" if explicit else "UNIDL_DEVICE"
    whole = wanted in ("cpus", "gpus")
    named = kind_and_index(wanted.removesuffix("s") if whole else wanted)
    if named is None and wanted != "auto":
        raise DeviceError(f"Cannot use {source}={wanted!r}. Allowed: {ALLOWED}.")
    backend = registry.current()
    devices = backend.devices()
    own = ranks()
    request = f"{source}={wanted!r}"
    if whole and not (isinstance(backend, Distributes) and backend.shares_in_process):
        raise DeviceError(
            f"Cannot use {request}: {backend.name} computes on one device in each process. Start one process for each "
            "device: `unidl launch -n 2 ...`."
        )
    if own is not None:
        return _of_rank(own, named, request, backend, devices, whole=whole)
    if named is None:
        placement = automatic(backend, devices)
        notice(f"device {placement.device.id}: {placement.reason}")
        return placement
    kind, index = named
    of_kind = [device for device in devices.found if device.kind == kind]
    if whole and of_kind:
        return Placement(of_kind[0], f"requested by {request}", others=tuple(of_kind[1:]))
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


def _of_rank(
    own: Ranks, named: tuple[str, int] | None, request: str, backend: Backend, devices: Devices, *, whole: bool
) -> Placement:
    """Return the device of this process among several: on a machine with several GPUs that of its number there."""
    own.device_kind = kind = named[0] if named is not None else automatic(backend, devices).device.kind
    if named is not None and named[1]:
        raise DeviceError(f"Cannot use {request} in {own.size} processes, which would all use it. Use {kind!r}.")
    found = [device for device in devices.found if device.kind == kind]
    if not found:
        raise DeviceError(f"Cannot use {request}: {why_no_gpu(backend, devices)}.\nUse 'cpu' or 'auto'.")
    if whole:
        return Placement(found[0], f"rank {own.rank} of {own.size}", own.rank, own.size, tuple(found[1:]))
    number = own.local_rank if kind == "gpu" and len(found) > 1 else 0
    if number >= len(found):
        raise DeviceError(
            f"Rank {own.rank} is the process {number} of its machine, which has {len(found)} GPUs. Start at most that "
            "many there."
        )
    return Placement(found[number], f"rank {own.rank} of {own.size}", own.rank, own.size)


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
