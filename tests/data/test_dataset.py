"""Rows stay with their labels, and what is no data says so before any framework sees it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from unidl.backend import Batches
from unidl.data import Dataset, Split
from unidl.data.dataset import take
from unidl.data.recognising import as_split
from unidl.data.trees import leaves, map_leaves, named_leaves
from unidl.errors import DataError, UsageError

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = np.array([0, 1, 0, 1])


def test_lists_of_numbers_are_one_array_and_lists_of_arrays_are_a_nest():
    assert Split([[1, 2], [3, 4], [5, 6]]).x.shape == (3, 2)
    nest = Split([X, Y]).x
    assert isinstance(nest, list)
    assert [array.shape for array in nest] == [(4, 3), (4,)]
    assert Split([np.float32(1), np.float32(2)]).x.shape == (2,)


def test_doubles_become_singles_and_integers_stay():
    split = Split(X.astype(np.float64), Y)
    assert split.x.dtype == np.float32
    assert split.y.dtype == Y.dtype
    assert Split(X).x is X, "an array that already fits must not be copied"


def test_a_double_too_large_for_a_single_becomes_infinite_without_a_warning():
    assert np.isinf(Split(np.array([1e300])).x[0])


@pytest.mark.usefixtures("backend")
def test_tensors_of_the_framework_are_read():
    from keras import ops

    split = Split({"a": ops.ones((2, 3))}, ops.zeros((2,), dtype="int32"))
    assert type(split.x["a"]) is np.ndarray
    assert split.x["a"].sum() == 6
    assert split.y.dtype == np.int32


@pytest.mark.parametrize(
    "data",
    [Split(X, Y), Batches(X, Y), (X, Y), (X.tolist(), Y.tolist())],
    ids=["Split", "Batches", "tuple", "tuple of lists"],
)
def test_every_form_of_data_is_the_same_split(data):
    split = as_split(data)
    np.testing.assert_array_equal(split.x, X)
    np.testing.assert_array_equal(split.y, Y)
    assert split.sample_weight is None


def test_bare_arrays_nests_and_weights():
    assert as_split(X).y is None
    assert as_split((X,)).x is X
    assert as_split([X, Y]).y is None, "a list is several inputs, not (x, y)"
    assert as_split((X, None, np.ones(4, np.float32))).sample_weight.shape == (4,)


def test_lengths_that_differ_name_every_part():
    with pytest.raises(DataError, match=r"x\['a'\] has 4, x\['b'\] has 3, y has 4"):
        Split({"a": X, "b": X[:3]}, Y)
    with pytest.raises(DataError, match="sample_weight has 2"):
        Split(X, Y, [1.0, 2.0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([],), "no rows: x are empty"),
        ((X[:0], Y[:0]), "no rows: x, y are empty"),
        ((None,), "There is no x"),
        (({},), "There is no x"),
        ((3.5,), r"x is the single value 3\.5"),
        ((X, "cat"), "y is the single value 'cat'"),
        ((object(),), "x is not an array of numbers but of the type object"),
        ((np.array([{}, 1], dtype=object),), "NumPy array of Python objects"),
        (([[1, 2], [3]],), "cannot read x as one array"),
    ],
)
def test_what_is_no_data_is_an_error_that_says_what_arrived(arguments, words):
    with pytest.raises(DataError, match=words):
        Split(*arguments)


def test_too_many_parts_and_whole_datasets_are_refused():
    with pytest.raises(UsageError, match=r"\(x, y, sample_weight\), not 4 values"):
        as_split((X, Y, Y, Y))
    with pytest.raises(UsageError, match=r"whole data set.*\.train or its \.test"):
        as_split(Dataset("mine", "arrays", Split(X, Y), Split(X, Y)))


def test_dataset_answers_for_its_parts():
    dataset = Dataset("mine", "images", Split(X, Y, class_names=["a", "b"]), Split(X, Y))  # pyright: ignore
    assert dataset.class_names == ("a", "b")
    assert dataset.vocabulary == ()


@given(rows=some.lists(some.integers(0, 19), min_size=1, max_size=30))
def test_take_keeps_rows_together(rows):
    x = np.arange(20, dtype=np.int64)
    whole = Split({"a": x, "b": [x * 2, x * 3]}, x * 5, x * 7, ("name",), ("word",))
    some_rows = take(whole, rows)
    assert len(some_rows) == len(rows)
    np.testing.assert_array_equal(some_rows.x["a"], rows)
    np.testing.assert_array_equal(some_rows.x["b"][1], np.array(rows) * 3)
    np.testing.assert_array_equal(some_rows.y, np.array(rows) * 5)
    np.testing.assert_array_equal(some_rows.sample_weight, np.array(rows) * 7)
    assert (some_rows.class_names, some_rows.vocabulary) == (("name",), ("word",))


def test_take_by_mask_and_slice():
    split = Split(X, Y)
    np.testing.assert_array_equal(take(split, Y == 1).x, X[[1, 3]])
    np.testing.assert_array_equal(take(split, slice(1, 3)).y, Y[1:3])
    with pytest.raises(DataError, match="no rows"):
        take(split, slice(0, 0))


def test_leaves_are_named_as_a_user_writes_them():
    nest = {"b": (X, [Y]), "a": None}
    assert [name for name, _ in named_leaves(nest, "x")] == ["x['b'][0]", "x['b'][1][0]"]
    assert len(leaves(nest)) == 2
    assert leaves(None) == []
    mapped = map_leaves(len, nest)
    assert mapped == {"b": (4, [4]), "a": None}
