"""`unidl train` as a person meets it. Without this an option does nothing, a script cannot read the output, a mistake
shows after the training, or a Ctrl-C costs it."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import shlex
import signal
import subprocess
import sys

import pytest
from command_line import TEXT_OPTIONS, arrays_file, cnn_run, image_folder, text_file, text_run, unidl
from PIL import Image

from unidl import build_transfer, devices, load_model, save_keras
from unidl.errors import SavedModelError
from unidl.models import base_of, builders, record_of
from unidl.saving.directories import read_directory
from unidl.training.run_directory import read_run

# A test that imports Keras by itself would else decide on which framework it runs.
pytestmark = pytest.mark.usefixtures("backend")


def test_every_line_of_json_is_json():
    """And nothing else is on stdout: a script reads it line by line."""
    answer = cnn_run()
    assert answer.code == 0, answer.err
    events = [json.loads(line) for line in answer.out.splitlines()]
    assert [event["event"] for event in events] == ["start", "epoch", "epoch", "stop", "result"]
    assert [event["epoch"] for event in events[1:3]] == [1, 2]
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(events[1]["metrics"])
    assert events[-1]["rows"] == 12
    assert set(events[-1]["test"]) == {"loss", "accuracy"}


def test_a_run_directory_holds_all_that_was_asked_for():
    run = cnn_run().run_directory
    assert set(read_directory(run)) == {
        "architecture.json",
        "weights.safetensors",
        "run.json",
        "history.csv",
        "curves.png",
    }
    with Image.open(run / "curves.png") as picture:
        picture.verify()
    with (run / "history.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    configuration = read_run(run)["configuration"]
    assert configuration.pop("data_origin")["sha256"]
    assert configuration == {
        "model": "cnn",
        "data": str(arrays_file().resolve()),
        "epochs": 2,
        "batch_size": 16,
        "learning_rate": 0.01,
        "schedule": "constant",
        "clip_norm": 1.0,
        "accumulate": 2,
        "early_stopping": None,
        "dropout": 0.1,
        "image_size": None,
        "seed": 3,
        "precision": "float32",
        "plot": True,
        "save_every_steps": None,
    }
    model = load_model(run)
    assert record_of(model).class_names == ("left", "right", "below")
    assert record_of(model).architecture.arguments["dropout"] == 0.1
    assert record_of(model).architecture.arguments["seed"] == 3


def test_the_options_reach_the_optimizer(monkeypatch):
    """Each of them would be missed by nobody, were it dropped on the way."""
    import keras

    from unidl.cli import train

    seen = []
    monkeypatch.setattr(train, "_report", lambda *_: None)
    monkeypatch.setattr("unidl.training.run_directory.save_run", lambda trainer, *_, **__: seen.append(trainer))
    monkeypatch.setattr("unidl.Trainer.fit", lambda *_, **options: seen.append(options))
    words = shlex.split("--clip-norm 0.5 --accumulate 4 --epochs 5 --batch-size 10 --learning-rate 0.25 --seed 9")
    assert unidl("train", "cnn", "--data", arrays_file(), *words).code == 0
    options, trainer = seen
    optimizer = trainer.model.optimizer
    assert (optimizer.clipnorm, optimizer.gradient_accumulation_steps, trainer.seed) == (0.5, 4, 9)
    assert (options["epochs"], options["batch_size"], options["early_stopping"]) == (5, 10, None)
    schedule = optimizer._learning_rate
    assert isinstance(schedule, keras.optimizers.schedules.CosineDecay)
    assert schedule.decay_steps == 5 * 5  # 48 rows in batches of 10
    rates = [float(schedule(step)) for step in (0, 25)]
    assert rates == pytest.approx([0.25, 0.0], abs=1e-7)

    seen.clear()
    words = shlex.split("--accumulate 1 --schedule constant --early-stopping 2")
    assert unidl("train", "cnn", "--data", arrays_file(), *words).code == 0
    options, trainer = seen
    assert trainer.model.optimizer.gradient_accumulation_steps is None
    assert float(trainer.model.optimizer.learning_rate) == pytest.approx(builders.builder("cnn").recipe.learning_rate)
    assert options["early_stopping"] == 2
    assert len(options["validation"]) == 5, "a tenth of 48 training rows, and no test row, decides when to stop"


def test_plain_lines_tell_how_it_goes_and_how_to_go_on():
    answer = text_run()
    assert answer.code == 0, answer.err
    title, first, second, result, follow = answer.out.splitlines()
    assert title.startswith("lstm: ")
    assert first.startswith("epoch 1/2  loss ")
    assert second.startswith("epoch 2/2  loss ")
    assert "val accuracy" in second
    assert "samples/s" in second
    assert result.startswith("test: loss ")
    assert "perplexity " in result
    assert follow == 'saved to runs/text; next: unidl generate runs/text --prompt "the value of"'


def test_the_same_command_again_replaces_the_run_by_the_same_and_says_so():
    """Same seed, same numbers: or nobody could tell a better idea from luck."""
    run = text_run().run_directory
    before = read_directory(run)
    again = unidl("train", "lstm", "--data", text_file(), *TEXT_OPTIONS, "--out", run)
    assert again.code == 0
    assert f"unidl: the run in {run} will be replaced\n" in again.err
    after = read_directory(run)
    assert after["weights.safetensors"] == before["weights.safetensors"]
    assert after["history.csv"] == before["history.csv"]


def test_a_new_head_on_a_run_with_images_of_another_size_and_colour(tmp_path):
    """The sizes come from the base. With --quiet nothing is said but the result."""
    base, out = cnn_run().run_directory, tmp_path / "new"
    words = [
        "--base",
        base,
        "--data",
        image_folder(),
        "--epochs",
        "3",
        "--early-stopping",
        "1",
        "--precompute-frozen",
        "--quiet",
        "--out",
        out,
    ]
    answer = unidl("train", "transfer", *words)
    assert answer.code == 0, answer.err
    assert answer.err == ""
    [line] = answer.out.splitlines()
    assert line.startswith("test: loss ")
    assert line.endswith(" on 6 rows")
    model = load_model(out)
    assert model.input_shape == (None, 18, 18, 1)
    assert record_of(model).class_names == ("below", "left", "right")
    assert not base_of(model).trainable_weights
    assert read_run(out)["configuration"]["base"] == str(base)
    assert read_run(out)["configuration"]["precompute_frozen"] is True


def no_download(name, origin, **_):
    """What Keras does without a network; it tells stdout about a download."""
    print(f"Downloading data from {origin}")
    raise Exception(f"URL fetch failure on {origin}: None -- [Errno -2] Name or service not known")


def test_pretrained_weights_without_a_network_are_one_error(tmp_path, monkeypatch):
    from keras.src.utils import file_utils

    monkeypatch.setattr(file_utils, "get_file", no_download)
    words = ["--base", "VGG16", "--image-size", "32", "--data", image_folder(), "--json", "--out", tmp_path / "run"]
    answer = unidl("train", "transfer", *words)
    assert answer.code == 7
    assert answer.out == "", "Keras's messages about a download are not JSON"
    assert "Downloading data from https://" in answer.err
    assert "the weights of VGG16 could not be downloaded: URL fetch failure on https://" in answer.err
    assert "Traceback" not in answer.err
    assert not (tmp_path / "run").exists()


def test_a_base_of_somebody_is_trusted_once_and_so_is_what_stands_on_it(tmp_path, monkeypatch):
    """The run holds their model, in Keras's own words."""
    import keras

    monkeypatch.chdir(tmp_path)
    inputs = keras.Input((18, 18, 1))
    features = keras.layers.Conv2D(2, 3, strides=4, data_format="channels_last")(inputs)
    save_keras(keras.Model(inputs, features), tmp_path / "theirs.keras")
    words = ["transfer", "--base", "theirs.keras", "--data", arrays_file(), "--epochs", "1", "--out", tmp_path / "run"]
    answer = unidl("train", *words)
    assert (answer.code, answer.out) == (8, "")
    assert "pass --trust to the command" in answer.err
    answer = unidl("train", *words, "--trust")
    assert answer.code == 0, answer.err
    assert answer.out.endswith(f"next: unidl predict {tmp_path / 'run'} image.png --trust\n")
    assert unidl("evaluate", tmp_path / "run").code == 8
    with pytest.raises(SavedModelError, match="trust=True"):
        build_transfer(tmp_path / "run", classes=2)


