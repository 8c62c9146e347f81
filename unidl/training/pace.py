"""Number of steps per dispatch: enough to hide its overhead, few enough to respond quickly."""

from __future__ import annotations

import time

FIRST_STEPS = 4
"""Steps of the first dispatch, while the duration of a step is unknown."""
SHORT_SECONDS = 0.05
"""Dispatches shorter than this are made four times as long: the overhead of the trainer is a fraction of it."""
LONG_SECONDS = 0.5
"""Longer dispatches are halved, to limit the delay of Ctrl-C and progress."""


class Pace:
    """Chooses the steps of the next dispatch, at most `limit`, from the durations of earlier ones.

    This does not affect results: a program takes any number of steps up to the limit.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._steps = min(FIRST_STEPS, limit)
        self._last: float | None = None

    def __call__(self) -> int:
        """Return the number of steps of the dispatch that starts now."""
        now = time.perf_counter()
        if self._last is not None:
            seconds = now - self._last
            if seconds < SHORT_SECONDS:
                self._steps = min(4 * self._steps, self._limit)
            elif seconds > LONG_SECONDS and self._steps > FIRST_STEPS:
                self._steps //= 2
        self._last = now
        return self._steps

    def rest(self) -> None:
        """Record that other work takes place before the next dispatch."""
        self._last = None
