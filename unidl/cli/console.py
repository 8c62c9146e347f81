"""The console used to print tables."""

from __future__ import annotations

import sys

from rich.console import Console


class _PlainConsole(Console):
    def on_broken_pipe(self) -> None:
        # rich calls this while handling the error and would exit with code 1; `main` chooses the exit code.
        raise


WIDTH = 120
"""Width of a table when stdout is not a terminal."""


def report_console() -> Console:
    """Return a console for wide tables, as wide as the terminal if stdout is one."""
    return plain_console(None if sys.stdout.isatty() else WIDTH)


def plain_console(width: int | None = None) -> Console:
    """Return a console on stdout. width: columns; None uses the terminal's width, or 80."""
    # No markup: the square brackets of 'unidl[torch]' are literal.
    return _PlainConsole(width=width, markup=False, highlight=False, emoji=False)
