"""The kernels of an adapter compute what Keras computes. A wrong one would train another model, and faster."""

from __future__ import annotations

import inspect
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from importlib import import_module

import numpy as np
import pytest

from unidl import Trainer, build_lstm, registry

NAME = registry.current().name
keras = import_module("keras")  # only now, since the backend decides on which framework it runs
kernels = import_module(f"unidl_{NAME}.kernels")
Replacements = import_module("unidl.replacements").Replacements


REPLACEMENTS = kernels.REPLACEMENTS
NAMES = [one.name for one in REPLACEMENTS.entries]


@pytest.fixture(scope="module")
def checked():
    """What the checks of all kernels find, and the names of two layers that are made behind them."""
    keras.utils.clear_session()
    return REPLACEMENTS.checked(), [keras.layers.Conv2D(1, 1).name for _ in range(2)]


def test_each_of_them_gives_what_keras_gives(checked):
    assert checked[0] == dict.fromkeys(NAMES)


def test_a_check_leaves_the_names_of_later_layers_alone(checked):
    """Weights begin with values that follow from those names: a process that checks would train another model."""
    assert checked[1] == ["conv2d", "conv2d_1"]


def slightly(values):
    """The same, one in a hundred too large; whole numbers one too large, and another answer to a question."""

    def changed(one):
        if isinstance(one, bool):
            return not one
        return 1.01 * one if is_of("float", one) else one + 1 if is_of("int", one) else one

    return keras.tree.map_structure(changed, values)


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

    with suppress(ValueError):  # functions of PyTorch's own have none
        vars(kernel)["__signature__"] = inspect.signature(right, follow_wrapped=False)
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


@pytest.mark.parametrize("one", REPLACEMENTS.entries, ids=lambda one: one.name)
def test_a_wrong_one_is_found_by_its_own_check(one):
    """Each kernel there is: one that nothing compares would train another model without a word."""
    before = REPLACEMENTS.entries[: REPLACEMENTS.entries.index(one)]
    planted = [*before, replace(one, kernel=wrong(one.kernel))]
    said = str(one.check(lambda: REPLACEMENTS.in_use(planted)))
    assert "its values differ from Keras" in said or "Keras calls cuDNN" in said


def test_beside_a_wrong_one_the_others_stay_on():
    first, second = REPLACEMENTS.entries[:2]
    found = Replacements([replace(first, kernel=wrong(first.kernel)), second], package=f"unidl_{NAME}").checked()
    assert "its values differ from Keras" in str(found[first.name])
    assert found[second.name] is None


def test_one_that_keras_does_not_call_is_off():
    """Its numbers would agree, and it would be said to be in use."""
    first, *_, last = (one for one in REPLACEMENTS.entries if not one.corrects)
    found = Replacements([replace(first, check=last.check)], package=f"unidl_{NAME}").checked()
    assert "does not call" in str(found[first.name])


def test_keras_still_has_wrong_what_is_corrected():
    """Without it a correction could be left out, and nobody would be warned; where Keras is right it is to go."""
    corrections = [one for one in REPLACEMENTS.entries if one.corrects]
    for one in REPLACEMENTS.entries:
        alone = nullcontext if one.corrects else partial(REPLACEMENTS.in_use, corrections)
        assert (one.check(alone) is not None) == (one.corrects is not None), one.name


def test_they_are_gone_after_training():
    """Keras's own `fit`, a second model and other libraries see Keras as it is."""
    places = [(one.place.owner, one.place.attribute) for one in REPLACEMENTS.entries]
    before = [getattr(owner, key) for owner, key in places]
    model = build_lstm(vocabulary_size=5, sequence_length=3, units=2, embedding_size=2)
    Trainer(model).fit((np.ones((6, 3), np.int32), np.ones(6, np.int32)), batch_size=2, progress="quiet")
    assert [getattr(owner, key) for owner, key in places] == before


def test_the_last_of_two_threads_puts_keras_back():
    """Put back by the first, the second would leave its own behind for ever."""
    places = [(one.place.owner, one.place.attribute) for one in REPLACEMENTS.entries]
    before = [getattr(owner, key) for owner, key in places]
    first, second = REPLACEMENTS.in_use(), REPLACEMENTS.in_use()
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
