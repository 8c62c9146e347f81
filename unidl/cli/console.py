"""The console that tables are drawn on."""

from __future__ import annotations

import sys

from rich.console import Console


class _PlainConsole(Console):
    def on_broken_pipe(self) -> None:
        # rich calls this while it handles the error, and would exit with code 1; `main` knows better.
        raise


WIDTH = 120
"""Of a table where stdout is no terminal."""


def report_console() -> Console:
    """Return the console for wide tables: as wide as the terminal, if there is one."""
    return plain_console(None if sys.stdout.isatty() else WIDTH)


def plain_console(width: int | None = None) -> Console:
    """Return the console of stdout. width: in columns; None for the terminal's, or 80."""
    # Without markup: the square brackets of 'unidl[torch]' are meant.
    return _PlainConsole(width=width, markup=False, highlight=False, emoji=False)
