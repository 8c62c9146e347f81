"""Small models, small data and comparisons for the tests of training."""

from __future__ import annotations

from functools import cache

import numpy as np

from unidl import build_cnn, build_lstm
from unidl.data import Split

FLOAT32 = 1e-5
"""Sums of some hundred float32 products, each rounded to 6e-8 of its size, after some twenty steps."""


def draws(seed=0):
    return np.random.default_rng(seed)


def points(rows=22, *, features=3, seed=0):
    """Rows (features,) with one number to predict, which depends on all of them."""
    x = draws(seed).normal(size=(rows, features)).astype(np.float32)
    return Split(x, np.tanh(x.sum(axis=1, keepdims=True)).astype(np.float32))


def pictures(rows=24, *, side=8, classes=4, seed=0):
    """Noisy pictures (side, side, 1) whose class is the quarter that is bright."""
    drawn = draws(seed)
    y = drawn.integers(classes, size=rows).astype(np.int32)
    x = drawn.normal(scale=0.3, size=(rows, side, side, 1))
    half = side // 2
    for row, label in enumerate(y):
        top, left = divmod(int(label), 2)
        x[row, top * half : (top + 1) * half, left * half : (left + 1) * half] += 1
    return Split(x.astype(np.float32), y)


def sentences(rows=24, *, vocabulary=12, length=6, seed=0):
    """Tokens, some of them padding at the end, and the token to come, which is the first one."""
    drawn = draws(seed)
    x = drawn.integers(1, vocabulary, size=(rows, length))
    for row, known in enumerate(drawn.integers(2, length + 1, size=rows)):
        x[row, known:] = 0
    return Split(x.astype(np.int32), x[:, 0].astype(np.int32))


def small_cnn(**options):
    return build_cnn((8, 8, 1), 4, **{"filters": (4, 6), "kernel_size": 2, "dense_units": 8} | options)


def small_lstm(**options):
    return build_lstm(12, 6, **{"units": 8, "embedding_size": 8} | options)


def dense(*, seed=0, features=3, units=4, dropout=0.0, **compiled):
    """Return a compiled custom model of two layers, whose weights and dropout depend only on the seed."""
    import keras

    inputs = keras.Input((features,), name="x")
    values = keras.layers.Dense(units, activation="tanh", name="first")(inputs)
    if dropout:
        values = keras.layers.Dropout(dropout, seed=seed)(values)
    model = keras.Model(inputs, keras.layers.Dense(1, name="last")(values), name="dense")
    drawn = draws(seed)
    for weight in model.trainable_weights:
        weight.assign(drawn.normal(scale=0.5, size=weight.shape))
    model.compile(**{"optimizer": keras.optimizers.SGD(0.1), "loss": "mean_squared_error"} | compiled)
    return model


def weights_of(model):
    """Copies of a model's weights."""
    from keras import ops

    return [np.array(ops.convert_to_numpy(weight.value)) for weight in model.weights]


def assert_same_weights(found, expected, tolerance=0.0):
    """Fail unless two lists of weights agree: to the bit, or to a tolerance."""
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


def differ(found, expected, tolerance=0.0):
    """Whether any weight of two equal models differs by more than a tolerance."""
    return any(np.abs(one - other).max() > tolerance for one, other in zip(found, expected, strict=True))


class Restored:
    """A compiled model with a trainer, one for all tests: compiling on JAX takes longer than these tests do."""

    def __init__(self):
        import keras

        from unidl import Trainer

        self.model = dense(optimizer=keras.optimizers.Adam(0.02), metrics=["mean_absolute_error"])
        self.trainer = Trainer(self.model)
        self.model.optimizer.build(self.model.trainable_variables)
        self._start = weights_of(self.model)

    def afresh(self):
        """Bring weights and optimizer back to where they began."""
        self.model.set_weights(self._start)
        for variable in self.model.optimizer.variables:
            if variable is not self.model.optimizer._learning_rate:
                variable.assign(np.zeros(variable.shape))
        self.model.optimizer.learning_rate = 0.02
        self.model.stop_training = False
        return self

    def fit(self, *, epochs=3, validation=None, **options):
        """Train on 22 rows in six steps an epoch, the last of 2 rows."""
        options = {"batch_size": 4, "progress": "quiet"} | options
        return self.trainer.fit(points(22), validation=validation, epochs=epochs, **options)


@cache
def shared_model():
    """The one `Restored` of this process. Call `afresh` on it in each test."""
    return Restored()


def moving_run(**options):
    """Train a model with dropout and Adam on sentences; it can stop on one backend and go on with another."""
    from unidl import Trainer

    trainer = Trainer(small_lstm(dropout=0.3, seed=2), seed=4)
    options = {"epochs": 3, "progress": "quiet"} | options
    trainer.fit(sentences(50), validation=sentences(16, seed=1), batch_size=4, **options)
    return trainer


def assert_fits_or_not_trains_the_same(loop, monkeypatch):
    """Fail unless data that the device cannot hold trains and tests as data that it can. loop: the adapter's class."""
    from unidl import Trainer

    found = []
    for fits in (True, False):
        monkeypatch.setattr(loop, "_fits", lambda self, data, fits=fits: fits)
        model = dense()
        trainer = Trainer(model)
        history = trainer.fit(points(79), epochs=3, batch_size=2, progress="quiet").history
        found.append((weights_of(model), history, trainer.evaluate(points(79), batch_size=2)))
    assert_same_weights(found[1][0], found[0][0])
    assert found[1][1:] == found[0][1:]
