"""What `unidl doctor` reads of GPUs, processor and memory, on recorded text of machines that are not here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unidl.machine.memory import Container, Memory, container, memory, parse_meminfo
from unidl.machine.nvidia import Gpu, Gpus, gpus, has_tensor_cores, parse
from unidl.machine.processor import features, parse_cpuinfo, parse_sysctl, processor

# NVIDIA's GPUs: what nvidia-smi prints for `nvidia.FIELDS`


def test_nvidia_smi_of_several_gpus():
    text = (
        "0, NVIDIA H200, 143771, 9.0, 570.133.20, 700.00\n"
        "1, NVIDIA GeForce GTX 1650, 4096, 7.5, 535.183.01, [N/A]\n"
        "2, Tesla K80, 11441, 3.7, 470.256.02, 149.00\n"
    )
    first, second, third = parse(text)
    assert first == Gpu(0, "NVIDIA H200", 143771 * 2**20, (9, 0), "570.133.20", 700.0, True)
    assert second == Gpu(1, "NVIDIA GeForce GTX 1650", 2**32, (7, 5), "535.183.01", None, False)
    assert (third.compute_capability, third.tensor_cores) == ((3, 7), False)


def test_fields_that_the_driver_does_not_tell_are_none():
    """A GB10 shares the memory of its CPU; a broken card tells nothing."""
    shared, broken = parse(
        "0, NVIDIA GB10, [N/A], 12.1, 580.95.05, [N/A]\n"
        "1, [Unknown Error], [GPU is lost], [N/A], [N/A], [Not Supported]\n"
    )
    assert shared == Gpu(0, "NVIDIA GB10", None, (12, 1), "580.95.05", None, True)
    assert broken == Gpu(1, "[Unknown Error]", None, None, None, None, None)


@pytest.mark.parametrize("text", ["", "No devices were found\n", 'Field "compute_cap" is not a valid field to query.'])
def test_messages_of_nvidia_smi_are_no_gpus(text: str):
    assert parse(text) == ()


@pytest.mark.parametrize(
    ("name", "capability", "expected"),
    [
        ("Tesla P100-PCIE-16GB", (6, 0), False),
        ("Tesla V100-SXM2-16GB", (7, 0), True),
        ("Tesla T4", (7, 5), True),
        ("NVIDIA GeForce RTX 2060", (7, 5), True),
        ("NVIDIA GeForce GTX 1660 Ti", (7, 5), False),
        ("NVIDIA GeForce MX450", (7, 5), False),
        ("NVIDIA T1000 8GB", (7, 5), False),
        ("NVIDIA A100-SXM4-40GB", (8, 0), True),
        ("NVIDIA B200", (10, 0), True),
        ("unknown", None, None),
    ],
)
def test_tensor_cores(name: str, capability: tuple[int, int] | None, expected: bool | None):
    assert has_tensor_cores(name, capability) is expected


def fake_nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for nvidia-smi is a shell script")
def test_nvidia_smi_is_asked_for_the_fields_that_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    line = "0, NVIDIA L4, 23034, 8.9, 550.90.07, 72.00"
    wanted = "--query-gpu=index,name,memory.total,compute_cap,driver_version,power.limit"
    script = f'test "$1 $2" = "{wanted} --format=csv,noheader,nounits" && echo "{line}"'
    fake_nvidia_smi(tmp_path, monkeypatch, script)
    assert gpus() == Gpus(parse(line))
    assert len(gpus().found) == 1


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for nvidia-smi is a shell script")
@pytest.mark.parametrize(
    ("script", "why_none"),
    [
        ("echo 'NVIDIA-SMI has failed'; exit 9", "nvidia-smi reports: NVIDIA-SMI has failed"),
        ("echo 'no library' >&2; exit 12", "nvidia-smi reports: no library"),
        ("exit 6", "nvidia-smi printed nothing (exit code 6)"),
    ],
)
def test_a_driver_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why_none: str):
    fake_nvidia_smi(tmp_path, monkeypatch, script)
    assert gpus() == Gpus((), why_none)


def test_no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == Gpus((), "no NVIDIA driver (nvidia-smi is not on the PATH)")


# The processor and the memory


def test_cpuinfo_of_x86():
    text = (
        "processor\t: 0\nmodel name\t: AMD EPYC 9654\nflags\t\t: fpu avx2 avx512f avx512_vnni avx512_bf16\n\n"
        "processor\t: 1\nmodel name\t: AMD EPYC 9654\nflags\t\t: fpu\n"
    )
    model, flags = parse_cpuinfo(text)
    assert model == "AMD EPYC 9654"
    assert features("x86_64", flags) == {
        "AVX2": True,
        "AVX-512": True,
        "VNNI": True,
        "bf16": True,
        "AMX": False,
    }


def test_cpuinfo_of_arm():
    text = "processor\t: 0\nFeatures\t: fp asimd sve i8mm bf16\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n"
    model, flags = parse_cpuinfo(text)
    assert model == "ARM part 0xd40 of implementer 0x41"
    assert features("aarch64", flags) == {
        "NEON": True,
        "SVE": True,
        "SVE2": False,
        "bf16": True,
        "int8": True,
    }


def test_sysctl_of_apple_silicon():
    text = (
        "machdep.cpu.brand_string: Apple M2\nhw.physicalcpu: 8\nhw.optional.neon: 1\n"
        "hw.optional.arm.FEAT_BF16: 1\nhw.optional.arm.FEAT_I8MM: 1\nhw.optional.arm.FEAT_SME: 0\n"
    )
    model, flags, physical_cores = parse_sysctl(text)
    assert (model, physical_cores) == ("Apple M2", 8)
    found = features("arm64", flags)
    assert found == {"NEON": True, "SVE": False, "SVE2": False, "bf16": True, "int8": True}


def test_sysctl_of_an_intel_mac():
    text = (
        "machdep.cpu.brand_string: Intel(R) Xeon(R) W-2140B CPU\nmachdep.cpu.features: FPU SSE4.2 AVX1.0\n"
        "machdep.cpu.leaf7_features: BMI1 AVX2 AVX512F\nhw.physicalcpu: 8\n"
    )
    found = features("x86_64", parse_sysctl(text)[1])
    assert found == {"AVX2": True, "AVX-512": True, "VNNI": False, "bf16": False, "AMX": False}


@pytest.mark.parametrize(("architecture", "flags"), [("riscv64", {"avx2"}), ("x86_64", set()), ("AMD64", None)])
def test_features_are_unknown_rather_than_absent(architecture: str, flags: set[str] | None):
    assert features(architecture, flags) is None


def test_this_processor_and_memory_make_sense():
    cpu, main_memory = processor(), memory()
    assert cpu.logical_cores == os.cpu_count()
    assert cpu.usable_cores is not None
    assert 1 <= cpu.usable_cores <= (cpu.logical_cores or 0)
    assert 1 <= (cpu.physical_cores or 1) <= (cpu.logical_cores or 0)
    if main_memory.available_bytes is not None:
        assert 0 < main_memory.available_bytes < (main_memory.total_bytes or 0)


def test_meminfo_counts_in_kibibytes():
    text = "MemTotal:       24684096 kB\nMemFree:  9 kB\nMemAvailable:   23644620 kB\nHugePages_Total:       0\n"
    assert parse_meminfo(text) == Memory(24684096 * 1024, 23644620 * 1024)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {
                "proc/self/cgroup": "0::/pod/job\n",
                "sys/fs/cgroup/cpu.max": "max 100000\n",
                "sys/fs/cgroup/pod/cpu.max": "150000 100000\n",
                "sys/fs/cgroup/pod/job/cpu.max": "400000 100000\n",
                "sys/fs/cgroup/pod/memory.max": "max\n",
                "sys/fs/cgroup/pod/job/memory.max": "2147483648\n",
            },
            Container(1.5, 2**31),
        ),
        (
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/docker/1a\n4:memory:/docker/1a\n3:name=systemd:/\n0::/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n",
            },
            Container(0.5, 2**30),
        ),
        (
            {
                "proc/self/cgroup": "5:cpu:/\n0::/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu.max": "max 100000\n",
            },
            Container(None, None),
        ),
        ({}, Container(None, None)),
    ],
    ids=["version 2", "version 1", "no limit", "no control groups"],
)
def test_the_lowest_limit_of_the_control_groups(tmp_path: Path, files: dict[str, str], expected: Container):
    assert container(write(tmp_path, files)) == expected
