"""Epochs, the order of the data, history, and what stays compiled."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
from training import FLOAT32, assert_same_weights, dense, differ, draws, points, shared_model, weights_of

from unidl import Trainer
from unidl.backend import Chunk
from unidl.data import Split
from unidl.errors import ModelError, UsageError
from unidl.models.records import note, record_of
from unidl.training.order import epoch_order


@pytest.fixture
def shared(backend):
    return shared_model().afresh()


@pytest.fixture
def batches(monkeypatch, shared):
    """The rows of every training step that the adapter was given."""
    seen = []
    loop = type(shared.trainer._ready_loop())
    run = loop.run

    def watched(self, chunk: Chunk):
        seen.extend(chunk.rows.tolist())
        return run(self, chunk)

    monkeypatch.setattr(loop, "run", watched)
    return seen


def test_each_epoch_has_its_own_order_and_every_row(shared, batches):
    """Rows left out are rows nobody learns from; the last, smaller batch is one of the steps."""
    shared.fit(epochs=2)
    for epoch in range(2):
        steps = batches[6 * epoch : 6 * epoch + 6]
        assert [len(step) for step in steps] == [4, 4, 4, 4, 4, 2]
        order = epoch_order(22, seed=0, epoch=epoch, shuffle=True)
        assert [row for step in steps for row in step] == order.tolist()


def test_the_seed_of_the_trainer_orders_the_data(shared, batches):
    Trainer(shared.model, seed=np.int64(5)).fit(points(22), batch_size=4, progress="quiet")
    assert sum(batches, []) == epoch_order(22, seed=5, epoch=0, shuffle=True).tolist()


def test_an_initial_epoch_goes_on_with_the_numbers_and_the_order(shared, batches):
    history = shared.fit(epochs=4, initial_epoch=3)
    assert history.epoch == [3]
    assert sum(batches, []) == epoch_order(22, seed=0, epoch=3, shuffle=True).tolist()


def test_losses_are_means_over_the_rows_of_one_epoch(shared):
    """A mean over batches would count the rows of the small last batch twice."""
    shared.model.optimizer.learning_rate = 0.0
    history = shared.fit(epochs=2)
    data = points(22)
    errors = shared.trainer.predict(data.x) - data.y
    assert history.history["loss"] == pytest.approx([float(np.mean(errors**2))] * 2, rel=FLOAT32)
    assert history.history["mean_absolute_error"] == pytest.approx([float(np.abs(errors).mean())] * 2, rel=FLOAT32)


def test_validation_uses_other_data_and_changes_nothing(shared):
    held_out = points(9, seed=1)
    shared.fit(epochs=1)
    expected = weights_of(shared.model)
    history = shared.afresh().fit(epochs=1, validation=held_out)
    assert_same_weights(weights_of(shared.model), expected)
    errors = shared.trainer.predict(held_out.x) - held_out.y
    assert history.history["val_loss"] == pytest.approx([float(np.mean(errors**2))], rel=FLOAT32)


def test_training_goes_on_where_it_stopped(shared):
    """Optimizer state included: Adam's first steps after a restart are its largest."""
    shared.fit(epochs=2)
    expected = weights_of(shared.model)
    shared.afresh().fit(epochs=1)
    first = int(shared.model.optimizer.iterations)
    shared.fit(epochs=2, initial_epoch=1)
    assert (first, int(shared.model.optimizer.iterations)) == (6, 12)
    assert_same_weights(weights_of(shared.model), expected)


def counted(**compiled):
    """A compiled model, and a list that grows whenever Python runs its layer: when it is traced."""
    import keras

    traces = []

    class Counting(keras.layers.Layer):
        def call(self, values):
            traces.append(tuple(values.shape))
            return values

    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(1)(Counting()(inputs)))
    traces.clear()
    model.compile(**{"optimizer": "adam", "loss": "mse"} | compiled)
    return model, traces


def test_nothing_is_compiled_twice(backend):
    """Compiling takes longer than training small models; a second fit, evaluate or predict must not pay again."""
    import keras

    model, traces = counted(optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, 100)))
    trainer = Trainer(model)

    def use():
        for callbacks in ((), keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_, logs: None)):
            trainer.fit(points(22), validation=points(9), batch_size=4, callbacks=callbacks, progress="quiet")
        trainer.evaluate(points(9), batch_size=4)
        trainer.predict(points(9).x, batch_size=4)
        model.set_weights([value + 0.1 for value in weights_of(model)])
        model.optimizer.iterations.assign(0)

    use()
    after_once = len(traces)
    if trainer.why_not_compiled is None and backend.name != "torch":
        use()
        assert len(traces) == after_once
    model.compile("adam", "mae")
    trainer.fit(points(6), batch_size=3, progress="quiet")
    assert len(traces) > after_once


