"""What a person sees while a comparison runs. Without this nobody knows whether to wait or to go home."""

from __future__ import annotations

import io

import pytest

from unidl.compare import progress
from unidl.compare.progress import Bar, Clock, Lines


class _Time:
    """A clock that the test moves."""

    seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> _Time:
    moved = _Time()
    monkeypatch.setattr(progress, "time", moved)
    return moved


def test_the_time_left_follows_what_it_took_so_far(time: _Time):
    clock = Clock()
    clock.start(200.0)
    assert clock.left() == "about 3 min 20 s left"
    time.seconds += 100.0  # twice as long as was expected of this quarter
    clock.done(50.0)
    assert clock.share == 0.25
    assert clock.left() == "about 5 min 00 s left"
    time.seconds += 20.0
    clock.done(150.0)
    assert clock.left() == "about 0 s left"


def test_plain_lines_come_now_and_then(time: _Time):
    out = io.StringIO()
    lines = Lines(out)
    lines.start(10.0)
    for round_number in range(20):
        lines.doing(f"round {round_number}")
        lines.done(0.5)
        time.seconds += 1.0
    assert out.getvalue().splitlines() == [
        "round 0 (0%, about 10 s left)",
        "round 5 (25%, about 15 s left)",
        "round 10 (50%, about 10 s left)",
        "round 15 (75%, about 5 s left)",
    ]


def test_the_bar_says_what_happens_and_leaves_nothing_behind():
    out = io.StringIO()
    bar = Bar(out)
    bar.start(10.0)
    bar.doing("round [1]")
    bar.done(5.0)
    bar.stop()
    assert "left" in str(bar._bar.tasks[0].fields["left"])
    assert bar._bar.tasks[0].completed == 0.5
    assert bar._bar.tasks[0].description == "round [1]"
