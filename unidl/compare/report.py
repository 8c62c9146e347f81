"""A comparison on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from unidl.compare import wording
from unidl.compare.results import Run
from unidl.compare.summary import summarize

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def draw(runs: Sequence[Run], console: Console) -> None:
    """Write every group of every run; runs are not compared with one another."""
    for run in runs:
        for line in wording.about(run):
            console.print(line, style="dim")
        for summary in summarize(run):
            console.print(f"\n{wording.title(summary)}", style="bold")
            for table in wording.tables(summary):
                console.print(_table(table))
                console.print()
            for remark in wording.remarks(summary):
                console.print(f"  {remark}")
        console.print()
    console.print(wording.LEGEND, style="dim")


def _table(content: wording.Table) -> Table:
    """Numbers to the right; rich by itself would cut off what is too long."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="italic")
    for place, heading in enumerate(content.headings):
        names = place < 2
        table.add_column(heading, overflow="fold", justify="left" if names else "right", no_wrap=names)
    for cells, bold in zip(content.rows, content.bold, strict=True):
        table.add_row(*(f"  {cells[0]}", *cells[1:]), style="bold" if bold else None)
    return table
