"""Tables of numbers and categories. A scale learned on test rows, or a word that changes its number from one run to the
next, makes every later prediction wrong without a word."""

from __future__ import annotations

import json

import numpy as np
import pytest

from unidl import load_data
from unidl.data import TableForm
from unidl.errors import DataError, UsageError

HEADER = ("age", "city", "zip", "price")


def rows(count=20):
    cities = ("Rome", "Oslo", "Lima")
    return [(20 + 2 * row, cities[row % 3], 100 + row % 2, 1.5 * row) for row in range(count)]


def written(folder, rows, header=HEADER, name="houses.csv"):
    (folder / name).write_text("\n".join(",".join(map(str, row)) for row in (header, *rows)) + "\n")
    return folder / name


def test_scales_and_words_are_those_of_the_training_rows(tmp_path):
    parts = ["train"] * 10 + ["test"] * 10
    last = [*rows()[:-1], (1000, "Bonn", 999, 2.5)]
    path = written(tmp_path, [(*row, part) for row, part in zip(last, parts, strict=True)], (*HEADER, "split"))
    data = load_data(path, target="price", categories=["zip"])
    assert data.kind == "table"
    ages = 20 + 2 * np.arange(10)
    (age,) = data.table.numbers
    assert (age.name, age.mean) == ("age", ages.mean())
    assert age.deviation == pytest.approx(ages.std())
    assert [column.words for column in data.table.categories] == [("Lima", "Oslo", "Rome"), ("100", "101")]
    assert data.table.sizes == (4, 3)
    assert data.train.x["numbers"][:, 0].tolist() == ages.tolist()
    assert data.train.x["categories"][:3].tolist() == [[3, 5], [2, 6], [1, 5]]
    assert data.test.x["categories"][-1].tolist() == [0, 4]
    assert data.table.target_mean == np.mean(1.5 * np.arange(10))
    assert data.test.y[-1].tolist() == [2.5]


def test_a_trained_model_reads_another_table_as_its_own(tmp_path):
    known = load_data(written(tmp_path, rows()), target="price").table
    again = TableForm.from_json(json.loads(json.dumps(known.to_json())))
    assert again == known
    other = written(tmp_path, [(30, "Bonn", 100, 1), (32, "Rome", 101, 2), (34, "Rome", 101, 3)], name="other.csv")
    data = load_data(other, table=again, test_fraction=0.4)
    found = np.concatenate([data.train.x["categories"], data.test.x["categories"]])
    assert sorted(found[:, 0].tolist()) == [0, 3, 3]
    with pytest.raises(UsageError, match="was trained to predict 'price'"):
        load_data(other, table=again, target="age")


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["no", "yes"] * 10, ("no", "yes")),
        (["1", "2"] * 10, ("1", "2")),
        (["1.0", "2.0"] * 10, ()),
        ([str(1000 + row) for row in range(20)], ()),
    ],
)
def test_words_and_few_whole_numbers_are_classes(tmp_path, values, names):
    path = written(tmp_path, [(row, value) for row, value in enumerate(values)], ("size", "label"))
    data = load_data(path)
    assert data.class_names == names
    for split in (data.train, data.test):
        expected = [values[int(size)] for size in split.x[:, 0]]
        found = [names[label] for label in split.y] if names else split.y[:, 0].tolist()
        assert found == (expected if names else [float(value) for value in expected])


def test_missing_numbers_are_refused_or_filled_with_the_mean(tmp_path):
    path = written(tmp_path, [*rows(), ("", "Rome", 100, 2.0)])
    with pytest.raises(DataError, match=r"Row 20 of .*houses\.csv' has no value in the column 'age'.*missing='mean'"):
        load_data(path, target="price")
    data = load_data(path, target="price", missing="mean", test_fraction=0.1)
    filled = data.table.encoded({"age": [None], "city": ["Rome"], "zip": [100]})["numbers"][0, 0]
    assert filled == np.float32(data.table.numbers[0].mean)
    assert filled in np.concatenate([data.train.x["numbers"], data.test.x["numbers"]])[:, 0]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ((5, "Rome", 100, ""), {}, "Row 20 of .* has no value for 'price'"),
        (("x", "Rome", 100, 1), {}, "'age' of .* holds numbers, but 'x' in row 20.*categories="),
        (("1e60", "Rome", 100, 1), {}, "Row 20 of .* has '1e60' in the column 'age'"),
        ((5, "Rome", 100, "inf"), {}, "Row 20 of .* has 'inf' for 'price'"),
        ((5, "Rome", 100, 1), {"image_size": (8, 8)}, "image_size does not apply .* no column of paths of images"),
        ((5, "Rome", 100, 1), {"missing": "zero"}, "missing must be 'raise' or 'mean'"),
        ((5, "Rome", 100, 1), {"categories": "zip"}, "categories must be a list"),
        ((5, "Rome", 100, 1), {"categories": ["zap"]}, "no column 'zap' in .* of age, city"),
        ((5, "Rome", 100, 1), {"label": "price"}, "two names of one argument"),
    ],
)
def test_a_table_that_cannot_be_used_says_why(tmp_path, change, options, message):
    path = written(tmp_path, [*rows(), change])
    with pytest.raises((DataError, UsageError), match=message):
        load_data(path, target="price", **options)