MISTAKES = {
    "trust in nobody": (["cnn", "--trust"], 2, "Cannot use --trust with `unidl train cnn`"),
    "a data set that is not there": (["cnn", "--data", "nothing.npz"], 6, "'nothing.npz'"),
    "text for a CNN": (["cnn", "--data", text_file], 6, "needs images, but 'text.txt' is text"),
    "images for an LSTM": (["lstm", "--data", image_folder], 6, "needs text, but 'folder' is images"),
    "an unknown backend": (["cnn", "--backend", "jaxx"], 3, "Unknown backend 'jaxx'"),
    "an unknown device": (["cnn", "--data", arrays_file, "--device", "tpu"], 4, "'tpu'"),
    "TF32 on a CPU": (["cnn", "--data", arrays_file, "--device", "cpu", "--precision", "tf32"], 5, "TF32 exists only"),
    "a base for an LSTM": (["lstm", "--base", "runs/cnn"], 2, "Cannot use --base with `unidl train lstm`"),
    "no base to compute once": (["cnn", "--precompute-frozen"], 2, "Cannot use --precompute-frozen with"),
    "a size for text": (["lstm", "--image-size", "32"], 2, "Cannot use --image-size with `unidl train lstm`"),
    "a base that is not there": (["transfer", "--base", "no", "--data", image_folder, "--image-size", "20"], 7, "'no'"),
    "no epochs": (["cnn", "--epochs", "0"], 2, "'0' is not a whole number of at least 1"),
    "a share above 1": (["cnn", "--dropout", "1"], 2, "'1' is not a number from 0 up to, but not including, 1"),
    "no learning rate": (["cnn", "--learning-rate", "nan"], 2, "'nan' is not a number above 0"),
    "images too small": (["cnn", "--data", image_folder, "--image-size", "8"], 7, "at least 18x18 pixels"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_error_with_its_code_before_anything_is_trained(tmp_path, monkeypatch, case: str):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("unidl.Trainer.fit", lambda *_, **__: pytest.fail("trained"))
    words, code, reason = MISTAKES[case]
    answer = unidl("train", *(word() if callable(word) else word for word in words))
    assert (answer.code, answer.out) == (code, "")
    assert reason in answer.err
    assert "Traceback" not in answer.err
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_that_is_not_there_is_exit_code_4(tmp_path, monkeypatch):
    if devices.resolve("auto" if "UNIDL_DEVICE" not in os.environ else None).device.kind == "gpu":
        pytest.skip("there is a GPU here")
    monkeypatch.chdir(tmp_path)
    answer = unidl("train", "cnn", "--data", arrays_file(), "--device", "gpu")
    assert answer.code == 4
    assert "'gpu'" in answer.err


def test_a_base_fixes_the_size_of_the_images(tmp_path):
    words = [
        "--base",
        cnn_run().run_directory,
        "--data",
        image_folder(),
        "--image-size",
        "40",
        "--out",
        tmp_path / "run",
    ]
    answer = unidl("train", "transfer", *words)
    assert answer.code == 2
    assert "takes images of 18 x 18 (height x width)" in answer.err
    words = ["--base", text_run().run_directory, "--data", image_folder(), "--out", tmp_path / "run"]
    answer = unidl("train", "transfer", *words)
    assert answer.code == 7
    assert "as a base for images: it takes rows of shape (20,)" in answer.err


def test_a_place_that_is_somebodys_is_refused_before_the_training(tmp_path, monkeypatch):
    """After an hour of training it would be too late."""
    monkeypatch.setattr("unidl.Trainer.fit", lambda *_, **__: pytest.fail("trained"))
    (tmp_path / "thesis.tex").write_text("mine")
    answer = unidl("train", "cnn", "--data", arrays_file(), "--out", tmp_path)
    assert answer.code == 8
    assert "was not written by unidl" in answer.err
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_a_missing_matplotlib_is_found_before_the_training(tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "matplotlib" else real(name, *rest)
    )
    monkeypatch.setattr("unidl.Trainer.fit", lambda *_, **__: pytest.fail("trained"))
    answer = unidl("train", "cnn", "--data", arrays_file(), "--plot", "--out", tmp_path / "run")
    assert answer.code == 2
    assert "pip install 'unidl[plot]'" in answer.err


def test_control_c_in_the_first_epoch_does_not_cost_the_older_run(tmp_path, monkeypatch):
    """Ctrl-C after a second means: that was not what I wanted. A new place gets what there is."""

    def fit(trainer, *_, **__):
        trainer.interrupted = True

    monkeypatch.setattr("unidl.Trainer.fit", fit)
    run = text_run().run_directory
    before = read_directory(run)
    answer = unidl("train", "lstm", "--data", text_file(), "--plot", "--out", run)
    assert answer.code == 130
    assert answer.err.endswith(f"unidl: interrupted in the first epoch; {run} is unchanged\n")
    assert read_directory(run) == before
    answer = unidl("train", "lstm", "--data", text_file(), "--plot", "--out", tmp_path / "run")
    assert answer.code == 130
    assert "the model at that point is saved in" in answer.err
    assert set(read_directory(tmp_path / "run")) == set(before), "there is no curve of no epochs"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_control_c_ends_with_the_step_and_keeps_what_was_learned(tmp_path):
    """In a process of its own, as a person does it: no traceback, a model that loads, the epochs so far."""
    command = [sys.executable, "-m", "unidl", "train", "lstm", "--data", str(text_file()), *TEXT_OPTIONS]
    process = subprocess.Popen(
        [*command, "--epochs", "1000000", "--out", "run"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch "):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert err.endswith("unidl: interrupted; the model at that point is saved in run\n")
    assert "stopped by Ctrl-C" in out
    with (tmp_path / "run" / "history.csv").open() as file:
        assert next(csv.DictReader(file))["epoch"] == "1"
    assert record_of(load_model(tmp_path / "run")).vocabulary
