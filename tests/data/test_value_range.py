"""A model sees images as it learned on them: of 0 to 255 for 0 to 1, it is sure of nothing, and nobody knows why."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command_line import unidl
from PIL import Image

from unidl import Trainer, build_cnn, build_transfer, load_data, load_model
from unidl.data import Dataset, Split
from unidl.data.value_range import BYTES, SIGNED, UNIT, WORDS, dataset_in_range, in_range, range_of
from unidl.errors import DataError
from unidl.models.records import note, record_of

DRAWN = np.random.default_rng(0)


def shades(rows=40, channels=3):
    """Dark and bright noise (8, 8) as uint8, and which is which."""
    y = np.arange(rows) % 2
    x = DRAWN.integers(0, 100, size=(rows, 8, 8, channels)) + 150 * y[:, None, None, None]
    return x.astype(np.uint8), y


def written(folder, dtype, **changes):
    x, y = shades()
    path = folder / f"{np.dtype(dtype).name}.npz"
    np.savez(path, **{"x": x.astype(dtype), "y": y} | changes)
    return path


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "uint16"])
def test_whole_numbers_of_an_image_are_scaled_whatever_their_type(tmp_path, dtype):
    train = load_data(written(tmp_path, dtype)).train
    assert train.x.dtype == np.float32
    assert 0.9 < train.x.max() <= 1
    assert range_of(train.x) == UNIT


def test_floats_and_what_is_no_image_stay_as_they_are(tmp_path):
    assert load_data(written(tmp_path, "float32")).train.x.max() > 200
    words = DRAWN.integers(0, 200, size=(40, 5, 7))
    assert load_data(written(tmp_path, "int64", x=words)).train.x.dtype == np.int64
    truths = DRAWN.integers(0, 2, size=(40, 8, 8, 1))
    assert load_data(written(tmp_path, "int64", x=truths)).train.x.max() == 1


def test_both_parts_of_a_file_are_scaled_or_none(tmp_path):
    x, y = shades()
    x = x.astype(np.int32)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=np.minimum(x, 1), y_test=y)
    assert load_data(tmp_path / "a.npz").test.x.max() == np.float32(1 / 255)


@pytest.mark.parametrize(
    ("low", "high", "dtype", "found"),
    [
        (0, 1, float, UNIT),
        (0, 1.0005, np.float32, UNIT),
        (0, 0.3, np.float32, UNIT),
        (-1, 1, np.float32, SIGNED),
        (0, 255, np.float32, BYTES),
        (0, 200, np.uint8, BYTES),
        (0, 3, np.uint8, BYTES),
        (0, 4000, np.uint16, WORDS),
        (0, 65535, np.float32, WORDS),
        (0, 16, np.float32, (0, 16)),
        (-2.5, 2.5, np.float32, (-2.5, 2.5)),
        (0, 0, np.float32, None),
        (0, 1, np.uint8, None),
        (0, np.inf, np.float32, None),
    ],
)
def test_the_range_of_images_is_told_by_their_values(low, high, dtype, found):
    images = np.full((3, 4, 4, 1), low, dtype)
    images[1, 2, 2] = high
    assert range_of(images) == found
    assert range_of(images[..., 0]) is None
    assert range_of([images]) is None


def test_images_are_brought_from_one_range_to_another():
    images = np.array([[0, 0.5, 1]], np.float32).reshape(1, 1, 1, 3)
    for wanted, expected in ((BYTES, (0, 127.5, 255)), (SIGNED, (-1, 0, 1)), (WORDS, (0, 32767.5, 65535))):
        brought = in_range(images, UNIT, wanted, "the model")
        assert brought.dtype == np.float32
        assert brought.ravel().tolist() == list(expected)
        assert in_range(brought, wanted, UNIT, "the model").ravel().tolist() == [0, 0.5, 1]
    assert in_range(images, UNIT, None, "the model") is images
    assert in_range(images, (0, 16), (0, 15), "the model") is images
    with pytest.raises(DataError, match=r"values from 0 to 1, and the model learned on values from -2\.1 to 2\.6"):
        in_range(images, UNIT, (-2.1, 2.6), "the model")


def test_a_data_set_is_brought_there_as_a_whole():
    x, y = shades()
    floats = x.astype(np.float32)
    data = Dataset("d", "images", Split(floats[:30], y[:30]), Split(floats[30:] * 0, y[30:]))
    brought = dataset_in_range(data, UNIT, "the model")
    np.testing.assert_array_equal(brought.train.x, floats[:30] / np.float32(255))
    assert brought.train.y.tolist() == y[:30].tolist()
    assert dataset_in_range(data, None, "the model") is data


@pytest.fixture(scope="module")
def trained(backend):
    """A CNN that learned on floats of 0 to 255, to tell dark from bright."""
    x, y = shades()
    model = build_cnn((8, 8, 3), 2, filters=(4,), dense_units=4)
    trainer = Trainer(model)
    trainer.fit(Split(x.astype(np.float32), y, class_names=("dark", "bright")), epochs=2, progress="quiet")
    assert record_of(model).value_range == BYTES
    return trainer


def test_other_images_than_those_it_learned_on_are_refused(trained):
    x, y = shades()
    scaled = x / np.float32(255)
    for call in (
        lambda: trained.predict(scaled),
        lambda: trained.evaluate((scaled, y)),
    ):
        with pytest.raises(DataError, match=r"values from 0 to 1, .* takes images with .* to 255\. Pass x \* 255\."):
            call()
    for right in (x, x.astype(np.float32), x[:1] * 0, np.minimum(x, 1).astype(np.float32)):
        assert trained.predict(right).shape == (len(right), 2)


def test_a_model_of_0_to_1_refuses_floats_of_0_to_255(backend):
    x, y = shades()
    scaled, floats = x / np.float32(255), x.astype(np.float32)
    trainer = Trainer(build_cnn((8, 8, 3), 2, filters=(4,), dense_units=4))
    with pytest.raises(DataError, match=r"validation data has images with values from 0 to 255.* Pass x / 255\."):
        trainer.fit((scaled, y), validation=(floats, y), progress="quiet")
    with pytest.raises(DataError, match=r"Pass x / 255\."):
        trainer.predict(floats)
    trainer.fit((floats, y), progress="quiet")
    assert record_of(trainer.model).value_range == BYTES, "whoever trains anew may change the range"


def test_bytes_in_memory_become_what_the_model_takes(backend):
    """Bytes are 0 to 255 wherever they come from: taken for -1 to 1, all of them but the darkest are white."""
    x, y = shades()
    scaled = x * np.float32(2 / 255) - np.float32(1)
    trainer = Trainer(build_cnn((8, 8, 3), 2, filters=(4,), dense_units=4))
    history = trainer.fit((scaled, y), validation=(x, y), progress="quiet").history
    loss = trainer.evaluate(scaled, y)["loss"]
    assert history["val_loss"][-1] == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(trainer.predict(x), trainer.predict(scaled), atol=1e-6)
    step = trainer.fit((x, y), batch_size=len(x), progress="quiet").history
    assert step["loss"][-1] == pytest.approx(loss, rel=1e-5)
    assert record_of(trainer.model).value_range == (-1, 1)


def test_the_range_is_saved_with_the_model(trained, tmp_path):
    trained.save(tmp_path / "run")
    assert record_of(load_model(tmp_path / "run")).value_range == BYTES
    files = []
    for name, value in (("dark", 50), ("bright", 200)):
        files.append(tmp_path / f"{name}.png")
        Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(files[-1])
    answer = unidl("predict", tmp_path / "run", *files, "--json", "--top", "2")
    assert answer.code == 0, answer.err
    shown = np.stack([np.full((8, 8, 3), value, np.float32) for value in (50, 200)])
    expected = trained.predict(shown)
    for row, probabilities in zip(json.loads(answer.out), expected, strict=True):
        found = {entry["name"]: entry["probability"] for entry in row["classes"]}
        np.testing.assert_allclose([found["dark"], found["bright"]], probabilities, atol=1e-6)


def test_a_model_of_values_that_no_file_has_says_so(backend, tmp_path):
    x, y = shades()
    trainer = Trainer(build_cnn((8, 8, 3), 2, filters=(4,), dense_units=4))
    trainer.fit((x / np.float32(80) - 1, y), progress="quiet")
    trainer.save(tmp_path / "run")
    Image.fromarray(x[0]).save(tmp_path / "a.png")
    answer = unidl("predict", tmp_path / "run", tmp_path / "a.png")
    assert answer.code == 6
    assert "learned on values from -1 to 2.1" in answer.err


def test_other_data_is_brought_to_the_range_of_the_model(trained, tmp_path):
    trained.save(tmp_path / "run")
    x, y = shades()
    np.savez(tmp_path / "bytes.npz", x_train=x, y_train=y, x_test=x, y_test=y, class_names=["dark", "bright"])
    assert load_data(tmp_path / "bytes.npz").test.x.max() <= 1
    answer = unidl("evaluate", tmp_path / "run", "--data", tmp_path / "bytes.npz", "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["loss"] == pytest.approx(trained.evaluate((x, y))["loss"], rel=1e-5)


def test_a_base_that_has_learned_takes_its_own_range(trained):
    x, y = shades()
    trainer = Trainer(build_transfer(trained.model, classes=2, dense_units=None))
    assert record_of(trainer.model).value_range == BYTES
    with pytest.raises(DataError, match=r"training data has images with values from 0 to 1.* Pass x \* 255"):
        trainer.fit((x / np.float32(255), y), progress="quiet")
    trainer.fit((x, y), progress="quiet")


def test_a_named_base_takes_0_to_1(backend):
    """Its preprocessing is inside the model: of values up to 255 it makes 255 times too much, and the loss is 10."""
    x, y = np.repeat(np.repeat(shades(4)[0], 4, 1), 4, 2), np.arange(4) % 2
    model = build_transfer("MobileNetV2", (32, 32, 3), 2, weights=None, dense_units=None, pooling="average")
    with pytest.raises(DataError, match=r"takes images with values from 0 to 1\. Pass x / 255\."):
        Trainer(model).fit((x.astype(np.float32), y), progress="quiet")
    assert record_of(model).value_range == UNIT
    found = Trainer(model).predict(x)
    np.testing.assert_allclose(found, Trainer(model).predict(x / np.float32(255)), atol=1e-6)


def test_a_damaged_range_is_refused(trained, tmp_path):
    from unidl.errors import SavedModelError
    from unidl.saving.saved_architecture import describe, read_description

    good = json.loads(describe(trained.model))
    assert read_description(json.dumps(good).encode(), tmp_path).value_range == BYTES
    for bad in ([1, 0], [0], [0, 1, 2], ["0", 1], [0, 1e300], None, [False, True], "01"):
        with pytest.raises(SavedModelError, match="value_range"):
            read_description(json.dumps(good | {"value_range": bad}).encode(), tmp_path)
    del good["value_range"]
    assert read_description(json.dumps(good).encode(), tmp_path).value_range is None


def test_a_range_that_was_never_noted_holds_nobody(trained):
    model = build_cnn((8, 8, 3), 2, filters=(4,), dense_units=4)
    note(model, value_range=None)
    assert Trainer(model).predict(shades()[0]).shape == (40, 2)
