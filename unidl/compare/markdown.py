"""A comparison as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from unidl.compare import wording
from unidl.compare.results import Run
from unidl.compare.summary import summarize


def markdown(runs: Sequence[Run], chart: str | None = None) -> str:
    """Return the report. chart: the name of the picture beside it, if there is one."""
    parts = ["# Comparison", *([f"![samples a second by backend and implementation]({chart})"] if chart else [])]
    for run in runs:
        parts.append("\n".join(f"- {_escaped(line)}" for line in wording.about(run)))
        for summary in summarize(run):
            parts.append(f"## {_escaped(wording.title(summary))}")
            parts += [_table(table) for table in wording.tables(summary)]
            parts.append("\n".join(f"- {_escaped(line)}" for line in wording.remarks(summary)))
    parts.append(_escaped(wording.LEGEND))
    return "\n\n".join(parts) + "\n"


def _table(table: wording.Table) -> str:
    lines = [_line(table.headings), "|---|---|" + "---:|" * (len(table.headings) - 2)]
    for cells, bold in zip(table.rows, table.bold, strict=True):
        lines.append(_line([f"**{_escaped(cell)}**" if bold else _escaped(cell) for cell in cells]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Reasons hold what a framework said, and two ~ would strike through what lies between them."""
    for sign in ("\\", "|", "~", "*", "_", "<", "[", "`"):
        text = text.replace(sign, f"\\{sign}")
    return text
