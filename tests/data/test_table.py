"""A table of paths and what they show. A label beside the wrong image, or a test row among those to train on, is seen
by nobody afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from image_folders import CLASSES, damage, image_folder

from unidl import load_data
from unidl.errors import DataError, UsageError


@pytest.fixture
def rows(tmp_path):
    """The paths and classes of 12 images, mixed."""
    root = image_folder(tmp_path / "images", 6)
    found = [(str(path.relative_to(tmp_path)), path.parent.name) for path in sorted(root.glob("*/*"))]
    return [found[place] for place in np.random.default_rng(0).permutation(len(found))]


def written(folder, header, rows, *, separator=",", name="table.csv"):
    lines = [separator.join(header), *(separator.join(map(str, row)) for row in rows)]
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def seen(split):
    """The class of each image, by how bright it is."""
    x = np.asarray(split.x, np.float32)
    bright = x.mean(axis=(1, 2, 3)) * (255 if x.max() <= 1 else 1)
    return [min(CLASSES, key=lambda name: abs(CLASSES[name] + 30 - value)) for value in bright]


@pytest.mark.parametrize(("separator", "name"), [(",", "table.csv"), (";", "table.csv"), ("\t", "table.tsv")])
def test_each_image_has_its_own_label(tmp_path, rows, separator, name):
    path = written(tmp_path, ("file", "label"), rows, separator=separator, name=name)
    for stream in (True, False):
        data = load_data(path, stream=stream, image_size=(8, 8))
        assert data.kind == "images"
        assert data.class_names == ("dark", "light")
        assert len(data.train) == 10
        for split in (data.train, data.test):
            assert [data.class_names[label] for label in split.y] == seen(split)
    assert data.origin["target"] == "label"


def test_a_column_may_fix_the_parts(tmp_path, rows):
    parts = ["train"] * 6 + ["test"] * 4 + ["other"] * 2
    path = written(
        tmp_path, ("split", "kind", "file"), [(part, *row[::-1]) for part, row in zip(parts, rows, strict=True)]
    )
    data = load_data(path, target="kind")
    assert (len(data.train), len(data.test)) == (6, 4)
    assert [data.class_names[label] for label in data.test.y] == [row[1] for row in rows[6:10]] == seen(data.test)
    with pytest.raises(UsageError, match="its column 'split' fixes the split"):
        load_data(path, target="kind", test_fraction=0.5)


def test_numbers_are_classes_or_what_is_predicted(tmp_path, rows):
    data = load_data(written(tmp_path, ("file", "label"), [(file, int(kind == "light")) for file, kind in rows]))
    assert data.class_names == ("0", "1")
    assert data.train.y.dtype == np.int32
    data = load_data(written(tmp_path, ("file", "target"), [(file, n / 4 - 1) for n, (file, _) in enumerate(rows)]))
    assert data.class_names == ()
    assert data.train.y.shape == (10, 1)
    assert sorted([*data.train.y[:, 0], *data.test.y[:, 0]]) == [n / 4 - 1 for n in range(12)]
    with pytest.raises(UsageError, match="where numbers or several things are predicted"):
        load_data(tmp_path / "table.csv", on_error="skip")


def test_files_are_named_when_they_cannot_be_read(tmp_path, rows):
    path = written(tmp_path, ("file", "label"), rows)
    damage(tmp_path / rows[3][0])
    with pytest.raises(DataError, match=rows[3][0]):
        load_data(path)
    data = load_data(path, on_error="skip")
    np.asarray(data.train.x), np.asarray(data.test.x)
    assert len(data.train.x.source.skipped.why) == 1


def test_images_may_have_several_labels(tmp_path, rows):
    """As words with semicolons between them, of which a row may have none, or as columns of 0 and 1."""
    words = [("night; grain", "grain", "")[number % 3] for number in range(len(rows))]
    marks = [("night" in word, str("grain" in word).lower()) for word in words]
    table = [(row[0], word, *(str(int(mark[0])), mark[1])) for row, word, mark in zip(rows, words, marks, strict=True)]
    path = written(tmp_path, ("file", "labels", "night", "grain"), table)
    one, other = load_data(path, seed=1), load_data(path, target="grain,night", seed=1)
    assert one.class_names == other.class_names == ("grain", "night")
    assert one.train.y.dtype == np.float32
    for first, second in zip((one.train, one.test), (other.train, other.test), strict=True):
        np.testing.assert_array_equal(first.y, second.y)
        np.testing.assert_array_equal(first.x, second.x)
    assert len({tuple(row) for row in one.train.y.tolist()}) == 3
    with pytest.raises(DataError, match=r"Row 0 of .* has 'night; grain' for 'labels', which is several labels"):
        load_data(path, target="labels,night")
    mistaken = [(*row[:3], "x" if number == 1 else row[3]) for number, row in enumerate(table)]
    path = written(tmp_path, ("file", "labels", "night", "grain"), mistaken)
    with pytest.raises(DataError, match=r"Row 1 of .* 'x' for 'grain', which is one of several labels: each must be 0"):
        load_data(path, target="grain,night")
    path = written(tmp_path, ("file", "labels", "night", "grain"), table)
    with pytest.raises(UsageError, match="there is no column 'day'"):
        load_data(path, target="night,day")
    with pytest.raises(UsageError, match="where numbers or several things are predicted"):
        load_data(path, on_error="skip")


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (("file", "kind"), None, "Which column of .* is to be predicted.* of file, kind"),
        (("file", "label", "more"), None, "has 2 values, and there are 3 columns"),
        (("label", "label"), None, "Two columns .* have one name"),
        (("file", "label"), ("a.txt", "dark"), "must hold the paths of images.*'a.txt' is not such a path"),
        (("file", "label"), ("images/dark/0000.jpg", ""), "has no value for 'label'"),
    ],
)
def test_a_table_that_cannot_be_used_says_why(tmp_path, rows, header, row, message):
    path = written(tmp_path, header, rows if row is None else [*rows, row])
    with pytest.raises((DataError, UsageError), match=message):
        load_data(path)


def test_parquet_is_read_where_pyarrow_is_there(tmp_path, rows, monkeypatch):
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        (tmp_path / "a.parquet").write_bytes(b"")
        with pytest.raises(DataError, match=r"needs pyarrow\. Install it with: pip install 'unidl\[tables\]'"):
            load_data(tmp_path / "a.parquet")
        return
    files, kinds = zip(*rows, strict=True)
    pyarrow.parquet.write_table(pyarrow.table({"file": files, "label": kinds}), tmp_path / "a.parquet")
    data = load_data(tmp_path / "a.parquet")
    assert [data.class_names[label] for label in data.train.y] == seen(data.train)


@pytest.mark.parametrize("label", ["0", "1", "dark"])
def test_images_of_one_class_are_refused(tmp_path, rows, label):
    """A model of one class is always right."""
    with pytest.raises(DataError, match=f"All rows of .* have the class '{label}'"):
        load_data(written(tmp_path, ("file", "label"), [(file, label) for file, _ in rows]))


def test_paths_may_be_absolute_and_relative(tmp_path, rows, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mixed = [(str(tmp_path / file) if place % 2 else file, kind) for place, (file, kind) in enumerate(rows)]
    written(tmp_path, ("file", "label"), mixed)
    data = load_data("table.csv", stream=True)
    assert [data.class_names[label] for label in data.test.y] == seen(data.test)
