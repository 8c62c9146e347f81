"""`unidl predict`: what a person sees of images, and what is said of files that are none."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command_line import cnn_run, pictures, text_run, unidl
from PIL import Image
from saving import save

from unidl import Trainer, load_model, save_keras
from unidl.data.images import load_images


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same picture as it is, and larger and in colour with transparency."""
    folder = tmp_path_factory.mktemp("images")
    image = Image.fromarray(pictures(1)[0][0, ..., 0])
    image.save(folder / "a.png")
    image.convert("RGBA").resize((47, 31)).save(folder / "b b.png")
    return [folder / "a.png", folder / "b b.png"]


def test_each_picture_gets_a_line_with_its_likeliest_class(files):
    answer = unidl("predict", cnn_run().run_directory, *files)
    assert answer.code == 0, answer.err
    model = load_model(cnn_run().run_directory)
    outputs = Trainer(model).predict(load_images(files, image_size=(18, 18), channels=1))
    for line, path, row in zip(answer.out.splitlines(), files, outputs, strict=True):
        name = ("left", "right", "below")[row.argmax()]
        assert line == f"{path}  {name} {row.max():.1%}"


def test_several_classes_and_json(files):
    answer = unidl("predict", cnn_run().run_directory, *files, "--top", 2, "--json", "--quiet")
    assert (answer.code, answer.err) == (0, "")
    rows = json.loads(answer.out)
    assert [row["image"] for row in rows] == [str(path) for path in files]
    for row in rows:
        first, second = row["classes"]
        assert first["probability"] >= second["probability"] > 0
        assert {first["name"], second["name"]} < {"left", "right", "below"}
    three = unidl("predict", cnn_run().run_directory, files[0], "--top", 9, "--json")
    assert np.isclose(sum(entry["probability"] for entry in json.loads(three.out)[0]["classes"]), 1)


def test_a_file_that_is_no_picture_is_named(files, tmp_path):
    (tmp_path / "broken.png").write_bytes(files[0].read_bytes()[:60])
    for bad in ("broken.png", "missing.png"):
        answer = unidl("predict", cnn_run().run_directory, files[0], tmp_path / bad)
        assert (answer.code, answer.out) == (6, "")
        assert f"Cannot read the image '{tmp_path / bad}'" in answer.err
        assert "Traceback" not in answer.err


def test_a_keras_file_of_somebody_is_read_once_it_is_trusted(files, tmp_path):
    """And not before: the option says that its maker is known."""
    model = load_model(cnn_run().run_directory)
    save_keras(model, tmp_path / "theirs.keras")
    answer = unidl("predict", tmp_path / "theirs.keras", *files)
    assert (answer.code, answer.out) == (8, "")
    assert "loaded only if you trust them" in answer.err
    assert "pass --trust to the command" in answer.err
    assert unidl("predict", tmp_path / "theirs.keras", *files, "--trust").code == 0


def test_a_model_that_sees_no_pictures_says_so(files):
    answer = unidl("predict", text_run().run_directory, files[0])
    assert answer.code == 7
    assert "is not an image classifier: its inputs have shape (None, 20)" in answer.err


def test_a_missing_run_is_exit_code_8(files, tmp_path):
    assert unidl("predict", tmp_path / "nothing", files[0]).code == 8


def test_a_custom_classifier_without_names_counts_its_classes(files, tmp_path):
    """Saved from Python; nobody told unidl its loss, and predicting needs none."""
    import keras

    model = keras.Sequential(
        [keras.Input((9, 9, 3)), keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")]
    )
    save(model, tmp_path / "run")
    answer = unidl("predict", tmp_path / "run", *files, "--json", "--trust")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)[0]["classes"][0]["name"] in ("0", "1")
