"""Noise layers do what Keras's do, with draws that are the same on every backend."""

from __future__ import annotations

import inspect
import math
from importlib import import_module

import numpy as np
import pytest

from unidl.errors import ModelError

layers = import_module("unidl.layers")  # which settles the backend before Keras is imported
keras = import_module("keras")


def called(layer, x, **how):
    return np.asarray(keras.ops.convert_to_numpy(layer(x, **how)))


SPATIAL = {
    "1d": (lambda **how: layers.SpatialDropout1D(0.4, **how), (50, 7, 40), (1,)),
    "2d": (lambda **how: layers.SpatialDropout2D(0.4, data_format="channels_last", **how), (50, 5, 6, 40), (1, 2)),
    "2d, channels first": (
        lambda **how: layers.SpatialDropout2D(0.4, data_format="channels_first", **how),
        (50, 40, 5, 6),
        (2, 3),
    ),
    "3d": (
        lambda **how: layers.SpatialDropout3D(0.4, data_format="channels_last", **how),
        (50, 3, 4, 2, 40),
        (1, 2, 3),
    ),
}


@pytest.mark.parametrize("name", SPATIAL)
def test_a_channel_drops_as_a_whole(name: str):
    make, shape, places = SPATIAL[name]
    values = called(make(seed=3), np.ones(shape, np.float32), training=True)
    assert (values.max(axis=places) == values.min(axis=places)).all()
    np.testing.assert_allclose(np.unique(values), [0, 1 / 0.6], rtol=1e-6)
    assert abs((values > 0).mean() - 0.6) < 5 * math.sqrt(0.6 * 0.4 / 2000)


def test_a_mask_may_be_for_the_last_axes():
    values = called(layers.Dropout(0.5, noise_shape=(1, 60), seed=1), np.ones((4, 5, 60), np.float32), training=True)
    assert (values == values[:1, :1]).all()
    assert 0 < values.mean() < 2


def test_dropout_of_everything_leaves_zeros():
    assert (called(layers.Dropout(1.0, seed=0), np.ones((3, 4), np.float32), training=True) == 0).all()


def test_alpha_dropout_keeps_mean_and_variance():
    """With a share of 0.3 dropped, of values that have mean 0 and variance 1, as SELU makes them."""
    x = np.random.default_rng(0).standard_normal((2000, 500)).astype(np.float32)
    values = called(layers.AlphaDropout(0.3, seed=1), x, training=True)
    assert abs(values.mean()) < 0.01
    assert abs(values.var() - 1) < 0.01
    lowest = np.unique(values, return_counts=True)[1].max() / values.size  # the one value that dropped ones have
    assert abs(lowest - 0.3) < 0.01
    assert np.isfinite(called(layers.AlphaDropout(1.0, seed=1), x, training=True)).all()
    columns = called(
        layers.AlphaDropout(0.5, noise_shape=(None, 1), seed=1), np.zeros((40, 3), np.float32), training=True
    )
    assert (columns == columns[:, :1]).all()


def test_gaussian_noise_is_added_and_gaussian_dropout_multiplies():
    x = np.full((1000, 400), 2.0, np.float32)
    added = called(layers.GaussianNoise(0.25, seed=1), x, training=True) - 2.0
    assert abs(added.mean()) < 5 * 0.25 / math.sqrt(added.size)
    assert abs(added.std() - 0.25) < 0.001
    multiplied = called(layers.GaussianDropout(0.2, seed=1), x, training=True)
    assert abs(multiplied.mean() - 2.0) < 0.01
    assert abs(multiplied.std() - 2.0 * math.sqrt(0.2 / 0.8)) < 0.01


MAKERS = {
    "AlphaDropout": {"rate": 0.3},
    "Dropout": {"rate": 0.3},
    "GaussianDropout": {"rate": 0.3},
    "GaussianNoise": {"stddev": 0.3},
    "SpatialDropout1D": {"rate": 0.3},
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_layer_draws_in_training_alone_and_anew_each_time(name: str):
    layer = getattr(layers, name)(**MAKERS[name], seed=7)
    x = np.random.default_rng(0).standard_normal((4, 3, 50)).astype(np.float32)
    np.testing.assert_array_equal(called(layer, x, training=False), x)
    first, second = called(layer, x, training=True), called(layer, x, training=True)
    assert (first != second).any()
    again = getattr(layers, name).from_config(layer.get_config())
    np.testing.assert_array_equal(called(again, x, training=True), first)


@pytest.mark.parametrize("name", MAKERS)
def test_a_layer_without_a_seed_draws_what_its_name_says(name: str):
    """Two of them in one model may not draw alike; a process that runs again draws the same."""
    x = np.random.default_rng(0).standard_normal((4, 3, 50)).astype(np.float32)
    one, same, other = (getattr(layers, name)(**MAKERS[name], name=called) for called in ("one", "one", "other"))
    first = called(one, x, training=True)
    np.testing.assert_array_equal(called(same, x, training=True), first)
    assert (called(other, x, training=True) != first).any()


@pytest.mark.parametrize("name", MAKERS)
def test_a_layer_of_ours_may_be_inside_another_one(name: str):
    """Where Keras asks for the shape of the output of the outer one, in training, with a batch of any size."""

    class Outer(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = getattr(layers, name)(**MAKERS[name], seed=1)

        def call(self, x):
            return self.inner(x, training=True)

    given = keras.Input((3, 50))
    model = keras.Model(given, Outer()(given))
    assert model.output_shape == (None, 3, 50)
    assert called(model, np.ones((4, 3, 50), np.float32)).shape == (4, 3, 50)


@pytest.mark.parametrize("seed", [-1, 2**31, 2**40, True, 0.5])
def test_a_seed_that_not_every_backend_has_is_refused(seed):
    with pytest.raises(ModelError, match=r"a whole number from 0 to 2\*\*31 - 1 is needed"):
        layers.Dropout(0.5, seed=seed)


def test_arguments_are_those_of_keras():
    """By place as well, and as `help` shows them."""
    x = np.ones((4, 50), np.float32)
    by_place, by_name = layers.Dropout(0.5, None, 3), layers.Dropout(0.5, seed=3)
    np.testing.assert_array_equal(called(by_place, x, training=True), called(by_name, x, training=True))
    for name in ("Dropout", "SpatialDropout2D", "GaussianNoise", "RandomRotation"):
        shown = [inspect.signature(getattr(home, name)) for home in (layers, keras.layers)]
        assert shown[0] == shown[1]
        assert "seed" in shown[0].parameters


def test_noise_without_bounds_is_refused():
    with pytest.raises(ModelError, match="Take one below 1"):
        layers.GaussianDropout(1.0, seed=1)


def test_whole_numbers_get_noise_that_is_not_rounded():
    noisy = called(layers.GaussianNoise(0.2, seed=1), np.ones((40, 5), np.int32), training=True)
    assert len(np.unique(noisy)) > 100
