"""Selection of progress output by the name of its style."""

from __future__ import annotations

import sys
from typing import IO, Literal, get_args

from unidl.errors import UsageError
from unidl.ranks.joining import is_first
from unidl.training.progress import JsonProgress, LineProgress, Progress, QuietProgress

Style = Literal["auto", "bar", "lines", "json", "quiet"]


def make_progress(style: Style, stream: IO[str] | None = None) -> Progress:
    """Return the progress of a style. "auto" is bars on a terminal and plain lines elsewhere."""
    if style not in get_args(Style):
        allowed = ", ".join(map(repr, get_args(Style)))
        raise UsageError(f"Cannot use progress={style!r}. Allowed: {allowed}.")
    out = stream or sys.stdout
    if not is_first():
        return QuietProgress()
    if style == "auto":
        style = "bar" if out.isatty() else "lines"
    if style == "bar":
        from rich.console import Console

        from unidl.training.progress_bar import BarProgress

        return BarProgress(Console(file=out, highlight=False))
    if style == "lines":
        return LineProgress(out)
    if style == "json":
        return JsonProgress(out)
    return QuietProgress()
