"""Parts of data that leave nothing of one in the other. Without this a test tells a person that a model is good which
has only learned its patients, or the future, by heart."""

from __future__ import annotations

import numpy as np
import pytest

from unidl.data import Split, split_by_group, split_by_time
from unidl.errors import DataError, UsageError


def test_no_group_is_in_both_parts():
    groups = np.repeat([f"patient {number}" for number in range(20)], np.arange(1, 21))
    rows = np.arange(len(groups))
    train, held_out = split_by_group(Split(rows[:, None], rows), groups, fraction=0.25, seed=3)
    assert sorted([*train.y, *held_out.y]) == rows.tolist()
    assert not set(groups[train.y]) & set(groups[held_out.y])
    assert 0.15 < len(held_out) / len(rows) < 0.35
    again = split_by_group((rows[:, None], rows), groups, fraction=0.25, seed=3)
    assert again[1].y.tolist() == held_out.y.tolist()
    assert split_by_group((rows, rows), groups, seed=4)[1].y.tolist() != held_out.y.tolist()


def test_a_large_group_does_not_take_all():
    groups = np.array([0] * 50 + [1] * 2)
    for seed in range(4):
        train, held_out = split_by_group(np.arange(52), groups, seed=seed)
        assert min(len(train), len(held_out)) > 0


def test_what_is_held_out_is_later():
    times = np.array(["2026-01-03", "2026-01-01", "2026-01-04", "2026-01-02", "2026-01-04"], "datetime64[D]")
    train, held_out = split_by_time((np.arange(5), np.arange(5)), times, fraction=0.2)
    assert train.y.tolist() == [1, 3, 0]
    assert held_out.y.tolist() == [2, 4], "rows of one time stay together"
    train, held_out = split_by_time(np.arange(4), [1, 1, 1, 2], fraction=0.5)
    assert len(train) == 3


@pytest.mark.parametrize("split", [split_by_group, split_by_time])
def test_what_cannot_be_divided_says_why(split):
    with pytest.raises(DataError, match=r"one value for each of the 4 rows, and has the shape \(3,\)"):
        split(np.arange(4), [1, 2, 3])
    with pytest.raises(DataError, match="all 4"):
        split(np.arange(4), [1, 1, 1, 1])
    with pytest.raises(UsageError, match="must lie between 0 and 1"):
        split(np.arange(4), [1, 2, 3, 4], fraction=1.5)
