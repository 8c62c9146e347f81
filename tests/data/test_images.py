"""An image file becomes the pixels a person sees, or an error that names the file."""

from __future__ import annotations

import struct
import warnings

import numpy as np
import pytest
from PIL import Image

from unidl.data.images import load_images, reform
from unidl.errors import DataError, UsageError

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (6, 4, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (6, 4), dtype=np.uint8)


def saved(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def test_colour_and_greyscale_keep_their_pixels(tmp_path):
    colour = saved(tmp_path / "a.png", COLOUR)
    grey = saved(tmp_path / "b.bmp", GREY)
    x = load_images([colour])
    assert x.shape == (1, 6, 4, 3)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x[0], COLOUR / 255, atol=1e-7)
    np.testing.assert_allclose(load_images(grey)[0, ..., 0], GREY / 255, atol=1e-7)
    mixed = load_images([grey, str(colour)])
    np.testing.assert_allclose(mixed[0], np.repeat(GREY[..., None], 3, 2) / 255, atol=1e-7)
    np.testing.assert_allclose(mixed[1], COLOUR / 255, atol=1e-7)


@pytest.mark.parametrize("ending", ["png", "jpg", "jpeg", "bmp", "gif", "webp"])
def test_every_promised_format_is_read(tmp_path, ending):
    smooth = np.full((8, 8, 3), (250, 130, 10), dtype=np.uint8)
    path = saved(tmp_path / f"a.{ending}", smooth)
    np.testing.assert_allclose(load_images([path])[0], smooth / 255, atol=0.03)


def test_channels_can_be_chosen(tmp_path):
    path = saved(tmp_path / "a.png", COLOUR)
    luma = COLOUR @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(load_images([path], channels=1)[0, ..., 0], luma / 255, atol=1 / 255)
    assert load_images([saved(tmp_path / "b.png", GREY)], channels=3).shape == (1, 6, 4, 3)


def test_size_is_height_then_width(tmp_path):
    path = saved(tmp_path / "a.png", COLOUR)
    assert load_images([path], image_size=(3, 8)).shape == (1, 3, 8, 3)
    halves = np.zeros((10, 10), np.uint8)
    halves[:5] = 255
    small = load_images([saved(tmp_path / "b.png", halves)], image_size=(2, 2))
    np.testing.assert_allclose(small[0, ..., 0], [[1, 1], [0, 0]], atol=0.2)  # shrinking blurs the edge


def test_images_of_several_sizes_need_one(tmp_path):
    paths = [saved(tmp_path / "a.png", COLOUR), saved(tmp_path / "b.png", GREY[:3])]
    with pytest.raises(DataError, match=r"a\.png' is 6 x 4.*b\.png' is 3 x 4.*Pass image_size=\(height, width\)"):
        load_images(paths)
    assert load_images(paths, (5, 5)).shape == (2, 5, 5, 3)


def test_transparent_pixels_are_white(tmp_path):
    """Icons are often black on transparent: without this every pixel of them would be black."""
    drawing = np.zeros((4, 4, 4), np.uint8)
    drawing[1:3, 1:3, 3] = 255
    expected = np.ones((4, 4))
    expected[1:3, 1:3] = 0
    np.testing.assert_array_equal(load_images([saved(tmp_path / "a.png", drawing)])[0, ..., 0], expected)
    grey = load_images([saved(tmp_path / "b.png", drawing[..., 2:])])
    assert grey.shape == (1, 4, 4, 1)
    np.testing.assert_array_equal(grey[0, ..., 0], expected)


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    deep = np.linspace(0, 65535, 24).astype(np.uint16).reshape(6, 4)
    x = load_images([saved(tmp_path / "a.png", deep)])
    np.testing.assert_allclose(x[0, ..., 0], deep / 65535, atol=1 / 255)


def test_a_photograph_is_turned_as_the_camera_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera upright: turn by 90 degrees
    path = saved(tmp_path / "a.png", GREY, exif=exif)
    np.testing.assert_allclose(load_images([path])[0, ..., 0], np.rot90(GREY, -1) / 255, atol=1e-7)


def test_truncated_foreign_and_missing_files_are_named(tmp_path):
    whole = saved(tmp_path / "a.png", RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    short = tmp_path / "short.png"
    short.write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"Cannot read the image .*short\.png': .*[Tt]runcated.*Repair or remove"):
        load_images([whole, short])
    text = tmp_path / "text.png"
    text.write_text("no image")
    with pytest.raises(DataError, match=r"text\.png': it is not in a format of PNG, JPEG, BMP, GIF, WEBP"):
        load_images([text])
    disguised = saved(tmp_path / "disguised.png", GREY, format="PPM")
    with pytest.raises(DataError, match=r"disguised\.png': it is not in a format of PNG"):
        load_images([disguised])
    with pytest.raises(DataError, match=r"gone\.png': No such file"):
        load_images([tmp_path / "gone.png"])
    with pytest.raises(DataError, match="list of paths is empty"):
        load_images([])


@pytest.mark.parametrize("side", [10_000, 60_000], ids=["Pillow warns", "Pillow refuses"])
def test_a_small_file_that_unpacks_to_gigabytes_is_refused(tmp_path, side):
    path = tmp_path / "bomb.bmp"
    saved(path, COLOUR)
    content = bytearray(path.read_bytes())
    content[18:26] = struct.pack("<ii", side, side)
    path.write_bytes(bytes(content))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a user may have set; it must not let the file through
        with pytest.raises(DataError, match=r"bomb\.bmp': .*decompression bomb"):
            load_images([path])


def test_arrays_are_reformed_like_files():
    images = RNG.random((2, 6, 4, 3), dtype=np.float32)
    assert reform(images, None, None).shape == images.shape
    assert reform(images, (3, 5), 1).shape == (2, 3, 5, 1)
    enlarged = reform(images, (12, 8), None)
    np.testing.assert_allclose(enlarged[1, ..., 2], reform(images[1:, ..., 2:], (12, 8), None)[0, ..., 0])
    np.testing.assert_allclose(enlarged[0, 0, 0], images[0, 0, 0], atol=1e-6)
    with pytest.raises(UsageError, match="channels must be 1"):
        reform(images, None, 4)
