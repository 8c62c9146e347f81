"""From the record of a model back to the same model: what saving and resuming stand on."""

import json

import numpy as np
import pytest

from unidl.errors import ModelError
from unidl.layer_paths import named_weights
from unidl.models import Architecture, base_of, build, build_cnn, build_lstm, build_transfer, builders, record_of

pytestmark = pytest.mark.usefixtures("backend")


def numpy(tensor):
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor))


def assert_equal(one, other):
    assert [type(layer).__name__ for layer in one.layers] == [type(layer).__name__ for layer in other.layers]
    first, second = named_weights(one), named_weights(other)
    assert list(first) == list(second)
    differing = [name for name in first if not np.array_equal(numpy(first[name].value), numpy(second[name].value))]
    assert not differing
    assert [w.trainable for w in first.values()] == [w.trainable for w in second.values()]


def test_the_helper_sees_a_difference():
    with pytest.raises(AssertionError):
        assert_equal(build_cnn((18, 18, 1)), build_cnn((18, 18, 1), seed=1))


def small_cnn():
    return build_cnn((18, 19, 2), 3, filters=(2, 3), kernel_size=2, dense_units=4, dropout=0.1, seed=5, name="mine")


MODELS = {
    "cnn": small_cnn,
    "normalized cnn": lambda: build_cnn(batch_normalization=True, precision="mixed_bfloat16"),
    "lstm": build_lstm,
    "gru": lambda: build_lstm(9, None, units=3, layers=2, cell="gru", bidirectional=True, output="steps", seed=2),
    "series": lambda: build_lstm(sequence_length=5, features=2, units=4, targets=2, dropout=0.2, mask_padding=True),
    "named base": lambda: build_transfer("MobileNetV2", (32, 32, 3), 3, weights=None, dense_units=None, seed=3),
    "own base": lambda: build_transfer(small_cnn(), classes=2, dense_units=4, dropout=0.3),
    "twice": lambda: build_transfer(build_transfer(small_cnn(), classes=2, pooling="average"), classes=3),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_record_goes_through_json_and_builds_an_equal_model(name):
    model = MODELS[name]()
    architecture = record_of(model).architecture
    record = json.loads(json.dumps({"builder": architecture.builder, "arguments": architecture.arguments}))
    again = build(Architecture(record["builder"], record["arguments"]))
    assert record["arguments"] == architecture.arguments, "a JSON value, not only something JSON can write"
    assert record_of(again).architecture == architecture
    assert again.name == model.name
    assert again.output_shape == model.output_shape
    assert [w.dtype for w in again.weights] == [w.dtype for w in model.weights]
    assert_equal(again, model)


def test_the_record_keeps_what_was_asked_for_and_not_what_came_of_it():
    """A model saved on a GPU in "auto" has to choose anew on a laptop."""
    assert record_of(build_cnn()).architecture.arguments["precision"] is None
    assert record_of(build_cnn(precision="auto")).architecture.arguments["precision"] == "auto"


def test_pretrained_weights_are_not_fetched_again(monkeypatch):
    """The file that is loaded next has them, and the machine may be offline by now."""

    def refuse(*_, **__):
        raise OSError("this test has no network")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", refuse)
    arguments = {"base": "MobileNetV2", "input_shape": [32, 32, 3], "weights": "imagenet"}
    model = build(Architecture("transfer", arguments))
    assert not any(np.isnan(numpy(weight.value)).any() for weight in model.weights)
    assert record_of(model).architecture.arguments["weights"] == "imagenet"
    gone = build(Architecture("transfer", arguments | {"weights": "/a/file/that/is/gone.h5"}))
    assert gone.output_shape == (None, 10)


def test_efficientnet_is_rebuilt_as_its_pretrained_weights_need_it(monkeypatch):
    """Keras builds it in another way for "imagenet"; without that layer it would see other images, silently."""
    import keras

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: "")
    monkeypatch.setattr(keras.Model, "load_weights", lambda *_, **__: None)
    from unidl.models.initial_weights import drawn_later

    with drawn_later():
        expected = keras.applications.EfficientNetB0(include_top=False, input_shape=(32, 32, 3))
    model = build(Architecture("transfer", {"base": "EfficientNetB0", "input_shape": (32, 32, 3)}))
    kept = [layer for layer in expected.layers if type(layer).__name__ != "Dropout"]
    assert [type(a).__name__ for a in base_of(model).layers] == [type(b).__name__ for b in kept]
    assert [w.shape for w in base_of(model).weights] == [w.shape for w in expected.weights]
    scales = [
        [layer.scale for layer in base.layers if isinstance(layer, keras.layers.Rescaling)]
        for base in (base_of(model), expected)
    ]
    assert np.allclose(scales[0][1], scales[1][1])
    assert len(scales[0]) == len(scales[1]) == 2


def test_a_record_cannot_make_us_read_a_directory(tmp_path):
    """A saved model may come from an untrusted source."""
    with pytest.raises(ModelError, match="it is neither a directory nor a network"):
        build(Architecture("transfer", {"base": str(tmp_path)}))


def test_an_unknown_builder_is_an_error():
    assert list(builders.OURS)[:3] == ["cnn", "lstm", "transfer"]
    with pytest.raises(ModelError, match="unknown builder 'vit'") as caught:
        build(Architecture("vit", {}))
    assert "Known builders: 'cnn', 'lstm', 'transfer'" in str(caught.value)


@pytest.mark.parametrize("builder", ["cnn", "lstm", "transfer"])
def test_an_unknown_argument_is_an_error(builder):
    with pytest.raises(ModelError, match=rf"build_{builder} has no argument 'colour'.*\n.*another version"):
        build(Architecture(builder, {"colour": "red"}))


@pytest.mark.parametrize(
    ("builder", "arguments"),
    [
        ("cnn", {"filters": "abc"}),
        ("cnn", {"classes": [10]}),
        ("cnn", {"dense_units": 4_000_000_000}),
        ("cnn", {"input_shape": {"height": 3}}),
        ("lstm", {"units": 4_000_000_000}),
        ("lstm", {"cell": {"class_name": "Lambda"}}),
        ("transfer", {"base": None}),
        ("transfer", {"base": {"builder": "cnn"}}),
        ("transfer", {"base": {"builder": "vit", "arguments": {}}}),
        ("transfer", {"base": {"builder": ["cnn"], "arguments": {}}}),
        ("transfer", {"base": {"builder": "cnn", "arguments": {"units": 3}}}),
        ("transfer", {"weights": {"path": "x"}}),
    ],
)
def test_a_damaged_record_is_one_clear_error(builder, arguments):
    with pytest.raises(ModelError):
        build(Architecture(builder, arguments))
