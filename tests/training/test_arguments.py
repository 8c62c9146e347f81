"""`Trainer.fit`, `evaluate` and `predict` take what people type for Keras, and mean the same by it.

Without this a person's first line is a TypeError, or trains on other rows than they meant.
"""

from __future__ import annotations

import numpy as np
import pytest
from training import FLOAT32, assert_same_weights, dense, differ, draws, points, weights_of

from unidl import Trainer
from unidl.data import Split
from unidl.errors import DataError, UsageError
from unidl.training.order import Epochs

ROWS, BATCH = 24, 4


def by_both(*arguments, model=dense, **options):
    """The same call of our `fit` and of Keras's, on equal models; fail unless histories and weights agree."""
    ours, theirs = model(), model()
    ours.set_weights(weights_of(theirs))
    expected = theirs.fit(*arguments, shuffle=False, verbose=0, **options)
    trainer = Trainer(ours)
    found = trainer.fit(*arguments, shuffle=False, verbose=0, **options)
    assert set(found.history) == set(expected.history)
    for name, values in expected.history.items():
        np.testing.assert_allclose(found.history[name], values, rtol=FLOAT32, atol=FLOAT32)
    assert found.epoch == expected.epoch
    assert_same_weights(weights_of(ours), weights_of(theirs), FLOAT32)
    return trainer, theirs


@pytest.fixture(scope="module")
def data(backend):
    return points(ROWS)


def test_x_and_y_side_by_side_and_keras_order_of_arguments(data):
    by_both(data.x, data.y, BATCH, 2)
    by_both(x=data.x, y=data.y, batch_size=BATCH)


def test_sample_weights_by_name(data):
    weights = draws(3).uniform(size=ROWS).astype(np.float32)
    by_both(data.x, data.y, batch_size=BATCH, sample_weight=weights)
    model = dense()
    Trainer(model).fit((data.x, data.y), sample_weight=weights, batch_size=BATCH, shuffle=False, verbose=0)
    same = dense()
    Trainer(same).fit((data.x, data.y, weights), batch_size=BATCH, shuffle=False, progress="quiet")
    assert_same_weights(weights_of(model), weights_of(same))


def test_validation_in_every_way_that_keras_has(data):
    held_out = points(9, seed=1)
    weights = draws(4).uniform(size=9).astype(np.float32)
    by_both(data.x, data.y, batch_size=BATCH, validation_data=(held_out.x, held_out.y))
    by_both(data.x, data.y, batch_size=BATCH, validation_data=[held_out.x, held_out.y, weights])
    trainer, _ = by_both(data.x, data.y, batch_size=BATCH, validation_split=0.3, validation_batch_size=3)
    assert trainer.settings.validation_batch_size == 3
    by_both(data.x, data.y, batch_size=BATCH, validation_data=(held_out.x, held_out.y), validation_steps=1)
    by_both(data.x, data.y, validation_split=0.5, validation_steps=2)


@pytest.mark.parametrize("every", [2, [1, 4]], ids=str)
def test_validation_after_some_epochs(data, every):
    trainer, _ = by_both(data.x, data.y, BATCH, 4, validation_split=0.25, validation_freq=every)
    assert len(trainer.history["val_loss"]) == 2


def test_the_last_rows_are_held_out_before_the_rows_are_mixed(data):
    """Data sorted by time must be validated on what came last."""
    trainer = Trainer(dense())
    shuffled = trainer.fit(data.x, data.y, batch_size=BATCH, validation_split=0.25, verbose=0).history["val_loss"]
    rows = ROWS * 3 // 4
    found = trainer.evaluate(data.x[rows:], data.y[rows:])["loss"]
    assert shuffled == pytest.approx([found], rel=FLOAT32)


def classifier(loss):
    import keras

    def built():
        inputs = keras.Input((3,))
        model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(inputs))
        model.set_weights([value.astype(np.float32) for value in (draws(5).normal(size=(3, 3)), np.zeros(3))])
        model.compile(keras.optimizers.SGD(0.5), loss)
        return model

    return built


