"""Runs on a machine that is busy with other work. Without this a run that is repeated, or goes on from a checkpoint,
ends with other weights once in a while, and only where nobody can look."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
from nursery import Nursery
from training import sentences, small_lstm

from unidl import Trainer, build_cnn
from unidl.data import load_data

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork"),
]

BUSY = 4
"""Processes a core that do nothing but compute; with the run itself, five times what there is."""
RUNS = {"cnn": 8, "lstm": 6}
"""Half of them are killed at a random moment, and go on from their checkpoints."""
ROWS, BATCH, EPOCHS = 350, 64, 3
"""6 steps an epoch, the last of 30 rows."""
RUN = """
from test_busy_machine import run
run({name!r}, {folder!r}, {end!r})
"""


def run(name, folder, end):
    """Train as the command line does: Adam, a cosine schedule, a checkpoint each 7 steps; write what has come of it."""
    import keras

    if name == "cnn":
        data = load_data("digits").train
        rows, model = (data.x[:ROWS], data.y[:ROWS]), build_cnn(data.x.shape[1:], 10)
    else:
        rows, model = sentences(ROWS), small_lstm(dropout=0.3)
    steps = EPOCHS * -(-ROWS // BATCH)
    trainer = Trainer(model, optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, steps)))
    trainer.fit(
        rows, epochs=EPOCHS, batch_size=BATCH, checkpoint=folder, save_every_steps=7, resume=True, progress="quiet"
    )
    state = [np.array(keras.ops.convert_to_numpy(value)) for value in (*model.variables, *model.optimizer.variables)]
    np.savez(end, *state, **trainer.history)


@contextmanager
def busy():
    """Inside it the cores have other work."""
    count = BUSY * (os.cpu_count() or 1)
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def ended(end):
    """What a run has written, by name, as bytes."""
    with np.load(end) as found:
        return {name: found[name].tobytes() for name in found.files}


@pytest.mark.parametrize("name", RUNS)
def test_every_run_ends_with_the_same_bits_however_busy_the_machine_is(backend, tmp_path, name):
    """From its beginning, and from the checkpoint before a random moment: weights, optimizer and history."""
    drawn, found, resumed = random.Random(0), [], 0
    folder, end = tmp_path / "c", tmp_path / "end.npz"
    with Nursery(backend.name, RUN.format(name=name, folder=str(folder), end=str(end))) as nursery:
        nursery.begin()
        assert nursery.wait() == 0, nursery.said()
        expected = ended(end)
        with busy():
            for number in range(RUNS[name]):
                shutil.rmtree(folder)
                end.unlink()
                nursery.begin()
                if number % 2:
                    while nursery.exit_code() is None and not saved_in(folder):
                        time.sleep(0.002)
                    time.sleep(drawn.uniform(0, 2))
                    resumed += nursery.kill() == -signal.SIGKILL
                    nursery.begin()
                assert nursery.wait() == 0, nursery.said()
                found.append(ended(end))
    assert resumed
    different = [number for number, one in enumerate(found) if one != expected]
    assert not different, f"runs {different} of {len(found)} ended with other bits; odd ones were killed"


def saved_in(folder):
    """Whether there is a checkpoint."""
    return folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir())
