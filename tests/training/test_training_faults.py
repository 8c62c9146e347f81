"""What is left after a run that failed or was broken off: a usable model, the history so far, a clear word.

Without this a night of training is lost to one bad step or one Ctrl-C.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import numpy as np
import processes
import pytest
from training import FLOAT32, assert_same_weights, points, shared_model, weights_of

from unidl import Trainer
from unidl.data import Split
from unidl.errors import TrainingError
from unidl.training.interrupt import Interrupt


@pytest.fixture
def shared(backend):
    return shared_model().afresh()


def at(batch, action, *, epoch=1):
    """A callback that acts at the end of one batch, and keeps the weights of then."""
    import keras

    class At(keras.callbacks.Callback):
        epoch = 0
        weights = None

        def on_epoch_begin(self, number, logs=None):
            self.epoch = number

        def on_train_batch_end(self, number, logs=None):
            if (self.epoch, number) == (epoch, batch):
                self.weights = weights_of(self.model)
                action()

    return At()


def assert_usable(shared, weights):
    """Fail unless the model has these weights, predicts with them, and trains on."""
    assert_same_weights(weights_of(shared.model), weights)
    kernel_1, bias_1, kernel_2, bias_2 = weights
    x = points(22).x
    expected = np.tanh(x @ kernel_1 + bias_1) @ kernel_2 + bias_2
    for outputs in (shared.trainer.predict(x), shared.model.predict(x, verbose=0)):
        np.testing.assert_allclose(outputs, expected, rtol=FLOAT32, atol=FLOAT32)
    before = int(shared.model.optimizer.iterations)
    shared.fit(epochs=1)
    assert int(shared.model.optimizer.iterations) == before + 6


def press():
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_ends_the_run_after_the_step(shared):
    """The interrupted epoch is not part of the history, but its steps are not lost."""
    pressed = at(2, press)
    before = signal.getsignal(signal.SIGINT)
    history = shared.fit(callbacks=[pressed])
    assert signal.getsignal(signal.SIGINT) is before
    assert shared.trainer.interrupted
    assert history.epoch == [0]
    assert shared.trainer.history == history.history
    assert int(shared.model.optimizer.iterations) == 6 + 3
    assert_usable(shared, pressed.weights)
    assert not shared.trainer.interrupted


def test_ctrl_c_after_the_last_step_keeps_the_epoch(shared):
    import keras

    held_out = points(9, seed=1)
    history = shared.fit(callbacks=[at(5, press, epoch=0)], validation=held_out)
    assert history.epoch == [0]
    assert set(history.history) == {"loss", "mean_absolute_error", "val_loss", "val_mean_absolute_error"}
    assert shared.trainer.interrupted
    ended = []
    between = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: press(), on_train_end=lambda logs: ended.append(logs)
    )
    assert shared.fit(callbacks=[between]).epoch == []
    assert len(ended) == 1


def test_a_second_ctrl_c_raises(shared):
    def twice():
        press()
        press()

    pressed = at(2, twice)
    with pytest.raises(KeyboardInterrupt):
        shared.fit(callbacks=[pressed])
    assert shared.trainer.interrupted
    assert len(shared.trainer.history["loss"]) == 1
    assert_usable(shared, pressed.weights)


def test_a_second_ctrl_c_within_a_step_waits_for_its_end(shared, monkeypatch):
    """On JAX the step owns the weights: unwound, it takes them along."""
    loop = type(shared.trainer._ready_loop())
    run = loop.run
    steps = []

    def pressing(self, chunk):
        steps.append(len(chunk.rows))
        if len(steps) == 2:
            press()
            press()
        return run(self, chunk)

    monkeypatch.setattr(loop, "run", pressing)
    with pytest.raises(KeyboardInterrupt):
        shared.fit(callbacks=[at(0, lambda: None)])
    monkeypatch.setattr(loop, "run", run)
    assert int(shared.model.optimizer.iterations) == 2
    assert_usable(shared, weights_of(shared.model))


def test_a_third_ctrl_c_breaks_a_step_that_never_ends():
    with Interrupt() as interrupt:

        def endless():
            press()
            press()
            pressed.append(2)
            press()
            pressed.append(3)

        pressed = []
        with pytest.raises(KeyboardInterrupt):
            interrupt.finish(endless)
        assert pressed == [2]


def test_a_thread_trains_without_ctrl_c(shared):
    """Python lets no other thread than the main one handle signals; a server trains in such a thread all the same."""
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def train():
        watch = at(0, lambda: seen.append(signal.getsignal(signal.SIGINT)), epoch=0)
        seen.append(shared.fit(epochs=1, callbacks=[watch]).epoch)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert seen == [before, [0]]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_on_the_keyboard_ends_a_process_cleanly(backend):
    """The signal of a terminal, while a script trains with nothing of ours around it."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})"
        + """
import os, signal, threading
import numpy as np
from training import dense, points
from unidl import Trainer
import keras

trainer = Trainer(dense())

class Press(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()

press = [Press()]
history = trainer.fit(points(40), batch_size=4, epochs=100000, callbacks=press, progress="quiet")
assert trainer.interrupted
assert 2 <= len(history.epoch) < 100000
assert np.isfinite(trainer.predict(points(4).x)).all()
print("clean")
"""
    )
    assert processes.python(code) == "clean"


