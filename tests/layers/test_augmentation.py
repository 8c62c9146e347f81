"""Images are augmented alike on every backend. Without this a run that moves would see other images from there on."""

from __future__ import annotations

import hashlib
from importlib import import_module

import numpy as np
import pytest

from unidl import Trainer
from unidl.errors import BackendError

layers = import_module("unidl.layers")  # which settles the backend before Keras is imported
keras = import_module("keras")

MAKERS = {
    "RandomBrightness": {"factor": 0.4, "value_range": (0, 1)},
    "RandomContrast": {"factor": 0.4, "value_range": (0, 1)},
    "RandomFlip": {},
    "RandomRotation": {"factor": 0.1},
    "RandomTranslation": {"height_factor": 0.2, "width_factor": (-0.1, 0.3)},
    "RandomZoom": {"height_factor": (-0.3, 0.2), "width_factor": 0.1},
}
PARAMETERS = {
    "RandomBrightness": ("rgb_delta", "847fbe00d7e910fbb4d3ca1807c61312ecd3e4fde180e8da7f1a2c4f6c4d0ece"),
    "RandomContrast": ("contrast_factor", "273ca1b90cf9f2303829eb46c464eb2558af9e8a0962bd58444b695bce4db399"),
    "RandomFlip": ("flips", "9e85d84a4185094dd5fa27f9a058241914551ec2a899db16e5e3021702632d28"),
    "RandomRotation": ("angle", "b10943f5534332d05d0dafa4b5d33e445c66fda1a85a9eb6da91fdc09f62111f"),
    "RandomTranslation": ("translations", "96927bb594a9fd4403fc9d2261998cfa3810da0445c053257134d1c23e9b0f65"),
    "RandomZoom": ("height_zoom", "34d4ec8363f3e94138c6d3bb791adfda1b5b81b65739262dca77063422f8bbed"),
}


def images(count=8):
    return np.random.default_rng(0).random((count, 12, 10, 3)).astype(np.float32)


def made(name: str, **how):
    return getattr(layers, name)(**MAKERS[name], **({"seed": 5} | how))


def called(layer, x, **how):
    return np.asarray(keras.ops.convert_to_numpy(layer(x, **how)))


@pytest.mark.parametrize("name", MAKERS)
def test_every_backend_draws_these_parameters(name: str):
    parameter, bits = PARAMETERS[name]
    layer = made(name)
    drawn = [layer.get_random_transformation(images(200), training=True)[parameter] for _ in range(3)]
    values = np.concatenate([np.ravel(keras.ops.convert_to_numpy(one)).astype("<f4") for one in drawn])
    assert len(np.unique(values)) > (1 if name == "RandomFlip" else 500)
    assert hashlib.sha256(values.tobytes()).hexdigest() == bits


MOVED = ("RandomRotation", "RandomTranslation", "RandomZoom")
"""Those that read pixels once where Keras reads them often."""

FILLS = [{"fill_mode": fill, "fill_value": 0.3} for fill in ("reflect", "nearest", "constant", "wrap")]


@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, {}) for name in MAKERS), *((name, options) for name in MOVED for options in FILLS)],
)
def test_the_images_are_moved_as_keras_moves_them(name: str, options: dict):
    """With the same parameters, by Keras's layer of the name, to a twentieth of a grey level."""
    layer, stock = made(name, **options), getattr(keras.layers, name)(**MAKERS[name], **options, seed=5)
    parameters = made(name).get_random_transformation(images(), training=True)
    moved = called(layer, images(), training=True)
    expected = stock.transform_images(keras.ops.convert_to_tensor(images()), parameters, training=True)
    np.testing.assert_allclose(moved, keras.ops.convert_to_numpy(expected), atol=0.05 / 255)
    assert (moved != images()).any()


@pytest.mark.parametrize("name", MOVED)
def test_one_image_of_bytes_is_moved_as_a_batch_of_it_is(name: str):
    image = (255 * images(1)).astype(np.uint8)
    np.testing.assert_array_equal(
        called(made(name), image[0], training=True), called(made(name), image, training=True)[0]
    )


