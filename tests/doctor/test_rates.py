"""`unidl doctor --measure`: what a machine reaches. Without this the share of the peak is of a made-up one."""

from __future__ import annotations

import contextlib
import json
from types import SimpleNamespace

import pytest
from command_line import unidl

from unidl import devices
from unidl.backend import Device
from unidl.cli import measuring
from unidl.doctor import rates
from unidl.doctor.rates import Rate, Rates
from unidl.machine.nvml import Load
from unidl.machine.rate_history import best, keep_rates, kept_rates
from unidl.precision import named


@pytest.fixture(autouse=True)
def kept_elsewhere(monkeypatch, tmp_path):
    monkeypatch.setenv("UNIDL_CACHE_DIR", str(tmp_path / "cache"))


def small_sizes(monkeypatch) -> None:
    for sizes, small in ((rates.MATRICES, 64), (rates.IMAGES, 1), (rates.ELEMENTS, 2**12)):
        for kind in sizes:
            monkeypatch.setitem(sizes, kind, (small,))
    monkeypatch.setattr(rates, "HOST_ELEMENTS", (2**12,))
    monkeypatch.setattr(rates, "SIDE", 8)
    monkeypatch.setattr(rates, "LAUNCHES", 3)


def test_a_gpu_is_found_by_the_name_of_its_driver():
    names = {
        "NVIDIA H100 80GB HBM3": None,  # the driver does not say whether SXM5 or PCIe
        "Tesla T4": "T4 16GB",
        "NVIDIA GeForce RTX 4090": "GeForce RTX 4090 24GB",
        "NVIDIA A100-SXM4-40GB": "A100 SXM4 40GB",
        "NVIDIA L4": "L4 24GB",
        "AMD Instinct MI300X": "Instinct MI300X 192GB",
        "": None,
        "Intel(R) Xeon(R)": None,
    }
    for name, wanted in names.items():
        found = measuring.sheet_of(name)
        assert (None if found is None else found.name) == wanted, name


def test_a_gpu_is_shown_beside_its_data_sheet():
    found = (
        Rate("matrix product", "mixed_float16", 32.5e12, "FLOP/s", 5, 0.01),
        Rate("copy", "float32", 240e9, "byte/s", 5, 0.02),
        Rate("launch", "float32", 4e-6, "s", 5, 0.02),
    )
    table = measuring.table(Rates("jax", "gpu:0", "Tesla T4", {}, found, {}, 1.0), measuring.sheet_of("Tesla T4"))
    assert [row[2:5] for row in table.rows] == [
        ("32.5 TFLOP/s", "65.0 TFLOP/s", "50%"),
        ("240.0 GB/s", "320.0 GB/s", "75%"),
        ("4.0 µs", "", ""),
    ]


def test_this_machine_is_measured(monkeypatch, backend):
    device = devices.resolve().device
    small_sizes(monkeypatch)
    monkeypatch.setattr(rates.measure, "__defaults__", (0.1,))
    answer = unidl("doctor", "--measure", "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert found["backend"] == backend.name
    everywhere = {"matrix product", "convolution", "copy", "read", "launch"}
    assert {rate["what"] for rate in found["rates"]} - {"host to device"} == everywhere
    assert all(rate["value"] > 0 and rate["repeats"] >= 3 for rate in found["rates"])
    if device.kind == "cpu":
        assert "tf32" in found["left_out"]
        assert found["data_sheet"] is None
    where = device.id, device.name or None
    kept = kept_rates(*where)
    assert kept[-1]["created"] == found["created"]
    product = next(
        rate for rate in found["rates"] if (rate["what"], rate["precision"]) == ("matrix product", "float32")
    )
    assert best(*where, "matrix product", "float32") >= product["value"]
    again = unidl("doctor", "--measure")
    assert again.code == 0, again.err
    assert f"matrix products since {found['created']}: float32" in " ".join(again.out.split())


class Clock:
    """A backend whose work takes a known time, by a clock that only it moves."""

    now = 0.0

    def synchronise(self, work):
        Clock.now += work[0]


def test_large_products_are_left_out_where_they_would_take_too_long(monkeypatch):
    """float16 on a CPU may be a hundred times as slow as float32."""
    monkeypatch.setattr(rates.time, "perf_counter", lambda: Clock.now)
    for per_operation, size in ((1e-9, 1024), (1e-6, 128)):
        Clock.now = 0.0

        def product(size, per_operation=per_operation):
            return lambda: per_operation * size**3, float(size**3)

        trial = rates.Trial("matrix product", "float16", "FLOP/s", (128, 256, 512, 1024), product)
        found = rates.rate_of(trial, Clock(), 30.0)
        assert found.size == size
        assert found.value == pytest.approx(1 / per_operation)
        assert Clock.now < 45.0


def test_the_time_left_is_shared_among_what_is_left(monkeypatch):
    small_sizes(monkeypatch)
    given = []
    monkeypatch.setattr(
        rates,
        "rate_of",
        lambda trial, backend, seconds: given.append(seconds) or Rate(trial.what, trial.precision, 1.0, "s", 3, 0.0),
    )
    rates.measure(8.0)
    assert all(0 < seconds <= 8.0 for seconds in given)
    assert given[-1] > given[0]  # what the earlier ones have not used


def test_a_gpu_says_its_power_and_clocks(monkeypatch):
    load = Load(20, 480.0, 700.0, 1755, 1980, 61, ("power limit",))
    [line] = measuring.said_of_load(load)
    assert line == (
        "during the products: up to 480 W of 700 W allowed, clock 1755 MHz of at most 1980 MHz, 61 °C, slowed by power "
        "limit"
    )
    assert measuring.said_of_load(None) == []


def test_a_comparison_knows_the_best_rate_that_was_measured(monkeypatch, backend):
    from unidl.compare.measurements import PEAK_SIZE, Measurements

    monkeypatch.setitem(PEAK_SIZE, "cpu", 8)
    rate = {"what": "matrix product", "precision": "float32", "value": 1e17}
    entry = {"backend": "jax", "device": "cpu:0", "device_name": "CPU", "rates": [rate]}
    assert keep_rates(entry, "2026-11-26T20:00:00+00:00")
    conditions = SimpleNamespace(
        backend=backend, device=Device("cpu", 0, "CPU"), precision=named("float32"), context=contextlib.nullcontext
    )
    measurements = Measurements.__new__(Measurements)
    measurements._conditions = conditions
    assert measurements.peak(0.0) == {"peak_flops_per_second": 1e17}
    assert best("gpu:0", "another GPU", "matrix product", "float32") is None


def test_a_device_without_measure_is_refused():
    answer = unidl("doctor", "--device", "cpu")
    assert answer.code == 2
    assert "Cannot use --device without --measure" in answer.err


@pytest.mark.parametrize("value", [3.2e11, 4e13])
def test_rates_are_shown_in_words(value):
    assert measuring.shown(Rate("matrix product", "float32", value, "FLOP/s", 3, 0.0)).endswith("TFLOP/s")
