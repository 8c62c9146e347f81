"""Training on images that are read as they are needed is training on them in memory, on every backend. Without this a
folder larger than the memory trains to something else, or a resumed run sees other images."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command_line import unidl
from image_folders import damage, image_folder
from training import assert_same_weights, differ, weights_of

from unidl import Trainer, build_cnn, build_transfer, load_data, load_model
from unidl.data import image_sets
from unidl.data.value_range import UNIT
from unidl.errors import DataError
from unidl.models.records import record_of
from unidl.training.checkpoint import Checkpoints

BATCH = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp("images"), 15, size=(8, 8))


def model():
    return build_cnn((8, 8, 3), 2, filters=(4,), dense_units=4, dropout=0.2, seed=1)


def trained(data, **options):
    trainer = Trainer(model(), seed=5)
    options = {"progress": "quiet", "batch_size": BATCH} | options
    trainer.fit(data.train, validation=data.test, epochs=3, **options)
    return trainer


@pytest.fixture(scope="module")
def streamed(backend, folder):
    return trained(load_data(folder, stream=True))


def test_it_is_the_training_on_images_in_memory(streamed, folder):
    """Bytes are multiplied in the step where an array was divided before: the last bit of an input may differ."""
    data = load_data(folder)
    trainer = trained(data)
    assert_same_weights(weights_of(streamed.model), weights_of(trainer.model), 2e-6)
    np.testing.assert_allclose(streamed.history["val_loss"], trainer.history["val_loss"], rtol=1e-5)
    test = load_data(folder, stream=True).test
    assert streamed.evaluate(test)["loss"] == pytest.approx(trainer.evaluate(data.test)["loss"], rel=1e-5)
    np.testing.assert_allclose(streamed.predict(test), trainer.predict(data.test.x), atol=1e-6)
    np.testing.assert_allclose(streamed.predict(test.x), trainer.predict(data.test.x), atol=1e-6)
    assert streamed.why_not_compiled is None


def test_bytes_go_to_the_device(backend, folder, monkeypatch):
    data, seen = load_data(folder, stream=True), []
    trainer = Trainer(model())
    loop = trainer._ready_loop()
    run = loop.run
    monkeypatch.setattr(loop, "run", lambda chunk: (seen.append(chunk.data.x.dtype), run(chunk))[1])
    trainer.fit(data.train, batch_size=BATCH, progress="quiet")
    assert set(map(str, seen)) == {"uint8"}
    assert "call" not in vars(trainer.model), "the model is left as it was"


def test_the_model_that_is_kept_takes_0_to_1(streamed, folder, tmp_path):
    streamed.save(tmp_path / "run")
    assert record_of(load_model(tmp_path / "run")).value_range == UNIT
    image = folder / "light" / "0001.png"
    answer = unidl("predict", tmp_path / "run", image, "--json", "--top", 2)
    assert answer.code == 0, answer.err
    found = {entry["name"]: entry["probability"] for entry in json.loads(answer.out)[0]["classes"]}
    data = load_data(folder, stream=True)
    everything = {path: row for row, path in enumerate(data.train.x.source.paths)}
    part, row = (data.train, everything[str(image)]) if str(image) in everything else (data.test, 0)
    if part is data.train:
        np.testing.assert_allclose(streamed.predict(part)[row], [found["dark"], found["light"]], atol=1e-5)


class KilledError(Exception):
    """In place of the death of the process."""


def test_a_run_that_died_in_an_epoch_goes_on_with_the_same_images(streamed, folder, tmp_path, monkeypatch):
    """To the last bit, with another number of workers than before: the state of a source is the epoch and the step."""
    trainer = Trainer(model(), seed=5)
    loop = trainer._ready_loop()
    run, done = loop.run, [0]

    def until(chunk):
        logs = run(chunk)
        done[0] += len(chunk.rows)
        if done[0] >= 12:
            raise KilledError
        return logs

    monkeypatch.setattr(loop, "run", until)
    data = load_data(folder, workers=4)
    options = {"batch_size": BATCH, "checkpoint": tmp_path / "c", "save_every_steps": 2, "progress": "quiet"}
    with pytest.raises(KilledError):
        trainer.fit(data.train, validation=data.test, epochs=3, **options)
    position = Checkpoints(tmp_path / "c").newest()[0].position
    assert position.epoch == 1
    assert position.step > 0, "8 steps are an epoch"
    found = trained(load_data(folder, workers=1), **options, resume=True)
    assert_same_weights(weights_of(found.model), weights_of(streamed.model))
    assert found.history == streamed.history


def test_other_files_are_not_gone_on_with(backend, tmp_path):
    root = image_folder(tmp_path / "a", 6, size=(8, 8))
    options = {"checkpoint": tmp_path / "c"}
    trained(load_data(root, stream=True), **options)
    (root / "dark" / "0000.jpg").write_bytes((root / "light" / "0000.jpg").read_bytes())
    with pytest.raises(DataError, match="x of the training data holds other values"):
        trained(load_data(root, stream=True), **options, resume=True)


def test_a_damaged_file_ends_the_run_by_name_or_is_told_of_at_the_end_of_an_epoch(backend, tmp_path, capsys):
    root = image_folder(tmp_path / "a", 8, size=(8, 8))
    path = load_data(root, stream=True).train.x.source.paths[2]
    damage(tmp_path / path)
    with pytest.raises(DataError, match=path):
        trained(load_data(root, stream=True))
    trained(load_data(root, on_error="skip"), progress="lines")
    told = [line for line in capsys.readouterr().out.splitlines() if "could not be read" in line]
    assert len(told) == 1
    assert told[0].startswith("1 of 16 files could not be read")
    assert path in told[0]


def test_a_named_base_takes_the_bytes_of_a_folder(backend, tmp_path):
    """Its preprocessing takes 0 to 1; of bytes as they are it makes 255 times too much, and the loss starts at 10."""
    data = load_data(image_folder(tmp_path / "a", 4, size=(8, 8)), stream=True, image_size=(32, 32))
    whole = load_data(tmp_path / "a", image_size=(32, 32))
    made = build_transfer("MobileNetV2", (32, 32, 3), 2, weights=None, dense_units=None, pooling="average")
    trainer = Trainer(made)
    np.testing.assert_allclose(trainer.predict(data.test), trainer.predict(whole.test.x), atol=1e-5)
    before = weights_of(made)
    trainer.fit(data.train, batch_size=3, precompute_frozen=True, progress="quiet")
    assert differ(weights_of(made), before)
    assert record_of(made).value_range == UNIT


def test_a_model_with_an_input_of_bytes_gets_bytes(backend, folder):
    import keras

    inputs = keras.Input((8, 8, 3), dtype="uint8")
    values = keras.layers.Rescaling(1 / 255)(inputs)
    outputs = keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(values))
    made = keras.Model(inputs, outputs)
    made.compile("sgd", "sparse_categorical_crossentropy")
    data = load_data(folder, stream=True)
    trainer = Trainer(made)
    trainer.fit(data.train, batch_size=BATCH, progress="quiet")
    expected = trainer.predict(np.asarray(data.test.x))
    np.testing.assert_allclose(trainer.predict(data.test), expected, atol=1e-6)


def test_the_command_line_trains_on_a_folder_that_is_too_large_for_memory(backend, tmp_path, monkeypatch):
    monkeypatch.setattr(image_sets, "MOST_BYTES", 1000)
    root = image_folder(tmp_path / "a", 15, size=(8, 8))
    damage(root / "dark" / "0001.png")
    words = ("--image-size", 18, "--epochs", 2, "--batch-size", 8, "--out", tmp_path / "run", "--json")
    answer = unidl("train", "cnn", "--data", root, *words)
    assert answer.code == 6
    assert "Cannot read the image" in answer.err
    assert str(root / "dark" / "0001.png") in answer.err
    answer = unidl("train", "cnn", "--data", root, *words, "--on-error", "skip", "--workers", 1)
    assert answer.code == 0, answer.err
    events = [json.loads(line) for line in answer.out.splitlines()]
    epochs = [event for event in events if event["event"] == "epoch"]
    assert len(epochs) == 2
    assert all(0 <= event["waiting_share"] <= 1 for event in epochs)
    assert len([event for event in events if "1 of 30 files could not be read" in event.get("text", "")]) == 1
    assert events[-1]["rows"] == 6
    answer = unidl("evaluate", tmp_path / "run", "--json")
    assert json.loads(answer.out)["loss"] == pytest.approx(events[-1]["test"]["loss"], rel=1e-5)