def test_numbers_that_float32_cannot_tell_apart_are_refused(tmp_path):
    path = written(tmp_path, [(1_700_000_000 + row, row % 2) for row in range(20)], ("time", "label"))
    with pytest.raises(DataError, match=r"'time' of .* cannot tell apart\. Subtract a constant"):
        load_data(path)


def test_a_column_that_names_the_rows_is_left_out(tmp_path):
    path = written(tmp_path, [(row, f"house {row}", row % 2) for row in range(30)], ("size", "name", "label"))
    assert load_data(path).table.names == ("size",)


def test_a_constant_column_stays_finite(tmp_path):
    data = load_data(written(tmp_path, [(7, row % 2) for row in range(20)], ("size", "label")))
    assert (data.table.numbers[0].mean, data.table.numbers[0].deviation) == (7.0, 1.0)


def test_raw_columns_are_numbers_words_or_what_pandas_has(tmp_path):
    form = load_data(written(tmp_path, rows()), target="price", categories=["zip"]).table
    expected = form.encoded({"age": ["30"], "city": ["Oslo"], "zip": ["101"]})
    for age, city, code in ((30, "Oslo ", 101), (np.float64(30), np.str_("Oslo"), 101.0)):
        found = form.encoded({"age": np.array([age]), "city": [city], "zip": [code]})
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values)
    with pytest.raises(DataError, match="x lacks zip"):
        form.encoded({"age": [30], "city": ["Oslo"]}, "x")


def test_parquet_holds_the_same(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="an extra: unidl[tables]")
    parquet = pytest.importorskip("pyarrow.parquet", reason="an extra: unidl[tables]")

    table = pyarrow.table({name: list(values) for name, values in zip(HEADER, zip(*rows(), strict=True), strict=True)})
    parquet.write_table(table, tmp_path / "houses.parquet")
    one, other = (load_data(path, label="price") for path in (written(tmp_path, rows()), tmp_path / "houses.parquet"))
    assert one.table == other.table
    np.testing.assert_array_equal(one.test.x["categories"], other.test.x["categories"])
    assert one.origin["sha256"] == other.origin["sha256"]


@pytest.mark.parametrize(
    "change",
    [{"target": 3}, {"numbers": 3}, {"numbers": [{}]}, {"categories": [{"name": "a", "words": [1]}]}, {"more": 1}],
)
def test_a_saved_form_that_was_changed_is_refused(change):
    form = TableForm.learned({"age": [20, 40], "y": [1.5, 2.5]}, [0, 1], target="y")
    with pytest.raises(ValueError, match="its table cannot be read"):
        TableForm.from_json(json.loads(json.dumps(form.to_json())) | change)


def test_the_index_that_pandas_writes_is_not_a_column(tmp_path):
    """Sorted rows give their classes away by their numbers: all test rows are right, and no new one."""
    path = written(tmp_path, [(row, *values) for row, values in enumerate(rows())], ("", *HEADER))
    assert load_data(path, target="price").table.names == ("age", "zip", "city")


def test_whole_numbers_are_one_category_however_they_are_written(tmp_path):
    """With a missing one among them pandas writes 3 as 3.0, and new rows without one as 3."""
    path = written(tmp_path, [(row, f"{row % 3}.0", row % 2) for row in range(20)], ("size", "code", "label"))
    form = load_data(path, categories=["code"]).table
    for code in (2, 2.0, "2", "2.0"):
        assert form.encoded({"size": [1], "code": [code]})["categories"].tolist() == [[3]]


def test_a_number_can_be_told_to_be_a_class(tmp_path):
    path = written(tmp_path, [(row, row % 25) for row in range(100)], ("size", "grade"))
    assert load_data(path, target="grade").class_names == ()
    data = load_data(path, target="grade", categories=["grade"])
    assert len(data.class_names) == 25
    assert [data.class_names[label] for label in data.test.y] == [str(int(size) % 25) for size in data.test.x[:, 0]]


@pytest.mark.parametrize("column", ["size", "price"])
def test_numbers_with_a_comma_are_not_words(tmp_path, column):
    path = tmp_path / "german.csv"
    path.write_text("size;price\n" + "".join(f"{row % 5},5;{row % 3},25\n" for row in range(20)))
    with pytest.raises(DataError, match=f"'{column}' of .* numbers with a comma, such as '0,[25]+'.*categories="):
        load_data(path, target="price", categories=["price"] if column == "size" else None)


@pytest.mark.parametrize(
    ("columns", "found"),
    [({"age": [1, 2], "size": [1]}, "age has 2, size has 1"), ({"age": 1, "size": [1]}, "age is not a list")],
)
def test_raw_columns_have_a_value_for_each_row(tmp_path, columns, found):
    form = load_data(written(tmp_path, [(row, row**2, row % 2) for row in range(20)], ("age", "size", "label"))).table
    with pytest.raises(DataError, match=f"Each column of the table must be a list .* {found}"):
        form.encoded(columns)


def test_a_label_that_no_number_is_has_no_class(tmp_path):
    form = load_data(written(tmp_path, [(row, row % 2) for row in range(20)], ("size", "label"))).table
    with pytest.raises(DataError, match=r"Row 0 of .* has '²' for 'label'"):
        load_data(written(tmp_path, [(1, "²"), (2, "1")], ("size", "label"), "other.csv"), table=form)
