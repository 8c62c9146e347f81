"""The folder that a comparison leaves: results.json, report.md and, with matplotlib, chart.png."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from unidl.compare.chart import WHY_NO_CHART, can_draw, chart
from unidl.compare.markdown import markdown
from unidl.compare.results import Run, write, write_bytes
from unidl.errors import UsageError

RESULTS, REPORT, CHART = "results.json", "report.md", "chart.png"


def require_writable(folder: Path) -> None:
    """Make the folder. Raises `UsageError` if nothing could be written to it: asked before minutes of measuring."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"Cannot write to --out={str(folder)!r}: {error.strerror or error}.") from error


def write_results(folder: Path, runs: Sequence[Run]) -> None:
    """Write results.json alone: what there is after each group."""
    write(folder / RESULTS, runs)


def write_all(folder: Path, runs: Sequence[Run]) -> list[str]:
    """Write everything and return what to tell about it."""
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