def test_an_error_in_a_callback_keeps_the_last_step(shared):
    def fail():
        raise ZeroDivisionError("mine")

    failing = at(3, fail)
    with pytest.raises(ZeroDivisionError, match="mine"):
        shared.fit(callbacks=[failing])
    assert len(shared.trainer.history["loss"]) == 1
    assert not shared.trainer.interrupted
    assert_usable(shared, failing.weights)


def test_a_batch_that_fails_keeps_the_last_step(shared, monkeypatch):
    """A disk that fails while rows are read, say."""
    loop = type(shared.trainer._ready_loop())
    run = loop.run

    def failing(self, chunk):
        if chunk.rows.shape[1] == 2:
            kept.append(weights_of(shared.model))
            raise OSError("unreadable")
        return run(self, chunk)

    kept = []
    monkeypatch.setattr(loop, "run", failing)
    with pytest.raises(OSError, match="unreadable"):
        shared.fit(callbacks=[at(0, lambda: None)])
    monkeypatch.setattr(loop, "run", run)
    assert_usable(shared, kept[0])


def test_nan_stops_the_run_and_names_the_step(shared):
    """Every further hour would train on nothing."""
    data = points(22)
    poisoned = np.where(np.arange(22)[:, None] >= 12, 1e38, data.y).astype(np.float32)
    with pytest.raises(
        TrainingError, match=r"(?s)The loss became (nan|inf) in epoch 1, by step [45];.*Lower the learning"
    ):
        shared.trainer.fit(Split(data.x, poisoned), batch_size=4, shuffle=False, progress="quiet")
    assert shared.trainer.history == {}
    shared.afresh()
    rates = iter([0.02, 1e38])
    import keras

    rising = keras.callbacks.LearningRateScheduler(lambda *_: next(rates))
    with pytest.raises(TrainingError, match=r"in epoch 2, by step"):
        shared.fit(callbacks=[rising])
    assert len(shared.trainer.history["loss"]) == 1


def test_the_step_of_a_nan_is_the_right_one(shared):
    """Off by a chunk, a person looks for the bad row in the wrong place."""
    import keras

    data = points(22)
    bad = np.where(np.arange(22)[:, None] == 13, 3e38, data.y).astype(np.float32)
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_, logs: None)
    with pytest.raises(TrainingError, match="by step 4;"):
        shared.trainer.fit(Split(data.x, bad), batch_size=4, shuffle=False, callbacks=[watch], progress="quiet")


def test_a_step_that_fails_while_it_computes_is_told_and_leaves_a_usable_model(backend):
    """Out of memory, a broken kernel. Keras on JAX is left with arrays that are gone, and says so only when read."""
    import keras

    fuse = {"steps": 9}

    class Fragile(keras.layers.Layer):
        def call(self, values):
            return breaking(backend.name, values, fuse)

    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(1)(Fragile()(inputs)))
    model.compile("sgd", "mse", run_eagerly=backend.name == "torch")
    trainer = Trainer(model)
    kept = []
    keep = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: kept.append(weights_of(model)))
    expected = TrainingError if backend.name == "jax" else Exception
    with pytest.raises(expected, match="the fuse has blown"):
        trainer.fit(points(24), batch_size=4, epochs=4, callbacks=[keep], progress="quiet")
    fuse["steps"] = 10**6
    assert np.isfinite(trainer.predict(points(4).x)).all()
    if backend.name == "jax":
        assert_same_weights(weights_of(model), kept[-1])
    assert np.isfinite(trainer.fit(points(8), batch_size=4, progress="quiet").history["loss"]).all()


def breaking(name, values, fuse):
    """The values, by a function of the host that fails after some steps, as each framework lets one in."""

    def host(array):
        fuse["steps"] -= 1
        if fuse["steps"] < 0:
            raise ValueError("the fuse has blown")
        return np.asarray(array)

    if name == "jax":
        import jax

        like = jax.ShapeDtypeStruct(values.shape, values.dtype)
        return jax.pure_callback(host, like, jax.lax.stop_gradient(values))
    if name == "tensorflow":
        import tensorflow as tf

        return tf.ensure_shape(tf.numpy_function(host, [values], tf.float32), values.shape)
    if not values.is_meta:
        host(values.detach().cpu())
    return values
