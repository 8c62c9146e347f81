"""A transfer model on a network of keras.applications: its weights, its preprocessing, its faults."""

import sys
import urllib.error

import numpy as np
import pytest

from unidl.errors import ModelError
from unidl.models import base_of, build_cnn, build_transfer
from unidl.models.initial_weights import drawn_later

pytestmark = pytest.mark.usefixtures("backend")

SMALL = {"base": "MobileNetV2", "input_shape": (32, 32, 3), "classes": 3, "weights": None}


@pytest.fixture(scope="module")
def keras():
    import keras

    return keras


@pytest.fixture(scope="module")
def mobile():
    """A small network of keras.applications: its base has 2 257 984 parameters and gives (1, 1, 1280) features."""
    return build_transfer(**SMALL, dense_units=8, dropout=0.5, pooling="average")


@pytest.fixture
def cnn():
    return build_cnn((18, 18, 1), classes=3, filters=(2, 3, 4), dense_units=5, dropout=0.2, seed=3)


def numpy(tensor):
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor))


def loaded(path, **options):
    """What Keras reads from a file. Its initial draws are left out: on JAX they compile for half a minute."""
    import keras

    with drawn_later():
        return keras.saving.load_model(path, safe_mode=True, **options)


def images(*shape):
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def weights(model):
    return [numpy(weight.value) for weight in model.weights]


def same(one, other):
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def test_the_default_has_21_140_042_parameters_of_which_6_425_354_learn():
    """VGG16 without its classifier has 14 714 688; the new one 6 422 784 + 2 570."""
    model = build_transfer(weights=None)
    assert model.count_params() == 21_140_042
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 6_425_354
    assert model.input_shape == (None, 224, 224, 3)
    assert model.output_shape == (None, 10)
    assert [layer.name for layer in model.layers] == [
        "image",
        "preprocessing",
        "vgg16",
        "flatten",
        "dense",
        "logits",
        "probabilities",
    ]


def test_a_named_base_under_every_option(mobile):
    assert base_of(mobile).count_params() == 2_257_984
    assert mobile.count_params() == 2_257_984 + (1280 + 1) * 8 + (8 + 1) * 3
    assert [layer.name for layer in mobile.layers][3:] == ["average", "dense", "dropout", "logits", "probabilities"]
    assert mobile.output_shape == (None, 3)
    assert not base_of(mobile).trainable_weights


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_a_named_base_computes_in_the_precision_that_was_asked_for(keras, precision):
    """keras.applications can be told only through a global setting, which has to be what it was afterwards."""
    before = keras.config.dtype_policy().name
    model = build_transfer(**SMALL, precision=precision)
    half = precision.removeprefix("mixed_")
    assert base_of(model).get_layer("Conv1").compute_dtype == half
    assert model.get_layer("preprocessing").compute_dtype == "float32"
    assert model.get_layer("probabilities").compute_dtype == "float32"
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert keras.config.dtype_policy().name == before


def test_preprocessing_is_that_of_every_application(keras):
    """All 40 of them: an image from 0 to 1 must arrive as the pretrained weights expect it."""
    from unidl.models.bases import applications
    from unidl.models.preprocessing import measured

    picture = images(1, 4, 4, 3).astype("float64")
    assert len(applications()) == 40
    for application in applications().values():
        expected = sys.modules[application.__module__].preprocess_input(255 * picture)
        backwards, scale, offset = measured(application)
        given = (picture[..., ::-1] if backwards else picture) * scale + offset
        assert np.allclose(given, expected, atol=1e-9), application.__name__


@pytest.mark.parametrize("name", ["VGG16", "MobileNetV2"])
def test_preprocessing_is_inside_the_model(keras, name):
    model = build_transfer(**SMALL | {"base": name, "dense_units": None})
    upto = keras.Model(model.input, model.get_layer("preprocessing").output)
    picture = images(2, 32, 32, 3)
    module = {"VGG16": keras.applications.vgg16, "MobileNetV2": keras.applications.mobilenet_v2}[name]
    assert np.allclose(numpy(upto(picture)), module.preprocess_input(255 * picture), atol=1e-4)


def test_an_application_that_mixes_colours_is_refused(monkeypatch):
    from unidl.models.preprocessing import measured

    def application():
        """Stands in for a network of a later Keras."""

    def mix(pixels, data_format):
        return pixels @ np.ones((3, 3))

    monkeypatch.setattr(sys.modules[__name__], "preprocess_input", mix, raising=False)
    with pytest.raises(ModelError, match="its preprocess_input mixes the channels"):
        measured(application)


