"""A folder of class folders becomes a data set whose labels are the right ones."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from unidl.data import load_data
from unidl.errors import DataError, UsageError

VALUES = {"dark": 20, "light": 230, "middle": 120}


def fill(root, counts, size=(5, 5)):
    """Make class folders whose images have one grey each, so that a label can be read from the pixels."""
    for name, count in counts.items():
        folder = root / name
        folder.mkdir(parents=True)
        for number in range(count):
            grey = np.full(size, VALUES[name] + number, np.uint8)
            Image.fromarray(grey).save(folder / f"{number:02}.png")
    return root


def classes_seen(split):
    grey = split.x[:, 0, 0, 0] * 255
    return [min(VALUES, key=lambda name: abs(VALUES[name] - value)) for value in grey]


def test_labels_are_the_sorted_folder_names(tmp_path):
    data = load_data(fill(tmp_path / "shades", {"middle": 10, "light": 10, "dark": 5}))
    assert data.name == "shades"
    assert data.kind == "images"
    assert data.class_names == ("dark", "light", "middle")
    assert data.train.x.shape == (20, 5, 5, 1)
    assert data.test.x.shape == (5, 5, 5, 1)
    assert np.bincount(data.test.y).tolist() == [1, 2, 2]
    for split in (data.train, data.test):
        assert split.y.dtype == np.int32
        assert [data.class_names[label] for label in split.y] == classes_seen(split)
    every = np.concatenate([data.train.x, data.test.x])[:, 0, 0, 0]
    assert len(np.unique(every)) == 25, "each file is in one part and once"


def test_the_origin_changes_with_the_files(tmp_path):
    folder = fill(tmp_path, {"dark": 3, "light": 3})
    before = load_data(folder).origin["sha256"]
    assert load_data(folder).origin["sha256"] == before
    (folder / "dark" / "02.png").write_bytes((folder / "light" / "02.png").read_bytes())
    assert load_data(folder).origin["sha256"] != before


def test_train_and_test_folders_fix_the_split(tmp_path):
    fill(tmp_path / "train", {"dark": 4, "light": 3})
    fill(tmp_path / "test", {"dark": 1, "light": 2})
    data = load_data(tmp_path, image_size=(4, 6), channels=3)
    assert data.train.x.shape == (7, 4, 6, 3)
    assert data.test.y.tolist() == [0, 1, 1]
    assert [data.class_names[label] for label in data.test.y] == classes_seen(data.test)
    assert "split_seed" not in data.origin
    with pytest.raises(UsageError, match="'train' and 'test' fix the split"):
        load_data(tmp_path, test_fraction=0.5)


def test_classes_may_be_called_train_and_test(tmp_path):
    for name in ("train", "test"):
        fill(tmp_path / "made", {"dark": 3})
        (tmp_path / "made" / "dark").rename(tmp_path / name)
        (tmp_path / "made").rmdir()
    assert load_data(tmp_path).class_names == ("test", "train")


def test_parts_with_different_classes_are_refused(tmp_path):
    fill(tmp_path / "train", {"dark": 2, "light": 2})
    fill(tmp_path / "test", {"dark": 2, "middle": 2})
    with pytest.raises(DataError, match=r"test' lacks the class folders 'light'"):
        load_data(tmp_path)
    fill(tmp_path / "test", {"light": 1})
    with pytest.raises(DataError, match=r"train' lacks the class folders 'middle'"):
        load_data(tmp_path)


def test_what_no_image_data_set_looks_like(tmp_path):
    with pytest.raises(DataError, match=r"needs at least 2 class folders and has none\. Expected class folders"):
        load_data(tmp_path)
    fill(tmp_path, {"dark": 2})
    with pytest.raises(DataError, match="has only 'dark'"):
        load_data(tmp_path)
    (tmp_path / "light").mkdir()
    with pytest.raises(DataError, match=r"class folder '.*light' has no image \(\.png"):
        load_data(tmp_path)
    fill(tmp_path / "light", {"middle": 2})
    with pytest.raises(DataError, match=r"light/middle' is a folder inside a class folder"):
        load_data(tmp_path)


def test_a_class_of_one_image_is_named(tmp_path):
    with pytest.raises(DataError, match="Class 'light' has a single row"):
        load_data(fill(tmp_path, {"dark": 4, "light": 1}))


def test_no_file_is_left_out_without_a_word(tmp_path):
    fill(tmp_path, {"dark": 2, "light": 2})
    for harmless in (".DS_Store", "Thumbs.db"):
        (tmp_path / "dark" / harmless).write_text("")
    (tmp_path / ".git").mkdir()
    assert len(load_data(tmp_path).train) == 2
    (tmp_path / "dark" / "photo.psd").write_text("")
    with pytest.raises(DataError, match=r"photo\.psd' as image \(\.png"):
        load_data(tmp_path)


def test_sizes_and_damage_are_named(tmp_path):
    fill(tmp_path, {"dark": 2, "light": 2})
    Image.new("L", (7, 9)).save(tmp_path / "light" / "05.png")
    with pytest.raises(DataError, match=r"dark/00\.png' is 5 x 5.*light/05\.png' is 9 x 7.*image_size="):
        load_data(tmp_path)
    (tmp_path / "light" / "05.png").write_bytes((tmp_path / "light" / "00.png").read_bytes()[:-30])
    with pytest.raises(DataError, match=r"Cannot read the image '.*light/05\.png'"):
        load_data(tmp_path)


def test_hidden_folders_beside_texts_are_passed_over(tmp_path):
    """A folder of texts that git keeps has a .git, whose files are neither texts nor images."""
    for folder in (".git", "good", "bad"):
        (tmp_path / folder).mkdir()
        for number in range(2):
            (tmp_path / folder / f"{number}.{'txt' if folder != '.git' else 'idx'}").write_text(f"{folder} {number}")
    assert load_data(tmp_path).class_names == ("bad", "good")
