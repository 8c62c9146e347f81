"""Single rows predicted again and again skip what was checked before, and never what decides about the answer."""

from __future__ import annotations

import numpy as np
import pytest
from training import dense, pictures, points, small_cnn, small_lstm

from unidl import Trainer
from unidl.errors import DataError
from unidl.models import note

TIGHT = 1e-6
"""One forward pass of small sums in float32."""
CALLS = 12
"""PyTorch's steps are traced after fewer."""


def repeated(trainer, x, calls=CALLS):
    for _ in range(calls):
        found = trainer.predict(x)
    return found


def test_repeated_predictions_are_those_of_the_rows_and_weights_of_now(backend, monkeypatch):
    model = dense()
    trainer = Trainer(model)
    rows = points(CALLS + 2).x
    for row in rows[:CALLS]:
        trainer.predict(row[np.newaxis])

    def unexpected(*_, **options):
        raise AssertionError("checked again")

    with monkeypatch.context() as patched:
        patched.setattr("unidl.training.evaluator.checked", unexpected)
        found = [trainer.predict(row[np.newaxis]) for row in rows]
        np.testing.assert_allclose(np.concatenate(found), model.predict(rows, verbose=0), rtol=TIGHT, atol=TIGHT)
        model.set_weights([np.zeros_like(value) for value in model.get_weights()])
        np.testing.assert_array_equal(trainer.predict(rows[:1]), 0)
    trainer.fit(points(22), epochs=1, batch_size=8, verbose=0)
    after = trainer.predict(rows[:1])
    np.testing.assert_allclose(after, model.predict(rows[:1], verbose=0), rtol=TIGHT, atol=TIGHT)
    assert after != 0
    after[:] = 7  # the caller's own
    assert trainer.predict(rows[:1]) != 7


def test_images_of_another_range_are_refused_as_the_first_ones(backend):
    """A picture of bytes as floats would get a confident wrong class."""
    model = small_cnn()
    note(model, value_range=(0.0, 1.0), value_range_fixed=True)
    trainer = Trainer(model)
    x = np.clip(pictures(1).x, 0, 1)
    repeated(trainer, x, 3)
    with pytest.raises(DataError, match="Pass x / 255"):
        trainer.predict(x * 255)
    assert np.isfinite(trainer.predict(x)).all()


def test_nan_is_refused_as_in_the_first_rows(backend):
    trainer = Trainer(dense())
    x = points(1).x
    repeated(trainer, x, 3)
    with pytest.raises(DataError, match="x is nan in row 0"):
        trainer.predict(np.full_like(x, np.nan))


def test_tokens_out_of_range_are_refused_as_the_first_ones(backend):
    """JAX would compute on with wrong values."""
    trainer = Trainer(small_lstm())
    x = np.ones((1, 6), np.int32)
    expected = repeated(trainer, x, 3)
    for token in (-1, 12):
        with pytest.raises(DataError, match=rf"Token {token} in row 0"):
            trainer.predict(x * token)
    np.testing.assert_allclose(trainer.predict(x.astype(np.int64)), expected, rtol=TIGHT)


def test_a_state_goes_on_from_call_to_call_as_in_keras(backend):
    import keras

    inputs = keras.Input(batch_shape=(1, 2, 3))
    model = keras.Model(inputs, keras.layers.SimpleRNN(2, stateful=True)(inputs))
    model.compile("sgd", "mse")
    x = points(2).x[np.newaxis]
    expected = [model.predict(x, verbose=0) for _ in range(3)]
    model.layers[-1].reset_state()
    trainer = Trainer(model)
    np.testing.assert_allclose([trainer.predict(x) for _ in range(3)], expected, rtol=TIGHT, atol=TIGHT)