@pytest.mark.parametrize("name", MOVED)
def test_what_ours_does_not_compute_stays_keras_own(name: str):
    layer, stock = (
        of(**MAKERS[name], interpolation="nearest", seed=5)
        for of in (getattr(layers, name), getattr(keras.layers, name))
    )
    parameters = made(name).get_random_transformation(images(), training=True)
    expected = stock.transform_images(keras.ops.convert_to_tensor(images()), parameters, training=True)
    np.testing.assert_array_equal(called(layer, images(), training=True), keras.ops.convert_to_numpy(expected))


@pytest.mark.parametrize("name", MAKERS)
def test_images_of_the_caller_stay_as_they_are(name: str):
    """Keras's brightness adds to them in place on PyTorch."""
    layer, x = made(name), keras.ops.convert_to_tensor(images())
    np.testing.assert_array_equal(called(layer, x, training=False), images())
    layer(x, training=True)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(x), images())


@pytest.mark.parametrize("name", MAKERS)
def test_a_compiled_run_sees_what_the_calls_of_the_layer_give(name: str):
    """Many steps a dispatch: the model learns nothing but one weight a pixel, whose gradient is the image."""
    x = images(24)
    inputs = keras.Input(x.shape[1:])
    values = keras.layers.Flatten()(made(name)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")(values))
    trainer = Trainer(model, optimizer=keras.optimizers.SGD(1.0), loss=lambda true, found: -true * found)
    trainer.fit((x, np.ones((24, 1), np.float32)), batch_size=4, epochs=3, shuffle=False, progress="quiet")
    assert trainer.why_not_compiled is None
    layer = made(name)
    seen = sum(
        called(layer, x[first : first + 4], training=True).sum(axis=0) / 4
        for _ in range(3)
        for first in range(0, 24, 4)
    )
    learnt = np.asarray(keras.ops.convert_to_numpy(model.trainable_weights[0].value))
    np.testing.assert_allclose(learnt.ravel(), seen.ravel(), rtol=1e-5, atol=1e-5)  # sums of 18 float32 numbers


def test_they_may_be_in_a_pipeline_of_keras():
    model = keras.Sequential(
        [keras.Input((12, 10, 3)), keras.layers.Pipeline([made("RandomFlip"), made("RandomZoom")])]
    )
    first = called(made("RandomFlip"), images(), training=True)
    np.testing.assert_array_equal(
        called(model, images(), training=True), called(made("RandomZoom"), first, training=True)
    )


def test_keras_saves_and_loads_a_model_with_it(tmp_path):
    """As a model that begins its stream again: a file of Keras's holds no place in it."""
    model = keras.Sequential([keras.Input((12, 10, 3)), *(made(name) for name in MAKERS)])
    first = called(model, images(), training=True)
    model.save(tmp_path / "a.keras")
    again = keras.saving.load_model(tmp_path / "a.keras")
    np.testing.assert_array_equal(called(again, images(), training=True), first)
    assert layers.foreign_draws(again) == []


def test_a_run_that_goes_on_sees_the_images_of_one_that_was_never_stopped(tmp_path):
    def run(epochs: int, **how):
        inputs = keras.Input((12, 10, 3))
        values = keras.layers.Flatten()(made("RandomRotation")(inputs))
        model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="zeros")(values))
        trainer = Trainer(model, optimizer="adam", loss="mse")
        trainer.fit((images(24), np.arange(24.0)), batch_size=4, epochs=epochs, progress="quiet", **how)
        return np.asarray(keras.ops.convert_to_numpy(model.trainable_weights[0].value))

    run(1, checkpoint=tmp_path / "run")
    np.testing.assert_array_equal(run(3, checkpoint=tmp_path / "run", resume=True), run(3))


def test_in_a_pipeline_of_tensorflow_it_says_where_it_belongs():
    layer = made("RandomFlip")

    class Elsewhere:
        name = "numpy"

    layer.backend = type(layer.backend)(Elsewhere())
    with pytest.raises(BackendError, match=r"Cannot augment in a pipeline of 'numpy'.*use those of keras.layers here"):
        layer.backend.random.uniform((1,), seed=layer.generator)
