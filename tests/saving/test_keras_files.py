"""Models go from and to people who have Keras and no unidl. Without this a model is locked in, or a person's `.keras`
file runs before they know that it can."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from processes import python
from saving import IMAGES, ROWS, TOKENS, assert_same_model, outputs, save, scramble

from unidl import build_cnn, build_lstm, build_transfer, load_model, load_weights, registry, save_keras
from unidl.errors import SavedModelError

registry.current()

import keras  # noqa: E402  (only now is it decided on which framework Keras runs)


def cnn(**options):
    return build_cnn((8, 8, 1), 3, **{"filters": (2, 2), "dense_units": 4} | options)


def theirs():
    layers = [keras.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization(), keras.layers.Dense(2)]
    return keras.Sequential(layers, name="theirs")


MODELS = {
    "cnn": (lambda: cnn(batch_normalization=True, dropout=0.2), IMAGES),
    "cnn in mixed_bfloat16": (lambda: cnn(precision="mixed_bfloat16"), IMAGES),
    "gru": (lambda: build_lstm(12, 4, units=3, embedding_size=2, cell="gru", bidirectional=True, layers=2), TOKENS),
    "transfer": (lambda: build_transfer(cnn(), classes=2, dense_units=3), IMAGES),
    "a custom model": (theirs, ROWS),
    "a custom model in bfloat16": (
        lambda: keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, dtype="bfloat16")]),
        ROWS,
    ),
}


@pytest.mark.parametrize("case", MODELS)
def test_a_model_goes_to_keras_and_comes_back(tmp_path, case: str):
    make, x = MODELS[case]
    model, other = scramble(make()), make()
    for path in (tmp_path / "a.keras", tmp_path / "a.weights.h5"):
        assert save_keras(model, path) == path
    before = outputs(model, x)
    np.testing.assert_array_equal(outputs(keras.saving.load_model(tmp_path / "a.keras"), x), before)
    np.testing.assert_array_equal(outputs(load_model(tmp_path / "a.keras", trust=True), x), before)
    load_weights(other, tmp_path / "a.weights.h5", trust=True)
    np.testing.assert_array_equal(outputs(other, x), before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.keras", "a.weights.h5"]


def test_files_that_keras_itself_wrote_are_read(tmp_path):
    """A compiled model: its optimizer is in the files but is not part of the model."""
    model = scramble(theirs())
    model.compile("adam", "mse")
    model.fit(ROWS, ROWS[:, :2], verbose=0)
    model.save(tmp_path / "a.keras")
    model.save_weights(tmp_path / "a.weights.h5")
    loaded = load_model(tmp_path / "a.keras", trust=True)
    assert not loaded.compiled
    np.testing.assert_array_equal(outputs(loaded, ROWS), outputs(model, ROWS))
    optimizer = [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in model.optimizer.variables]
    before = outputs(model, ROWS)
    scramble(model)
    load_weights(model, tmp_path / "a.weights.h5", trust=True)
    np.testing.assert_array_equal(outputs(model, ROWS), before)
    for variable, value in zip(model.optimizer.variables, optimizer, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable.value), value)


def test_a_plain_keras_process_reads_it_and_dropout_needs_one_import(tmp_path):
    """As the docstring says."""
    save_keras(scramble(cnn(dropout=0.2)), tmp_path / "a.keras")
    code = f"""
import keras
try:
    keras.saving.load_model({str(tmp_path / "a.keras")!r})
except TypeError as error:
    print("Dropout" in str(error))
