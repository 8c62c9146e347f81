"""The kernels of an adapter compute what Keras computes. A wrong one would train another model, and faster."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

from unidl import Trainer, build_lstm, registry

NAME = registry.current().name
keras = import_module("keras")  # only now, since the backend decides on which framework it runs
kernels = import_module(f"unidl_{NAME}.kernels")
checks = import_module(f"unidl_{NAME}.kernel_checks")


def test_they_give_what_keras_gives():
    assert checks.disagreement(kernels.REPLACEMENTS.in_use) is None


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_a_wrong_one_is_found(name, monkeypatch):
    """Gates in another order are the mistake that is made most easily."""
    [right] = [value for _, key, value in kernels.REPLACEMENTS.entries if key == name]

    def wrong(inputs, *arguments, **options):
        last, outputs, states = right(inputs, *arguments, **options)
        return 1.01 * last, 1.01 * outputs, states

    others = tuple((owner, key, wrong if key == name else value) for owner, key, value in kernels.REPLACEMENTS.entries)
    monkeypatch.setattr(kernels.REPLACEMENTS, "entries", others)
    assert "gives other values than Keras" in checks.disagreement(kernels.REPLACEMENTS.in_use)


def test_another_keras_keeps_its_own(monkeypatch):
    """What they stand in for may mean something else there."""
    here = kernels.REPLACEMENTS
    vars(here).pop("why_not", None)
    try:
        monkeypatch.setattr(keras, "__version__", "3.99.0")
        assert "3.99.0" in here.why_not
    finally:
        vars(here).pop("why_not", None)
    monkeypatch.undo()
    assert here.why_not is None


def test_they_are_gone_after_training():
    """Keras's own `fit`, a second model and other libraries see Keras as it is."""
    before = [getattr(owner, key) for owner, key, _ in kernels.REPLACEMENTS.entries]
    model = build_lstm(vocabulary_size=5, sequence_length=3, units=2, embedding_size=2)
    Trainer(model).fit((np.ones((6, 3), np.int32), np.ones(6, np.int32)), batch_size=2, progress="quiet")
    assert [getattr(owner, key) for owner, key, _ in kernels.REPLACEMENTS.entries] == before


def test_the_last_of_two_threads_puts_keras_back():
    """Put back by the first, the second would leave its own behind for ever."""
    places = [(owner, key) for owner, key, _ in kernels.REPLACEMENTS.entries]
    before = [getattr(owner, key) for owner, key in places]
    first, second = kernels.REPLACEMENTS.in_use(), kernels.REPLACEMENTS.in_use()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert [getattr(owner, key) for owner, key in places] != before
    second.__exit__(None, None, None)
    assert [getattr(owner, key) for owner, key in places] == before


def test_a_token_that_comes_twice_has_one_gradient():
    """Keras on TensorFlow hands an optimizer two, and Adam squares them apart (Keras 3.15.1)."""
    tokens = keras.Input((3,), dtype="int32")
    vectors = keras.layers.Embedding(4, 1, embeddings_initializer="ones")(tokens)
    model = keras.Model(tokens, keras.layers.Flatten()(keras.layers.GlobalAveragePooling1D()(vectors)))
    model.compile(keras.optimizers.Adam(0.1, beta_1=0.5, beta_2=0.5, epsilon=1.0), "mse")
    Trainer(model).fit((np.array([[1, 1, 2]]), np.zeros((1, 1))), progress="quiet")
    gradients = np.array([0, 4 / 3, 2 / 3, 0])
    # One step: both moments have gone half of the way, and alpha is 0.1 * sqrt(0.5) / 0.5.
    expected = 1 - 0.1 * np.sqrt(0.5) / 0.5 * 0.5 * gradients / (np.sqrt(0.5) * gradients + 1)
    np.testing.assert_allclose(model.get_weights()[0][:, 0], expected, rtol=1e-6)