def test_a_fit_after_compile_follows_it(backend):
    """An optimizer made at the address of the old one was once taken for it."""
    import keras

    model = dense()
    trainer = Trainer(model)
    for loss, rate in (("mean_squared_error", 0.1), ("mean_absolute_error", 0.05)):
        model.set_weights(weights_of(dense()))
        model.compile(keras.optimizers.SGD(rate), loss)
        history = trainer.fit(points(8), batch_size=4, shuffle=False, progress="quiet")
        same = dense(optimizer=keras.optimizers.SGD(rate), loss=loss)
        expected = same.fit(points(8).x, points(8).y, batch_size=4, shuffle=False, verbose=0)
        assert history.history["loss"] == pytest.approx(expected.history["loss"], rel=FLOAT32)
        assert_same_weights(weights_of(model), weights_of(same), FLOAT32)


def test_metrics_given_to_compile_later_are_reported(backend):
    model = dense()
    trainer = Trainer(model)
    trainer.fit(points(4), batch_size=4, progress="quiet")
    model.compile(model.optimizer, metrics=["mean_absolute_error"])
    assert set(trainer.fit(points(4), batch_size=4, progress="quiet").history) == {"loss", "mean_absolute_error"}


def test_unfrozen_weights_learn_after_compile_and_never_silently(backend, caplog):
    """Keras fixes at compile time what an optimizer updates; on JAX it then failed, elsewhere with other words."""
    model = dense()
    model.get_layer("first").trainable = False
    model.compile("adam", "mse")
    trainer = Trainer(model)
    before = weights_of(model)
    trainer.fit(points(4), batch_size=4, progress="quiet")
    assert [differ([one], [other]) for one, other in zip(before, weights_of(model), strict=True)] == [
        False,
        False,
        True,
        True,
    ]
    model.get_layer("first").trainable = True
    with pytest.raises(ModelError, match="optimizer of 'dense' was created for other weights"):
        trainer.fit(points(4), batch_size=4, progress="quiet")
    with caplog.at_level(logging.INFO, "unidl"):
        again = Trainer(model)
    assert "the state of its optimizer is reset" in caplog.text
    before = weights_of(model)
    again.fit(points(4), batch_size=4, progress="quiet")
    assert all(differ([one], [other]) for one, other in zip(before, weights_of(model), strict=True))


def test_rows_of_weight_zero_teach_nothing(shared):
    data = points(22)
    weights = draws(2).integers(0, 2, size=22).astype(np.float32)
    other = Split(data.x, np.where(weights[:, None] > 0, data.y, 1000).astype(np.float32), weights)
    shared.fit(epochs=1)
    plain = weights_of(shared.model)
    shared.afresh().trainer.fit(replace(data, sample_weight=weights), batch_size=4, progress="quiet")
    expected = weights_of(shared.model)
    shared.afresh().trainer.fit(other, batch_size=4, progress="quiet")
    assert_same_weights(weights_of(shared.model), expected)
    assert differ(expected, plain)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs=0: it must be a whole number of at least 1"),
        ({"epochs": 2.0}, "epochs=2.0"),
        ({"epochs": True}, "epochs=True"),
        ({"batch_size": 0}, "batch_size=0: it must be a whole number of at least 1"),
        ({"batch_size": "8"}, "batch_size='8'"),
        ({"initial_epoch": -1}, "initial_epoch=-1: it must be a whole number of at least 0"),
        ({"epochs": 3, "initial_epoch": 3}, "epochs=3: epochs is the index at which training ends"),
        ({"early_stopping": 0}, "early_stopping=0"),
        ({"progress": "fancy"}, "progress='fancy'. Allowed: 'auto', 'bar', 'lines', 'json', 'quiet'"),
    ],
    ids=str,
)
def test_unsuitable_arguments_are_refused_before_the_first_step(shared, batches, options, message):
    with pytest.raises(UsageError, match=message):
        shared.fit(**options)
    assert batches == []


def test_numbers_of_numpy_are_numbers(shared):
    assert len(shared.fit(epochs=np.int64(1), batch_size=np.int32(4)).epoch) == 1
    with pytest.raises(UsageError, match="seed='abc': it must be a whole number"):
        Trainer(shared.model, seed="abc")
    with pytest.raises(UsageError, match="batch_size=0"):
        shared.trainer.evaluate(points(4), batch_size=0)
    with pytest.raises(UsageError, match="batch_size=-1"):
        shared.trainer.predict(points(4).x, batch_size=-1)


def test_the_meaning_of_labels_is_not_forgotten(shared):
    """A loaded model that is trained on plain arrays still names its classes."""
    note(shared.model, class_names=("cat", "dog"))
    shared.fit(epochs=1)
    assert record_of(shared.model).class_names == ("cat", "dog")
    shared.trainer.fit(replace(points(4), class_names=("one", "two")), batch_size=4, progress="quiet")
    assert record_of(shared.model).class_names == ("one", "two")


def test_data_that_changes_between_two_fits_is_read_again(backend):
    """An adapter keeps rows on its device. A person who augments their arrays in place would train on old ones."""
    data = points(8)
    trainer = Trainer(dense(optimizer="sgd"))
    trainer.model.optimizer.learning_rate = 0.0
    before = trainer.fit(data, batch_size=4, progress="quiet").history["loss"]
    np.add(data.y, 1, out=data.y)
    assert trainer.fit(data, batch_size=4, progress="quiet").history["loss"] != before
    assert trainer.evaluate(data)["loss"] == pytest.approx(trainer.history["loss"][0], rel=1e-5)
