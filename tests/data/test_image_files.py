"""Image folders that are read as they are needed: the same images whoever decodes them, and never all at once. Without
this a folder larger than the memory ends the process, or a run cannot be repeated on a machine with more cores."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from image_folders import damage, image_folder
from PIL import Image

from unidl import load_data
from unidl.data import image_sets, streaming
from unidl.data.dataset import take
from unidl.data.fingerprint import fingerprint
from unidl.data.images import load_images
from unidl.errors import DataError, UsageError
from unidl.training.order import chunks, epoch_order


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp("images"))


def test_what_is_streamed_is_what_would_be_in_memory(folder):
    streamed, whole = (load_data(folder, image_size=(16, 12), stream=stream) for stream in (True, False))
    for one, other in ((streamed.train, whole.train), (streamed.test, whole.test)):
        assert one.is_streamed
        assert one.x.dtype == np.uint8, "a quarter of the bytes of float32 go to the device"
        assert one.x.shape == other.x.shape
        np.testing.assert_array_equal(np.asarray(one.x).astype(np.float32) / np.float32(255), other.x)
        np.testing.assert_array_equal(one.y, other.y)
        assert one.class_names == other.class_names


def test_a_large_folder_is_streamed_if_nobody_says(folder, monkeypatch):
    assert not load_data(folder).train.is_streamed
    monkeypatch.setattr(image_sets, "MOST_BYTES", 40 * 20 * 24 * 3 * 4 - 1)
    assert load_data(folder).train.is_streamed
    assert not load_data(folder, stream=False).train.is_streamed
    monkeypatch.setattr(image_sets, "MOST_BYTES", 40 * 20 * 24 * 3 * 4)
    assert not load_data(folder).train.is_streamed


def read_by(folder, workers, **options):
    data = load_data(folder, stream=True, image_size=(8, 8), workers=workers, **options).train
    order = epoch_order(len(data), seed=3, epoch=1, shuffle=True)
    found = [
        (chunk.data.x[rows], chunk.data.y[rows])
        for chunk in chunks(data, order, batch_size=3, steps=2)
        for rows in chunk.rows
    ]
    return [np.concatenate(part) for part in zip(*found, strict=True)]


def test_order_and_bits_are_the_same_for_any_number_of_workers(folder):
    expected = read_by(folder, 0)
    for workers in (1, 2, 4):
        for one, other in zip(read_by(folder, workers), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def most_rows_alive(folder, monkeypatch):
    """How many rows of images are in memory at once while an epoch is read."""
    alive, most = weakref.WeakSet(), [0]
    original = streaming._read

    def counted(chunk, rows):
        found = original(chunk, rows)
        alive.add(found.data)
        most[0] = max(most[0], sum(len(one.x) for one in alive))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(streaming, "_read", counted)
        data = load_data(folder, stream=True, workers=2).train
        for _ in chunks(data, np.arange(len(data)), batch_size=4, steps=16):
            pass
    gc.collect()
    return most[0]


def test_memory_does_not_grow_with_the_number_of_files(tmp_path, monkeypatch):
    few, many = (image_folder(tmp_path / str(count), count, size=(4, 4), formats=("png",)) for count in (100, 1000))
    rows = most_rows_alive(few, monkeypatch)
    assert rows <= (streaming.AHEAD + 3) * streaming.STREAMED_STEPS * 4
    assert most_rows_alive(many, monkeypatch) <= rows + streaming.STREAMED_STEPS * 4


def test_large_images_make_small_chunks(folder, monkeypatch):
    """Sixteen batches of photographs in each of five chunks would fill the memory that streaming is to save."""
    data = load_data(folder, stream=True).train
    assert streaming.streamed_steps(data, 4) == streaming.STREAMED_STEPS
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 3 * 4 * (20 * 24 * 3 + 4))
    assert streaming.streamed_steps(data, 4) == 3
    assert streaming.streamed_steps(data, 1000) == 1
    assert {len(chunk.data.x) for chunk in chunks(data, np.arange(32), batch_size=4, steps=16)} == {12}


def test_a_damaged_file_is_named_when_it_is_needed(tmp_path):
    bad = damage(image_folder(tmp_path / "a", 6) / "dark" / "0003.png")
    data = load_data(tmp_path / "a", stream=True)
    split = data.train if str(bad) in data.train.x.source.paths else data.test
    with pytest.raises(DataError, match=r"Cannot read the image '.*dark/0003\.png'"):
        list(chunks(split, np.arange(len(split)), batch_size=2, steps=2))
    bad.unlink()
    with pytest.raises(DataError, match=r"dark/0003\.png': No such file"):
        np.asarray(split.x)


def test_another_file_of_its_class_stands_in_for_one_that_is_skipped(tmp_path):
    """And of its part of the data: an image of the test in training would make the test worth nothing."""
    root = image_folder(tmp_path / "a", 10)
    whole = load_data(root, stream=True)
    bad = [row for row in range(len(whole.train)) if whole.train.y[row] == 0][-1]  # the next one is the first again
    damage(tmp_path / whole.train.x.source.paths[bad])
    data = load_data(root, on_error="skip", workers=2)
    np.testing.assert_array_equal(data.train.x[bad], whole.train.x[0])
    halves = [take(data.train, slice(0, bad)), take(data.train, slice(bad, None))]
    with pytest.raises(DataError, match=r"No file of the class of '.*' can be read"):
        halves[1].x[0]
    for workers in (0, 4):
        np.testing.assert_array_equal(read_by(root, workers, on_error="skip")[0], read_by(root, 1, on_error="skip")[0])
    said = []
    data.train.x.source.tell(said.append)
    data.test.x.source.tell(said.append)
    assert len(said) == 1, "each file is told of once"
    assert said[0].startswith("1 of 20 files could not be read, and the next good file of the same class stands in for")
    assert data.train.x.source.paths[bad] in said[0]


def test_sizes_and_colours_that_differ_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(image_sets, "LOOKED_AT", 2)
    root = image_folder(tmp_path / "a", 5)
    Image.new("RGB", (7, 9)).save(root / "dark" / "0002.png")
    data = load_data(root, stream=True, test_fraction=0.2)
    with pytest.raises(DataError, match=r"differ in size: '.*0000\.jpg' is 20 x 24.*0002\.png' is 9 x 7.*image_size="):
        np.asarray(data.train.x), np.asarray(data.test.x)
    for path in root.glob("*/*"):
        Image.new("L", (5, 5)).save(path)
    Image.new("RGB", (5, 5)).save(root / "dark" / "0002.png")
    data = load_data(root, stream=True)
    with pytest.raises(DataError, match=r"0002\.png' is in colour, and those .* are greyscale\. Pass channels=3"):
        np.asarray(data.train.x), np.asarray(data.test.x)
    assert load_data(root, stream=True, channels=3).train.x[0].shape == (5, 5, 3)


def test_every_format_is_read_and_16_bits_keep_their_meaning(tmp_path):
    grey = (np.arange(12).reshape(3, 4) * 5461).astype(np.uint16)
    colour = np.random.default_rng(0).integers(0, 256, (3, 4, 3)).astype(np.uint8)
    for name in ("16.png", "16.tif"):
        Image.fromarray(grey).save(tmp_path / name)
    for name in ("c.png", "c.tiff", "c.bmp"):
        Image.fromarray(colour).save(tmp_path / name)
    Image.fromarray(colour).save(tmp_path / "c.webp", lossless=True)
    expected = np.rint(grey / 257) / 255
    for name in ("16.png", "16.tif"):
        np.testing.assert_allclose(load_images(tmp_path / name)[0, ..., 0], expected, atol=1e-6)
    for name in ("c.png", "c.tiff", "c.bmp", "c.webp"):
        np.testing.assert_allclose(load_images(tmp_path / name)[0] * 255, colour, atol=1e-3)


def test_a_large_photograph_is_decoded_small(tmp_path, monkeypatch):
    """In a fraction of the time, and within 2 of 255 of what decoding it whole gives."""
    drawn = np.random.default_rng(0).integers(0, 256, (12, 16, 3)).astype(np.uint8)
    photograph = Image.fromarray(drawn).resize((1600, 1200), Image.Resampling.BICUBIC)
    photograph.save(tmp_path / "a.jpg", quality=92)
    sizes = []
    original = Image.Image.resize

    def seen(self, *arguments, **options):
        sizes.append(self.size)
        return original(self, *arguments, **options)

    monkeypatch.setattr(Image.Image, "resize", seen)
    found = load_images(tmp_path / "a.jpg", image_size=(48, 64))
    with Image.open(tmp_path / "a.jpg") as opened:
        plain = np.asarray(original(opened, (64, 48), Image.Resampling.BILINEAR))
    assert sizes[0][0] < 1600 // 4
    assert np.abs(found[0] * 255 - plain).max() <= 2
    assert load_images(tmp_path / "a.jpg").shape == (1, 1200, 1600, 3), "without a size nothing is lost"


def test_the_fingerprint_tells_other_files_and_other_rows(tmp_path):
    root = image_folder(tmp_path / "a", 6)
    data = load_data(root, stream=True)
    before = fingerprint(training=data.train)
    assert fingerprint(training=load_data(root, stream=True, workers=1).train) == before
    assert fingerprint(training=take(data.train, np.arange(10)[::-1])) != before
    assert fingerprint(training=load_data(root, stream=True, image_size=(4, 4)).train) != before
    path = data.train.x.source.paths[2]
    Image.new("RGB", (24, 20)).save(path)
    assert fingerprint(training=load_data(root, stream=True).train) != before
    assert load_data(root, stream=True).origin["sha256"] != data.origin["sha256"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": -1}, "workers must be a whole number of at least 0, not -1"),
        ({"on_error": "ignore"}, "on_error must be 'raise' or 'skip', not 'ignore'"),
        ({"stream": False, "workers": 2}, "Leave stream=False out"),
    ],
)
def test_what_cannot_be_asked_for(folder, options, message):
    with pytest.raises(UsageError, match=message):
        load_data(folder, **options)
    with pytest.raises(UsageError, match="does not apply to 'digits'"):
        load_data("digits", **options)


def test_a_folder_is_the_same_by_any_path_to_it(folder, monkeypatch):
    """A run is resumed from another directory, or on another machine."""
    monkeypatch.chdir(folder.parent)
    one, other = (fingerprint(training=load_data(path, stream=True).train) for path in (folder.name, folder))
    assert one == other
