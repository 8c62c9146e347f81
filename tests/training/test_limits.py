"""What cannot go on is told in one sentence where it happens: compiling in a callback, two threads, values that are no
numbers, memory that no checkpoint holds."""

from __future__ import annotations

import logging
import threading

import numpy as np
import pytest
from training import FLOAT32, assert_same_weights, dense, differ, points, weights_of

from unidl import Trainer
from unidl.data import Split
from unidl.errors import DataError, TrainingError, UsageError

HOOKS = ["on_train_begin", "on_epoch_begin", "on_train_batch_end", "on_test_begin", "on_epoch_end"]


def doing(hook, action):
    """A callback of a person's own that does something once, in one hook."""
    import keras

    class Meddling(keras.callbacks.Callback):
        pass

    done = []
    setattr(Meddling, hook, lambda self, *_, logs=None: done or done.append(action(self.model)))
    return Meddling()


@pytest.mark.parametrize("hook", HOOKS)
def test_a_callback_may_not_compile_the_model(backend, hook):
    """It was obeyed by half, and otherwise on each backend."""
    import keras

    def again(model):
        model.compile(keras.optimizers.SGD(0.0), "mae")
        return True

    trainer = Trainer(dense())
    with pytest.raises(TrainingError, match=rf"\(Meddling\) compiled the model again.* in {hook}, .*stop_training"):
        trainer.fit(points(8), validation=points(8), epochs=3, batch_size=4, verbose=0, callbacks=[doing(hook, again)])
    assert trainer.fit(points(8), epochs=1, batch_size=4, verbose=0).history["loss"]


def test_a_callback_may_not_exchange_the_optimizer_or_freeze_a_layer(backend):
    import keras

    def exchange(model):
        model.optimizer = keras.optimizers.SGD(0.0)
        return True

    def freeze(model):
        model.get_layer("first").trainable = False
        return True

    for action, what in ((exchange, "replaced its optimizer"), (freeze, "froze or unfroze a layer")):
        model = dense()
        trainer = Trainer(model)
        if trainer._ready_loop().follows_values and action is freeze:
            continue  # the steps learn other weights from then on
        with pytest.raises(TrainingError, match=what):
            trainer.fit(points(8), epochs=3, batch_size=4, verbose=0, callbacks=[doing("on_epoch_end", action)])


def in_a_thread(action):
    """What `action` raises in another thread, or None."""
    raised = []

    def run():
        try:
            action()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test looks at it
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    return raised[0] if raised else None


def test_one_thread_at_a_time(backend):
    """On JAX the second one found the weights deleted; elsewhere both went on and mixed up the model."""
    model, data = dense(), points(8)
    trainer, other = Trainer(model), Trainer(model)
    found = {}

    def meanwhile(model):
        found["fit"] = in_a_thread(lambda: other.fit(data, verbose=0))
        found["predict"] = in_a_thread(lambda: trainer.predict(data.x))
        found["evaluate"] = in_a_thread(lambda: other.evaluate(data))
        found["own thread"] = trainer.predict(data.x).shape
        return True

    trainer.fit(data, epochs=2, batch_size=4, verbose=0, callbacks=[doing("on_epoch_end", meanwhile)])
    for what in ("fit", "predict", "evaluate"):
        assert isinstance(found[what], UsageError)
        assert f"Cannot {what} with the model 'dense' now: fit is running in another thread" in str(found[what])
    assert found["own thread"] == (8, 1)
    assert in_a_thread(lambda: other.fit(data, verbose=0)) is None
    plain = Trainer(dense())
    plain.fit(data, epochs=2, batch_size=4, verbose=0)
    after = Trainer(dense())
    after.fit(data, epochs=2, batch_size=4, verbose=0)
    assert_same_weights(weights_of(plain.model), weights_of(after.model))


def test_several_threads_may_predict(backend):
    trainer, data = Trainer(dense()), points(8)
    expected = trainer.predict(data.x)
    found = []
    assert in_a_thread(lambda: found.append(trainer.predict(data.x))) is None
    np.testing.assert_array_equal(found[0], expected)


def masking():
    """A loss that leaves out targets that are NaN, as forecasts with gaps do."""
    from keras import ops

    def masked(y_true, y_pred):
        known = ops.logical_not(ops.isnan(y_true))
        difference = ops.where(known, y_true, ops.zeros_like(y_true)) - y_pred
        return ops.mean(ops.where(known, ops.square(difference), ops.zeros_like(difference)), axis=-1)

    return masked


def test_targets_that_the_loss_leaves_out_may_be_missing(backend, caplog):
    data = points(22)
    data.y[5] = np.nan
    ours, theirs = dense(loss=masking()), dense(loss=masking())
    expected = theirs.fit(data.x, data.y, batch_size=4, epochs=2, shuffle=False, verbose=0).history
    trainer = Trainer(ours)
    with caplog.at_level(logging.INFO, "unidl"):
        found = trainer.fit(data, validation=data, batch_size=4, epochs=2, shuffle=False, verbose=0).history
    assert found["loss"] == pytest.approx(expected["loss"], rel=FLOAT32)
    assert_same_weights(weights_of(ours), weights_of(theirs), FLOAT32)
    assert np.isfinite(trainer.evaluate(data)["loss"])
    assert "y is nan in row 5 of the training data. Its loss is finite" in caplog.text


