"""Progress of a comparison: the current work, the share done, and the estimated time left."""

from __future__ import annotations

import sys
import time
from typing import IO, Protocol

LINE_SECONDS = 5.0
"""Seconds between two plain lines."""


class ComparisonProgress(Protocol):
    """Receives progress events; seconds are the expected duration of each piece of work."""

    def start(self, expected_seconds: float) -> None:
        """Called when a comparison starts."""
        ...

    def doing(self, what: str) -> None:
        """Called with a description of the current work."""
        ...

    def done(self, expected_seconds: float) -> None:
        """Called when a piece of work is finished or skipped."""
        ...

    def stop(self) -> None:
        """Called when the comparison ends."""
        ...


class Quiet:
    """Prints nothing."""

    def start(self, expected_seconds: float) -> None: ...

    def doing(self, what: str) -> None: ...

    def done(self, expected_seconds: float) -> None: ...

    def stop(self) -> None: ...


class Clock:
    """Estimates the time left: the expected remainder, scaled by the actual over the expected time so far."""

    def __init__(self) -> None:
        self._expected = self._done = 0.0
        self._started = time.monotonic()

    def start(self, expected_seconds: float) -> None:
        self._expected, self._done = expected_seconds, 0.0
        self._started = time.monotonic()

    def done(self, expected_seconds: float) -> None:
        self._done += expected_seconds

    @property
    def share(self) -> float:
        """Fraction done, 0 to 1."""
        return min(1.0, self._done / self._expected) if self._expected else 1.0

    def left(self) -> str:
        """Return the time left as text."""
        pace = (time.monotonic() - self._started) / self._done if self._done else 1.0
        minutes, seconds = divmod(round(max(0.0, self._expected - self._done) * pace), 60)
        return f"about {minutes} min {seconds:02d} s left" if minutes else f"about {seconds} s left"


class Lines(Quiet):
    """Prints a plain line from time to time, for files and pipes."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._clock = Clock()
        self._last_seconds = float("-inf")

    def start(self, expected_seconds: float) -> None:
        self._clock.start(expected_seconds)

    def doing(self, what: str) -> None:
        now_seconds = time.monotonic()
        if now_seconds - self._last_seconds < LINE_SECONDS:
            return
        self._last_seconds = now_seconds
        print(f"{what} ({self._clock.share:.0%}, {self._clock.left()})", file=self._out, flush=True)

    def done(self, expected_seconds: float) -> None:
        self._clock.done(expected_seconds)


class Bar(Quiet):
    """Updates one line on a terminal."""

    def __init__(self, out: IO[str]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (BarColumn(bar_width=20), TextColumn("{task.fields[left]}"), TextColumn("{task.description}"))
        console = Console(file=out, highlight=False, markup=False)
        self._bar = Progress(*columns, console=console, transient=True)
        self._task = self._bar.add_task("", total=1.0, left="")
        self._clock = Clock()

    def start(self, expected_seconds: float) -> None:
        self._clock.start(expected_seconds)
        self._bar.start()

    def doing(self, what: str) -> None:
        self._bar.update(self._task, description=what, left=self._clock.left())

    def done(self, expected_seconds: float) -> None:
        self._clock.done(expected_seconds)
        self._bar.update(self._task, completed=self._clock.share, left=self._clock.left())

    def stop(self) -> None:
        self._bar.stop()


def comparison_progress(*, quiet: bool) -> ComparisonProgress:
    """Return the progress display for stderr; stdout is for results."""
    if quiet:
        return Quiet()
    return Bar(sys.stderr) if sys.stderr.isatty() else Lines(sys.stderr)
