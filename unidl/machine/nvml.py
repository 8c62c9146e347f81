"""Power, clocks and temperature of an NVIDIA GPU, read from NVIDIA's library (the package nvidia-ml-py); never set."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LOOK_SECONDS = 0.05
"""Time between two readings; the driver updates the power about every 100 ms."""
MILLI = 1e-3


@dataclass(frozen=True)
class GpuState:
    """One reading; None for what the driver does not report. Clocks are in MHz; most_graphics_mhz: the highest that the
    GPU has; slowed_by: why its clock is lower, such as "power limit"."""

    power_watts: float | None
    power_limit_watts: float | None
    graphics_mhz: int | None
    memory_mhz: int | None
    most_graphics_mhz: int | None
    temperature_celsius: int | None
    slowed_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Load:
    """What was read while something was computed. readings: how many; power_watts: the most; graphics_mhz: the middle
    one."""

    readings: int
    power_watts: float | None
    power_limit_watts: float | None
    graphics_mhz: int | None
    most_graphics_mhz: int | None
    temperature_celsius: int | None
    slowed_by: tuple[str, ...]


class Gpu:
    """One GPU of NVIDIA's library."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle

    def state(self) -> GpuState:
        """Read it."""
        nvml = self._nvml
        power = self._read("nvmlDeviceGetPowerUsage")
        limit = self._read("nvmlDeviceGetEnforcedPowerLimit")
        graphics, memory = nvml.NVML_CLOCK_GRAPHICS, nvml.NVML_CLOCK_MEM
        return GpuState(
            None if power is None else power * MILLI,
            None if limit is None else limit * MILLI,
            self._read("nvmlDeviceGetClockInfo", graphics),
            self._read("nvmlDeviceGetClockInfo", memory),
            self._read("nvmlDeviceGetMaxClockInfo", graphics),
            self._read("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
            self._slowed_by(),
        )

    def _slowed_by(self) -> tuple[str, ...]:
        found = self._read("nvmlDeviceGetCurrentClocksThrottleReasons")
        reasons = {
            "nvmlClocksThrottleReasonSwPowerCap": "power limit",
            "nvmlClocksThrottleReasonHwSlowdown": "heat or power brake",
            "nvmlClocksThrottleReasonSwThermalSlowdown": "heat",
        }
        return tuple(why for name, why in reasons.items() if found and found & getattr(self._nvml, name, 0))

    def _read(self, function: str, *arguments: Any) -> int | None:
        """Return a value; None if this GPU or this library does not have it."""
        call = getattr(self._nvml, function, None)
        if call is None:
            return None
        try:
            return int(call(self._handle, *arguments))
        except self._nvml.NVMLError:
            return None


def gpu(index: int) -> tuple[Gpu | None, str | None]:
    """Return the GPU with this number among those that CUDA sees, or None and the reason."""
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return None, "the package nvidia-ml-py is not installed: pip install 'unidl[energy]'"
    try:
        nvml.nvmlInit()
        return Gpu(nvml, handle_of(nvml, index)), None
    except nvml.NVMLError as error:
        return None, f"NVIDIA's library says: {error}"


def handle_of(nvml: Any, index: int) -> Any:
    """Return the library's handle of a GPU: CUDA_VISIBLE_DEVICES renumbers by number or by UUID."""
    visible = [word.strip() for word in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if word.strip()]
    word = visible[index] if index < len(visible) else str(index)
    return nvml.nvmlDeviceGetHandleByIndex(int(word)) if word.isdecimal() else nvml.nvmlDeviceGetHandleByUUID(word)


class Watch:
    """Reads a GPU in a thread of its own while the block computes."""

    def __init__(self, read: Callable[[], GpuState]) -> None:
        self._read = read
        self._states: list[GpuState] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def load(self) -> Load:
        """Return what was read."""
        states = self._states

        def known(name: str) -> list[Any]:
            return sorted(value for state in states if (value := getattr(state, name)) is not None)

        def last(name: str) -> Any:
            return next(iter(known(name)[-1:]), None)

        clocks = known("graphics_mhz")
        return Load(
            len(states),
            last("power_watts"),
            last("power_limit_watts"),
            clocks[len(clocks) // 2] if clocks else None,
            last("most_graphics_mhz"),
            last("temperature_celsius"),
            tuple(dict.fromkeys(why for state in states for why in state.slowed_by)),
        )

    def _look(self) -> None:
        while True:
            self._states.append(self._read())
            if self._stopped.wait(LOOK_SECONDS):
                return
