"""`unidl doctor --cluster`: print what each process of a run has found on its machine."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unidl.scale.cluster import RankReport


def surveyed(arguments: argparse.Namespace) -> int:
    """Let all ranks look, and print on rank 0 what they have found. Return 2 if they differ."""
    import contextlib
    import json
    import sys
    from dataclasses import asdict

    from unidl import registry
    from unidl.cli.console import report_console
    from unidl.errors import UsageError
    from unidl.ranks.environment import member
    from unidl.ranks.joining import is_first
    from unidl.tables import Table, on_terminal

    if arguments.measure:
        raise UsageError("Cannot use --cluster with --measure, which measures one device. Leave one out.")
    if member() is None:  # before a framework is imported
        raise UsageError("Only one process runs here. Start several: `unidl launch -n 2 doctor --cluster`.")
    with contextlib.redirect_stdout(sys.stderr):
        registry.current()  # before Keras is imported, which would settle the backend by itself
        from unidl.scale.cluster import survey_ranks

        found = survey_ranks()
    code = UsageError.exit_code if found.differences else 0
    if not is_first():
        return code
    if arguments.json:
        sys.stdout.write(json.dumps(asdict(found)) + "\n")
        return code
    console = report_console()
    versions = ", ".join(f"{name} {version}" for name, version in found.ranks[0].versions.items())
    console.print(f"{len(found.ranks)} ranks; rank 0: {versions}")
    header = ("rank", "host", "device", "sees", "clock ahead", "all-reduce", "latency")
    rows = tuple(_row(one) for one in found.ranks)
    console.print(on_terminal(Table(header, rows, (False,) * len(rows), names=4)))
    for sentence in found.differences:
        console.print(f"  differs: {sentence}")
    if found.differences:
        console.print("  Sums were not measured: the ranks would wait for each other.")
    return code


def _row(one: RankReport) -> tuple[str, ...]:
    clock = "-" if one.rank == 0 else f"{one.clock_seconds * 1e3:.1f} ms (within {one.clock_within_seconds * 1e3:.1f})"
    rate, latency = one.bytes_per_second, one.latency_seconds
    return (
        str(one.rank),
        one.host,
        " ".join([one.device, one.device_name or ""]).strip(),
        ", ".join(one.devices),
        clock,
        "-" if rate is None else f"{one.sum_bytes / 2**20:.0f} MiB at {rate / 1e9:.2f} GB/s",
        "-" if latency is None else f"{latency * 1e3:.2f} ms",
    )
