"""How many steps go into one dispatch: many short ones, few long ones, and never too many."""

from __future__ import annotations

import pytest

from unidl.training import pace


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""

    class Clock:
        now = 0.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    return clock


def dispatched(clock, steps_of, step_seconds, count=12):
    """The steps of so many dispatches, where a step takes so long."""
    found = []
    for _ in range(count):
        found.append(steps_of())
        clock.now += found[-1] * step_seconds
    return found


def test_short_steps_come_in_large_numbers(clock):
    """A look at the metrics costs as much as some of them."""
    found = dispatched(clock, pace.Pace(1024), 20e-6)
    assert found[:6] == [4, 16, 64, 256, 1024, 1024]
    assert set(found[6:]) == {1024}


def test_long_steps_come_in_small_numbers(clock):
    """Ctrl-C and progress wait for the end of a dispatch."""
    assert set(dispatched(clock, pace.Pace(1024), 0.02)) == {4}
    found = dispatched(clock, pace.Pace(1024), 0.001)
    assert set(found[3:]) == {64}


def test_steps_that_become_longer_come_in_smaller_numbers(clock):
    steps_of = pace.Pace(1024)
    dispatched(clock, steps_of, 20e-6)
    assert dispatched(clock, steps_of, 0.01)[-1] <= pace.LONG_SECONDS / 0.01


def test_what_an_adapter_allows_is_the_most(clock):
    assert set(dispatched(clock, pace.Pace(1), 1e-6)) == {1}
    assert max(dispatched(clock, pace.Pace(100), 1e-6)) == 100


def test_validation_in_between_counts_for_nothing(clock):
    steps_of = pace.Pace(1024)
    assert dispatched(clock, steps_of, 20e-6, count=3) == [4, 16, 64]
    clock.now += 100.0
    steps_of.rest()
    assert dispatched(clock, steps_of, 20e-6, count=2) == [64, 256]
