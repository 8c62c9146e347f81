"""Energy, where NVIDIA's library counts it. Without this another GPU's is reported, or a missing library ends
the comparison."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from unidl.backend import Device
from unidl.compare.energy import energy_meter

GPU = Device("gpu", 1)


class _NVMLError(Exception):
    pass


def library(millijoules: dict[str, int]) -> SimpleNamespace:
    """A library that knows GPUs by number or UUID, and counts for those named."""

    def count(handle: str) -> int:
        if handle not in millijoules:
            raise _NVMLError(handle)
        return millijoules[handle]

    return SimpleNamespace(
        NVMLError=_NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=str,
        nvmlDeviceGetHandleByUUID=str,
        nvmlDeviceGetTotalEnergyConsumption=count,
    )


@pytest.mark.parametrize(("visible", "expected"), [(None, 1.0), ("", 1.0), ("5,7", 7.0), ("GPU-a, GPU-b", 11.0)])
def test_it_reads_the_gpu_that_cuda_means(monkeypatch, visible, expected):
    monkeypatch.setitem(sys.modules, "pynvml", library({"1": 1000, "7": 7000, "GPU-b": 11000}))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    meter = energy_meter(GPU)
    assert meter is not None
    assert meter.joules() == expected


def test_nothing_is_counted_elsewhere(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", library({}))
    assert energy_meter(GPU) is None  # an old GPU
    monkeypatch.setitem(sys.modules, "pynvml", library({"1": 1000, "0": 1000}))
    assert energy_meter(Device("cpu")) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)  # not installed
    assert energy_meter(GPU) is None
