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


def entries():
    """What each kernel stands in for, by name."""
    return {f"{owner.__name__.split('.')[-1]}.{key}": (owner, key) for owner, key, _ in kernels.REPLACEMENTS.entries}


def slightly(values):
    """The same, one in a hundred too large; whole numbers one too large."""
    return keras.tree.map_structure(
        lambda one: 1.01 * one if is_of("float", one) else one + 1 if is_of("int", one) else one, values
    )


def is_of(kind, value):
    """Whether it is a tensor of this kind of numbers, and no variable, which a kernel may hand on."""
    is_tensor = hasattr(value, "dtype") and not hasattr(value, "assign")
    return is_tensor and kind in keras.backend.standardize_dtype(value.dtype)


def wrong(right):
    """A kernel that gives slightly other values than the right one; one that gives none writes other ones."""
    if not callable(right):
        return WrongModule(right)

    def kernel(*arguments, **options):
        results = right(*arguments, **options)
        if results is not None:
            return slightly(results)
        for variable in written_by(arguments):
            variable.assign(1.01 * variable)
        return None

    return kernel


def written_by(arguments):
    """The variables that an optimizer was given."""
    return [one for one in keras.tree.flatten(arguments[1:]) if hasattr(one, "assign")]


class WrongModule:
    """A module of the framework's, as Keras's own code sees it, whose functions are slightly wrong."""

    def __init__(self, right):
        self._right = right

    def __getattr__(self, name):
        return wrong(getattr(self._right, name))


@pytest.mark.parametrize("name", entries())
def test_a_wrong_one_is_found(name, monkeypatch):
    """Each kernel there is: one that nothing compares would train another model without a word."""
    place = entries()[name]
    others = tuple(
        (owner, key, wrong(value) if (owner, key) == place else value)
        for owner, key, value in kernels.REPLACEMENTS.entries
    )
    monkeypatch.setattr(kernels.REPLACEMENTS, "entries", others)
    assert "gives other values than Keras" in str(checks.disagreement(kernels.REPLACEMENTS.in_use))


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
