"""Any keras.Model trains: of several inputs and outputs, with its own steps, of odd types, not built yet.

Without this a person has to rewrite a model that works in Keras before it works here.
"""

from __future__ import annotations

import numpy as np
import pytest
from training import FLOAT32, assert_same_weights, dense, differ, draws, points, weights_of

from unidl import Trainer
from unidl.backend import Chunk
from unidl.data import Split
from unidl.errors import DataError, ModelError
from unidl.testing import LEARNING_RATE, LinearCase


def compared(built, data, **options):
    """Fail unless our `fit` and Keras's give one history and the same weights; return ours.

    Of full batches: on TensorFlow, Keras counts a smaller last batch as a full one in the losses of single outputs.
    """
    theirs, ours = built(), built()
    ours.set_weights(weights_of(theirs))
    parts = {"x": data.x, "y": data.y, "sample_weight": data.sample_weight}
    expected = theirs.fit(**parts, batch_size=4, shuffle=False, verbose=0, **options)
    found = Trainer(ours).fit(data, batch_size=4, shuffle=False, progress="quiet", **options)
    assert set(found.history) == set(expected.history)
    for name, values in expected.history.items():
        np.testing.assert_allclose(found.history[name], values, rtol=FLOAT32, atol=FLOAT32)
        assert [np.shape(value) for value in found.history[name]] == [np.shape(value) for value in values]
    assert_same_weights(weights_of(ours), weights_of(theirs), FLOAT32)
    return found.history


def test_named_inputs_and_outputs(backend):
    import keras

    def built():
        inputs = {"size": keras.Input((2,), name="size"), "age": keras.Input((1,), name="age")}
        both = keras.layers.Concatenate()([inputs["size"], inputs["age"]])
        outputs = {
            "price": keras.layers.Dense(1, name="price")(both),
            "kind": keras.layers.Dense(3, activation="softmax", name="kind")(both),
        }
        model = keras.Model(inputs, outputs)
        model.compile(
            "sgd",
            {"price": "mse", "kind": "sparse_categorical_crossentropy"},
            metrics={"price": ["mae"], "kind": ["accuracy"]},
            loss_weights={"price": 0.5, "kind": 2.0},
        )
        return model

    drawn = draws()
    x = {"size": drawn.normal(size=(8, 2)), "age": drawn.normal(size=(8, 1))}
    y = {"price": drawn.normal(size=(8, 1)), "kind": drawn.integers(3, size=8).astype(np.int32)}
    history = compared(built, Split(x, y))
    assert {"loss", "price_loss", "kind_loss", "price_mae", "kind_accuracy"} == set(history)


def test_listed_inputs_and_outputs_with_a_weight_each(backend):
    import keras

    def built():
        inputs = [keras.Input((2,)), keras.Input((2,))]
        model = keras.Model(
            inputs, [keras.layers.Dense(1, name="one")(inputs[0]), keras.layers.Dense(2, name="two")(inputs[1])]
        )
        model.compile("sgd", ["mse", "mae"], weighted_metrics=[["mae"], ["mse"]])
        return model

    drawn = draws()
    x = [drawn.normal(size=(8, 2)) for _ in range(2)]
    y = [drawn.normal(size=(8, 1)), drawn.normal(size=(8, 2))]
    history = compared(built, Split(x, y, [drawn.uniform(size=8) for _ in range(2)]))
    assert {"loss", "one_loss", "two_loss", "one_mae", "two_mse"} == set(history)


def test_metrics_of_several_values_and_of_their_own_variable(backend):
    """F1Score gives a number for each class; a metric may also give a dict, or the variable it counts in."""
    import keras

    class Counts(keras.metrics.Metric):
        def __init__(self):
            super().__init__(name="counts")
            self.rows = self.add_weight(name="rows", initializer="zeros")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.rows.assign_add(keras.ops.cast(keras.ops.shape(y_true)[0], "float32"))

        def result(self):
            return {"rows": keras.ops.cast(self.rows, "float32"), "twice": 2 * self.rows}

    def built():
        inputs = keras.Input((3,))
        model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(inputs))
        model.compile("sgd", "categorical_crossentropy", metrics=[keras.metrics.F1Score(average=None), Counts()])
        return model

    y = np.eye(3, dtype=np.float32)[draws().integers(3, size=8)]
    history = compared(built, Split(points(8).x, y))
    assert history["f1_score"][0].shape == (3,)
    assert (history["rows"], history["twice"]) == ([8.0], [16.0])


def test_logs_of_a_variable_stay_what_they_were(backend):
    """The trainer reads one chunk's metrics while the next one computes."""
    import keras

    class Rows(keras.metrics.Metric):
        def __init__(self):
            super().__init__(name="rows")
            self.count = self.add_weight(name="count", initializer="zeros")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.count.assign_add(keras.ops.cast(keras.ops.shape(y_true)[0], "float32"))

        def result(self):
            return keras.ops.cast(self.count, "float32")

    data = points(12)
    for options in ({}, {"run_eagerly": True}):
        loop = Trainer(dense(metrics=[Rows()], **options))._ready_loop()
        logs = [loop.run(Chunk(data, np.arange(first, first + 4)[np.newaxis])) for first in (0, 4, 8)]
        assert [log.read()["rows"] for log in logs] == [4.0, 8.0, 12.0]


