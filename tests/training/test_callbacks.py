"""Keras's callbacks see what they see in Keras's own `fit`, and what they change counts.

Without this early stopping keeps the wrong weights, or a learning rate stays what it was.
"""

from __future__ import annotations

import csv
import itertools

import numpy as np
import pytest
from training import FLOAT32, assert_same_weights, dense, differ, points, shared_model, weights_of

from unidl.errors import TrainingError, UsageError

STEPS = 6
"""Steps an epoch in `Restored.fit`: five of 4 rows and one of 2."""


@pytest.fixture
def shared(backend):
    return shared_model().afresh()


@pytest.fixture
def held_out():
    return points(9, seed=1)


def recorder(**hooks):
    """A callback that writes down the hooks it is called by."""
    import keras

    class Recorder(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.calls = []

    def noting(name):
        def hook(self, *arguments, logs=None):
            self.calls.append((name, *(argument for argument in arguments if isinstance(argument, int))))

        return hook

    names = [name for name in dir(keras.callbacks.Callback) if name.startswith("on_") and "predict" not in name]
    for name in hooks.get("only", names):
        setattr(Recorder, name, noting(name))
    return Recorder()


def test_hooks_come_in_the_order_of_keras(shared, held_out):
    """A callback of somebody else's was written against this order."""
    data = points(22)
    ours, theirs = recorder(), recorder()
    shared.fit(epochs=2, validation=held_out, callbacks=[ours])
    model = dense()
    model.fit(
        data.x,
        data.y,
        epochs=2,
        batch_size=4,
        verbose=0,
        callbacks=[theirs],
        validation_data=(held_out.x, held_out.y),
    )
    assert ours.calls == theirs.calls
    assert ours.params == {**theirs.params, "verbose": 0}


def test_only_what_looks_at_batches_costs_single_steps(backend, shared, tmp_path):
    """A callback at the end of epochs must not slow every step down."""
    import keras

    from unidl.training.telling import looks_at_batches

    quick = [
        keras.callbacks.History(),
        keras.callbacks.EarlyStopping(),
        keras.callbacks.ReduceLROnPlateau(),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras"),
        keras.callbacks.BackupAndRestore(tmp_path / "backup"),
        recorder(only=["on_test_batch_end"]),
    ]
    slow = [
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None),
        keras.callbacks.LambdaCallback(on_batch_begin=lambda batch, logs: None),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_freq=3),
        recorder(only=["on_batch_end"]),
        recorder(only=["on_train_batch_begin"]),
    ]
    assert [looks_at_batches(callback, "train") for callback in quick] == [False] * len(quick)
    assert [looks_at_batches(callback, "train") for callback in slow] == [True] * len(slow)
    assert looks_at_batches(quick[-1], "test")
    assert not any(looks_at_batches(callback, "test") for callback in quick[:-1])


def test_every_batch_is_seen_with_its_running_mean(shared):
    import keras

    seen = []
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append((batch, dict(logs))))
    history = shared.fit(epochs=2, callbacks=[watch])
    assert [batch for batch, _ in seen] == [*range(STEPS), *range(STEPS)]
    for epoch in range(2):
        last = seen[STEPS * (epoch + 1) - 1][1]
        assert last == {name: values[epoch] for name, values in history.history.items()}


def test_watching_batches_does_not_change_training(shared):
    import keras

    shared.fit(epochs=2)
    expected = weights_of(shared.model)
    watch = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: None)
    shared.afresh().fit(epochs=2, callbacks=[watch])
    assert_same_weights(weights_of(shared.model), expected, FLOAT32)


def test_early_stopping_goes_back_to_the_best_weights(shared, held_out):
    """What is saved afterwards must be the model whose loss was the lowest."""
    import keras

    kept = []
    raise_rate = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.02 if epoch < 2 else 3.0)
    keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: kept.append(weights_of(shared.model)))
    history = shared.fit(epochs=9, validation=held_out, early_stopping=2, callbacks=[raise_rate, keep])
    losses = history.history["val_loss"]
    assert len(losses) == len(kept) == int(np.argmin(losses)) + 3 < 9
    assert_same_weights(weights_of(shared.model), kept[int(np.argmin(losses))])
    assert history.history["learning_rate"][:3] == pytest.approx([0.02, 0.02, 3.0])


