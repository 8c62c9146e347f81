"""The energy that a GPU has used, where NVIDIA's library counts it."""

from __future__ import annotations

import importlib
import os
from typing import Any

from unidl.backend import Device


class EnergyMeter:
    """Reads the counter of one GPU, which runs since the driver was loaded."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle

    def joules(self) -> float:
        """Energy used so far; the counter has steps of a millijoule."""
        return self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) / 1000


def energy_meter(device: Device) -> EnergyMeter | None:
    """Return the meter of a GPU; None for a CPU, without the distribution nvidia-ml-py, or where nothing is counted."""
    if device.kind != "gpu":
        return None
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
        meter = EnergyMeter(nvml, _handle(nvml, device.index))
        meter.joules()  # counted from Volta on
    except nvml.NVMLError:
        return None
    return meter


def _handle(nvml: Any, index: int) -> Any:
    """The GPU that CUDA calls `index`: CUDA_VISIBLE_DEVICES renumbers, by number or by UUID."""
    visible = [word.strip() for word in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if word.strip()]
    word = visible[index] if index < len(visible) else str(index)
    return nvml.nvmlDeviceGetHandleByIndex(int(word)) if word.isdecimal() else nvml.nvmlDeviceGetHandleByUUID(word)
