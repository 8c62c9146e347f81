"""The convolutional network: its size, its options, its outputs, and what it refuses to be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unidl.errors import ModelError, PrecisionError
from unidl.models import build_cnn
from unidl.models.cnn import parameters
from unidl.models.initial_weights import drawn_later

pytestmark = pytest.mark.usefixtures("backend")

SMALL = {"input_shape": (18, 18, 1), "classes": 3, "filters": (4, 4, 4), "dense_units": 8}


def images(count=6, shape=(18, 18, 1)):
    return np.random.default_rng(0).random((count, *shape), dtype=np.float32)


@pytest.fixture(scope="module")
def keras():
    import keras

    return keras


def numpy(tensor):
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor))


def loaded(path, **options):
    """What Keras reads from a file. Its initial draws are left out: on JAX they compile for half a minute."""
    import keras

    with drawn_later():
        return keras.saving.load_model(path, safe_mode=True, **options)


def test_the_default_has_93_322_parameters_in_these_layers():
    """The published figures are of this network: 320 + 18 496 + 36 928 + 36 928 + 650 parameters."""
    model = build_cnn()
    assert model.count_params() == 93_322
    assert model.input_shape == (None, 28, 28, 1)
    assert model.output_shape == (None, 10)
    assert [layer.name for layer in model.layers] == [
        "image",
        "conv_1",
        "pool_1",
        "conv_2",
        "pool_2",
        "conv_3",
        "flatten",
        "dense",
        "logits",
        "probabilities",
    ]


@st.composite
def requests(draw):
    """Arguments of a network that can just exist, or is up to five pixels larger than it must be."""
    filters = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    kernel_size = draw(st.integers(1, 4))
    smallest = kernel_size
    for _ in filters[1:]:
        smallest = 2 * smallest + kernel_size - 1
    height, width = (smallest + draw(st.integers(0, 5)) for _ in range(2))
    return {
        "input_shape": (height, width, draw(st.integers(1, 3))),
        "classes": draw(st.integers(2, 5)),
        "filters": filters,
        "kernel_size": kernel_size,
        "dense_units": draw(st.integers(1, 8)),
        "dropout": draw(st.sampled_from([0.0, 0.25])),
        "batch_normalization": draw(st.booleans()),
    }


@given(requests())
@settings(max_examples=15, deadline=None)
def test_every_possible_network_is_built_and_counted_right(keras, asked):
    model = build_cnn(**asked)
    counted = [asked[name] for name in ("input_shape", "classes", "filters", "kernel_size", "dense_units")]
    assert model.output_shape == (None, asked["classes"])
    assert model.count_params() == parameters(*counted, asked["batch_normalization"])
    dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert len(dropouts) == (1 if asked["dropout"] else 0)


@pytest.mark.parametrize("precision", [None, "float32", "mixed_bfloat16", "mixed_float16"])
def test_outputs_are_probabilities_in_float32(keras, precision):
    """A softmax in half precision does not add up to 1, and its logarithm is wrong in the second digit."""
    model = build_cnn(**SMALL, batch_normalization=True, precision=precision)
    given = model(images())
    half = (precision or "").removeprefix("mixed_") if (precision or "").startswith("mixed") else "float32"
    assert model.get_layer("conv_1").compute_dtype == half
    assert keras.backend.standardize_dtype(given.dtype) == "float32"
    assert (numpy(given) >= 0).all()
    assert numpy(given).sum(axis=1) == pytest.approx(np.ones(6), abs=1e-6)
    assert {weight.dtype for weight in model.weights} == {"float32"}


def test_statistics_of_batch_normalization_stay_float32_in_mixed_precision(keras):
    """bfloat16 would lose updates of 1%: it has 8 bits of mantissa."""
    model = build_cnn(**SMALL, batch_normalization=True, precision="mixed_bfloat16")
    layer = model.get_layer("normalization_1")
    before = numpy(layer.moving_mean.value)
    model(images(), training=True)
    after = numpy(layer.moving_mean.value)
    assert layer.compute_dtype == "bfloat16"
    assert {weight.dtype for weight in layer.weights} == {"float32"}
    assert not np.array_equal(before, after)
    rounded = numpy(keras.ops.cast(keras.ops.cast(layer.moving_mean.value, "bfloat16"), "float32"))
    assert not np.array_equal(after, rounded)


def test_dropout_comes_from_the_seed():
    first, same, other = (build_cnn(**SMALL, dropout=0.5, seed=seed) for seed in (1, 1, 2))
    assert first.get_layer("dropout").seed == same.get_layer("dropout").seed
    assert first.get_layer("dropout").seed != other.get_layer("dropout").seed
    assert np.array_equal(numpy(first(images(), training=True)), numpy(same(images(), training=True)))


def test_keras_trains_saves_and_loads_it(tmp_path):
    """The model is a plain keras.Model: whatever Keras can do with one has to work."""
    model = build_cnn(**SMALL, dropout=0.1, batch_normalization=True)
    model.compile("adam", "sparse_categorical_crossentropy")
    history = model.fit(images(), np.arange(6) % 3, batch_size=3, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    model.save(tmp_path / "model.keras")
    again = loaded(tmp_path / "model.keras")
    assert np.array_equal(numpy(again(images())), numpy(model(images())))


def test_the_smallest_image_is_18_pixels_and_the_error_says_so():
    assert build_cnn((18, 18, 1)).output_shape == (None, 10)
    with pytest.raises(ModelError, match="at least 18x18 pixels") as caught:
        build_cnn((17, 40, 1))
    assert "input_shape=(17, 40, 1)" in str(caught.value)
    assert "fewer filters" in str(caught.value)


def test_one_convolution_has_no_pooling_to_blame():
    with pytest.raises(ModelError, match="a convolution of 5x5 needs images of at least 5x5 pixels"):
        build_cnn((4, 4, 1), filters=(2,), kernel_size=5)


@pytest.mark.parametrize(
    ("argument", "value", "allowed"),
    [
        ("input_shape", (28, 28), "a tuple (height, width, channels) of whole numbers of at least 1"),
        ("input_shape", 28, "a tuple (height, width, channels)"),
        ("input_shape", "abc", "a tuple (height, width, channels)"),
        ("input_shape", (28, 28.0, 1), "whole numbers"),
        ("input_shape", (28, 28, True), "whole numbers"),
        ("input_shape", (28, None, 1), "whole numbers"),
        ("input_shape", (28, 0, 1), "at least 1"),
        ("classes", 1, "a whole number of at least 2"),
        ("classes", 2.0, "a whole number of at least 2"),
        ("classes", True, "a whole number of at least 2"),
        ("classes", "10", "a whole number of at least 2"),
        ("filters", (), "a tuple of whole numbers of at least 1"),
        ("filters", 32, "a tuple of whole numbers of at least 1"),
        ("filters", (32, -1), "a tuple of whole numbers of at least 1"),
        ("kernel_size", 0, "a whole number of at least 1"),
        ("kernel_size", (3, 3), "a whole number of at least 1"),
        ("dense_units", None, "a whole number of at least 1"),
        ("dropout", 1.0, "from 0 up to, but not including, 1"),
        ("dropout", -0.1, "from 0 up to, but not including, 1"),
        ("dropout", True, "from 0 up to, but not including, 1"),
        ("dropout", float("nan"), "from 0 up to, but not including, 1"),
        ("dropout", "0.5", "from 0 up to, but not including, 1"),
        ("batch_normalization", 1, "True or False"),
        ("precision", 16, "a string such as 'mixed_bfloat16'"),
        ("seed", -1, "a whole number of at least 0"),
        ("seed", 0.5, "a whole number of at least 0"),
        ("name", "a/b", "a non-empty string without '/'"),
        ("name", "", "a non-empty string without '/'"),
    ],
)
def test_an_impossible_argument_is_one_clear_error(argument, value, allowed):
    with pytest.raises(ModelError) as caught:
        build_cnn(**{argument: value})
    assert f"build_cnn({argument}={value!r})" in str(caught.value)
    assert allowed in str(caught.value)


def test_a_slip_of_the_keyboard_does_not_fill_the_memory():
    with pytest.raises(ModelError, match=r"the model would have .* parameters .* GiB"):
        build_cnn(dense_units=10**9)


def test_an_unknown_precision_is_the_error_of_the_precision_policy():
    with pytest.raises(PrecisionError, match="Allowed: 'auto', 'float32'"):
        build_cnn(precision="float8")


def test_numpy_integers_are_whole_numbers():
    model = build_cnn(np.array([18, 18, 1]).tolist(), classes=np.int64(4), seed=np.uint8(1))
    assert model.output_shape == (None, 4)
