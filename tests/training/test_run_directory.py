"""A run directory keeps what somebody needs to repeat, compare or show a training. Without this a good result is a
number that nobody can get again."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import math
import os
import sys
from importlib import metadata

import numpy as np
import pytest
from PIL import Image

import unidl
from unidl import Trainer, build_lstm, load_model, registry
from unidl.errors import SavedModelError, UsageError
from unidl.saving.directories import write_directory
from unidl.training.run_directory import draw_curves, history_csv, read_run, require_plotting, save_run

ROWS = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
LABELS = (np.arange(12) % 3).astype(np.int32)
HISTORY = {"accuracy": [0.25, 0.5], "loss": [2.0, 1.0], "val_accuracy": [0.125, 0.75], "val_loss": [3.0, 0.5]}


@pytest.fixture(scope="module")
def trainer():
    """A short training of a model that compiles fast."""
    registry.current()
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    trainer = Trainer(model, loss="sparse_categorical_crossentropy", metrics=["accuracy"], seed=7)
    trainer.fit((ROWS, LABELS), validation=(ROWS, LABELS), epochs=2, batch_size=6, progress="quiet")
    return trainer


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_run_says_how_to_repeat_it(trainer, tmp_path):
    save_run(trainer, tmp_path / "run", configuration={"data": "digits", "epochs": 2})
    run = read_run(tmp_path / "run")
    assert run["configuration"] == {"data": "digits", "epochs": 2}
    assert run["backend"] == registry.current().name
    assert run["precision"] == "float32"
    assert run["seed"] == 7
    assert run["fit"] == {
        "epochs": 2,
        "batch_size": 6,
        "seed": 7,
        "shuffle": True,
        "initial_epoch": 0,
        "precompute_frozen": False,
        "steps_per_epoch": None,
        "validation_steps": None,
        "validation_batch_size": None,
        "validation_freq": None,
        "mix": None,
        "feature_variants": None,
    }
    assert run["device"]["kind"] in ("cpu", "gpu")
    assert run["device_reason"]
    assert run["saved"].endswith("+00:00")
    versions = run["versions"]
    assert versions["unidl"] == unidl.__version__
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert versions["numpy"] == np.__version__
    assert versions["keras"] == metadata.version("keras")
    assert set(registry.current().versions()) <= set(versions)


def test_the_history_is_a_table_that_any_program_reads(trainer, tmp_path):
    save_run(trainer, tmp_path / "run")
    table = rows((tmp_path / "run" / "history.csv").read_text())
    assert [row["epoch"] for row in table] == ["1", "2"]
    assert list(table[0]) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
    for name, values in trainer.history.items():
        assert [float(row[name]) for row in table] == [float(value) for value in values]


def test_a_model_that_was_never_trained_is_a_run_without_history(tmp_path):
    fresh = Trainer(build_lstm(sequence_length=4, units=4, features=2, classes=3))
    save_run(fresh, tmp_path / "run", plot=True)
    assert (tmp_path / "run" / "history.csv").read_text() == "epoch\n"
    assert not (tmp_path / "run" / "curves.png").exists()
    assert read_run(tmp_path / "run")["fit"] is None
    load_model(tmp_path / "run")


def test_epochs_are_counted_on_where_training_went_on():
    assert [row["epoch"] for row in rows(history_csv(HISTORY, first_epoch=6))] == ["6", "7"]


def test_what_a_callback_adds_does_not_break_the_table():
    """Keras's History holds what callbacks put there: arrays, and metrics of some epochs only."""
    text = history_csv({"loss": [1.0, math.nan], "learning_rate": [0.1], "per_class": [np.arange(3.0), np.ones(3)]})
    first, second = rows(text)
    assert (first["learning_rate"], second["learning_rate"]) == ("0.1", "")
    assert (first["per_class"], second["per_class"]) == ("[0.0, 1.0, 2.0]", "[1.0, 1.0, 1.0]")
    assert math.isnan(float(second["loss"]))


@pytest.mark.parametrize(
    "history",
    [
        HISTORY,
        {"loss": [1.0]},
        {"val_loss": [1.0, 0.5]},
        {"loss": [math.nan, math.inf]},
        {"loss": [1.0, 0.5], "per_class": [np.arange(3.0), np.ones(3)]},
        {"$odd_{name": [1.0, 2.0], "loss": [1e-30, 1e30]},
    ],
)
def test_the_curves_are_a_picture(history):
    picture = Image.open(io.BytesIO(draw_curves(history, title="a $strange model", first_epoch=4)))
    picture.verify()
    assert picture.format == "PNG"
    assert picture.width >= 500


def test_plot_adds_the_picture_to_the_run(trainer, tmp_path):
    save_run(trainer, tmp_path / "run", plot=True)
    with Image.open(tmp_path / "run" / "curves.png") as picture:
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(colours, axis=0)) > 50, "the picture is blank"
    load_model(tmp_path / "run", trust=True)


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: real(name, *rest) if name != "matplotlib" else None
    )
    with pytest.raises(UsageError, match=r"pip install 'unidl\[plot\]'"):
        require_plotting()
    with pytest.raises(UsageError, match="matplotlib is not installed"):
        draw_curves(HISTORY, "cnn")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"configuration": 5}', b"\xff", b"[" * 100_000])
def test_a_run_file_that_is_not_ours_is_one_error(tmp_path, content: bytes):
    write_directory(tmp_path / "run", {"run.json": content})
    with pytest.raises(SavedModelError, match=r"Cannot read .*run\.json"):
        read_run(tmp_path / "run")


def test_a_directory_without_a_run_file_is_one_error(tmp_path):
    write_directory(tmp_path / "run", {"weights": b""})
    with pytest.raises(SavedModelError, match=r"Cannot read .*run\.json"):
        read_run(tmp_path / "run")
    with pytest.raises(SavedModelError, match="the directory does not exist"):
        read_run(tmp_path / "missing")


def test_a_run_of_gigabytes_is_refused_before_it_is_read(tmp_path):
    """It would fill the memory, and need not take any place on the disk."""
    path = tmp_path / "run"
    write_directory(path, {"run.json": b"{}"})
    os.truncate(path / "run.json", 2**30)
    manifest = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(manifest.replace('"bytes": 2,', f'"bytes": {2**30},'))
    with pytest.raises(SavedModelError, match=r"has 1,073,741,824 bytes; at most 33,554,432 are allowed"):
        read_run(path)


def test_the_file_itself_is_json_for_people(trainer, tmp_path):
    save_run(trainer, tmp_path / "run")
    text = (tmp_path / "run" / "run.json").read_text()
    assert json.loads(text)
    assert text.startswith('{\n  "')
