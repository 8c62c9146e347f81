"""What a user names is found, or the error says what there is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from unidl.data import load_data
from unidl.data.dataset import leaves
from unidl.errors import DataError, UsageError


def test_digits():
    data = load_data("digits")
    assert data.kind == "images"
    assert data.class_names == tuple("0123456789")
    assert len(data.train) + len(data.test) == 1797
    assert data.train.x.shape[1:] == data.test.x.shape[1:] == (28, 28, 1)
    assert data.train.x.dtype == np.float32
    assert data.train.y.dtype == np.int32
    assert data.train.x.min() == 0
    assert data.train.x.max() == 1
    assert not data.train.x[:, [0, 3, -4, -1]].any(), "the border that MNIST has"
    assert data.train.x[:, 4:-4, 4:-4].mean() > 0.2
    for label in range(10):
        share = np.mean(data.test.y == label) / np.mean(data.train.y == label)
        assert 0.97 < share < 1.03
    assert data.origin["split_seed"] == 0
    assert len(data.origin["sha256"]) == 64


def test_digits_are_told_apart_by_the_nearest_training_digit():
    """Shows that images and labels belong together: 98% by nearest neighbour, 10% if they did not."""
    data = load_data("digits")
    train, test = (split.x.reshape(len(split), -1) for split in (data.train, data.test))
    distances = (train**2).sum(1) - 2 * test @ train.T
    nearest = data.train.y[distances.argmin(axis=1)]
    assert np.mean(nearest == data.test.y) > 0.97


def test_digits_in_another_form():
    data = load_data("digits", image_size=(14, 20), channels=3, test_fraction=0.5, seed=3)
    assert data.train.x.shape[1:] == (14, 20, 3)
    np.testing.assert_array_equal(data.train.x[..., 0], data.train.x[..., 2])
    assert abs(len(data.train) - len(data.test)) < 10
    assert data.origin["split_seed"] == 3


def test_the_split_is_the_same_each_time():
    first, again, other = load_data("digits"), load_data("digits"), load_data("digits", seed=1)
    np.testing.assert_array_equal(first.test.x, again.test.x)
    assert not np.array_equal(first.test.y, other.test.y)


@pytest.mark.parametrize("name", ["mnits", "no/such/folder", "missing.npz"])
def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(DataError, match=f"no data set, file or folder '{name}'") as caught:
        load_data(name)
    for words in ("'digits'", "'python-docs'", "'cifar10'", "class folders", ".npz", ".webp", ".txt"):
        assert words in str(caught.value)
    assert ("Did you mean 'mnist'?" in str(caught.value)) == (name == "mnits")


def test_a_file_of_an_unknown_kind_is_not_guessed_at(tmp_path):
    path = tmp_path / "table.xlsx"
    path.write_text("1,2,3")
    with pytest.raises(DataError, match=r"the ending '\.xlsx' is unknown. Accepted: a folder"):
        load_data(path)


def test_a_path_that_is_called_like_a_data_set_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("digits").mkdir()
    assert load_data("digits").origin["source"] == "sklearn.datasets.load_digits"
    with pytest.raises(DataError, match="needs at least 2 class folders"):
        load_data(Path("digits"))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        (
            "digits",
            {"vocabulary_size": 10},
            "vocabulary_size does not apply to 'digits'.*takes test_fraction",
        ),
        ("python-docs", {"channels": 3}, "channels does not apply to 'python-docs'"),
        ("mnist", {"test_fraction": 0.1}, "test_fraction does not apply to 'mnist'"),
        ("digits", {"image_size": 28}, r"image_size must be \(height, width\).*not 28"),
        ("digits", {"image_size": (0, 3)}, "two positive whole numbers"),
        ("digits", {"channels": 2}, r"channels must be 1 \(greyscale\) or 3"),
        ("digits", {"test_fraction": 1.5}, r"between 0 and 1, not 1\.5"),
        ("digits", {"seed": 0.5}, r"seed must be a whole number of at least 0, not 0\.5"),
        ("python-docs", {"vocabulary_size": 2}, "vocabulary_size must be a whole number of at least 3"),
        ("python-docs", {"sequence_length": 0}, "sequence_length must be a whole number of at least 1"),
        ("python-docs", {"sequence_length": True}, "not True"),
        ("python-docs", {"sequence_length": 99_999}, "is too short"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(name, options, words):
    with pytest.raises((UsageError, DataError), match=words):
        load_data(name, **options)


def test_loading_data_imports_no_framework_and_naming_it_nothing_at_all():
    script = """
import sys
from unidl.data import load_data
import unidl.data.checks
heavy = ("keras", "sklearn", "PIL", "jax", "torch", "tensorflow")
assert not [name for name in heavy if name in sys.modules], "on import"
load_data("digits"); load_data("python-docs")
heavy = ("keras", "jax", "torch", "tensorflow")
assert not [name for name in heavy if name in sys.modules], "on loading"
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_part_can_be_written_to():
    """torch refuses or warns about read-only memory."""
    for name in ("digits", "python-docs"):
        data = load_data(name)
        for split in (data.train, data.test):
            assert all(array.flags.writeable for array in leaves([split.x, split.y]))
