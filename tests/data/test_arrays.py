"""An .npz file becomes a data set, and a damaged or dangerous one an error."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from unidl.data import load_data
from unidl.errors import DataError, UsageError

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (20, 4, 4), dtype=np.uint8)
LABELS = np.arange(20) % 4


@pytest.fixture
def save(tmp_path):
    def write(**arrays):
        path = tmp_path / "mine.npz"
        np.savez(path, **arrays)
        return path

    return write


def test_divided_arrays_keep_their_parts(save):
    path = save(x_train=BYTES[:15], y_train=LABELS[:15, None], x_test=BYTES[15:], y_test=LABELS[15:, None])
    data = load_data(path)
    assert data.kind == "images"
    assert data.class_names == ("0", "1", "2", "3")
    assert data.train.x.shape == (15, 4, 4, 1)
    np.testing.assert_allclose(data.test.x[..., 0], BYTES[15:] / 255, atol=1e-7)
    np.testing.assert_array_equal(data.train.y, LABELS[:15])
    assert data.train.y.dtype == np.int32
    assert data.origin["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(UsageError, match="it already has x_test and y_test"):
        load_data(path, test_fraction=0.3)


def test_whole_arrays_are_divided_class_by_class(save):
    data = load_data(save(x=np.arange(40.0).reshape(20, 2), y=LABELS), test_fraction=0.4, seed=5)
    assert data.kind == "arrays"
    assert data.class_names == ()
    assert np.bincount(data.test.y).tolist() == [2, 2, 2, 2]
    for split in (data.train, data.test):
        np.testing.assert_array_equal(LABELS[(split.x[:, 0] / 2).astype(int)], split.y)
    assert data.origin["split_seed"] == 5
    assert data.origin["test_fraction"] == 0.4


def test_targets_that_are_no_classes_are_divided_too(save):
    data = load_data(save(x=np.arange(10.0), y=np.linspace(0, 1, 10)))
    assert (len(data.train), len(data.test)) == (8, 2)
    assert data.train.y.dtype == np.float32


def test_colour_images_and_names(save):
    names = np.array(["cat", "dog", "eel", "fox"])
    colour = RNG.integers(0, 256, (20, 4, 4, 3), dtype=np.uint8)
    data = load_data(save(x=colour, y=LABELS, class_names=names))
    assert data.train.x.shape == (16, 4, 4, 3)
    assert data.train.x.max() <= 1
    assert data.class_names == data.test.class_names == tuple(names)


def test_images_can_be_brought_into_the_form_of_a_model(save):
    data = load_data(save(x=BYTES, y=LABELS), image_size=(6, 5), channels=3)
    assert data.train.x.shape == (16, 6, 5, 3)
    assert data.test.x.shape == (4, 6, 5, 3)


def test_bytes_that_are_no_images_stay(save):
    path = save(x=BYTES[:, 0], y=LABELS)
    assert load_data(path).train.x.dtype == np.uint8
    with pytest.raises(UsageError, match=r"image_size and channels apply to images.* shape \(16, 4\)"):
        load_data(path, channels=3)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (LABELS - 1, "labels from -1 to 2; allowed are 0 to 99999"),
        (LABELS * 1_000_000, "labels from 0 to 3000000"),
    ],
)
def test_labels_of_images_count_from_zero(save, labels, words):
    with pytest.raises(DataError, match=words):
        load_data(save(x=BYTES, y=labels))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (
            {"images": BYTES},
            "has the arrays images. Expected the arrays x_train, y_train, x_test, y_test; or x and y",
        ),
        ({"x_train": BYTES, "y_train": LABELS, "x_test": BYTES}, "Expected the arrays"),
        ({"x": BYTES, "y": LABELS[:7]}, "x has 20, y has 7"),
        ({"x": BYTES, "y": np.arange(20)}, "Class '0' has a single row"),
        ({"x": BYTES, "y": LABELS, "class_names": np.array(["a", "b"])}, "since class_names has 2 names"),
        (
            {"x_train": BYTES, "y_train": LABELS, "x_test": BYTES[:, :2], "y_test": LABELS},
            r"differ in shape: \(4, 4, 1\) and \(2, 4, 1\)",
        ),
        ({"x": np.float32(3), "y": LABELS}, "single value"),
    ],
)
def test_what_is_missing_or_does_not_fit_is_said(save, arrays, words):
    with pytest.raises(DataError, match=words):
        load_data(save(**arrays))


class Trap:
    """Unpickling this would write a file: what a hostile .npz can do."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_pickled_objects_are_never_loaded(save, tmp_path):
    trap = np.empty(20, dtype=object)
    trap[:] = [Trap(tmp_path / "sprung")] * 20
    with pytest.raises(DataError, match="pickled Python objects, which are never loaded"):
        load_data(save(x=trap, y=LABELS))
    assert not (tmp_path / "sprung").exists()


def test_damage_never_gives_other_numbers(save):
    """Every single flipped bit is either harmless or an error."""
    path = save(x=np.arange(40.0).reshape(20, 2), y=LABELS)
    whole, intact = path.read_bytes(), load_data(path)
    errors = 0
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(bytes(damaged))
        try:
            data = load_data(path)
        except DataError:
            errors += 1
            continue
        np.testing.assert_array_equal(data.train.x, intact.train.x)
        np.testing.assert_array_equal(data.test.y, intact.test.y)
    assert errors > 50


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY nonsense", b"text"])
def test_a_file_that_is_no_archive_is_named(tmp_path, content):
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"other\.npz' is not an \.npz file, or it is damaged"):
        load_data(path)


def test_a_truncated_archive_is_named(save):
    path = save(x=BYTES, y=LABELS)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"mine\.npz"):
        load_data(path)
