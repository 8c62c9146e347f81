"""`unidl doctor --measure`: print what `unidl.doctor.rates` has measured, beside the data sheet of a GPU."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unidl.doctor.rates import Rate, Rates
    from unidl.machine.data_sheets import DataSheet
    from unidl.tables import Table

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

    from unidl.cli.console import report_console
    from unidl.doctor.rates import measure
    from unidl.tables import on_terminal

    found = measure()
    sheet = sheet_of(found.device_name)
    if arguments.json:
        rates = [asdict(rate) | {"listed": listed(rate, sheet)} for rate in found.rates]
        values = asdict(found) | {"rates": rates, "data_sheet": None if sheet is None else asdict(sheet)}
        sys.stdout.write(json.dumps(values, indent=2) + "\n")
        return 0
    console = report_console()
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    console.print(f"{found.device} {found.device_name or ''} with {versions}, {found.seconds:.0f} s".replace("  ", " "))
    console.print()
    console.print(on_terminal(table(found, sheet)))
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
