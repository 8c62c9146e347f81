"""SIGKILL at random moments. Without this a run that loses its machine begins anew, or goes on with half a step."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time

import numpy as np
import pytest
from image_folders import image_folder
from nursery import Nursery
from test_checkpoint_faults import step_of
from test_training_resume import made, state_of, trained

from unidl.training.checkpoint import NAME

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

STEPS = 13
"""Steps of an epoch of `trained`."""
RUN = """
import json, numpy
from test_training_resume import made, state_of, trained
trainer = trained(made(), epochs={epochs}, checkpoint={folder!r}, save_every_steps=3, resume=True)
weights, optimizer, history = state_of(trainer)
numpy.savez({end!r}, *weights, *optimizer, history=json.dumps(history))
"""


@pytest.mark.parametrize("kills", [2, pytest.param(100, marks=pytest.mark.faults)])
def test_a_run_that_is_killed_again_and_again_comes_to_the_same_end(backend, tmp_path, kills):
    """At random moments of the whole run: in steps, in validation, in the middle of a save, while it starts."""
    drawn, folder, end = random.Random(kills), tmp_path / "c", tmp_path / "end.npz"
    epochs = kills + 10  # a kill an epoch, and the last ones, so that no run is over before it is killed
    in_saves = 0
    with Nursery(backend.name, RUN.format(epochs=epochs, folder=str(folder), end=str(end))) as nursery:
        for number in range(kills):
            moment = STEPS * (number + drawn.random())
            nursery.begin()
            while nursery.exit_code() is None and steps_in(folder) < moment:
                time.sleep(0.002)
            time.sleep(drawn.uniform(0, 0.05))
            assert nursery.kill() == -signal.SIGKILL
            in_saves += cut_off(folder)
        nursery.begin()
        assert nursery.wait() == 0, nursery.said()
    assert in_saves or kills < 100, "no save was cut off"
    with np.load(end) as found:
        arrays = [found[name] for name in found.files if name != "history"]
        history = json.loads(str(found["history"]))
    weights, optimizer, expected_history = state_of(trained(made(), epochs=epochs))
    for one, other in zip(arrays, [*weights, *optimizer], strict=True):
        np.testing.assert_array_equal(one, other)
    assert history == expected_history


STREAMED = """
from test_kills import streamed
streamed({images!r}, {end!r}, checkpoint={folder!r}, save_every_steps=2, resume=True)
"""


def streamed(images, end, **options):
    """Train on augmented images that two threads decode, 10 steps an epoch, and write what has come of it."""
    import keras

    from unidl import Trainer, build_cnn, load_data
    from unidl.layers import Augmentation

    data = load_data(images, stream=True, workers=2)
    augmentation = Augmentation("flip,rotation=0.1,brightness=0.2", seed=4)
    cnn = build_cnn((8, 8, 3), 2, filters=(4,), dense_units=4, dropout=0.2, seed=1)
    model = keras.Sequential([keras.Input((8, 8, 3), dtype="uint8"), augmentation, cnn])
    trainer = Trainer(model, optimizer="adam", loss="sparse_categorical_crossentropy", seed=5)
    trainer.fit(data.train, epochs=3, batch_size=4, progress="quiet", **options)
    np.savez(end, *state_of(trainer)[0], *state_of(trainer)[1], history=json.dumps(trainer.history))


@pytest.mark.faults
def test_a_run_on_augmented_files_that_is_killed_within_an_epoch_comes_to_the_same_end(backend, tmp_path):
    """Ten of ten: what the threads had read ahead, and what was drawn for it, is neither repeated nor passed over."""
    images, folder, end = image_folder(tmp_path / "i", 25, size=(8, 8)), tmp_path / "c", tmp_path / "end.npz"
    drawn, found, within = random.Random(0), [], 0
    code = STREAMED.format(images=str(images), end=str(end), folder=str(folder))
    with Nursery(backend.name, code) as nursery:
        for number in range(11):
            shutil.rmtree(folder, ignore_errors=True)
            nursery.begin()
            if number:
                moment = drawn.randrange(2, 28)
                while nursery.exit_code() is None and steps_in(folder, 10) < moment:
                    time.sleep(0.001)
                assert nursery.kill() == -signal.SIGKILL
                within += steps_in(folder, 10) % 10 != 0
                nursery.begin()
            assert nursery.wait() == 0, nursery.said()
            with np.load(end) as arrays:
                found.append({name: arrays[name].tobytes() for name in arrays.files})
            end.unlink()
    assert within > 5, "hardly a run was killed within an epoch"
    different = [number for number, one in enumerate(found) if one != found[0]]
    assert not different, f"runs {different} of 10 ended with other bits"


WRITE = """
from pathlib import Path
from test_checkpoint_faults import save, step_of
from training import shared_model
from unidl.training.checkpoint import Checkpoints
folder = Path({folder!r})
step = step_of(folder) if folder.exists() and Checkpoints(folder).newest() else 0
model = shared_model().afresh().model
while True:
    save(folder, model, step := step + 1)
    with open({said!r}, "a") as said:
        said.write(str(step) + chr(10))
"""


@pytest.mark.faults
def test_a_writer_that_is_killed_a_hundred_times_leaves_the_last_state_that_it_told_of_or_the_next(backend, tmp_path):
    """Whole each time: the weights and the optimizer's state of one step, and no damaged one passed over."""
    drawn, folder, said = random.Random(0), tmp_path / "c", tmp_path / "said"
    said.touch()
    kills, in_saves, told = 100, 0, 0
    with Nursery(backend.name, WRITE.format(folder=str(folder), said=str(said))) as nursery:
        for _ in range(kills):
            nursery.begin()
            while nursery.exit_code() is None and last(said) == told:
                time.sleep(0.001)
            time.sleep(drawn.uniform(0, 0.05))
            assert nursery.kill() == -signal.SIGKILL
            in_saves += cut_off(folder)
            told = last(said)
            assert step_of(folder) in (told, told + 1)
    assert in_saves > kills // 10, "hardly a save was cut off"


def last(said):
    """The last step that the writer has told of."""
    return int(["0", *said.read_text().split("\n")[:-1]][-1])


def cut_off(folder):
    """Whether a save has left what it was about."""
    return folder.exists() and any(path.name.startswith(".") for path in folder.iterdir())


def steps_in(folder, steps=STEPS):
    """How many steps the newest checkpoint has. steps: of an epoch."""
    names = map(NAME.fullmatch, os.listdir(folder) if folder.exists() else ())
    return max((int(match[1]) * steps + int(match[2]) for match in names if match), default=0)
