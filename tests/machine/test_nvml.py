"""Power and clocks of a GPU. Without this a slow GPU looks like a slow framework, and hot like broken."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

import pytest

from unidl.machine import nvml
from unidl.machine.nvml import GpuState, Watch, gpu


class _NVMLError(Exception):
    pass


def library(**changes: object) -> SimpleNamespace:
    """NVIDIA's library with one GPU, which reports what a driver does: milliwatts and MHz."""

    def unsupported(*_: object) -> int:
        raise _NVMLError("Not Supported")

    values = {
        "NVMLError": _NVMLError,
        "NVML_CLOCK_GRAPHICS": 0,
        "NVML_CLOCK_MEM": 2,
        "NVML_TEMPERATURE_GPU": 0,
        "nvmlClocksThrottleReasonSwPowerCap": 4,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByIndex": lambda index: f"handle {index}",
        "nvmlDeviceGetPowerUsage": lambda handle: 312_500,
        "nvmlDeviceGetEnforcedPowerLimit": lambda handle: 700_000,
        "nvmlDeviceGetClockInfo": lambda handle, kind: {0: 1755, 2: 2619}[kind],
        "nvmlDeviceGetMaxClockInfo": lambda handle, kind: 1980,
        "nvmlDeviceGetTemperature": unsupported,
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda handle: 4 | 1,
    }
    return SimpleNamespace(**{**values, **changes})


def test_a_gpu_is_read_and_never_set(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", library())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found, why_not = gpu(0)
    assert why_not is None
    assert found is not None
    assert found.state() == GpuState(312.5, 700.0, 1755, 2619, 1980, None, ("power limit",))
    assert not any(name.startswith("nvmlDeviceSet") for name in vars(library()))


def test_an_old_library_without_a_function_is_no_error(monkeypatch):
    old = library()
    del old.nvmlDeviceGetCurrentClocksThrottleReasons, old.nvmlDeviceGetEnforcedPowerLimit
    monkeypatch.setitem(sys.modules, "pynvml", old)
    found, _ = gpu(0)
    assert found is not None
    assert (found.state().power_limit_watts, found.state().slowed_by) == (None, ())


@pytest.mark.parametrize(("there", "said"), [(False, "pip install 'unidl[energy]'"), (True, "Driver Not Loaded")])
def test_a_reason_is_given_where_nothing_can_be_read(monkeypatch, there, said):
    def fails() -> None:
        raise _NVMLError("Driver Not Loaded")

    monkeypatch.setitem(sys.modules, "pynvml", library(nvmlInit=fails) if there else None)
    found, why_not = gpu(0)
    assert found is None
    assert said in str(why_not)


def test_what_is_read_while_something_computes_is_summed_up(monkeypatch):
    monkeypatch.setattr(nvml, "LOOK_SECONDS", 0.001)
    states = iter(
        [GpuState(100.0, 700.0, 1980, 2619, 1980, 40), GpuState(650.0, 700.0, 1700, 2619, 1980, 66, ("heat",))]
    )
    last = GpuState(600.0, 700.0, 1700, 2619, 1980, 65)
    with Watch(lambda: next(states, last)) as watch:
        while watch.load().readings < 4:
            time.sleep(0.001)
    load = watch.load()
    assert (load.power_watts, load.power_limit_watts, load.graphics_mhz) == (650.0, 700.0, 1700)
    assert (load.temperature_celsius, load.slowed_by) == (66, ("heat",))
