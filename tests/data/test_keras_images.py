"""What Keras downloads arrives like all other images; without a network, one error says what to do."""

from __future__ import annotations

import urllib.error
import urllib.request

import numpy as np
import pytest

from unidl.data import load_data
from unidl.data.keras_images import SOURCES
from unidl.errors import DataError

pytestmark = pytest.mark.usefixtures("backend")

RNG = np.random.default_rng(0)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """A machine without a network and with an empty cache, whatever the one the tests run on has."""
    from keras.src.backend import config

    def fail(*_arguments, **_options):
        raise urllib.error.URLError("no network here")

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    monkeypatch.setattr(config, "_KERAS_DIR", str(tmp_path))


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", SOURCES)
def test_offline_one_error_says_where_the_data_comes_from_and_what_works(name):
    with pytest.raises(
        DataError, match=f"Cannot load '{name}': the download by Keras failed: .*no network here"
    ) as caught:
        load_data(name)
    said = str(caught.value)
    # Keras names the address it tried, so a change of address in Keras shows here.
    assert said.count(SOURCES[name].address) >= 2
    assert SOURCES[name].local in said
    assert "datasets" in said
    assert "'digits', which needs no download" in said


def arrays(*shape, classes=10):
    return RNG.integers(0, 256, shape, dtype=np.uint8), RNG.integers(0, classes, shape[0], dtype=np.uint8)


def test_mnist_gains_a_channel(monkeypatch):
    import keras

    parts = arrays(6, 28, 28), arrays(3, 28, 28)
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: parts)
    data = load_data("mnist")
    assert data.kind == "images"
    assert data.class_names == tuple("0123456789")
    assert data.train.x.shape == (6, 28, 28, 1)
    np.testing.assert_allclose(data.test.x[..., 0], parts[1][0] / 255, atol=1e-7)
    np.testing.assert_array_equal(data.test.y, parts[1][1])
    assert data.origin["source"] == "keras.datasets.mnist"


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_cifar_labels_lose_an_axis_and_channels_come_last(monkeypatch, layout):
    import keras

    (x, y), shape = arrays(4, 32, 32, 3), (4, 1)
    given = x if layout == "channels_last" else x.transpose(0, 3, 1, 2)
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", lambda: ((given, y.reshape(shape)),) * 2)
    before = keras.config.image_data_format()
    keras.config.set_image_data_format(layout)
    try:
        data = load_data("cifar10", image_size=(16, 8), channels=1)
        whole = load_data("cifar10")
    finally:
        keras.config.set_image_data_format(before)
    assert data.train.x.shape == (4, 16, 8, 1)
    np.testing.assert_allclose(whole.train.x, x / 255, atol=1e-7)
    np.testing.assert_array_equal(whole.train.y, y)
    assert data.class_names[3] == "cat"


def test_there_is_a_name_for_every_class():
    assert [len(source.class_names) for source in SOURCES.values()] == [10, 10, 10, 100]
