"""What rounds allow one to say: medians and ratios with their intervals, and when a difference is one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from unidl.random import stream

CONFIDENCE = 0.95
RESAMPLES = 2000
ROUNDS_TO_CLAIM = 5
"""With n rounds of two equal things all n ratios lie on one side of 1 in 2 of 2**n comparisons: 25% for 3, 6% for 5."""


@dataclass(frozen=True)
class Interval:
    """A median with the limits of its confidence interval."""

    median: float
    low: float
    high: float


def median_interval(values: Sequence[float]) -> Interval:
    """Return the median of one value a round with its percentile bootstrap interval.

    The percentiles are Hesterberg's expanded ones (2015, "What Teachers Should Know About the Bootstrap", section
    5.2), since the plain ones are too narrow for few rounds: of 7 they cover the median in 88% of cases, not in 95%.
    """
    given = np.asarray(values, np.float64)
    if given.size == 1:
        return Interval(float(given[0]), float(given[0]), float(given[0]))
    picks = stream(0, "compare", "bootstrap", given.size).integers(given.size, size=(RESAMPLES, given.size))
    tail = _tail(given.size)
    low, high = np.quantile(np.median(given[picks], axis=1), (tail, 1 - tail))
    return Interval(float(np.median(given)), float(low), float(high))


def ratio(ones: Sequence[float], others: Sequence[float]) -> Interval | None:
    """Return how many times the others the ones are, from rounds of the same number; None without such rounds.

    Rounds of one number ran right after one another, so what slows down the machine for a while cancels out.
    """
    count = min(len(ones), len(others))
    if count == 0:
        return None
    logs = np.log(np.asarray(ones[:count])) - np.log(np.asarray(others[:count]))
    found = median_interval(logs.tolist())
    return Interval(math.exp(found.median), math.exp(found.low), math.exp(found.high))


def resolution(twins: Interval) -> float:
    """Return the factor, 1 or more, that lies within what the same thing measured twice may differ by."""
    return math.exp(max(abs(math.log(twins.low)), abs(math.log(twins.high))))


def differs(found: Interval, resolved: float | None, rounds: int) -> bool:
    """Whether a ratio may be called a difference.

    resolved: of its group, as `resolution` returns it; None, where the twin failed, allows no claim.
    """
    if resolved is None or rounds < ROUNDS_TO_CLAIM or found.low <= 1 <= found.high:
        return False
    return abs(math.log(found.median)) > math.log(resolved)


def geometric_mean(values: Sequence[float]) -> float:
    """Return the mean for speeds of different kinds."""
    return math.exp(sum(map(math.log, values)) / len(values))


def _tail(count: int) -> float:
    """The share on each side of the interval: the normal one, as far out as Student's would be for so few values."""
    from scipy.special import stdtrit

    quantile: Any = stdtrit(count - 1, (1 + CONFIDENCE) / 2)
    return NormalDist().cdf(-math.sqrt(count / (count - 1)) * float(quantile))
