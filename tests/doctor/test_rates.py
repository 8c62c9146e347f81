"""`unidl doctor --measure`: what a machine reaches. Without this the share of the peak is of a made-up one."""

from __future__ import annotations

import json

import pytest
from command_line import unidl

from unidl import devices
from unidl.cli import measuring
from unidl.doctor import rates
from unidl.doctor.rates import Rate, Rates


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
    kind = devices.resolve().device.kind
    monkeypatch.setitem(rates.SIZES, kind, (64, 1, 2**12))
    monkeypatch.setattr(rates, "SIDE", 8)
    monkeypatch.setattr(rates, "LAUNCHES", 3)
    monkeypatch.setattr(rates.measure, "__defaults__", (0.1,))
    answer = unidl("doctor", "--measure", "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert found["backend"] == backend.name
    assert {rate["what"] for rate in found["rates"]} == {"matrix product", "convolution", "copy", "read", "launch"}
    assert all(rate["value"] > 0 and rate["repeats"] >= 3 for rate in found["rates"])
    if kind == "cpu":
        assert "tf32" in found["left_out"]
        assert found["data_sheet"] is None


def test_a_device_without_measure_is_refused():
    answer = unidl("doctor", "--device", "cpu")
    assert answer.code == 2
    assert "Cannot use --device without --measure" in answer.err


@pytest.mark.parametrize("value", [3.2e11, 4e13])
def test_rates_are_shown_in_words(value):
    assert measuring.shown(Rate("matrix product", "float32", value, "FLOP/s", 3, 0.0)).endswith("TFLOP/s")