@pytest.mark.parametrize("dtype", ["uint8", "int64", "uint16", "uint32", "bool", "float16", "bfloat16", "float64"])
def test_inputs_of_every_type(backend, dtype):
    """Pictures come as uint8, masks as bool, tables as float64."""
    import ml_dtypes  # NumPy itself has no bfloat16; Keras brings this

    x = draws().integers(0, 2, size=(8, 3)).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    trainer = Trainer(dense())
    np.testing.assert_allclose(trainer.predict(x), trainer.predict(x.astype(np.float32)), rtol=FLOAT32, atol=FLOAT32)
    if dtype in ("uint8", "bool"):
        history = trainer.fit((x, x[:, :1]), batch_size=4, progress="quiet")
        assert np.isfinite(history.history["loss"]).all()


def test_a_model_without_labels(backend):
    """An autoencoder adds its loss itself; `y` is not needed."""
    import keras

    class Loss(keras.layers.Layer):
        def call(self, values):
            self.add_loss(keras.ops.mean(keras.ops.square(values)))
            return values

    def built():
        inputs = keras.Input((3,))
        model = keras.Model(inputs, Loss()(keras.layers.Dense(2)(inputs)))
        model.compile("sgd")
        return model

    data = Split(points(8).x)
    history = compared(built, data)
    assert history["loss"][0] > 0
    assert set(Trainer(built()).evaluate(data)) == {"loss"}


def test_labels_that_are_missing_are_told(backend):
    with pytest.raises(DataError, match="has no y"):
        Trainer(dense()).fit(points(8).x, progress="quiet")


def test_a_model_that_runs_eagerly_trains_and_says_why_it_is_slow(backend):
    import keras

    case = LinearCase(steps=2, batch=4)
    case.model.compile(keras.optimizers.SGD(LEARNING_RATE), "mean_squared_error", run_eagerly=True)
    trainer = Trainer(case.model)
    assert trainer.why_not_compiled == "the model was compiled with run_eagerly=True"
    data = Split(case.data.x[case.rows.ravel()], case.data.y[case.rows.ravel()])
    losses = trainer.fit(data, batch_size=4, shuffle=False, progress="quiet").history["loss"]
    kernel, bias, expected = case.expected()
    assert losses == pytest.approx([np.mean(expected)], rel=FLOAT32)
    assert_same_weights(weights_of(case.model), [kernel, bias], FLOAT32)


def with_own_step(backend):
    """A model whose step doubles its loss and reports a number of its own, written as Keras's guides write it."""
    import keras

    class Doubled(keras.Model):
        if backend.name == "jax":

            def train_step(self, state, data):
                logs, state = super().train_step(state, data)
                return logs | {"twice": 2 * logs["loss"]}, state

        else:

            def train_step(self, data):
                logs = super().train_step(data)
                return logs | {"twice": 2 * logs["loss"]}

    inputs = keras.Input((3,))
    model = Doubled(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    return model


def test_a_step_of_the_models_own_is_taken(backend):
    history = compared(lambda: with_own_step(backend), points(32))
    assert history["twice"] == pytest.approx([2 * history["loss"][0]])


def test_metrics_of_the_models_own_are_reported(backend):
    import keras

    class Measured(keras.Model):
        def compute_metrics(self, x, y, y_pred, sample_weight=None):
            logs = super().compute_metrics(x, y, y_pred, sample_weight)
            return logs | {"largest": keras.ops.max(y_pred)}

    inputs = keras.Input((3,))
    model = Measured(inputs, keras.layers.Dense(1)(inputs))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    data = points(32)
    history = Trainer(model).fit(data, batch_size=4, shuffle=False, progress="quiet").history
    assert history["largest"] == pytest.approx([model.predict(data.x[-4:], verbose=0).max()], rel=FLOAT32)


def test_a_model_that_is_not_built_yet(backend):
    """Keras builds it on the first batch; here on the first row, and then the labels can be checked as well."""
    import keras

    def built():
        model = keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(3, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model

    data = Split(points(8).x, draws().integers(3, size=8).astype(np.int32))
    trainer = Trainer(built())
    assert len(trainer.fit(data, batch_size=4, progress="quiet").history["loss"]) == 1
    assert trainer._loops._loop is trainer._ready_loop()
    assert trainer.why_not_compiled is None
    assert Trainer(built()).predict(data.x).shape == (8, 3)
    with pytest.raises(DataError, match="Label 3"):
        Trainer(built()).fit(Split(data.x, np.full(8, 3)), progress="quiet")

    class Picky(keras.Model):
        def call(self, values):
            raise ValueError("only on Sundays")

    picky = Picky(name="picky")
    picky.compile("sgd", "mse")
    with pytest.raises(ModelError, match=r"(?s)'picky' has no weights yet.*only on Sundays"):
        Trainer(picky).predict(points(4).x)


def test_weights_that_share_one_array(backend):
    """A target network begins as the very array of its model; XLA refuses to be given one array twice."""
    import keras

    inputs = keras.Input((3,))
    layers = [keras.layers.Dense(1), keras.layers.Dense(1)]
    model = keras.Model(inputs, keras.layers.Add()([layer(inputs) for layer in layers]))
    for one, other in zip(layers[0].weights, layers[1].weights, strict=True):
        other.assign(one.value)
    model.compile("sgd", "mse")
    before = weights_of(model)
    Trainer(model).fit(points(8), batch_size=4, progress="quiet")
    assert differ(weights_of(model), before)
    assert_same_weights(weights_of(layers[0]), weights_of(layers[1]))
