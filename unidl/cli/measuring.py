"""`unidl doctor --measure`: print what `unidl.doctor.rates` has measured, beside the data sheet of a GPU."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unidl.doctor.rates import Rate, Rates
    from unidl.machine.data_sheets import DataSheet
    from unidl.machine.nvml import Load
    from unidl.tables import Table

log = logging.getLogger("unidl")

COLUMNS = {
    "float32": "fp32_tflops",
    "tf32": "tf32_tflops",
    "mixed_bfloat16": "bf16_tflops",
    "mixed_float16": "fp16_tflops",
}


def measured(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    import json
    import sys
    from dataclasses import asdict
    from datetime import datetime

    from unidl.cache import cache_folder
    from unidl.cli.console import report_console
    from unidl.doctor.rates import measure
    from unidl.machine.rate_history import keep_rates, kept_rates
    from unidl.tables import on_terminal

    found = measure()
    created = datetime.now(UTC).isoformat(timespec="seconds")
    before = kept_rates(found.device, found.device_name)
    if not keep_rates(asdict(found), created):
        log.warning("these rates cannot be kept for later commands: %s cannot be written", cache_folder())
    sheet = sheet_of(found.device_name)
    if arguments.json:
        rates = [asdict(rate) | {"listed": listed(rate, sheet)} for rate in found.rates]
        values = asdict(found) | {
            "created": created,
            "rates": rates,
            "data_sheet": None if sheet is None else asdict(sheet),
            "measured_before": len(before),
        }
        sys.stdout.write(json.dumps(values, indent=2) + "\n")
        return 0
    console = report_console()
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    console.print(f"{found.device} {found.device_name or ''} with {versions}, {found.seconds:.0f} s".replace("  ", " "))
    console.print()
    console.print(on_terminal(table(found, sheet)))
    for line in said_of_load(found.load) + said_of_history(found, before):
        console.print(f"  {line}")
    for name, why in found.left_out.items():
        console.print(f"  {name}: not measured, {why}")
    if sheet is None and found.device.startswith("gpu"):
        console.print(f"  no data sheet of {found.device_name}: see `unidl plan --gpu-file`")
    return 0


def table(found: Rates, sheet: DataSheet | None) -> Table:
    """Return the rates in rows, with the data sheet's and the share of it that is reached."""
    from unidl.tables import Table

    rows: list[tuple[str, ...]] = []
    for rate in found.rates:
        beside = listed(rate, sheet)
        share = "" if beside is None else f"{rate.value / beside:.0%}"
        spread = f"{rate.spread:.0%}"
        rows.append(
            (rate.what, rate.precision, shown(rate), "" if beside is None else shown(rate, beside), share, spread)
        )
    headings = ("what", "precision", "best", "data sheet", "share", "middle is slower by")
    return Table(headings, tuple(rows), (False,) * len(rows))


def said_of_load(load: Load | None) -> list[str]:
    """Return in words what a GPU did during the products."""
    if load is None or not load.readings:
        return []
    parts: list[str] = []
    if load.power_watts is not None:
        limit = "" if load.power_limit_watts is None else f" of {load.power_limit_watts:.0f} W allowed"
        parts.append(f"up to {load.power_watts:.0f} W{limit}")
    if load.graphics_mhz is not None:
        most = "" if load.most_graphics_mhz is None else f" of at most {load.most_graphics_mhz} MHz"
        parts.append(f"clock {load.graphics_mhz} MHz{most}")
    if load.temperature_celsius is not None:
        parts.append(f"{load.temperature_celsius} °C")
    if load.slowed_by:
        parts.append(f"slowed by {' and '.join(load.slowed_by)}")
    return [f"during the products: {', '.join(parts)}"] if parts else []


def said_of_history(found: Rates, before: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return how the matrix products compare with the last measurement of this device with the same backend."""
    last = next((entry for entry in reversed(before) if entry.get("backend") == found.backend), None)
    if last is None:
        return []
    earlier = {(rate["what"], rate["precision"]): rate["value"] for rate in last["rates"]}
    changes = [
        f"{rate.precision} {rate.value / earlier[rate.what, rate.precision] - 1:+.0%}"
        for rate in found.rates
        if rate.what == "matrix product" and earlier.get((rate.what, rate.precision))
    ]
    return [f"matrix products since {last.get('created', 'the last time')}: {', '.join(changes)}"] if changes else []


def shown(rate: Rate, value: float | None = None) -> str:
    """Return a value in the unit of a rate."""
    value = rate.value if value is None else value
    if rate.unit == "s":
        return f"{value * 1e6:,.1f} µs"
    if rate.unit == "byte/s":
        return f"{value / 1e9:,.1f} GB/s"
    return f"{value / 1e12:,.3f} TFLOP/s" if value < 1e13 else f"{value / 1e12:,.1f} TFLOP/s"


def listed(rate: Rate, sheet: DataSheet | None) -> float | None:
    """Return what a data sheet says for a rate; None if it says nothing."""
    if sheet is None:
        return None
    if rate.unit == "FLOP/s":
        return sheet.flops_per_second(COLUMNS[rate.precision])
    return sheet.bytes_per_second if rate.what in ("copy", "read") else None


def sheet_of(name: str | None) -> DataSheet | None:
    """Return the data sheet whose name the device's name begins or contains; None if none or several do."""
    from unidl.errors import UsageError
    from unidl.machine.data_sheets import chosen, data_sheets

    if not name:
        return None
    words = [word for word in name.replace("-", " ").split() if word not in ("NVIDIA", "AMD", "Tesla", "GPU")]
    try:
        [sheet] = chosen([" ".join(words)], data_sheets())
    except UsageError:
        return None
    return sheet
