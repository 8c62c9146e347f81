"""Energy used by a GPU, from the counter of NVIDIA's library."""

from __future__ import annotations

import importlib
from typing import Any

from unidl.backend import Device
from unidl.machine.nvml import handle_of


class EnergyMeter:
    """Reads the energy counter of one GPU, which counts from the time the driver was loaded."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle

    def joules(self) -> float:
        """Return the energy used so far; the resolution is one millijoule."""
        return self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) / 1000


def energy_meter(device: Device) -> EnergyMeter | None:
    """Return the meter of a GPU; None for a CPU, without the package nvidia-ml-py, or without an energy counter."""
    if device.kind != "gpu":
        return None
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
        meter = EnergyMeter(nvml, handle_of(nvml, device.index))
        meter.joules()  # available from Volta on
    except nvml.NVMLError:
        return None
    return meter
