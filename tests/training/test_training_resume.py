"""A run that was stopped anywhere goes on as if it had not been: to the last bit of weights, optimizer and history."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from saving import rewrite
from training import assert_same_weights, dense, moving_run, pictures, points, small_cnn, weights_of

from unidl import Trainer, load_model
from unidl.errors import DataError, ModelError, SavedModelError, TrainingError, UsageError
from unidl.saving.directories import read_directory

SAVED = Path(__file__).parents[1] / "saved"
ROWS, BATCH = 50, 4
"""13 steps an epoch, the last of 2 rows."""


class KilledError(Exception):
    """In place of the death of the process."""


def made(**options):
    """A model with dropout and Adam, whose state is more than weights."""
    import keras

    return dense(
        dropout=0.3, **{"optimizer": keras.optimizers.Adam(0.02), "metrics": ["mean_absolute_error"]} | options
    )


def trained(model, *, epochs=3, **options):
    trainer = Trainer(model)
    trainer.fit(
        points(ROWS), validation=points(9, seed=1), epochs=epochs, batch_size=BATCH, progress="quiet", **options
    )
    return trainer


def state_of(trainer):
    model = trainer.model
    return weights_of(model), [np.array(variable) for variable in model.optimizer.variables], trainer.history


@cache
def never_stopped():
    """The state after three epochs without a break, which a run that goes on must reach."""
    return state_of(trained(made()))


def assert_same_state(found, expected):
    assert_same_weights(found[0], expected[0])
    for one, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_array_equal(one, other)
    assert found[2] == expected[2]


@pytest.fixture(scope="module")
def one_epoch(backend, tmp_path_factory):
    """A folder with the checkpoint of one epoch, to copy."""
    folder = tmp_path_factory.mktemp("one_epoch") / "c"
    trained(made(), epochs=1, checkpoint=folder)
    return folder


def killed_after(monkeypatch, model, step, folder, **options):
    """Train until a step, and die right behind it."""
    with monkeypatch.context() as patch:
        trainer = Trainer(model)
        loop = trainer._ready_loop()
        run, done = loop.run, [0]

        def until(chunk):
            logs = run(chunk)
            done[0] += len(chunk.rows)
            if done[0] >= step:
                raise KilledError
            return logs

        patch.setattr(loop, "run", until)
        with pytest.raises(KilledError):
            trainer.fit(
                points(ROWS),
                validation=points(9, seed=1),
                epochs=3,
                batch_size=BATCH,
                progress="quiet",
                checkpoint=folder,
                **options,
            )


@pytest.mark.parametrize("steps", [(5,), (14,), (17, 30), (3, 20, 38)])
def test_a_run_that_died_goes_on_where_it_was_saved(backend, monkeypatch, tmp_path, steps):
    """Once, twice and three times, in an epoch and between two."""
    expected = never_stopped()
    done = 0
    for step in steps:
        killed_after(monkeypatch, made(), step - done, tmp_path / "c", save_every_steps=2, resume=True)
        done = (step - 1) // 2 * 2 if step % 13 else step
    found = trained(made(), checkpoint=tmp_path / "c", save_every_steps=2, resume=True)
    assert_same_state(state_of(found), expected)


def test_saving_changes_nothing(backend, tmp_path):
    found = trained(made(), checkpoint=tmp_path / "c", save_every_steps=3)
    assert_same_state(state_of(found), never_stopped())


def test_a_finished_run_that_goes_on_is_a_longer_run(backend, tmp_path):
    trained(made(), epochs=2, checkpoint=tmp_path / "c")
    found = trained(made(), epochs=3, checkpoint=tmp_path / "c", resume=True)
    assert_same_state(state_of(found), never_stopped())


def test_callbacks_go_on_as_well(backend, monkeypatch, tmp_path):
    """Early stopping forgets how long it has waited, and a plateau how often it has come, in Keras."""
    import keras

    def options():
        plateau = keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.5, patience=1, min_delta=10.0)
        schedule = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9)
        return {"early_stopping": 2, "callbacks": [plateau, schedule]}

    expected = state_of(trained(made(), **options()))
    killed_after(monkeypatch, made(), 30, tmp_path / "c", save_every_steps=2, **options())
    found = trained(made(), checkpoint=tmp_path / "c", save_every_steps=2, resume=True, **options())
    assert_same_state(state_of(found), expected)


def test_a_run_that_was_stopped_early_stays_stopped(backend, tmp_path):
    import keras

    def stop():
        return keras.callbacks.EarlyStopping("loss", patience=1, min_delta=100.0, restore_best_weights=True)

    expected = state_of(trained(made(), epochs=9, callbacks=[stop()], checkpoint=tmp_path / "c"))
    assert len(expected[2]["loss"]) == 2
    found = trained(made(), epochs=9, callbacks=[stop()], checkpoint=tmp_path / "c", resume=True)
    assert_same_state(state_of(found), expected)


def test_a_checkpoint_is_a_saved_model(backend, tmp_path):
    model = small_cnn(dropout=0.2)
    trainer = Trainer(model)
    trainer.fit(pictures(24), epochs=1, batch_size=8, checkpoint=tmp_path / "c", progress="quiet")
    [path] = (tmp_path / "c").iterdir()
    assert_same_weights(weights_of(load_model(path)), weights_of(model))


def test_the_newest_ones_stay(backend, tmp_path):
    trained(made(), checkpoint=tmp_path / "c", save_every_steps=3, keep=3)
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [
        "epoch-00002-step-0000007",
        "epoch-00002-step-0000010",
        "epoch-00003-step-0000000",
    ]


def test_a_damaged_one_is_passed_over_with_its_reason(backend, monkeypatch, tmp_path, capsys):
    expected = never_stopped()
    killed_after(monkeypatch, made(), 20, tmp_path / "c", save_every_steps=2)
    newest = max((tmp_path / "c").iterdir())
    content = bytearray((newest / "state.safetensors").read_bytes())
    content[-1] ^= 1
    (newest / "state.safetensors").write_bytes(content)
    trainer = Trainer(made())
    trainer.fit(
        points(ROWS), validation=points(9, seed=1), epochs=3, batch_size=BATCH, checkpoint=tmp_path / "c", resume=True,
        progress="lines",
    )  # fmt: skip
    out = capsys.readouterr().out
    assert "state.safetensors has changed since it was saved" in out
    assert "resuming from epoch 2, step" in out
    assert_same_state(state_of(trainer), expected)
    for path in (tmp_path / "c").iterdir():
        (path / "manifest.json").unlink()
    with pytest.raises(SavedModelError, match="no checkpoint is whole"):
        trained(made(), checkpoint=tmp_path / "c", resume=True)


def test_another_run_is_not_gone_on_with(backend, one_epoch, tmp_path):
    shutil.copytree(one_epoch, tmp_path / "c")
    with pytest.raises(UsageError, match="batch_size was 4 there, and is 8 now"):
        Trainer(made()).fit(points(ROWS), batch_size=8, checkpoint=tmp_path / "c", resume=True, progress="quiet")
    with pytest.raises(UsageError, match="rows was 50 there, and is 22 now"):
        Trainer(made()).fit(points(22), batch_size=4, checkpoint=tmp_path / "c", resume=True, progress="quiet")
    with pytest.raises(SavedModelError, match="another optimizer"):
        trained(made(optimizer="sgd"), checkpoint=tmp_path / "c", resume=True)


def test_other_data_is_not_gone_on_with(backend, one_epoch, tmp_path):
    """The same number of rows with the same shape, but with one label changed in the meantime."""
    shutil.copytree(one_epoch, tmp_path / "c")
    changed_rows, options = points(ROWS), {"batch_size": BATCH, "checkpoint": tmp_path / "c", "progress": "quiet"}
    changed_rows.y[7] += 1
    with pytest.raises(DataError, match=r"other data: y of the training data holds other values.*Pass the same data"):
        Trainer(made()).fit(changed_rows, validation=points(9, seed=1), resume=True, **options)
    with pytest.raises(DataError, match="there is no x of the validation data now"):
        Trainer(made()).fit(points(ROWS), resume=True, **options)
    with pytest.raises(DataError, match=r"validation data had the shape \(9, 3\) then, and has \(8, 3\) now"):
        Trainer(made()).fit(points(ROWS), validation=points(8, seed=1), resume=True, **options)


def test_a_checkpoint_without_a_fingerprint_is_gone_on_with(backend, one_epoch, tmp_path):
    """Those that were written before there was one."""
    shutil.copytree(one_epoch, tmp_path / "c")
    [path] = (tmp_path / "c").iterdir()
    progress = json.loads(read_directory(path)["progress.json"])
    assert progress.pop("data").keys() == {
        f"{part} of the {name} data" for part in "xy" for name in ("training", "validation")
    }
    rewrite(path, progress=json.dumps(progress).encode())
    found = trained(made(), checkpoint=tmp_path / "c", resume=True)
    assert_same_state(state_of(found), never_stopped())


def test_checkpoints_of_another_run_are_not_mixed_with_its_own(backend, one_epoch, tmp_path):
    """The newest one would be the other run's, and the new ones would be removed as the oldest."""
    shutil.copytree(one_epoch, tmp_path / "c")
    with pytest.raises(UsageError, match=r"There are checkpoints in .* already"):
        trained(made(), epochs=1, checkpoint=tmp_path / "c")


