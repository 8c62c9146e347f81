"""A classifier of clips from the command line: trained on a folder of videos, evaluated, asked about another video."""

import json

import pytest
from clip_files import write_clip
from command_line import unidl

pytestmark = pytest.mark.usefixtures("backend")

MODEL = """
import keras
from keras import layers


def build(input_shape, classes):
    frames, height, width, channels = input_shape
    assert (frames, height, width) == (4, 8, 8), input_shape
    draw = keras.initializers.GlorotUniform
    return keras.Sequential([
        keras.Input(input_shape),
        layers.Reshape((frames, height * width * channels)),
        layers.Dense(8, kernel_initializer=draw(1)),
        layers.Flatten(),
        layers.Dense(classes, activation="softmax", kernel_initializer=draw(2)),
    ])
"""


def test_the_direction_of_motion_is_learned_and_told(tmp_path):
    """With fewer frames than a file has, in the size that was asked for, through train, evaluate and predict."""
    for number in range(6):
        for name in ("left", "right"):
            write_clip(tmp_path / "clips" / name / f"{number}.mp4", right=name == "right", first=number % 3)
    (tmp_path / "model.py").write_text(MODEL)
    run, options = tmp_path / "run", ("--epochs", 25, "--batch-size", 5, "--learning-rate", 0.01, "--quiet")
    given = ("train", f"{tmp_path / 'model.py'}:build", "--data", tmp_path / "clips", "--out", run, *options)
    answer = unidl(*given, "--frames", 4, "--image-size", 8, "--workers", 1)
    assert answer.code == 0, answer.err
    answer = unidl("evaluate", run, "--trust", "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out) | {"loss": 0} == {"data": "clips", "rows": 2, "loss": 0, "accuracy": 1.0}
    clips = [write_clip(tmp_path / f"new {name}.mp4", right=name == "right", first=1) for name in ("left", "right")]
    answer = unidl("predict", run, *clips, "--trust", "--json")
    assert answer.code == 0, answer.err
    assert [row["classes"][0]["name"] for row in json.loads(answer.out)] == ["left", "right"]


def test_frames_of_images_are_refused(tmp_path):
    answer = unidl("train", "cnn", "--data", "digits", "--frames", 4, "--out", tmp_path / "run")
    assert (answer.code, "frames does not apply to 'digits'" in answer.err) == (2, True)
