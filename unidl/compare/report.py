"""The report of a comparison on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from unidl.compare import wording
from unidl.compare.results import Run
from unidl.compare.summary import summarize
from unidl.tables import on_terminal

if TYPE_CHECKING:
    from rich.console import Console


def draw(runs: Sequence[Run], console: Console) -> None:
    """Print every group of every run; runs are not compared with each other."""
    for run in runs:
        for line in wording.about(run):
            console.print(line, style="dim")
        for summary in summarize(run):
            console.print(f"\n{wording.title(summary)}", style="bold")
            for table in wording.tables(summary):
                console.print(on_terminal(table))
                console.print()
            for remark in wording.remarks(summary):
                console.print(f"  {remark}")
        console.print()
    console.print(wording.LEGEND, style="dim")
