"""The output folder of a comparison: results.json, report.md and, with matplotlib, chart.png."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unidl.compare.chart import WHY_NO_CHART, can_draw, chart
from unidl.compare.markdown import markdown
from unidl.compare.results import Run, write
from unidl.reports import write_bytes

RESULTS, REPORT, CHART = "results.json", "report.md", "chart.png"


def write_results(folder: Path, runs: Sequence[Run]) -> None:
    """Write only results.json, after each group."""
    write(folder / RESULTS, runs)


def write_all(folder: Path, runs: Sequence[Run]) -> list[str]:
    """Write all files and return a line about each."""
    write_results(folder, runs)
    told = [f"wrote {folder / RESULTS}"]
    picture = None
    if can_draw():
        write_bytes(folder / CHART, chart(runs))
        picture = CHART
        told.append(f"wrote {folder / CHART}")
    else:
        told.append(WHY_NO_CHART)
    write_bytes(folder / REPORT, markdown(runs, picture).encode())
    return [*told, f"wrote {folder / REPORT}"]
