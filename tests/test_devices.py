"""The device policy: a request becomes that device, or an error with the reason; never another device in silence."""

from __future__ import annotations

import logging

import pytest

from unidl import devices, registry
from unidl.backend import Device, Devices
from unidl.errors import DeviceError

CPU = Device("cpu", 0, "CPU")
GPUS = (Device("gpu", 0, "First"), Device("gpu", 1, "Second"))


class Computer:
    """As much of a backend as choosing a device needs."""

    name = "calculator"

    def __init__(self, *found: Device, cpu_only: str | None = None) -> None:
        self.found, self.cpu_only = found, cpu_only

    def devices(self) -> Devices:
        return Devices(self.found, self.cpu_only)


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch):
    for variable in ("UNIDL_DEVICE", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"):
        monkeypatch.delenv(variable, raising=False)
    devices.notice.cache_clear()


@pytest.fixture
def computer(monkeypatch):
    """Put a machine with these devices in place of the one the tests run on; driver: whether NVIDIA's loads."""

    def put(*found: Device, cpu_only: str | None = None, driver: bool = True) -> None:
        machine = Computer(*found, cpu_only=cpu_only)
        monkeypatch.setattr(registry, "current", lambda: machine)
        monkeypatch.setattr(devices, "_nvidia_driver_loads", lambda: driver)

    return put


@pytest.mark.parametrize(
    ("request_", "chosen"),
    [("cpu", "cpu:0"), ("cpu:0", "cpu:0"), ("gpu", "gpu:0"), ("gpu:0", "gpu:0"), ("gpu:1", "gpu:1")],
)
def test_a_device_that_is_there_is_taken(computer, monkeypatch, request_, chosen):
    computer(CPU, *GPUS)
    placement = devices.resolve(request_)
    assert (placement.device.id, placement.reason) == (chosen, f"requested by device='{request_}'")
    monkeypatch.setenv("UNIDL_DEVICE", request_)
    for deferring in (None, "auto"):
        placement = devices.resolve(deferring)
        assert (placement.device.id, placement.reason) == (chosen, f"requested by UNIDL_DEVICE='{request_}'")
    monkeypatch.setenv("UNIDL_DEVICE", "gpu:7")
    assert devices.resolve(request_).device.id == chosen


def test_auto_takes_the_first_gpu_and_says_so(computer, caplog):
    computer(CPU, *GPUS)
    with caplog.at_level(logging.INFO, "unidl"):
        assert devices.resolve("auto") == devices.resolve() == devices.resolve(None)
    assert devices.resolve().device == GPUS[0]
    assert caplog.messages == ["device gpu:0: the first GPU, First"]


REASONS = {
    "build": ({"cpu_only": "calculator 1.0 is a CPU-only build"}, {}, "calculator 1.0 is a CPU-only build"),
    "driver": ({"driver": False}, {}, "this machine has no NVIDIA driver"),
    "hidden": ({}, {"CUDA_VISIBLE_DEVICES": ""}, "CUDA_VISIBLE_DEVICES='' hides every GPU"),
    "hidden by number": ({}, {"CUDA_VISIBLE_DEVICES": "-1"}, "CUDA_VISIBLE_DEVICES='-1' hides every GPU"),
    "container": ({}, {"NVIDIA_VISIBLE_DEVICES": "void"}, "NVIDIA_VISIBLE_DEVICES='void' hides every GPU"),
    "unknown": ({}, {}, "calculator finds no GPU, although an NVIDIA driver is installed"),
}


@pytest.mark.parametrize(("machine", "environment", "reason"), REASONS.values(), ids=REASONS.keys())
def test_without_a_gpu_the_reason_is_told(computer, monkeypatch, caplog, machine, environment, reason):
    """A user who waits hours for a CPU needs to know what to fix: build, driver or variable."""
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    computer(CPU, **machine)
    with caplog.at_level(logging.INFO, "unidl"):
        placement = devices.resolve("auto")
    assert (placement.device, placement.reason) == (CPU, f"no GPU: {reason}")
    assert caplog.messages == [f"device cpu:0: no GPU: {reason}"]
    for wanted in ("gpu", "gpu:1"):
        with pytest.raises(DeviceError) as error:
            devices.resolve(wanted)
        first, second = str(error.value).splitlines()
        assert first == f"Cannot use device='{wanted}': {reason}."
        assert "'cpu' or 'auto'" in second
        assert "unidl doctor" in second
    monkeypatch.setenv("UNIDL_DEVICE", "gpu")
    with pytest.raises(DeviceError, match="Cannot use UNIDL_DEVICE='gpu': "):
        devices.resolve("auto")


@pytest.mark.parametrize("wanted", ["", "GPU", "cuda", "cuda:0", "gpu:", "gpu:-1", "gpu:x", "cpu0", "gpu:1 ", "tpu"])
def test_other_words_are_refused_with_the_allowed_ones(computer, monkeypatch, wanted):
    computer(CPU, *GPUS)
    allowed = f"Allowed: {devices.ALLOWED}."
    assert all(name in allowed for name in ("'auto'", "'cpu'", "'gpu'", "'gpu:1'", "'cpus'", "'gpus'"))
    with pytest.raises(DeviceError) as error:
        devices.resolve(wanted)
    assert str(error.value) == f"Cannot use device={wanted!r}. {allowed}"
    if wanted:
        monkeypatch.setenv("UNIDL_DEVICE", wanted)
        with pytest.raises(DeviceError) as error:
            devices.resolve()
        assert str(error.value) == f"Cannot use UNIDL_DEVICE={wanted!r}. {allowed}"


@pytest.mark.parametrize(("wanted", "seen"), [("gpu:2", "'gpu:0', 'gpu:1'"), ("cpu:1", "'cpu:0'")])
def test_a_number_too_high_lists_what_is_there(computer, wanted, seen):
    computer(CPU, *GPUS)
    with pytest.raises(DeviceError, match=f"Cannot use device='{wanted}': calculator sees only {seen}."):
        devices.resolve(wanted)


def test_this_machine_answers_as_its_devices_say(backend):
    """The true backend, whatever this machine has: a GPU, or an error that tells why there is none."""
    found = backend.devices()
    gpus = [device for device in found.found if device.kind == "gpu"]
    assert devices.resolve("cpu").device.id == "cpu:0"
    if gpus:
        assert devices.resolve("gpu").device == devices.resolve("auto").device == gpus[0]
        assert gpus[0].name
        return
    reason = devices.why_no_gpu(backend, found)
    with pytest.raises(DeviceError) as error:
        devices.resolve("gpu")
    assert str(error.value).startswith(f"Cannot use device='gpu': {reason}.")
    assert devices.resolve("auto").reason == f"no GPU: {reason}"
