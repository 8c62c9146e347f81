"""The CPU: name, cores, and the instruction sets that matter for matrix multiplication."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

X86_FEATURES = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "VNNI": ("avx512vnni", "avxvnni"),
    "bf16": ("avx512bf16", "amxbf16"),
    "AMX": ("amxtile",),
}
ARM_FEATURES = {
    "NEON": ("asimd", "neon", "advsimd"),
    "SVE": ("sve",),
    "SVE2": ("sve2",),
    "bf16": ("bf16",),
    "int8": ("i8mm",),
}
"""Feature name to equivalent flags of Linux and macOS, in lower case without underscores."""

SYSCTL_SECONDS = 10


@dataclass(frozen=True)
class Processor:
    """The CPU; unknown values are None."""

    model: str | None
    architecture: str
    physical_cores: int | None
    logical_cores: int | None
    usable_cores: int | None
    """Logical cores available to this process: fewer under taskset, Slurm or a container's CPU set."""
    features: dict[str, bool] | None


def processor() -> Processor:
    """Describe the CPU from /proc and /sys on Linux, from sysctl on macOS, elsewhere from Python's standard library."""
    system, architecture = platform.system(), platform.machine()
    model, flags, physical_cores = platform.processor() or None, None, None
    if system == "Linux":
        model, flags = parse_cpuinfo(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
        physical_cores = _physical_cores(Path("/sys/devices/system/cpu"))
    elif system == "Darwin":
        model, flags, physical_cores = parse_sysctl(_sysctl())
    return Processor(
        model,
        architecture,
        physical_cores,
        os.cpu_count(),
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        features(architecture, flags),
    )


def features(architecture: str, flags: AbstractSet[str] | None) -> dict[str, bool] | None:
    """Return for each relevant feature of `architecture` whether it is present; None if unknown."""
    words = {"x86_64": X86_FEATURES, "amd64": X86_FEATURES, "aarch64": ARM_FEATURES, "arm64": ARM_FEATURES}
    known = words.get(architecture.lower())
    if known is None or not flags:
        return None
    return {word: any(flag in flags for flag in spellings) for word, spellings in known.items()}


def parse_cpuinfo(text: str) -> tuple[str | None, set[str]]:
    """Parse model and flags from Linux's /proc/cpuinfo. ARM kernels report numbers instead of a model."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    model = fields.get("model name")
    if model is None and "CPU part" in fields:
        model = f"ARM part {fields['CPU part']} of implementer {fields.get('CPU implementer', 'unknown')}"
    return model, _normalised((fields.get("flags") or fields.get("Features") or "").split())


def parse_sysctl(text: str) -> tuple[str | None, set[str], int | None]:
    """Parse model, flags and number of physical cores from macOS's `sysctl machdep.cpu hw`."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields[key.strip()] = value.strip()
    words = f"{fields.get('machdep.cpu.features', '')} {fields.get('machdep.cpu.leaf7_features', '')}".split()
    for key, value in fields.items():
        if key.startswith("hw.optional.") and value == "1":
            words.append(key.rpartition(".")[2].removeprefix("FEAT_"))
    cores = fields.get("hw.physicalcpu")
    return fields.get("machdep.cpu.brand_string"), _normalised(words), int(cores) if cores else None


def _normalised(flags: list[str]) -> set[str]:
    """Normalize flags: Linux writes avx512_vnni where macOS writes AVX512VNNI."""
    return {flag.lower().replace("_", "") for flag in flags}


def _physical_cores(folder: Path) -> int | None:
    """Count the groups of logical cores that share a physical core."""
    siblings = [path.read_text() for path in folder.glob("cpu[0-9]*/topology/thread_siblings_list")]
    return len(set(siblings)) or None


def _sysctl() -> str:
    command = ["/usr/sbin/sysctl", "machdep.cpu", "hw"]
    return subprocess.run(command, capture_output=True, text=True, timeout=SYSCTL_SECONDS, check=False).stdout
