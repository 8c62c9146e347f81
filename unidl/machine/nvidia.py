"""NVIDIA GPUs as reported by the driver, independent of the frameworks."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from dataclasses import dataclass

FIELDS = ("index", "name", "memory.total", "compute_cap", "driver_version", "power.limit")
TIMEOUT_SECONDS = 30
"""nvidia-smi normally answers in a second or two; it hangs if the driver hangs."""

TENSOR_CORES_FROM = (7, 0)
"""Volta (CUDA C++ Programming Guide, "Compute Capabilities")."""

WITHOUT_TENSOR_CORES = re.compile(r"GTX 16\d\d|MX[45]50|\bT(400|500|550|600|1000|1200|2000)\b|CMP 30HX")
"""Products with the chips TU116 and TU117, which have compute capability 7.5 but no Tensor Cores."""


@dataclass(frozen=True)
class Gpu:
    """One GPU; values that the driver does not report are None."""

    index: int
    name: str
    memory_bytes: int | None
    compute_capability: tuple[int, int] | None
    driver_version: str | None
    power_limit_watts: float | None
    tensor_cores: bool | None


@dataclass(frozen=True)
class Gpus:
    """The GPUs of this machine, or why there are none."""

    found: tuple[Gpu, ...]
    why_none: str | None = None


def gpus() -> Gpus:
    """Query nvidia-smi."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return Gpus((), "no NVIDIA driver (nvidia-smi is not on the PATH)")
    command = [program, f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Gpus((), f"nvidia-smi did not answer within {TIMEOUT_SECONDS} s")
    except OSError as error:
        return Gpus((), f"nvidia-smi cannot be run: {error}")
    found = parse(answer.stdout)
    if found:
        return Gpus(found)
    said = (answer.stdout + answer.stderr).strip().partition("\n")[0]
    return Gpus(
        (), f"nvidia-smi reports: {said}" if said else f"nvidia-smi printed nothing (exit code {answer.returncode})"
    )


def parse(text: str) -> tuple[Gpu, ...]:
    """Parse nvidia-smi's output for `FIELDS`. Lines of another format are messages, not GPUs."""
    rows = csv.reader(text.splitlines(), skipinitialspace=True)
    return tuple(_gpu([word.strip() for word in row]) for row in rows if len(row) == len(FIELDS) and row[0].isdecimal())


def has_tensor_cores(name: str, compute_capability: tuple[int, int] | None) -> bool | None:
    """Return whether a GPU has Tensor Cores; None if its compute capability is unknown."""
    if compute_capability is None:
        return None
    if compute_capability == (7, 5) and WITHOUT_TENSOR_CORES.search(name):
        return False
    return compute_capability >= TENSOR_CORES_FROM


def _gpu(row: list[str]) -> Gpu:
    index, name, memory, capability, driver, power = row
    memory_mebibytes = _number(memory)
    major_minor = re.fullmatch(r"(\d+)\.(\d+)", capability)
    compute_capability = (int(major_minor[1]), int(major_minor[2])) if major_minor else None
    return Gpu(
        int(index),
        name,
        None if memory_mebibytes is None else int(memory_mebibytes) * 2**20,
        compute_capability,
        None if driver.startswith("[") else driver,
        _number(power),
        has_tensor_cores(name, compute_capability),
    )


def _number(word: str) -> float | None:
    """Parse a number; nvidia-smi prints [N/A], [Not Supported] or [Unknown Error] if it is unavailable."""
    return float(word) if re.fullmatch(r"\d+(\.\d+)?", word) else None
