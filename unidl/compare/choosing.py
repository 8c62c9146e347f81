"""`unidl compare --choose`: store the result of a comparison for UNIDL_BACKEND=auto."""

from __future__ import annotations

from collections.abc import Mapping

from unidl import fastest, registry
from unidl.compare.results import Run
from unidl.compare.summary import summarize
from unidl.fastest import Speeds

ROUNDS = 5
"""The minimum for any claim, `statistics.ROUNDS_TO_CLAIM`; the rounds are short instead."""
SECONDS = 0.4


def keep(run: Run, device: str) -> Mapping[str, Speeds]:
    """Write the result of a comparison to the cache, for this machine, and return it. device: as requested.

    Raises `UnidlError` if it cannot be written.
    """
    speeds = {
        summary.group.model: Speeds(
            {
                row.measurement.cell.backend: row.measurement.rates
                for row in summary.rows
                if row.rate is not None and row.measurement.cell.implementation == "unidl"
            },
            summary.resolution,
        )
        for summary in summarize(run)
    }
    fastest.keep(speeds, run.created, device, registry.versions(list(registry.adapters())))
    return speeds
