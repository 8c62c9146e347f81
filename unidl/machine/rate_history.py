"""What `unidl doctor --measure` has found on this machine, kept for later commands in the user's cache folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unidl.cache import cache_folder, keep, read_kept
from unidl.machine.processor import processor

FILE = "rates.json"
MOST = 200
"""Measurements that are kept, the newest ones."""


def keep_rates(values: Mapping[str, Any], created: str) -> bool:
    """Keep one measurement; return whether it could be written. values: those of `unidl.doctor.rates.Rates`; created:
    the time, in ISO 8601."""
    entry = {**values, "created": created, "machine": _machine(values["device"], values["device_name"])}
    return keep(cache_folder() / FILE, f"{created} {values['backend']}", entry, most=MOST)


def kept_rates(device: str, device_name: str | None) -> list[dict[str, Any]]:
    """Return the measurements of a device of this machine, the oldest first. Damaged ones are left out."""
    wanted = _machine(device, device_name)
    found = read_kept(cache_folder() / FILE).values()
    return [one for one in found if isinstance(one, dict) and one.get("machine") == wanted and "rates" in one]


def best(device: str, device_name: str | None, what: str, precision: str) -> float | None:
    """Return the best rate that was ever measured for a device, with any framework; None if none was."""
    found: list[float] = []
    for entry in kept_rates(device, device_name):
        for rate in entry["rates"]:
            if (rate.get("what"), rate.get("precision")) == (what, precision):
                found.append(float(rate["value"]))
    return max(found, default=None)


def _machine(device: str, device_name: str | None) -> str:
    """Return what a device is known by: another CPU, or more cores of it, is another machine."""
    if device.startswith("cpu"):
        cpu = processor()
        return f"{cpu.model or cpu.architecture}, {cpu.usable_cores} cores"
    return device_name or device