def test_what_a_callback_of_somebody_else_remembers_is_kept(backend, tmp_path):
    import keras

    class Counts(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seen, self.sums = 0, np.zeros(3)

        def on_epoch_end(self, epoch, logs=None):
            self.seen += 1
            self.sums = self.sums + self.seen

        def state_dict(self):
            return {"seen": self.seen, "sums": self.sums, "names": ["a", None]}

        def load_state_dict(self, state):
            self.seen, self.sums = state["seen"], state["sums"]

    trained(made(), epochs=2, checkpoint=tmp_path / "c", callbacks=[Counts()])
    counts = Counts()
    trained(made(), epochs=3, checkpoint=tmp_path / "c", callbacks=[counts], resume=True)
    assert counts.seen == 3
    np.testing.assert_array_equal(counts.sums, np.full(3, 6.0))
    counts.state_dict = lambda: {"model": made()}
    with pytest.raises(UsageError, match="'model' is a Functional"):
        trained(made(), epochs=4, checkpoint=tmp_path / "c", callbacks=[counts], resume=True)


def test_features_of_other_weights_than_those_of_the_checkpoint_are_noticed(backend, tmp_path):
    """The base has been trained anew meanwhile: its features and the checkpoint's head do not go together."""

    def frozen(scale):
        model = dense()
        model.get_layer("first").trainable = False
        model.get_layer("first").kernel.assign(scale * model.get_layer("first").kernel)
        model.compile("adam", "mean_squared_error")
        return model

    trained(frozen(1.0), epochs=1, checkpoint=tmp_path / "c", precompute_frozen=True)
    trained(frozen(1.0), epochs=2, checkpoint=tmp_path / "c", precompute_frozen=True, resume=True)
    with pytest.raises(ModelError, match="The frozen weights are others before epoch 3"):
        trained(frozen(2.0), epochs=3, checkpoint=tmp_path / "c", precompute_frozen=True, resume=True)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"resume": True}, "without a folder"),
        ({"save_every_steps": 5}, "without a folder"),
        ({"checkpoint": "c", "save_every_steps": 0}, "save_every_steps=0"),
        ({"checkpoint": "c", "keep": 1}, "at least 2 checkpoints"),
    ],
)
def test_wrong_arguments_are_told_before_training(backend, options, why):
    with pytest.raises(UsageError, match=why):
        trained(made(), **options)


