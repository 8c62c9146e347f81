"""The figures of GPUs. Without this a sparse rate, twice too high, sends somebody to the wrong GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from unidl.errors import DataError, UsageError
from unidl.machine.data_sheets import OURS, RATES, DataSheet, chosen, data_sheets, require_dense

SHEETS = data_sheets()

DENSE = {
    "Volta": (1024,),
    "Turing": (1024,),
    "Ampere": (512, 1024, 2048),
    "Ada": (512, 1024),
    "Hopper": (4096,),
    "Blackwell": (512, 1024, 8192),
    "Blackwell Ultra": (8192,),
    "CDNA2": (1024,),
    "CDNA3": (2048,),
    "CDNA4": (4096,),
    "RDNA3": (512,),
}
"""Dense 16-bit operations of a unit in a clock, with float32 sums, of each architecture's chips: GeForce, other, data
centre. From the vendors' white papers; sparse ones are twice as high."""


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name)
def test_rates_are_those_of_units_and_clock(sheet: DataSheet):
    assert sheet.derived_tflops == pytest.approx(sheet.fp16_tflops, rel=0.01)
    assert sheet.derived_fp32_tflops == pytest.approx(sheet.fp32_tflops, rel=0.01)


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name)
def test_no_sparse_rate_is_in_a_dense_column(sheet: DataSheet):
    assert sheet.flop_per_unit_clock in DENSE[sheet.architecture]
    dense = sheet.units * max(DENSE[sheet.architecture]) * sheet.clock_mhz * 1e-6
    for name, times in {"fp16_tflops": 1, "bf16_tflops": 1, "tf32_tflops": 0.5, "fp8_tflops": 2}.items():
        assert (getattr(sheet, name) or 0) <= times * dense * 1.02, name


@pytest.mark.parametrize("name", RATES)
def test_a_sparse_rate_is_refused_in_every_column(name: str):
    [h100] = chosen(["H100 SXM"], SHEETS)
    sparse = replace(h100, **{name: 2 * getattr(h100, name)})
    with pytest.raises(DataError, match=r"dense|units"):
        require_dense(sparse, "the GPU under test")
    require_dense(h100, "the GPU under test")


def test_every_figure_has_a_source_and_a_date():
    assert len(SHEETS) >= 31
    for sheet in SHEETS:
        assert sheet.source
        assert all(sheet.source)
        assert sheet.as_of >= "2026-11"
        assert sheet.memory_gb
        assert sheet.bandwidth_gb_s
        assert all(getattr(sheet, name) is not None for name in sheet.derived)


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("RTX 4090", "GeForce RTX 4090 24GB"),
        ("H100 SXM", "H100 SXM5 80GB"),
        ("h100-pcie", "H100 PCIe 80GB"),
        ("T4", "T4 16GB"),
        ("L4", "L4 24GB"),
        ("MI300X", "Instinct MI300X 192GB"),
        ("Jetson AGX Orin", "Jetson AGX Orin 64GB"),
    ],
)
def test_a_gpu_is_found_by_a_part_of_its_name(word: str, name: str):
    assert [sheet.name for sheet in chosen([word], SHEETS)] == [name]


def test_an_unknown_gpu_is_never_taken_for_another():
    with pytest.raises(UsageError, match=r"Unknown GPU 'RTX 4091'\. Nearest: .*RTX 4090"):
        chosen(["RTX 4091"], SHEETS)
    with pytest.raises(UsageError, match="Unknown GPU ''"):
        chosen([""], SHEETS)


def test_a_name_of_several_gpus_is_refused_with_their_names():
    with pytest.raises(UsageError, match=r"several have this name. Say which: .*A100 SXM4 40GB, A100 PCIe 80GB"):
        chosen(["A100"], SHEETS)


OWN = """
[[gpu]]
name = "Ours 1"
memory_gb = 10
bandwidth_gb_s = 100
fp32_tflops = 2
power_watts = 50
as_of = "2026-11"
source = "measured by us"
"""


def test_a_file_of_ones_own(tmp_path: Path):
    file = tmp_path / "own.toml"
    file.write_text(OWN)
    [own] = data_sheets(file)
    assert own.name == "Ours 1"
    assert own.source == ("measured by us",)
    assert own.fp16_tflops is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("memory_gb = 10", "memory_gb = -1", "memory_gb = -1 is not a number above 0"),
        ("memory_gb = 10\n", "", "'memory_gb' is missing"),
        ("memory_gb = 10", 'memory_gb = "10"', "is not a number"),
        ("as_of", "price = 3\nas_of", "unknown figure 'price'"),
        ("[[gpu]]", "[[card]]", "has no table"),
        ('"Ours 1"', '""', "has no name"),
        ("fp32_tflops = 2", "fp32_tflops = = 2", "Cannot read"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_reason(tmp_path: Path, old: str, new: str, said: str):
    file = tmp_path / "own.toml"
    file.write_text(OWN.replace(old, new))
    with pytest.raises(DataError, match=said):
        data_sheets(file)


def test_a_file_with_one_gpu_twice_is_refused(tmp_path: Path):
    file = tmp_path / "own.toml"
    file.write_text(OWN + OWN)
    with pytest.raises(DataError, match="two GPUs named 'Ours 1'"):
        data_sheets(file)
    assert OURS.is_file()
