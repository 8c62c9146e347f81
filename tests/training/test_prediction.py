"""Evaluation and prediction agree with Keras's own, in the order of the rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from training import dense, draws, pictures, points, shared_model, small_cnn

from unidl import Trainer
from unidl.errors import DataError

TIGHT = 1e-6
"""One forward pass of small sums in float32, whose order two batch sizes may change."""


@pytest.fixture
def shared(backend):
    return shared_model().afresh()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("batch_size", [4, 9, 100])
def test_evaluate_is_keras_evaluate(shared, batch_size, weighted):
    data = points(9)
    if weighted:
        data = replace(data, sample_weight=draws(1).uniform(size=9).astype(np.float32))
    found = shared.trainer.evaluate(data, batch_size=batch_size)
    expected = shared.model.evaluate(data.x, data.y, sample_weight=data.sample_weight, verbose=0, return_dict=True)
    assert found == pytest.approx(expected, rel=TIGHT)
    assert next(iter(found)) == "loss"
    assert {type(value) for value in found.values()} == {float}


@pytest.mark.parametrize("rows", [1, 4, 9])
def test_predictions_come_in_the_order_of_the_rows(shared, rows):
    x = points(rows).x
    expected = shared.model.predict(x, verbose=0)
    for batch_size in (2, 4, 256):
        found = shared.trainer.predict(x, batch_size=batch_size)
        assert found.shape == (rows, 1)
        np.testing.assert_allclose(found, expected, rtol=TIGHT, atol=TIGHT)
    turned = shared.trainer.predict(x[::-1], batch_size=4)
    np.testing.assert_allclose(turned, expected[::-1], rtol=TIGHT, atol=TIGHT)


def test_predictions_follow_the_weights_of_now(shared):
    """A set of weights loaded by hand counts at once."""
    model = shared.model
    x = points(4).x
    shared.trainer.predict(x)
    model.set_weights([np.zeros_like(value) for value in model.get_weights()])
    np.testing.assert_array_equal(shared.trainer.predict(x), 0)


def test_evaluating_between_fits_disturbs_neither(shared):
    shared.fit(epochs=1)
    history = shared.fit(epochs=1).history["loss"]
    shared.afresh().fit(epochs=1)
    shared.trainer.evaluate(points(9))
    shared.trainer.predict(points(9).x)
    assert shared.fit(epochs=1).history["loss"] == history


def test_outputs_keep_their_form(backend):
    import keras

    inputs = keras.Input((3,))
    layer = keras.layers.Dense(2)
    nested = {"a": layer(inputs), "rest": [keras.layers.Dense(1)(inputs), (keras.layers.Flatten()(inputs),)]}
    model = keras.Model(inputs, nested)
    model.compile("sgd")
    x = points(5).x
    found = Trainer(model).predict(x, batch_size=2)
    expected = keras.tree.map_structure(keras.ops.convert_to_numpy, model(x))
    keras.tree.assert_same_structure(found, expected)
    for one, other in zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True):
        assert type(one) is np.ndarray
        np.testing.assert_allclose(one, other, rtol=TIGHT, atol=TIGHT)


def test_outputs_in_bfloat16_are_float32_everywhere(backend):
    """NumPy knows no bfloat16: comparing or saving such outputs fails in surprising places."""
    import keras

    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(1, dtype="mixed_bfloat16")(inputs))
    model.compile("sgd", "mse")
    assert Trainer(model).predict(points(4).x).dtype == np.float32


def test_probabilities_and_accuracy_belong_together(backend):
    data = pictures(10)
    trainer = Trainer(small_cnn())
    probabilities = trainer.predict(data.x, batch_size=4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=TIGHT)
    found = trainer.evaluate(data, batch_size=4)
    assert found["accuracy"] == pytest.approx((probabilities.argmax(axis=1) == data.y).mean(), rel=TIGHT)
    likelihood = probabilities[np.arange(10), data.y].astype(np.float64)
    assert found["loss"] == pytest.approx(-np.log(likelihood).mean(), rel=1e-5)


def test_a_failed_evaluation_leaves_nothing_behind(shared, monkeypatch):
    """What the adapter still held would otherwise undo weights that are set afterwards."""
    loop = type(shared.trainer._ready_loop())
    test = loop.test
    calls = []

    def failing(self, chunk):
        calls.append(chunk)
        if len(calls) == 2:
            raise OSError("unreadable")
        return test(self, chunk)

    monkeypatch.setattr(loop, "test", failing)
    monkeypatch.setattr(shared.trainer._ready_loop(), "steps_per_dispatch", 1)
    with pytest.raises(OSError, match="unreadable"):
        shared.trainer.evaluate(points(9), batch_size=4)
    shared.model.set_weights([np.zeros_like(value) for value in shared.model.get_weights()])
    monkeypatch.undo()
    found = shared.trainer.evaluate(points(9), batch_size=4)
    assert found["loss"] == pytest.approx(float(np.mean(points(9).y ** 2)), rel=1e-5)


def test_data_that_does_not_fit_is_refused(backend):
    with pytest.raises(DataError, match="rows of shape"):
        Trainer(dense()).predict(np.zeros((4, 5)))
