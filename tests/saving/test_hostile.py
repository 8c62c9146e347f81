"""Files made by an enemy are one error, and nothing else. Without this a model from the internet could fill the memory
of whoever looks at it, read or write what it should not, or run what it likes."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hostile_archives import ARCHIVES
from hostile_checkpoints import CHECKPOINTS
from hostile_descriptions import DESCRIPTIONS
from hostile_directories import DIRECTORIES
from hostile_tensors import TENSORS
from hostile_weights import WEIGHTS
from saving import IMAGES, ROWS, outputs, save, scramble
from watching import watched

from unidl import build_cnn, load_model, load_weights, save_keras
from unidl.errors import SavedModelError
from unidl.training.checkpoint import Checkpoints, Position, Tracked

OURS = DIRECTORIES | DESCRIPTIONS | TENSORS
pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes, which some of them need")


@pytest.fixture(scope="module")
def good(tmp_path_factory, backend) -> SimpleNamespace:
    """Good files of each kind, read twice: the first time something looks for a GPU, and modules are imported."""
    import keras

    folder = tmp_path_factory.mktemp("good")
    ours = scramble(build_cnn((8, 8, 1), 3, filters=(2, 2), dense_units=4))
    layers = [keras.Input((4,)), keras.layers.Dense(3), keras.layers.LeakyReLU(0.01), keras.layers.Dense(2)]
    theirs = scramble(keras.Sequential(layers))
    theirs.name = "theirs"
    run = save(ours, folder / "run")
    archive = save_keras(theirs, folder / "model.keras")
    weights = save_keras(theirs, folder / "model.weights.h5")
    for watch in (nullcontext(), watched(folder)):
        with watch:
            load_model(run)
            load_model(archive, trust=True)
            load_weights(theirs, weights, trust=True)
    ours.compile("sgd", "mse")
    tracked = Tracked(ours, [keras.callbacks.EarlyStopping()])
    checkpoint = Checkpoints(folder).save(Position(1, 2, {}, {"loss": [1.0]}, False, {}), ours, tracked)
    return SimpleNamespace(
        **{"run": run, "archive": archive, "weights": weights, "model": theirs},
        **{"ours": ours, "tracked": tracked, "checkpoint": checkpoint},
    )


def copied(original: Path, folder: Path, change: Callable[[Path], None]) -> Path:
    """A changed copy, in a folder with somebody's secret."""
    (folder / "secret").write_bytes(b"secret")
    path = folder / original.name
    shutil.copytree(original, path) if original.is_dir() else shutil.copy(original, path)
    change(path)
    return path


@pytest.mark.parametrize("kind", OURS)
def test_a_hostile_directory_is_one_error(good, tmp_path, kind: str):
    change, reason = OURS[kind]
    path = copied(good.run, tmp_path, change)
    with watched(tmp_path), pytest.raises(SavedModelError, match="Cannot load") as caught:
        load_model(path)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("kind", ARCHIVES)
def test_a_hostile_archive_is_one_error(good, tmp_path, kind: str):
    change, reason = ARCHIVES[kind]
    path = copied(good.archive, tmp_path, change)
    with watched(tmp_path), pytest.raises(SavedModelError, match="Cannot load") as caught:
        load_model(path, trust=True)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("kind", WEIGHTS)
def test_a_hostile_file_of_weights_is_one_error_and_the_model_stays(good, tmp_path, kind: str):
    change, reason = WEIGHTS[kind]
    path = copied(good.weights, tmp_path, change)
    before = outputs(good.model, ROWS)
    with watched(tmp_path), pytest.raises(SavedModelError, match="Cannot load") as caught:
        load_weights(good.model, path, trust=True)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 2000
    np.testing.assert_array_equal(outputs(good.model, ROWS), before)


def go_on(good, folder: Path) -> None:
    """What `fit(resume=True)` does with the newest checkpoint."""
    found, damaged = Checkpoints(folder).newest()
    assert not damaged
    found.restore(good.ours, good.tracked)


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_a_hostile_checkpoint_is_one_error_and_the_model_stays(good, tmp_path, kind: str):
    change, reason = CHECKPOINTS[kind]
    copied(good.checkpoint, tmp_path, change)
    good.ours.weights[0].assign(good.ours.weights[0].value * 0.5)  # so that a restore would show
    before = outputs(good.ours, IMAGES)
    with watched(tmp_path), pytest.raises(SavedModelError, match="Cannot resume from") as caught:
        go_on(good, tmp_path)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 2000
    np.testing.assert_array_equal(outputs(good.ours, IMAGES), before)


def test_a_checkpoint_that_nobody_touched_is_restored(good, tmp_path):
    """Needing no trust: it is weights and numbers, for a model that is there."""
    copied(good.checkpoint, tmp_path, lambda _: None)
    go_on(good, tmp_path)


def test_there_are_enough_of_them():
    assert len(OURS) + len(CHECKPOINTS) + len(ARCHIVES) + len(WEIGHTS) >= 60


def test_what_is_watched_for_is_noticed(tmp_path):
    """A watch that sleeps would let everything pass."""
    import random

    import keras

    def floats() -> None:
        keras.config.set_floatx("float16")

    crimes = [
        lambda: (tmp_path / "written").write_text("x"),
        lambda: socket.socket().close(),
        lambda: os.system("true"),
        lambda: random.random(),
        lambda: np.ones(2**26),
        floats,
    ]
    for crime in crimes:
        with pytest.raises(AssertionError), watched(tmp_path):
            crime()
    keras.config.set_floatx("float32")
    with watched(tmp_path):
        pass
