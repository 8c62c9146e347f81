"""Statistics of rounds: medians and ratios with confidence intervals, and when a difference is significant."""

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
"""With n rounds of two equal cells, all n ratios are on one side of 1 in 2 of 2**n comparisons: 25% for 3, 6% for 5."""


@dataclass(frozen=True)
class Interval:
    """A median and its confidence interval."""

    median: float
    low: float
    high: float


def median_interval(values: Sequence[float]) -> Interval:
    """Return the median of one value per round with its percentile bootstrap interval.

    The percentiles are Hesterberg's expanded ones (2015, "What Teachers Should Know About the Bootstrap", section
    5.2), since the ordinary ones are too narrow for few rounds: with 7 they cover the median in 88% of cases, not 95%.
    """
    given = np.asarray(values, np.float64)
    if given.size == 1:
        return Interval(float(given[0]), float(given[0]), float(given[0]))
    picks = stream(0, "compare", "bootstrap", given.size).integers(given.size, size=(RESAMPLES, given.size))
    tail = _tail(given.size)
    low, high = np.quantile(np.median(given[picks], axis=1), (tail, 1 - tail))
    return Interval(float(np.median(given)), float(low), float(high))


def ratio(ones: Sequence[float], others: Sequence[float]) -> Interval | None:
    """Return the ratio of two series from rounds of equal number; None if there are none.

    Rounds of equal number ran directly after one another, so temporary slowdowns of the machine cancel out.
    """
    count = min(len(ones), len(others))
    if count == 0:
        return None
    logs = np.log(np.asarray(ones[:count])) - np.log(np.asarray(others[:count]))
    found = median_interval(logs.tolist())
    return Interval(math.exp(found.median), math.exp(found.low), math.exp(found.high))


def resolution(twins: Interval) -> float:
    """Return the factor, at least 1, by which two measurements of the same cell may differ."""
    return math.exp(max(abs(math.log(twins.low)), abs(math.log(twins.high))))


def differs(found: Interval, resolved: float | None, rounds: int) -> bool:
    """Return whether a ratio is a significant difference.

    resolved: the `resolution` of its group; with None, if the twin failed, no difference is significant.
    """
    if resolved is None or rounds < ROUNDS_TO_CLAIM or found.low <= 1 <= found.high:
        return False
    return abs(math.log(found.median)) > math.log(resolved)


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean, for speeds of different kinds."""
    return math.exp(sum(map(math.log, values)) / len(values))


def _tail(count: int) -> float:
    """Return the tail probability on each side: that of a normal distribution at Student's quantile for so few
    values."""
    from scipy.special import stdtrit

    quantile: Any = stdtrit(count - 1, (1 + CONFIDENCE) / 2)
    return NormalDist().cdf(-math.sqrt(count / (count - 1)) * float(quantile))