def test_early_stopping_without_validation_watches_the_training_loss(shared):
    shared.model.optimizer.learning_rate = 0.0
    history = shared.fit(epochs=9, early_stopping=2, shuffle=False)
    assert len(history.history["loss"]) == 3


def test_a_plateau_lowers_the_learning_rate(shared, held_out):
    import keras

    plateau = keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=1, min_delta=100.0)
    history = shared.fit(epochs=4, validation=held_out, callbacks=[plateau])
    assert history.history["learning_rate"] == pytest.approx([0.02, 0.02, 0.01, 0.005])
    assert float(shared.model.optimizer.learning_rate) == pytest.approx(0.0025)


def test_a_learning_rate_of_zero_teaches_nothing(shared):
    """The rate that a callback sets must be the one of the very next step."""
    import keras

    before = weights_of(shared.model)
    shared.fit(callbacks=[keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.0)])
    assert_same_weights(weights_of(shared.model), before)


def test_checkpoints_hold_the_weights_of_their_moment(shared, tmp_path):
    """A checkpoint of stale or later weights is found out when it is needed."""
    import keras

    kept = {}
    keep = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: kept.setdefault(batch + 1, weights_of(shared.model))
    )
    checkpoint = keras.callbacks.ModelCheckpoint(
        tmp_path / "{epoch}-{batch}.weights.h5", save_weights_only=True, save_freq=4
    )
    shared.fit(epochs=1, callbacks=[checkpoint, keep])
    files = list(tmp_path.iterdir())
    assert [file.name for file in files] == ["1-4.weights.h5"]
    other = dense(optimizer=keras.optimizers.Adam(0.02))
    other.optimizer.build(other.trainable_variables)
    other.load_weights(files[0])
    assert_same_weights(weights_of(other), kept[4])
    assert int(other.optimizer.iterations) == 4


def test_the_best_model_is_kept_whole(shared, held_out, tmp_path):
    import keras

    best = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="val_loss", save_best_only=True)
    shared.fit(epochs=2, validation=held_out, callbacks=best)
    loaded = keras.models.load_model(tmp_path / "best.keras")
    assert_same_weights(weights_of(loaded), weights_of(shared.model))


def test_csv_and_lambda_callbacks_get_the_history(shared, held_out, tmp_path):
    import keras

    ended = []
    history = shared.fit(
        epochs=2,
        validation=held_out,
        callbacks=[
            keras.callbacks.CSVLogger(tmp_path / "log.csv"),
            keras.callbacks.LambdaCallback(on_train_end=lambda logs: ended.append(dict(logs))),
        ],
    )
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name, values in history.history.items():
        assert [float(row[name]) for row in rows] == pytest.approx(values)
    assert ended == [{name: values[-1] for name, values in history.history.items()}]


def test_backup_and_restore_goes_on_where_it_was(shared, tmp_path):
    """Keras tells the epoch to go on from through the model; begun at 0 it would train those epochs twice."""
    import keras

    def crash(epoch, logs):
        if epoch == 2:
            raise RuntimeError("power failure")

    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(RuntimeError, match="power failure"):
        shared.fit(epochs=4, callbacks=[backup, keras.callbacks.LambdaCallback(on_epoch_begin=crash)])
    at_crash = weights_of(shared.model)
    shared.afresh()
    begun = []
    keep = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: begun.append(weights_of(shared.model)))
    history = shared.fit(epochs=4, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "backup"), keep])
    assert history.epoch == [2, 3]
    assert_same_weights(begun[0], at_crash)
    assert shared.fit(epochs=2).epoch == [0, 1]


def test_stopping_in_mid_epoch_ends_the_epoch_there(shared, held_out):
    """As in Keras: the epoch counts, with its validation, and no further step is taken."""
    import keras

    def stop(batch, logs):
        if batch == 2:
            shared.model.stop_training = True

    def stopping():
        return keras.callbacks.LambdaCallback(on_train_batch_end=stop)

    history = shared.fit(validation=held_out, callbacks=[stopping()], shuffle=False)
    found = weights_of(shared.model)
    assert int(shared.model.optimizer.iterations) == 3
    data = points(22)
    expected = shared.afresh().model.fit(
        data.x,
        data.y,
        batch_size=4,
        epochs=3,
        verbose=0,
        shuffle=False,
        callbacks=[stopping()],
        validation_data=(held_out.x, held_out.y),
    )
    assert history.epoch == expected.epoch == [0]
    for name, values in expected.history.items():
        np.testing.assert_allclose(history.history[name], values, rtol=0, atol=FLOAT32)
    assert_same_weights(found, weights_of(shared.model), FLOAT32)


