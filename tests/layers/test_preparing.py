"""Images get the size, the scale and the colours that a model expects, as Pillow computes them, on every backend.
Without this a model would learn on other images than it is shown later."""

from __future__ import annotations

import colorsys
from importlib import import_module

import numpy as np
import pytest
from augmented import photographs
from PIL import Image

from unidl import Trainer
from unidl.errors import DataError, ModelError, UsageError

layers = import_module("unidl.layers")  # which settles the backend before Keras is imported
keras = import_module("keras")


def numpy(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(9, 7), (24, 40)])
def test_images_are_resized_as_pillow_resizes_them(interpolation: str, size: tuple[int, int]):
    x = photographs(3)
    method = Image.Resampling[interpolation.upper()]
    expected = np.array([np.asarray(Image.fromarray(image).resize(size[::-1], method), int) for image in x])
    resized = layers.Resize(*size, interpolation=interpolation)(x)
    assert keras.backend.standardize_dtype(resized.dtype) == "uint8"
    assert np.abs(numpy(resized).astype(int) - expected).max() <= 1
    shares = numpy(layers.Resize(*size, interpolation=interpolation)((x / 255).astype(np.float32)))
    assert np.abs(np.clip(255 * shares, 0, 255) - expected).max() <= 1.01
    clips = numpy(layers.Resize(*size, interpolation=interpolation)(x[None]))
    np.testing.assert_array_equal(clips[0], numpy(resized))


def test_the_middle_is_cut_out():
    x = photographs(2)
    np.testing.assert_array_equal(numpy(layers.CenterCrop(10, 12)(x)), x[:, 7:17, 4:16])
    np.testing.assert_array_equal(numpy(layers.CenterCrop(24, 20)(x[None])), x[None])
    with pytest.raises(ModelError, match=r"Cannot cut 25 x 20 .* out of images of 24 x 20.*Resize them first"):
        layers.CenterCrop(25, 20)(x)


def test_means_and_deviations():
    x, mean, deviation = photographs(2), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    layer = layers.Normalize(mean, deviation)
    expected = (x / 255 - mean) / deviation
    for given in (x, (x / 255).astype(np.float32)):
        np.testing.assert_allclose(numpy(layer(given)), expected, atol=1e-5)
    np.testing.assert_allclose(numpy(layers.Normalize(0.5, 0.5)(x)), x / 127.5 - 1, atol=1e-6)
    with pytest.raises(ModelError, match="is for 3 channels, and the images have 1"):
        layer(x[..., :1])


def test_colours_in_other_spaces_are_those_of_pillow_and_of_python():
    x = photographs(2)
    for space, mode in (("gray", "L"), ("ycbcr", "YCbCr")):
        expected = np.array([np.asarray(Image.fromarray(image).convert(mode), int) for image in x]).reshape(
            *x.shape[:3], -1
        )
        assert np.abs(255 * numpy(layers.ColourSpace(space)(x)) - expected).max() <= 1.01
    found = numpy(layers.ColourSpace("hsv")(x)).reshape(-1, 3)
    expected = np.array([colorsys.rgb_to_hsv(*colour) for colour in (x / 255).reshape(-1, 3)])
    apart = np.abs(found - expected)
    apart[:, 0] = np.minimum(apart[:, 0], 1 - apart[:, 0])  # on a circle
    assert apart.max() < 1e-5


@pytest.mark.parametrize("space", ["hsv", "ycbcr", "rgb"])
def test_colours_come_back(space: str):
    edges = np.array(np.meshgrid(*[[0, 1, 128, 255]] * 3)).reshape(3, -1).T.reshape(1, 8, 8, 3).astype(np.uint8)
    for x in (photographs(2), edges):
        there = layers.ColourSpace(space)(x)
        np.testing.assert_allclose(numpy(layers.ColourSpace("rgb", source=space)(there)), x / 255, atol=2e-6)
    grey = numpy(layers.ColourSpace("rgb", source="gray")(edges[..., :1]))
    np.testing.assert_allclose(grey, np.repeat(edges[..., :1] / 255, 3, axis=-1), atol=1e-6)


def test_they_are_one_model_that_is_saved_and_knows_the_range_of_its_images(tmp_path):
    inputs = keras.Input((24, 20, 3), dtype="uint8")
    values = layers.CenterCrop(16, 16)(layers.Resize(20, 18, interpolation="bicubic")(inputs))
    values = layers.Augmentation("flip", seed=1)(values)
    values = layers.Normalize((0.5, 0.4, 0.3), 0.2)(layers.ColourSpace("hsv")(values))
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(values)))
    trainer = Trainer(model, optimizer="sgd", loss="mse")
    trainer.fit((photographs(), np.arange(6.0)), batch_size=3, progress="quiet")
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(numpy(again(photographs())), numpy(model(photographs())), atol=1e-5)
    with pytest.raises(DataError, match=r"takes images with values from 0 to 255"):
        trainer.predict((photographs() / 255).astype(np.float32))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: layers.Resize(0, 3), r"Resize\(height=0\): it must be a whole number"),
        (lambda: layers.Resize(3, 3, interpolation="area"), "one of bilinear, bicubic"),
        (lambda: layers.CenterCrop(3, 2.5), r"CenterCrop\(width=2.5\)"),
        (lambda: layers.Normalize("a", 1), r"Normalize\(mean='a'\)"),
        (lambda: layers.Normalize(0, (1, 0)), "must be above 0"),
        (lambda: layers.ColourSpace("lab"), "one of rgb, gray, hsv, ycbcr"),
    ],
)
def test_what_cannot_be_is_refused(make, said: str):
    with pytest.raises(UsageError, match=said):
        make()
