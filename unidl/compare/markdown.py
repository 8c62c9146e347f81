"""A comparison as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from unidl.compare import wording
from unidl.compare.results import Run
from unidl.compare.summary import summarize
from unidl.tables import escaped, in_markdown


def markdown(runs: Sequence[Run], chart: str | None = None) -> str:
    """Return the report. chart: file name of the chart in the same folder, if there is one."""
    parts = ["# Comparison", *([f"![samples per second by backend and implementation]({chart})"] if chart else [])]
    for run in runs:
        parts.append("\n".join(f"- {escaped(line)}" for line in wording.about(run)))
        for summary in summarize(run):
            parts.append(f"## {escaped(wording.title(summary))}")
            parts += [in_markdown(table) for table in wording.tables(summary)]
            parts.append("\n".join(f"- {escaped(line)}" for line in wording.remarks(summary)))
    parts.append(escaped(wording.LEGEND))
    return "\n\n".join(parts) + "\n"
