"""Main memory, and the memory and CPU limits of the container of this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Memory:
    """Main memory; unknown values are None."""

    total_bytes: int | None
    available_bytes: int | None


@dataclass(frozen=True)
class Container:
    """Limits of the control groups of this process; None where there is no limit."""

    cpu_cores: float | None
    memory_bytes: int | None


def memory() -> Memory:
    """Read /proc/meminfo on Linux; elsewhere the total from POSIX sysconf, if available."""
    file = Path("/proc/meminfo")
    if file.is_file():
        return parse_meminfo(file.read_text())
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" in names and "SC_PAGE_SIZE" in names:
        return Memory(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), None)
    return Memory(None, None)


def parse_meminfo(text: str) -> Memory:
    """Read Linux's /proc/meminfo, whose "kB" are 1 024 bytes (proc_meminfo(5))."""
    fields: dict[str, int] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if value.split()[1:] == ["kB"]:
            fields[key] = int(value.split()[0]) * 1024
    return Memory(fields.get("MemTotal"), fields.get("MemAvailable"))


def container(root: Path = Path("/")) -> Container:
    """Return the lowest limits among the control groups of this process and their parents.

    root: directory in which proc and sys are mounted. Reads version 2 (cpu.max, memory.max) and the older hierarchy
    (cpu.cfs_quota_us, memory.limit_in_bytes), as the kernel's cgroup-v2.rst and cgroup-v1/ describe them.
    """
    cores: list[float] = []
    sizes: list[int] = []
    for folder in _groups(root):
        quota_period = _words(folder / "cpu.max")
        if quota_period and quota_period[0] != "max":
            cores.append(int(quota_period[0]) / int(quota_period[1]))
        for quota in _words(folder / "cpu.cfs_quota_us"):
            if int(quota) > 0:
                cores.append(int(quota) / int(_words(folder / "cpu.cfs_period_us")[0]))
        for name in ("memory.max", "memory.limit_in_bytes"):
            sizes += [int(word) for word in _words(folder / name) if word != "max"]
    return Container(min(cores, default=None), min(sizes, default=None))


def _groups(root: Path) -> Iterator[Path]:
    """Yield the folder of every control group of this process, outermost first.

    Inside a container the path in /proc is often the host's, and only its outermost folder is mounted.
    """
    file = root / "proc/self/cgroup"
    if not file.is_file():
        return
    for line in file.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        parts = PurePosixPath(path).parts[1:]
        for controller in {""} if not controllers else {"cpu", "memory"} & set(controllers.split(",")):
            base = root / "sys/fs/cgroup" / controller
            for depth in range(len(parts) + 1):
                yield base.joinpath(*parts[:depth])


def _words(file: Path) -> list[str]:
    return file.read_text().split() if file.is_file() else []
