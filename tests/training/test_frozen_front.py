"""Features of a frozen front, computed once: the same training for less work, and refused where it would not be."""

from __future__ import annotations

import json

import numpy as np
import pytest
from training import assert_same_weights, differ, draws, pictures, points, weights_of

from unidl import Trainer, build_transfer
from unidl.data import Split
from unidl.errors import ModelError
from unidl.training import frozen_front


def frozen(*, learns=False, dropout=0.0, statistics=False, mask=False, shortcut=False, foreign=None, **compiled):
    """Two dense layers, the first one frozen, with what a test puts between them."""
    import keras

    inputs = keras.Input((6,) if mask else (3,), dtype="int32" if mask else "float32")
    if mask:
        values = keras.layers.Embedding(12, 4, mask_zero=True, trainable=False)(inputs)
    else:
        values = keras.layers.Dense(4, activation="tanh", name="first", trainable=learns)(inputs)
    if foreign is not None:
        values = foreign(values)
    if dropout:
        values = keras.layers.Dropout(dropout, seed=0, name="dropout")(values)
    if statistics:
        values = keras.layers.BatchNormalization(center=False, scale=False, name="statistics")(values)
    if mask:
        values = keras.layers.LSTM(4)(values)
    if shortcut:
        values = keras.layers.Concatenate()([values * 2, inputs])
    model = keras.Model(inputs, keras.layers.Dense(1, name="last")(values), name="two")
    drawn = draws()
    for weight in model.weights:
        weight.assign(drawn.normal(scale=0.5, size=weight.shape))
    model.compile(**{"optimizer": keras.optimizers.Adam(0.05), "loss": "mean_squared_error"} | compiled)
    return model


def trained(model, **options):
    trainer = Trainer(model)
    trainer.fit(points(22), epochs=3, batch_size=4, progress="quiet", **options)
    return trainer


@pytest.mark.parametrize("shortcut", [False, True])
def test_it_trains_what_training_all_of_the_model_trains(backend, shortcut):
    """Weights, history with validation, and the model that a person then predicts with."""
    plain = trained(frozen(shortcut=shortcut), validation=points(7, seed=1))
    before = weights_of(frozen(shortcut=shortcut))
    once = trained(frozen(shortcut=shortcut), validation=points(7, seed=1), precompute_frozen=True)
    assert differ(weights_of(once.model), before, tolerance=1e-3)
    assert_same_weights(weights_of(once.model), weights_of(plain.model), tolerance=1e-6)
    assert list(once.history) == list(plain.history)
    assert "val_loss" in once.history
    for name, values in once.history.items():
        np.testing.assert_allclose(values, plain.history[name], rtol=1e-5)
    np.testing.assert_allclose(once.predict(points(5).x), plain.predict(points(5).x), atol=1e-5)


def test_the_front_computes_each_row_once(backend, monkeypatch):
    """The whole gain: three epochs and a validation, and no row of the data goes through the front again."""
    seen = []
    features = frozen_front.FrozenFront._computed

    def counted(self, data, batch_size, *rest):
        seen.append(len(data))
        return features(self, data, batch_size, *rest)

    monkeypatch.setattr(frozen_front.FrozenFront, "_computed", counted)
    trainer = trained(frozen(), validation=points(7), precompute_frozen=True)
    assert seen == [22, 7]
    assert trainer.describe()["fit"]["precompute_frozen"] is True


def test_training_goes_on_with_the_same_optimizer(backend):
    """One run with, one without: as four epochs in one go, whose data come in the same order."""
    whole, parts = Trainer(frozen()), Trainer(frozen())
    whole.fit(points(22), epochs=4, batch_size=4, progress="quiet")
    for first in (0, 2):
        precompute = first == 0
        parts.fit(
            points(22), initial_epoch=first, epochs=first + 2, batch_size=4, progress="quiet",
            precompute_frozen=precompute,
        )  # fmt: skip
    assert_same_weights(weights_of(parts.model), weights_of(whole.model), tolerance=1e-5)


def test_a_transfer_model_on_a_frozen_base(backend):
    """What it is made for; the labels are integers and the metric is an accuracy."""
    from training import small_cnn

    found = []
    for precompute in (False, True):
        model = build_transfer(small_cnn(), classes=4, dense_units=8)
        trainer = Trainer(model)
        trainer.fit(pictures(24), epochs=2, batch_size=8, progress="quiet", precompute_frozen=precompute)
        found.append((weights_of(model), trainer.history["accuracy"]))
    assert_same_weights(found[1][0], found[0][0], tolerance=1e-5)
    np.testing.assert_allclose(found[1][1], found[0][1], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"learns": True}, "its layer 'first' is trainable"),
        ({"mask": True}, "carry a mask"),
    ],
)
def test_what_cannot_be_computed_once_is_refused(backend, options, why):
    with pytest.raises(ModelError, match=why):
        Trainer(frozen(**options)).fit(
            points(22) if "mask" not in options else Split(np.ones((8, 6), "int32"), np.ones((8, 1))),
            precompute_frozen=True,
        )


@pytest.mark.parametrize("options", [{"dropout": 0.5}, {"statistics": True}])
def test_what_changes_from_epoch_to_epoch_stays_behind_the_cut(backend, options):
    """Dropout and statistics behind a frozen layer are computed in each step, the frozen layer before them once."""
    model = frozen(**options)
    front, rest = frozen_front.cut(model)
    assert [layer.name for layer in front.layers[1:]] == ["first"]
    assert [layer.name for layer in rest.layers[1:]] == [*options, "last"]
    plain = trained(frozen(**options))
    once = trained(model, precompute_frozen=True)
    assert_same_weights(weights_of(once.model), weights_of(plain.model), tolerance=1e-5)


def test_a_layer_of_a_user_that_differs_when_training_is_noticed(backend):
    import keras

    class Doubled(keras.layers.Layer):
        def call(self, values, training=False):
            return 2 * values if training else values

    with pytest.raises(ModelError, match="behave differently during training"):
        trained(frozen(foreign=Doubled()), precompute_frozen=True)


def test_a_model_of_a_class_of_its_own_is_refused(backend):
    import keras

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.last = keras.layers.Dense(1)

        def call(self, values):
            return self.last(values)

    model = Own()
    model.compile(loss="mean_squared_error")
    with pytest.raises(ModelError, match="only a functional model can be split"):
        trained(model, precompute_frozen=True)


def test_a_callback_that_changes_the_front_ends_the_training(backend):
    """The features would be those of other weights."""
    import keras

    class Changes(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                kernel = self.model.get_layer("first").kernel
                kernel.assign(kernel + 1)

    with pytest.raises(ModelError, match="before epoch 3"):
        trained(frozen(), precompute_frozen=True, callbacks=[Changes()])


def test_a_callback_that_changes_nothing_there_is_welcome(backend):
    trainer = Trainer(frozen())
    trainer.fit(points(22), validation=points(7), epochs=3, early_stopping=2, precompute_frozen=True, progress="quiet")
    assert len(trainer.history["val_loss"]) == 3


def test_it_says_what_takes_so_long(backend, capsys):
    Trainer(frozen()).fit(points(22), validation=points(7), precompute_frozen=True, progress="json")
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["message", "message", "start", "epoch", "stop"]
    assert "22 rows, once" in events[0]["text"]
    assert "7 rows, once" in events[1]["text"]