def test_a_loss_that_is_no_number_is_never_saved(backend, tmp_path):
    model = made()
    bad = points(ROWS)
    bad.y[40] = 3e38  # finite, and its square is not
    with pytest.raises(TrainingError, match="inf"):
        Trainer(model).fit(
            bad,
            batch_size=BATCH,
            shuffle=False,
            checkpoint=tmp_path / "c",
            save_every_steps=1,
            keep=99,
            progress="quiet",
        )
    assert len(list((tmp_path / "c").iterdir())) == 10


def test_a_run_goes_on_on_another_backend(backend, tmp_path):
    """The checkpoint was written on PyTorch in the second epoch: masks, order, optimizer and metrics go on from it."""
    shutil.copytree(SAVED / "checkpoint", tmp_path / "c")
    found = moving_run(checkpoint=tmp_path / "c", resume=True)
    with np.load(SAVED / "checkpoint.npz") as expected:
        for name, values in found.history.items():
            np.testing.assert_allclose(values, expected[name], rtol=1e-4, atol=1e-6)
        weights = [expected[name] for name in expected.files if name.startswith("arr_")]
    assert_same_weights(weights_of(found.model), weights, tolerance=1e-4)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 68719476736 bytes"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory"),
    ],
)
def test_out_of_memory_is_one_error_that_says_what_to_do(backend, one_epoch, monkeypatch, tmp_path, error):
    shutil.copytree(one_epoch, tmp_path / "c")
    trainer = Trainer(made())

    def fails(chunk):
        raise error

    monkeypatch.setattr(trainer._ready_loop(), "run", fails)
    with pytest.raises(TrainingError, match="Try batch_size=2, with") as raised:
        trainer.fit(
            points(ROWS),
            validation=points(9, seed=1),
            epochs=2,
            batch_size=BATCH,
            checkpoint=tmp_path / "c",
            resume=True,
            progress="quiet",
        )
    assert f"load_model reads its weights: {tmp_path / 'c' / 'epoch-00001-step-0000000'}" in str(raised.value)
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["epoch-00001-step-0000000"]
