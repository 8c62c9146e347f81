"""A source of one's own: what is wrong with its rows is told in the words that arrays in memory get, and by name.

Without this data that is too large to be looked through trains to NaN, or to a wrong model, without a word."""

from __future__ import annotations

import numpy as np
import pytest
from training import assert_same_weights, dense, points, weights_of

from unidl import Trainer
from unidl.backend import Batches
from unidl.data import Source, Split
from unidl.data.dataset import take
from unidl.data.source import columns
from unidl.errors import DataError

ROWS = 22


class Rows:
    """Arrays as a source that counts how often each row is read."""

    def __init__(self, *arrays):
        self.arrays = arrays
        self.read_rows = np.zeros(len(arrays[0]), int)
        self.form = Batches(*(array[:0] for array in arrays))

    def __len__(self):
        return len(self.arrays[0])

    def read(self, rows):
        self.read_rows[rows] += 1
        return Batches(*(array[rows] for array in self.arrays))

    def fingerprint(self):
        return str(sum(float(np.sum(array)) for array in self.arrays))

    def where(self, row):
        return f"line {row + 2} of rows.csv"


def source(**changed):
    data = points(ROWS)
    rows = Rows(data.x.copy(), data.y.copy())
    for part, (row, value) in changed.items():
        rows.arrays["xy".index(part)][row] = value
    return rows


def test_it_trains_as_its_arrays_do(backend):
    found = []
    for data in (points(ROWS), source()):
        assert data.__class__ is Split or isinstance(data, Source)
        trainer = Trainer(dense(metrics=["mean_absolute_error"]))
        trainer.fit(data, epochs=3, batch_size=4, validation_split=0.2, class_weight=None, progress="quiet")
        found.append((weights_of(trainer.model), trainer.history, trainer.evaluate(data), trainer.predict(data)))
    assert_same_weights(found[1][0], found[0][0])
    assert found[1][1:3] == found[0][1:3]
    np.testing.assert_array_equal(found[1][3], found[0][3])


def test_no_row_is_read_before_it_is_needed(backend):
    rows = source()
    Trainer(dense()).fit(rows, epochs=1, batch_size=4, progress="quiet")
    assert rows.read_rows.tolist() == [1] * ROWS
    rows = source()
    Trainer(dense()).fit(rows, epochs=1, batch_size=4, steps_per_epoch=2, progress="quiet")
    assert rows.read_rows.sum() == 8


def test_a_row_that_is_no_number_is_named_where_it_comes_from(backend):
    for call in (
        lambda trainer, data: trainer.fit(data, batch_size=4, progress="quiet"),
        lambda trainer, data: trainer.evaluate(data),
        lambda trainer, data: trainer.predict(data),
        lambda trainer, data: trainer.fit(points(8), validation=data, progress="quiet"),
    ):
        with pytest.raises(DataError, match=r"x is nan in row 7 of the"):
            call(Trainer(dense()), source(x=(7, np.nan)))


def test_labels_are_looked_at_as_they_are_read_and_once(backend, monkeypatch):
    import keras

    x = points(ROWS).x
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    looked = []
    from unidl.data.rows import FirstBad

    original = FirstBad.look
    monkeypatch.setattr(
        FirstBad, "look", lambda self, rows, block: (looked.append(len(rows)), original(self, rows, block))[1]
    )
    Trainer(model).fit(Rows(x, np.arange(ROWS) % 4), epochs=3, batch_size=4, progress="quiet")
    questions = len(looked) // 2 and sum(looked) / ROWS
    assert questions == int(questions) <= 4, "each row is looked at once for each question, whatever the epochs"
    labels = np.arange(ROWS) % 4
    labels[9] = 4
    message = (
        r"Label 4 in row 9 of the training data is out of range: .* labels 0 to 3\. The row is from line 11 of rows"
    )
    with pytest.raises(DataError, match=message):
        Trainer(model).fit(Rows(x, labels), batch_size=4, progress="quiet")


def test_some_rows_of_a_source_are_a_source(backend):
    rows = source()
    split = Split(*columns(rows).parts())
    part = take(take(split, np.arange(ROWS) % 2 == 0), slice(3, None))
    assert rows.read_rows.sum() == 0
    assert len(part) == 8
    np.testing.assert_array_equal(np.asarray(part.x), rows.arrays[0][6::2])
    assert part.x[0].tolist() == rows.arrays[0][6].tolist()
    assert part.x.source is part.y.source, "so that both are read together"
    from unidl.data.source import where

    assert where(part.x.source, 1) == "line 10 of rows.csv"


def test_a_source_that_does_not_keep_its_form_is_found_out(backend):
    rows = source()
    rows.form = Batches(np.zeros((0, 3), np.float32), np.zeros((0, 1), np.int32))
    with pytest.raises(
        DataError, match=r"gave rows of shape \(1,\) and type float32, and its form says \(1,\) and int32"
    ):
        Trainer(dense()).fit(rows, progress="quiet")


def test_rows_of_two_sources_and_arrays_go_together(backend):
    data = points(ROWS)
    x, weights = Rows(data.x), np.ones(ROWS, np.float32)
    trainer = Trainer(dense())
    trainer.fit(Split(columns(x).x, data.y, weights), epochs=2, batch_size=4, progress="quiet")
    other = Trainer(dense())
    other.fit(Split(data.x, data.y, weights), epochs=2, batch_size=4, progress="quiet")
    assert_same_weights(weights_of(trainer.model), weights_of(other.model))
