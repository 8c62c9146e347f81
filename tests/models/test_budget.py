"""How large a model may become is known before it takes memory. Without this a file of a kilobyte fills the memory of
whoever opens it."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from unidl import build_cnn, build_lstm, build_transfer
from unidl.errors import ModelError
from unidl.models import Architecture, base_of, build, record_of
from unidl.models.bases import DEEPEST
from unidl.models.budget import LARGEST_MODEL, UNSTORED, at_most
from unidl.models.rebuilding import size

pytestmark = pytest.mark.usefixtures("backend")


def cnn(**options):
    return build_cnn((8, 8, 1), 3, **{"filters": (2, 2), "dense_units": 4} | options)


BUILT = [
    cnn,
    lambda: cnn(batch_normalization=True, dropout=0.1),
    lambda: build_lstm(9, None, units=3, layers=2, cell="gru", bidirectional=True),
    lambda: build_lstm(sequence_length=5, features=2, units=4, targets=2, dropout=0.2),
]


@pytest.mark.parametrize("make", BUILT)
def test_the_size_of_a_model_is_known_before_it_is_built(make):
    model = make()
    assert size(record_of(model).architecture) == model.count_params()


def test_the_size_of_a_transfer_model_is_not():
    assert size(Architecture("transfer", {"base": "VGG16"})) == LARGEST_MODEL
    with pytest.raises(ModelError, match="unknown builder"):
        size(Architecture("os.system", {}))


def test_variables_are_counted_before_they_are_made():
    import keras

    made: list[tuple[int, ...]] = []

    def initializer(shape, dtype=None):
        made.append(tuple(shape))
        return keras.ops.zeros(shape, dtype)

    before = keras.Variable.__init__

    def quarter():
        return keras.Variable(initializer, shape=(UNSTORED // 4,))

    with at_most(100):
        for _ in range(4):
            quarter()
        with pytest.raises(ModelError, match="more weights than its file contains"):
            quarter()
    assert made == [(UNSTORED // 4,)] * 4
    assert keras.Variable.__init__ is before
    keras.Variable(np.zeros(200_000, np.float32))


def test_another_thread_is_not_counted():
    import keras

    with at_most(0):
        thread = threading.Thread(target=keras.Variable, args=(np.zeros(UNSTORED * 2, np.float32),))
        errors: list[object] = []
        threading.excepthook, before = errors.append, threading.excepthook
        thread.start()
        thread.join()
        threading.excepthook = before
    assert errors == []


def test_a_builder_refuses_within_a_budget_before_it_makes_a_layer():
    with at_most(10), pytest.raises(ModelError, match="but its file"):
        build(Architecture("cnn", {"dense_units": 1000}))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"filters": [1] * 33}, "at most 32 are allowed"),
        ({"dense_units": 10**400}, "a number of 1329 bits"),
        ({"seed": 2**128 + 1}, "at most 340282366920938463463374607431768211456"),
    ],
)
def test_numbers_have_bounds(arguments, reason: str):
    with pytest.raises(ModelError, match=reason):
        cnn(**arguments)
    with pytest.raises(ModelError, match="at most 32"):
        build_lstm(layers=33)


def test_a_base_stands_on_few_bases_when_it_is_built_as_when_it_is_loaded():
    """What can be saved can be loaded."""
    model = cnn()
    for _ in range(DEEPEST):
        model = build_transfer(model, classes=2, dense_units=None)
    again = build(record_of(model).architecture)
    assert again.count_params() == model.count_params()
    with pytest.raises(ModelError, match=f"nested more than {DEEPEST} deep"):
        build_transfer(model, classes=2, dense_units=None)


def test_the_head_of_a_base_takes_no_memory_before_it_is_cut_off():
    """A file has no weights for it. The base itself is the same, and so is its record."""
    model = build_transfer(cnn(dense_units=1000), classes=2, dense_units=None)
    architecture = record_of(model).architecture
    with at_most(model.count_params() - UNSTORED + 2000):
        again = build(architecture)
    assert record_of(again).architecture == architecture
    assert base_of(again).count_params() == base_of(model).count_params()


def test_a_base_gives_not_too_many_features(monkeypatch):
    from unidl.models import bases

    monkeypatch.setattr(bases, "WIDEST", 31)
    with pytest.raises(ModelError, match="it has 32 features per row; at most 31 are allowed"):
        build_transfer(build_lstm(sequence_length=8, features=2, units=4, targets=1, output="steps"), classes=2)