def test_class_weights_by_number_column_and_one_hot(data):
    """A person with one sick patient in a hundred relies on it."""
    labels = draws(6).integers(3, size=ROWS)
    given = {0: 1.0, 2: 5.0}
    sparse = classifier("sparse_categorical_crossentropy")
    by_both(data.x, labels, BATCH, model=sparse, class_weight=given)
    by_both(data.x, labels[:, None], BATCH, model=sparse, class_weight=given)
    one_hot = np.eye(3, dtype=np.float32)[labels]
    by_both(data.x, one_hot, BATCH, model=classifier("categorical_crossentropy"), class_weight=given)
    model, weighted = sparse(), sparse()
    rows = np.array([given.get(label, 1.0) for label in labels.tolist()], np.float32)
    options = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
    Trainer(model).fit(data.x, labels, class_weight=given, sample_weight=rows, **options)
    Trainer(weighted).fit(data.x, labels, sample_weight=rows * rows, **options)
    assert_same_weights(weights_of(model), weights_of(weighted))


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("steps", [2, 4, 6])
def test_steps_of_an_epoch_go_on_through_the_data(data, steps):
    by_both(data.x, data.y, BATCH, 5, steps_per_epoch=steps)


def test_steps_without_a_size_take_all_rows(data):
    trainer, _ = by_both(data.x, data.y, epochs=2, steps_per_epoch=5)
    assert trainer.settings.batch_size == 5


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_epochs_end_with_the_data(data):
    by_both(data.x[:22], data.y[:22], BATCH, 5, steps_per_epoch=4)
    by_both(data.x, data.y, BATCH, 2, steps_per_epoch=99)


def test_each_row_comes_once_before_any_comes_again():
    epochs = Epochs(rows=22, batch_size=4, seed=0, steps=4)
    seen = np.concatenate([epochs.order(0), epochs.order(1)])
    assert [len(epochs.order(epoch)) for epoch in range(3)] == [16, 6, 16]
    assert sorted(seen.tolist()) == list(range(22))
    assert [epochs.steps_before(epoch) for epoch in range(4)] == [0, 4, 6, 10]
    assert epochs.order(2).tolist() != epochs.order(0).tolist()