import unidl.layers
print(keras.saving.load_model({str(tmp_path / "a.keras")!r}).name)
"""
    assert python(code, KERAS_BACKEND=keras.backend.backend()).split() == ["True", "cnn"]


def test_nobody_is_trusted_unless_it_is_said(tmp_path):
    """And the error says why, and what to do in Python and on the command line."""
    model = theirs()
    run, archive = save(model, tmp_path / "run"), save_keras(model, tmp_path / "a.keras")
    weights = save_keras(model, tmp_path / "a.weights.h5")
    attempts = [
        lambda: load_model(run),
        lambda: load_model(run, custom_objects={"Dense": keras.layers.Dense}),
        lambda: load_model(archive),
        lambda: load_model(archive, trust=1),
        lambda: load_weights(model, weights),
    ]
    for attempt in attempts:
        with pytest.raises(SavedModelError, match="loaded only if you trust them") as caught:
            attempt()
        for word in ("safe mode", "exhaust memory", "trust=True", "--trust", "Trainer.save"):
            assert word in " ".join(str(caught.value).split())
    assert_same_model(load_model(run, trust=True), model, ROWS)


def test_a_model_of_a_builder_needs_no_trust(tmp_path):
    model = scramble(cnn())
    assert_same_model(load_model(save(model, tmp_path / "run")), model, IMAGES)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.h5", "load_weights takes a file with the suffix .weights.h5"),
        ("a.keras", "load_weights takes a file with the suffix .weights.h5"),
        ("a.weights.h5", "the file does not exist"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path, name: str, reason: str):
    with pytest.raises(SavedModelError, match=reason):
        load_weights(theirs(), tmp_path / name, trust=True)


def test_what_has_no_weights_yet_cannot_be_given_or_asked_for_any(tmp_path):
    model = keras.Sequential([keras.layers.Dense(2)])
    for attempt in (
        lambda: load_weights(model, tmp_path / "a.weights.h5", trust=True),
        lambda: save_keras(model, tmp_path / "a.keras"),
    ):
        with pytest.raises(SavedModelError, match="no weights yet"):
            attempt()
    with pytest.raises(SavedModelError, match="the file does not exist"):
        load_model(tmp_path / "a.keras", trust=True)


class Fragile(keras.layers.Dense):
    """A layer of somebody's whose weights cannot be read."""

    def load_own_variables(self, store):
        self.kernel.assign(self.kernel * 0)
        raise RuntimeError("broken")


def test_weights_that_break_off_leave_the_model_as_it_was(tmp_path):
    inputs = keras.Input((4,))
    model = scramble(keras.Model(inputs, Fragile(2)(keras.layers.Dense(3)(inputs))))
    save_keras(model, tmp_path / "a.weights.h5")
    model.layers[1].kernel.assign(model.layers[1].kernel * 2)
    before = outputs(model, ROWS)
    with pytest.raises(SavedModelError, match="Keras cannot read its weights: broken"):
        load_weights(model, tmp_path / "a.weights.h5", trust=True)
    np.testing.assert_array_equal(outputs(model, ROWS), before)


@pytest.mark.parametrize("name", ["a.keras", "a.weights.h5"])
@pytest.mark.parametrize("failing", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_save_that_fails_leaves_the_older_file(tmp_path, name: str, failing: BaseException, call: str):
    """Keras alone would have destroyed it: it writes over the file in place."""
    model = theirs()
    save_keras(model, tmp_path / name)
    before = (tmp_path / name).read_bytes()
    scramble(model)
    with mock.patch.object(os, call, side_effect=failing), pytest.raises((SavedModelError, KeyboardInterrupt)):
        save_keras(model, tmp_path / name)
    assert (tmp_path / name).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [name]
    save_keras(model, tmp_path / name)
    assert (tmp_path / name).read_bytes() != before


class Silent(keras.layers.Layer):
    """A layer of somebody's that Keras cannot describe."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def get_config(self):
        raise NotImplementedError("no words")

    def call(self, x):
        return self.function(x)


def test_a_place_or_a_model_that_cannot_be_saved_is_one_error(tmp_path):
    (tmp_path / "folder.keras").mkdir()
    for path, reason in (
        (tmp_path / "a.h5", r"the suffix must be \.keras"),
        (tmp_path / "folder.keras", "is not a regular file"),
    ):
        with pytest.raises(SavedModelError, match=reason):
            save_keras(theirs(), path)
    model = keras.Sequential([keras.Input((4,)), Silent(keras.ops.relu)])
    with pytest.raises(SavedModelError, match="Keras raised: "):
        save_keras(model, tmp_path / "a.keras")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.keras"]


def test_a_link_to_a_file_stays_a_link(tmp_path):
    save_keras(theirs(), tmp_path / "a.keras")
    (tmp_path / "latest.keras").symlink_to(tmp_path / "a.keras")
    model = scramble(theirs())
    save_keras(model, tmp_path / "latest.keras")
    assert (tmp_path / "latest.keras").is_symlink()
    np.testing.assert_array_equal(
        outputs(load_model(Path(tmp_path / "a.keras"), trust=True), ROWS), outputs(model, ROWS)
    )