def test_stop_training_set_from_outside_is_seen_after_the_chunk(shared, monkeypatch):
    """A timer in another thread may set it, while no callback looks at batches."""
    import keras

    loop = type(shared.trainer._ready_loop())
    run = loop.run

    def stopping(self, chunk):
        logs = run(self, chunk)
        shared.model.stop_training = True
        return logs

    monkeypatch.setattr(loop, "run", stopping)
    begun = []
    history = shared.fit(callbacks=keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: begun.append(1)))
    assert history.epoch == [0]
    assert len(begun) == 1
    assert int(shared.model.optimizer.iterations) <= shared.trainer._ready_loop().steps_per_dispatch


def test_weights_changed_between_steps_count(shared):
    """Clipping weights by hand, resetting a layer: the next step starts from there."""
    import keras

    read = []

    def zero(batch, logs):
        read.append(weights_of(shared.model))
        if batch == STEPS - 1:
            shared.model.set_weights([np.zeros_like(value) for value in read[-1]])
            shared.model.optimizer.learning_rate = 0.0

    shared.fit(epochs=2, callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=zero)])
    assert all(differ(one, other) for one, other in itertools.pairwise(read[:STEPS]))
    for values in (read[-1], weights_of(shared.model)):
        assert_same_weights(values, [np.zeros_like(value) for value in values])


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_epoch_end", "on_test_begin", "on_test_end", "on_train_end"])
def test_every_hook_finds_and_may_change_the_weights(shared, held_out, hook):
    """On JAX the variables are behind the steps in between; a callback must never notice."""
    import keras

    seen = []

    def change(*_):
        # As Keras's own SwapEMAWeights does in these hooks.
        seen.append(weights_of(shared.model))
        shared.model.set_weights([np.full_like(value, 0.25) for value in seen[-1]])

    before = weights_of(shared.model)
    shared.model.optimizer.learning_rate = 0.0
    shared.fit(epochs=1, validation=held_out, callbacks=[keras.callbacks.LambdaCallback(**{hook: change})])
    assert_same_weights(seen[0], before)
    assert_same_weights(weights_of(shared.model), [np.full_like(value, 0.25) for value in before])


def test_averaged_weights_are_validated(shared, held_out):
    """SwapEMAWeights puts averages into the model for the validation, and the trained weights back after it."""
    import keras

    optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
    ours, theirs = (dense(optimizer=type(optimizer).from_config(optimizer.get_config())) for _ in range(2))
    data = points(22)
    swaps = [keras.callbacks.SwapEMAWeights() for _ in range(2)]
    from unidl import Trainer

    found = Trainer(ours).fit(
        data, validation=held_out, batch_size=4, shuffle=False, callbacks=swaps[:1], progress="quiet"
    )
    expected = theirs.fit(
        data.x,
        data.y,
        batch_size=4,
        shuffle=False,
        verbose=0,
        callbacks=swaps[1:],
        validation_data=(held_out.x, held_out.y),
    )
    np.testing.assert_allclose(found.history["val_loss"], expected.history["val_loss"], rtol=0, atol=FLOAT32)
    assert_same_weights(weights_of(ours), weights_of(theirs), FLOAT32)


def test_terminate_on_nan_ends_the_run_as_it_does_in_keras(shared, capsys):
    """Whoever asks Keras's callback for a quiet end does not want our error."""
    import keras

    shared.model.set_weights([np.full_like(value, np.nan) for value in weights_of(shared.model)])
    history = shared.fit(callbacks=[keras.callbacks.TerminateOnNaN()])
    assert "Batch 0: Invalid loss" in capsys.readouterr().out
    assert history.epoch == [0]
    assert np.isnan(history.history["loss"]).all()
    with pytest.raises(RuntimeError, match="NaN or Inf loss encountered at batch 0"):
        shared.fit(callbacks=[keras.callbacks.TerminateOnNaN(raise_error=True)])
    with pytest.raises(TrainingError, match="epoch 1, by step 1;"):
        shared.fit(callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_, logs: None)])


def test_what_is_no_callback_is_refused(shared):
    with pytest.raises(UsageError, match=r"keras\.callbacks\.Callback"):
        shared.fit(callbacks=[print])
