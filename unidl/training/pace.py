"""How many steps go into one dispatch: enough to hide what a dispatch costs, few enough to answer soon."""

from __future__ import annotations

import time

FIRST_STEPS = 4
"""Of the first dispatch, when nobody knows how long a step takes."""
SHORT_SECONDS = 0.05
"""A dispatch below this is made four times as long: what the trainer does beside it costs a fraction of that."""
LONG_SECONDS = 0.5
"""A dispatch above this is halved: so long Ctrl-C and progress may wait."""


class Pace:
    """Steps of the next dispatch, at most `limit`, by how long the ones before it took.

    It changes nothing in the results: a program takes any number of steps up to the limit.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._steps = min(FIRST_STEPS, limit)
        self._last: float | None = None

    def __call__(self) -> int:
        """Return the steps of the dispatch that begins now."""
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
        """Something else takes time before the next dispatch."""
        self._last = None
