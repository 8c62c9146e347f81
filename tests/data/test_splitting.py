"""The same rows are held out everywhere; otherwise two runs would be tested on different data."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from unidl.data import Dataset, Split
from unidl.data.splitting import divide, divide_by_class
from unidl.errors import DataError, UsageError
from unidl.runs.model_and_data import training_and_validation

fractions = some.floats(0.01, 0.99)


@given(
    counts=some.lists(some.integers(2, 30), min_size=1, max_size=6),
    fraction=fractions,
    seed=some.integers(0, 9),
)
def test_every_class_is_in_both_parts_and_no_row_in_two(counts, fraction, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    train, test = divide_by_class(labels, fraction, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(len(labels)))
    for label, count in enumerate(counts):
        held_out = np.sum(labels[test] == label)
        assert 1 <= held_out <= count - 1
        assert held_out in (1, count - 1) or abs(held_out - count * fraction) <= 0.5
        assert np.sum(labels[train] == label) == count - held_out


@given(count=some.integers(2, 200), fraction=fractions)
def test_rows_without_classes_are_divided_too(count, fraction):
    train, test = divide(count, fraction, 0)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(count))
    assert len(train) >= 1
    assert len(test) >= 1


def test_the_seed_decides_which_rows():
    labels = np.repeat(np.arange(3), 50)
    first, again, other = (divide_by_class(labels, 0.2, seed)[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(first) == 30


def test_the_default_split_of_ten_rows_never_changes():
    """A change here moves rows between training and test for everybody who has published a figure."""
    assert divide(10, 0.3, 0)[1].tolist() == [1, 4, 7]


def test_large_splits_never_change_either():
    """Training, test and validation rows, of classes and without, by a hash."""
    labels = np.arange(3000) ** 2 % 7
    parts = [*divide(1000, 0.2, 3), *divide_by_class(labels, 0.1, 3)]
    data = Dataset("", "arrays", Split(np.arange(1000), np.arange(1000)), Split(np.arange(9), np.arange(9)))
    train, validation = training_and_validation(data, early_stopping=True, seed=3)
    parts += [train.x, validation.x]
    assert [len(part) for part in parts] == [800, 200, 2699, 301, 900, 100]
    content = b"".join(part.astype("<i8").tobytes() for part in parts)
    assert hashlib.sha256(content).hexdigest() == "e1e805cacfa105e678eb72375c3d6e2050eeaded21458a3d9a3dfab422339dce"


def test_a_class_of_one_row_is_named():
    with pytest.raises(DataError, match=r"Class 'tulip' has a single row \(row 2\)"):
        divide_by_class(np.array([0, 0, 1]), 0.5, 0, ("rose", "tulip"))
    with pytest.raises(DataError, match="has 1 row"):
        divide(1, 0.5, 0)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan"), "0.2"])
def test_a_fraction_that_leaves_one_side_empty_is_refused(fraction):
    with pytest.raises(UsageError, match="test_fraction must be between 0 and 1"):
        divide(10, fraction, 0)
