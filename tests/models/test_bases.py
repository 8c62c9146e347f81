"""A transfer model on another model: one of ours, copied; or any model of Keras, shared."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from unidl.errors import ModelError
from unidl.models import (
    base_of,
    build_cnn,
    build_lstm,
    build_transfer,
    initialise,
    note,
    record_of,
    set_trainable_state,
    trainable_state,
)
from unidl.models.initial_weights import drawn_later

pytestmark = pytest.mark.usefixtures("backend")


@pytest.fixture(scope="module")
def keras():
    import keras

    return keras


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


@pytest.mark.parametrize("dense_units", [None, 0])
def test_without_a_dense_layer_the_classes_follow_the_features(cnn, dense_units):
    model = build_transfer(cnn, classes=2, dense_units=dense_units)
    assert [layer.name for layer in model.layers][2:] == ["flatten", "logits", "probabilities"]


def test_one_of_our_models_is_copied_up_to_its_head(cnn):
    """The model that was given goes on learning, and the copy stays as it was."""
    model = build_transfer(cnn, classes=2, seed=8)
    base = base_of(model)
    assert base.output_shape == (None, 1, 1, 4)
    assert same(weights(base), weights(cnn)[: len(base.weights)])
    assert len(cnn.trainable_weights) == 10
    cnn.get_layer("conv_1").kernel.assign(numpy(cnn.get_layer("conv_1").kernel.value) + 1)
    assert not np.array_equal(weights(base)[0], weights(cnn)[0])
    assert "dropout" not in [layer.name for layer in base.layers]
    assert record_of(model).architecture.arguments["base"]["arguments"]["dropout"] == 0
    assert numpy(model(images(2, 18, 18, 1))).sum(axis=1) == pytest.approx(np.ones(2), abs=1e-6)


def test_a_copied_base_takes_the_new_precision(cnn):
    model = build_transfer(cnn, precision="mixed_bfloat16")
    assert base_of(model).get_layer("conv_1").compute_dtype == "bfloat16"


def test_a_recurrent_base_gives_its_last_state_and_its_vocabulary():
    lstm = build_lstm(9, 5, units=4, embedding_size=3, dropout=0.1)
    note(lstm, vocabulary=("", "?", "a"))
    model = build_transfer(lstm, classes=2)
    assert base_of(model).output_shape == (None, 4)
    assert model.inputs[0].dtype == "int32"
    assert record_of(model).vocabulary == ("", "?", "a")
    series = build_lstm(sequence_length=5, features=2, units=4, targets=1, output="steps")
    assert base_of(build_transfer(series, pooling="first")).output_shape == (None, 5, 4)


@pytest.mark.parametrize("pooling", ["flatten", "average"])
def test_a_transfer_model_is_a_base_again(cnn, pooling):
    first = build_transfer(cnn, classes=2, pooling=pooling, dense_units=None)
    second = build_transfer(first, classes=4)
    assert base_of(second).output_shape == (None, 1, 1, 4)
    assert same(weights(base_of(second)), weights(base_of(first)))


def test_a_directory_is_loaded_by_load_model(cnn, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "unidl.saving", SimpleNamespace(load_model=lambda path: cnn))
    for path in (tmp_path, str(tmp_path)):
        model = build_transfer(path, classes=2)
        assert same(weights(base_of(model)), weights(cnn)[: len(base_of(model).weights)])
    assert record_of(model).architecture.arguments["base"]["builder"] == "cnn"


def test_a_foreign_model_is_shared_frozen_and_without_record(keras):
    inputs = keras.Input((7,), name="numbers")
    with drawn_later():
        values = keras.layers.Dense(6)(keras.layers.BatchNormalization()(inputs))
    foreign = keras.Model(inputs, values, name="foreign")
    model = build_transfer(foreign, classes=2, dense_units=3)
    assert base_of(model) is foreign
    assert not foreign.trainable_weights
    assert record_of(model).architecture is None
    assert model.output_shape == (None, 2)


def test_a_sequential_model_is_a_base(keras):
    base = keras.Sequential([keras.Input((6, 5)), keras.layers.Dense(4)])
    assert build_transfer(base, classes=2, pooling="first").output_shape == (None, 2)


@pytest.fixture
def backbone(keras):
    """As small as a backbone of keras_hub can be: tokens and their mask in a dict, a sequence out."""
    tokens = keras.Input((None,), dtype="int32", name="token_ids")
    mask = keras.Input((None,), dtype="int32", name="padding_mask")
    with drawn_later():
        values = keras.layers.Embedding(20, 4)(tokens)
        attention = keras.layers.MultiHeadAttention(2, 2)
        values = attention(values, values, attention_mask=keras.ops.expand_dims(mask, 1))
    outputs = {"sequence_output": values, "pooled_output": values[:, 0]}
    model = keras.Model({"token_ids": tokens, "padding_mask": mask}, outputs, name="backbone")
    initialise(model, 0)
    return model


def test_a_backbone_with_a_dict_of_inputs_trains_saves_and_loads(keras, backbone, tmp_path):
    base = keras.Model(backbone.input, backbone.output["sequence_output"], name="backbone")
    model = build_transfer(base, classes=3, pooling="first", dense_units=None)
    batch = {"token_ids": np.arange(12).reshape(2, 6), "padding_mask": np.ones((2, 6), "int32")}
    assert [given.name for given in model.inputs] == [given.name for given in base.inputs]
    assert numpy(model(batch)).sum(axis=1) == pytest.approx(np.ones(2), abs=1e-6)
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert np.isfinite(model.fit(batch, np.array([0, 2]), verbose=0).history["loss"]).all()
    model.save(tmp_path / "model.keras")
    # Not compiled: Keras 3.15.1 forgets that the layers inside a frozen MultiHeadAttention are frozen.
    again = loaded(tmp_path / "model.keras", compile=False)
    assert len(again.trainable_weights) > len(model.trainable_weights)
    set_trainable_state(again, trainable_state(model))
    assert len(again.trainable_weights) == len(model.trainable_weights)
    assert np.array_equal(numpy(again(batch)), numpy(model(batch)))


def test_the_steps_of_a_sequence_are_averaged(keras, backbone):
    base = keras.Model(backbone.input, backbone.output["sequence_output"], name="backbone")
    model = build_transfer(base, classes=3, pooling="average")
    assert model.get_layer("average").output.shape == (None, 4)


def test_a_base_with_its_own_inputs_and_weights_takes_no_others(cnn):
    with pytest.raises(ModelError, match=r"the model 'cnn' takes \(18, 18, 1\); leave input_shape out"):
        build_transfer(cnn, (28, 28, 1))
    with pytest.raises(ModelError, match="only a base given by name takes weights"):
        build_transfer(cnn, weights="some.weights.h5")
    assert build_transfer(cnn, (18, 18, 1)).output_shape == (None, 10)


def test_features_that_cannot_be_pooled_so(keras):
    line = keras.Input((None, 3))
    free = keras.Model(line, keras.layers.Activation("relu")(line))
    with pytest.raises(ModelError, match=r"\(None, None, 3\) have no fixed size; use pooling='average'"):
        build_transfer(free)
    flat = keras.Model(line, keras.layers.GlobalMaxPooling1D()(line))
    with pytest.raises(ModelError, match=r"\(None, 3\) have no axis to average over; use pooling='flatten'"):
        build_transfer(flat, pooling="average")


def test_a_model_that_cannot_be_a_base(keras, backbone):
    with pytest.raises(ModelError, match=r"it has 2 outputs instead of one.\nChoose one: keras.Model"):
        build_transfer(backbone)

    class Subclassed(keras.Model):
        """A model that is not a graph of layers."""

    with pytest.raises(ModelError, match="its inputs are not defined"):
        build_transfer(Subclassed())