def test_inputs_that_a_layer_replaces_may_be_missing(backend):
    import keras
    from keras import ops

    class Replace(keras.layers.Layer):
        def call(self, values):
            return ops.where(ops.isnan(values), ops.zeros_like(values), values)

    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(1)(Replace()(inputs)))
    model.compile("sgd", "mse")
    data = points(8)
    data.x[2, 1] = np.nan
    trainer = Trainer(model)
    assert np.isfinite(trainer.fit(data, batch_size=4, verbose=0).history["loss"]).all()
    assert np.isfinite(trainer.predict(data.x)).all()


@pytest.mark.parametrize("part", ["x", "y"])
def test_values_that_reach_the_loss_are_refused_before_it_learns_from_them(backend, part):
    """One such row turns every weight into NaN, and the model is lost."""
    data = points(22)
    getattr(data, part)[9] = np.inf
    trainer = Trainer(dense())
    before = weights_of(trainer.model)
    for options in ({}, {"validation": data}):
        given = points(8) if options else data
        with pytest.raises(DataError, match=rf"^{part} is inf in row 9 of the {'valid' if options else 'train'}.*data"):
            trainer.fit(given, batch_size=4, verbose=0, **options)
    with pytest.raises(DataError, match=f"{part} is inf in row 9 of the test data"):
        trainer.evaluate(data)
    if part == "x":
        with pytest.raises(DataError, match="x is inf in row 9 of the input"):
            trainer.predict(data.x)
    assert not differ(weights_of(trainer.model), before)
    with pytest.raises(DataError, match="sample_weight is nan in row 0"):
        trainer.fit(Split(data.x, points(22).y, np.full(22, np.nan)), verbose=0)


def counting():
    """A callback that warms up the learning rate by a count of its own, and one that can be kept."""
    import keras

    class WarmUp(keras.callbacks.Callback):
        batches = 0

        def __init__(self):
            super().__init__()
            self.rates = []
            self.factor = 0.01

        def on_train_batch_begin(self, batch, logs=None):
            self.batches += 1
            self.rates.append(self.factor * self.batches)

    class Kept(WarmUp):
        def state_dict(self):
            return {"batches": self.batches}

        def load_state_dict(self, state):
            self.batches = state["batches"]

    return WarmUp(), Kept()


def test_memory_that_a_checkpoint_does_not_hold_is_named_once(backend, tmp_path, capsys):
    import keras

    forgetful, kept = counting()
    known = keras.callbacks.EarlyStopping("loss", patience=5)
    trainer = Trainer(dense())
    callbacks = [forgetful, kept, known]
    trainer.fit(points(8), epochs=3, batch_size=4, callbacks=callbacks, checkpoint=tmp_path / "c", progress="lines")
    told = [line for line in capsys.readouterr().out.splitlines() if "do not contain" in line]
    assert len(told) == 1
    assert "the attributes 'rates', 'batches' of the callback WarmUp" in told[0]
    assert "Add state_dict() and load_state_dict(state) to WarmUp." in told[0]


def test_nothing_is_named_without_memory_or_checkpoints(backend, tmp_path, capsys):
    import keras

    forgetful, _ = counting()
    Trainer(dense()).fit(points(8), batch_size=4, callbacks=[forgetful], progress="lines")
    quiet = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)
    Trainer(dense()).fit(points(8), batch_size=4, callbacks=[quiet], checkpoint=tmp_path / "c", progress="lines")
    assert "do not contain" not in capsys.readouterr().out


def test_a_loss_that_counts_goes_on_where_it_was(backend, tmp_path):
    import keras

    class Counting(keras.losses.Loss):
        def __init__(self):
            super().__init__()
            self.number = keras.Variable(1.0, trainable=False)

        def call(self, y_true, y_pred):
            return self.number * keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)

    def trained(epochs, start=1.0, **options):
        loss = Counting()
        loss.number.assign(start)
        trainer = Trainer(dense(loss=loss))
        trainer.fit(points(8), epochs=epochs, batch_size=4, verbose=0, **options)
        return trainer

    trained(1, start=3.0, checkpoint=tmp_path / "c")
    found = trained(2, checkpoint=tmp_path / "c", resume=True)
    assert_same_weights(weights_of(found.model), weights_of(trained(2, start=3.0).model))


def test_a_run_that_was_stopped_says_that_it_stays_so(backend, tmp_path, capsys):
    import keras

    def run(**options):
        stop = keras.callbacks.EarlyStopping("loss", patience=1, min_delta=100.0)
        Trainer(dense()).fit(points(8), epochs=9, batch_size=4, callbacks=[stop], checkpoint=tmp_path / "c", **options)

    run(verbose=0)
    run(resume=True, progress="lines")
    assert "a callback has stopped this run after epoch 2, and it stays so" in capsys.readouterr().out