def test_mixing_within_batches_keeps_the_batches():
    epochs = Epochs(rows=10, batch_size=4, seed=0, shuffle="batch")
    order = epochs.order(0).tolist()
    assert [sorted(order[first : first + 4]) for first in (0, 4, 8)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert order != list(range(10))
    assert order != epochs.order(1).tolist()
    assert order == epochs.order(0).tolist()


def test_a_run_of_short_epochs_goes_on_to_the_last_bit(data, tmp_path):
    def trained(epochs, **options):
        trainer = Trainer(dense())
        trainer.fit(data, batch_size=BATCH, epochs=epochs, steps_per_epoch=4, progress="quiet", **options)
        return trainer

    trained(1, checkpoint=tmp_path / "c", save_every_steps=3)
    found = trained(4, checkpoint=tmp_path / "c", save_every_steps=3, resume=True)
    expected = trained(4)
    assert_same_weights(weights_of(found.model), weights_of(expected.model))
    assert found.history == expected.history


def test_evaluation_answers_as_it_is_asked(data):
    trainer, theirs = by_both(data.x, data.y, BATCH, model=lambda: dense(metrics=["mean_absolute_error"]))
    given = (data.x, data.y, BATCH)
    named = trainer.evaluate(*given)
    assert named == pytest.approx(theirs.evaluate(*given, verbose=0, return_dict=True), rel=FLOAT32)
    listed = trainer.evaluate(*given, verbose=0, return_dict=False)
    assert listed == pytest.approx(theirs.evaluate(*given, verbose=0), rel=FLOAT32)
    weights = draws(7).uniform(size=ROWS).astype(np.float32)
    found = trainer.evaluate(x=data.x, y=data.y, batch_size=BATCH, sample_weight=weights, steps=3)
    expected = theirs.evaluate(data.x[:12], data.y[:12], BATCH, 0, weights[:12], return_dict=True)
    assert found == pytest.approx(expected, rel=FLOAT32)
    alone, _ = by_both(data.x, data.y, BATCH)
    assert isinstance(alone.evaluate(*given, return_dict=False), float)


def test_evaluation_and_prediction_tell_their_callbacks(data):
    import keras

    seen = []

    class Watching(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            seen.append("begin")

        def on_test_batch_end(self, batch, logs=None):
            seen.append(batch)

        def on_test_end(self, logs=None):
            seen.append(sorted(logs))

        def on_predict_batch_end(self, batch, logs=None):
            seen.append((batch, len(logs["outputs"])))

    trainer = Trainer(dense())
    trainer.evaluate(data, batch_size=10, callbacks=[Watching()])
    assert seen == ["begin", 0, 1, 2, ["loss"]]
    seen.clear()
    outputs = trainer.predict(data.x, 10, steps=2, callbacks=[Watching()])
    assert seen == [(0, 10), (1, 10)]
    np.testing.assert_array_equal(outputs, trainer.predict(data.x, 10)[:20])


def test_verbose_is_a_style_of_progress(data, capsys):
    trainer = Trainer(dense())
    trainer.fit(data.x, data.y, verbose=0)
    assert capsys.readouterr().out == ""
    trainer.fit(data.x, data.y, verbose=2)
    assert "epoch 1/1  loss" in capsys.readouterr().out
    trainer.evaluate(data.x, data.y, verbose=2)
    assert "loss" in capsys.readouterr().out
    with pytest.raises(UsageError, match="both verbose=0 and progress='lines'"):
        trainer.fit(data.x, data.y, verbose=0, progress="lines")


REFUSED = {
    "no data": ((), {}, "There is no data"),
    "x twice": ((1,), {"x": 2}, "x= beside data"),
    "two validations": ((), {"validation": 1, "validation_data": 1}, "two names of one argument"),
    "third in place": (("x", "y", np.ones(3)), {}, "pass weights by name, as sample_weight="),
    "share": ((), {"validation_split": 1.5}, "it must be a share from 0 up to 1"),
    "frequency": ((), {"validation_freq": 0}, "validation_freq=0"),
    "verbose": ((), {"verbose": 3}, r"verbose=3\. Allowed: 'auto', 0"),
    "shuffle": ((), {"shuffle": "rows"}, "shuffle='rows'. Allowed: True, False, 'batch'"),
    "steps": ((), {"steps_per_epoch": 0}, "steps_per_epoch=0"),
    "class weights": ((), {"class_weight": {"cat": 2.0}}, "from the number of a class"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_meant_is_told(data, name):
    arguments, options, message = REFUSED[name]
    given = () if arguments or name == "no data" else (data,)
    trainer = Trainer(dense())
    before = weights_of(trainer.model)
    with pytest.raises(UsageError, match=f"(?i){message}"):
        trainer.fit(*given, *arguments, **options)
    assert not differ(weights_of(trainer.model), before)


def test_a_split_brings_its_own_labels(data):
    with pytest.raises(UsageError, match="beside a Split"):
        Trainer(dense()).fit(data, data.y, progress="quiet")
    with pytest.raises(DataError, match="it leaves 0 for training"):
        Trainer(dense()).fit(data.x[:2], data.y[:2], validation_split=0.9, progress="quiet")


def test_a_tuple_beside_labels_is_several_inputs(backend):
    import keras

    def built():
        inputs = [keras.Input((2,)), keras.Input((2,))]
        outputs = keras.layers.Dense(1, kernel_initializer="ones")(keras.layers.Add()(inputs))
        model = keras.Model(inputs, outputs)
        model.compile("sgd", "mse")
        return model

    drawn = draws(8)
    x = tuple(drawn.normal(size=(8, 2)).astype(np.float32) for _ in range(2))
    y = drawn.normal(size=(8, 1)).astype(np.float32)
    by_both(list(x), y, BATCH, model=built)
    model = built()
    Trainer(model).fit(x, y, BATCH, progress="quiet")
    assert isinstance(Trainer(model).evaluate(x=x, y=y)["loss"], float)


class Frame:
    """What pandas has of a table, as far as NumPy asks."""

    def __init__(self, values):
        self._values = values
        self.shape = values.shape

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._values, dtype)

    def __getitem__(self, name):
        raise KeyError(name)

    def __len__(self):
        return len(self._values)


def test_tables_are_arrays(data):
    trainer, _ = by_both(data.x, data.y, BATCH)
    again = Trainer(dense())
    again.fit(Frame(data.x), Frame(data.y), BATCH, shuffle=False, verbose=0)
    assert_same_weights(weights_of(again.model), weights_of(trainer.model))
    assert Split(Frame(data.x)).x.shape == (ROWS, 3)
