"""Text tables for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import rich.table


@dataclass(frozen=True)
class Table:
    """A table of text. bold: whether each row is bold. names: number of left-aligned columns with names; numbers are
    aligned to the right."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bold: tuple[bool, ...]
    names: int = 2


def on_terminal(content: Table) -> rich.table.Table:
    """Return the table for rich, with wrapping; rich's default truncates long text."""
    from rich.table import Table as Drawn

    drawn = Drawn(box=None, padding=(0, 2, 0, 0), header_style="italic")
    for place, heading in enumerate(content.headings):
        name = place < content.names
        drawn.add_column(heading, overflow="fold", justify="left" if name else "right", no_wrap=name)
    for cells, bold in zip(content.rows, content.bold, strict=True):
        drawn.add_row(*(f"  {cells[0]}", *cells[1:]), style="bold" if bold else None)
    return drawn


def in_markdown(content: Table) -> str:
    """Return the table in Markdown."""
    numbers = len(content.headings) - content.names
    lines = [_line(content.headings), "|" + "---|" * content.names + "---:|" * numbers]
    for cells, bold in zip(content.rows, content.bold, strict=True):
        lines.append(_line([f"**{escaped(cell)}**" if bold and cell else escaped(cell) for cell in cells]))
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Escape text for Markdown: reasons contain messages of frameworks, and two ~ would strike through what
    is between them."""
    for sign in ("\\", "|", "~", "*", "_", "<", "[", "`"):
        text = text.replace(sign, f"\\{sign}")
    return text


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
