"""What rounds allow one to say. Without this the comparison calls noise a difference, or misses one."""

from __future__ import annotations

import numpy as np
import pytest

from unidl import statistics
from unidl.random import stream
from unidl.statistics import Interval


def noisy(rate: float, *position: int | str, rounds: int = 7, noise: float = 0.03) -> list[float]:
    draws = stream(0, "test", *position).normal(scale=noise, size=rounds)
    return (rate * np.exp(draws)).tolist()


def claims(factor: float, experiments: int, rounds: int = 7) -> float:
    """The share of made-up comparisons, each with its own twin, in which a difference of `factor` is claimed."""
    claimed = 0
    for number in range(experiments):
        base, twin = (noisy(1000, name, number, rounds=rounds) for name in ("base", "twin"))
        other = noisy(1000 * factor, "other", number, rounds=rounds)
        resolved = statistics.resolution(statistics.ratio(twin, base))
        claimed += statistics.differs(statistics.ratio(other, base), resolved, rounds)
    return claimed / experiments


def test_a_difference_is_found():
    assert claims(1.25, 50) == 1.0
    assert claims(0.8, 50) == 1.0


def test_the_same_thing_is_not_called_different():
    assert claims(1.0, 300) <= 0.02


@pytest.mark.parametrize("rounds", [5, 7, 9, 15])
def test_the_interval_covers_the_truth_as_often_as_it_says(rounds):
    """5 rounds cannot do better than 93.75%: the median lies outside of all of them in 2 of 2**5 cases."""
    experiments = 400
    covered = 0
    for number in range(experiments):
        found = statistics.median_interval(noisy(1000, "coverage", number, rounds=rounds))
        covered += found.low <= 1000 <= found.high
    # Two standard errors of 400 experiments are 2%.
    assert covered / experiments >= 0.92
    assert rounds < 9 or covered / experiments <= 0.99


def test_an_interval_is_the_same_each_time_it_is_drawn():
    values = noisy(1000, "again")
    assert statistics.median_interval(values) == statistics.median_interval(values)


def test_more_rounds_make_it_narrower():
    few, many = (statistics.median_interval(noisy(1000, "width", rounds=rounds)) for rounds in (7, 99))
    assert many.high - many.low < 0.5 * (few.high - few.low)


def test_one_round_is_its_own_interval():
    assert statistics.median_interval([3.0]) == Interval(3.0, 3.0, 3.0)


def test_drift_that_hits_both_cancels_out():
    drift = np.array([1.0, 0.5, 0.7, 1.2, 0.4])
    found = statistics.ratio((2000 * drift).tolist(), (1000 * drift).tolist())
    assert (found.median, found.low, found.high) == pytest.approx((2, 2, 2))


def test_no_common_round_no_ratio():
    assert statistics.ratio([], [1.0]) is None


@pytest.mark.parametrize(
    ("found", "resolved", "rounds", "expected"),
    [
        (Interval(1.2, 1.1, 1.3), 1.05, 5, True),
        (Interval(0.8, 0.7, 0.9), 1.05, 5, True),
        (Interval(1.2, 0.99, 1.3), 1.05, 5, False),  # the interval holds 1
        (Interval(1.2, 1.1, 1.3), 1.25, 5, False),  # the same thing twice differs as much
        (Interval(0.85, 0.8, 0.9), 1.25, 5, False),
        (Interval(1.2, 1.1, 1.3), 1.05, 4, False),  # too few rounds
        (Interval(1.2, 1.1, 1.3), None, 5, False),  # no twin
    ],
)
def test_when_a_difference_is_one(found, resolved, rounds, expected):
    assert statistics.differs(found, resolved, rounds) is expected


def test_the_resolution_is_the_farther_limit():
    assert statistics.resolution(Interval(1.0, 0.8, 1.1)) == pytest.approx(1.25)
    assert statistics.resolution(Interval(1.0, 0.95, 1.1)) == pytest.approx(1.1)