def test_nothing_in_a_frozen_base_is_random():
    """Only then can its features be computed once. Keras's own network drops whole blocks while training."""
    model = build_transfer(**SMALL | {"base": "ConvNeXtTiny", "dense_units": None, "pooling": "average"})
    kinds = {type(layer).__name__ for layer in base_of(model).layers}
    assert {"LayerScale", "LayerNormalization"} < kinds, "the rest of the network is there"
    assert "StochasticDepth" not in kinds


def test_weights_from_a_file(mobile, tmp_path):
    """Who has no network brings the file along."""
    path = tmp_path / "mobile.weights.h5"
    base_of(mobile).save_weights(path)
    loaded = build_transfer(**SMALL | {"weights": path, "seed": 9})
    assert same(weights(base_of(loaded)), weights(base_of(mobile)))
    assert not np.array_equal(weights(loaded)[-2], weights(build_transfer(**SMALL))[-2])


@pytest.mark.parametrize("content", ["nonsense", "cnn"])
def test_a_file_of_something_else_is_an_error(cnn, content, tmp_path):
    path = tmp_path / "other.weights.h5"
    if content == "cnn":
        cnn.save_weights(path)
    else:
        path.write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="does not contain the weights of mobilenetv2"):
        build_transfer(**SMALL | {"weights": str(path)})


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network, and nothing that an earlier download has left."""
    import keras

    def unreachable(*_, **__):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", unreachable)
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return keras


@pytest.mark.usefixtures("offline")
def test_a_failed_download_says_what_to_do(tmp_path):
    with pytest.raises(ModelError, match="the weights of VGG16 could not be downloaded") as caught:
        build_transfer(input_shape=(32, 32, 3))
    message = str(caught.value)
    assert "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5" in message
    assert f"Download the file at that URL to {tmp_path / 'models'}" in message
    assert "weights= the path of a weights file, or None" in message


def test_a_damaged_download_is_that_error_too(offline, monkeypatch, tmp_path):
    def damaged(_, path, *__):
        with open(path, "wb") as file:
            file.write(b"half a file")

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", damaged)
    with pytest.raises(ModelError, match="could not be downloaded: Incomplete or corrupted file"):
        build_transfer(input_shape=(32, 32, 3))


def test_other_errors_of_an_application_are_not_hidden(monkeypatch, keras):
    def broken(include_top, weights, input_shape):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(keras.applications, "VGG16", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        build_transfer(weights=None)


def test_keras_saves_and_loads_a_named_base(keras, mobile, tmp_path):
    """The file needs nothing of unidl: the preprocessing is made of Keras's own layers."""
    mobile.save(tmp_path / "model.keras")
    again = loaded(tmp_path / "model.keras")
    assert same(weights(again), weights(mobile))
    picture = images(2, 32, 32, 3)
    seen = [
        numpy(keras.Model(model.input, model.get_layer("preprocessing").output)(picture)) for model in (again, mobile)
    ]
    assert np.array_equal(*seen)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"base": "VGG17"}, "base='VGG17'): it is neither a directory nor a network of keras.applications"),
        ({"base": "vgg16"}, "Closest names: 'VGG16', 'VGG19'"),
        ({"base": "zzz"}, "Available are 40 names, such as 'ConvNeXtBase'"),
        ({"base": 3}, "it must be a name of keras.applications, a directory or a keras.Model"),
        ({"input_shape": (31, 32, 3)}, "Input size must be at least 32x32"),
        ({"input_shape": (32, 32, 1)}, "takes images with 3 channels; for grayscale images use"),
        ({"input_shape": (32, 32)}, "a tuple (height, width, channels)"),
        ({"weights": "nowhere.h5"}, "weights='nowhere.h5'): the file does not exist"),
        ({"weights": 5}, "it must be 'imagenet', the path of a weights file, or None"),
        ({"classes": 1}, "a whole number of at least 2"),
        ({"dense_units": -1}, "a whole number of at least 0"),
        ({"dense_units": 10**9}, "parameters"),
        ({"dropout": 1.0}, "from 0 up to, but not including, 1"),
        ({"pooling": "max"}, "it must be one of 'flatten', 'average', 'first', 'pooled'"),
        ({"pooling": "first"}, "are not a sequence of shape (batch, time, features)"),
    ],
)
def test_an_impossible_argument_is_one_clear_error(arguments, message):
    with pytest.raises(ModelError) as caught:
        build_transfer(**SMALL | arguments)
    assert message in str(caught.value)
    assert "Cannot use build_transfer" in str(caught.value)
