"""`unidl train model.py:build`: anybody's Keras model, with all that ours have. Without this the command line is for
three models, or trains somebody's model with another loss, and cannot find it again."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pytest
from command_line import arrays_file, pictures, text_file, unidl

from unidl import load_model
from unidl.errors import SavedModelError
from unidl.training.run_directory import read_run

# A test that imports Keras by itself would else decide on which framework it runs.
pytestmark = pytest.mark.usefixtures("backend")

MODELS = """
import keras
from keras import layers


class Halved(layers.Layer):
    def call(self, x):
        return x / 2


def squared(y_true, y_pred):
    return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


def build(input_shape, seed=0):
    model = keras.Sequential([keras.Input(input_shape), Halved(), layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9, clipvalue=3.0), loss=squared, metrics=["mae"])
    return model


def classes(input_shape, classes):
    return keras.Sequential([keras.Input(input_shape), layers.Flatten(), layers.Dense(classes)])


def fixed():
    return keras.Sequential([keras.Input((9, 9, 3)), layers.Flatten(), layers.Dense(3, activation="softmax")])


def words(vocabulary_size, sequence_length):
    inputs = keras.Input((sequence_length,), dtype="int32")
    x = layers.Flatten()(layers.Embedding(vocabulary_size, 2)(inputs))
    return keras.Model(inputs, layers.Dense(vocabulary_size, activation="softmax")(x))


def scheduled(input_shape):
    model = keras.Sequential([keras.Input(input_shape), layers.Dense(1)])
    model.compile(keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 100)), loss="mse")
    return model


def narrow():
    return keras.Sequential([keras.Input((18, 18, 1)), layers.Flatten(), layers.Dense(2)])


def uncompiled():
    return keras.Sequential([keras.Input((4,)), layers.Dense(1)])


def demanding(width):
    return None


def nothing():
    return None


def of_words(vocabulary_size):
    return None
"""


@pytest.fixture
def models(tmp_path, monkeypatch):
    """The folder that the process stands in, with the file of models and data without classes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MODELS)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 4)).astype(np.float32)
    np.savez(tmp_path / "numbers.npz", x=x, y=x.sum(1, keepdims=True))
    return tmp_path


def train(words: str):
    answer = unidl("train", *shlex.split(words))
    assert answer.code == 0, answer.err
    return answer


def test_a_model_keeps_its_own_loss_optimizer_and_metrics_and_is_found_again(models):
    """With a layer and a loss of its own, in a run that is ended, lengthened and evaluated from elsewhere."""
    answer = train("mine.py:build --data numbers.npz --epochs 2 --batch-size 16 --save-every-steps 2 --json")
    events = [json.loads(line) for line in answer.out.splitlines()]
    assert [event["event"] for event in events] == ["start", "epoch", "epoch", "stop", "result"]
    assert set(events[-1]["test"]) == {"loss", "mae"}
    run = models / "runs" / "mine"
    configuration = read_run(run)["configuration"]
    assert configuration["model"] == f"{(models / 'mine.py').resolve()}:build"
    assert len(configuration["model_sha256"]) == 64
    assert configuration["model_arguments"] == {"input_shape": [4], "seed": 0}
    assert (configuration["learning_rate"], configuration["schedule"]) == (None, None)

    evaluated = unidl("evaluate", run, "--trust", "--json")
    assert evaluated.code == 0, evaluated.err
    assert json.loads(evaluated.out)["loss"] == pytest.approx(events[-1]["test"]["loss"])
    assert unidl("evaluate", run).code == 8, "the file is somebody's code"

    (models / "mine.py").write_text(MODELS + "\n# changed\n")
    answer = train("--resume runs/mine --epochs 3")
    assert f"{(models / 'mine.py').resolve()} has changed since the run in runs/mine was started with it" in answer.err
    assert "epoch 3/3" in answer.out
    assert read_run(run)["configuration"]["epochs"] == 3
    whole = train("mine.py:build --data numbers.npz --epochs 3 --batch-size 16 --out runs/whole")
    assert "test: loss" in whole.out
    assert (run / "weights.safetensors").read_bytes() == (models / "runs/whole/weights.safetensors").read_bytes()
    for words, told in (("--epochs 2", "3 epochs are already done"), ("--batch-size 8", "Cannot use --batch-size")):
        refused = unidl("train", "--resume", "runs/mine", *words.split())
        assert refused.code == 2
        assert told in refused.err
    (models / "mine.py").unlink()
    assert "mine.py does not exist" in unidl("train", "--resume", "runs/mine").err


def test_a_run_is_kept_and_lengthened_in_the_folder_one_stands_in(models, monkeypatch):
    """The cosine is made longer as well: at the end of the old one the learning rate is 0."""
    (models / "here").mkdir()
    monkeypatch.chdir(models / "here")
    monkeypatch.setenv("HOME", str(models))
    options = "--data=~/numbers.npz --batch-size 16 --schedule cosine --save-every-steps 2"
    train(f"~/mine.py:build {options} --epochs 1 --out .")
    before = (models / "here" / "weights.safetensors").read_bytes()
    answer = train("--resume . --epochs 2")
    assert "the cosine schedule now ends after 2 epochs instead of 1" in answer.err
    assert len((models / "here" / "history.csv").read_text().splitlines()) == 3
    assert (models / "here" / "weights.safetensors").read_bytes() != before
    assert unidl("evaluate", ".", "--trust").code == 0
    assert {path.name for path in models.iterdir()} >= {"here", "here.checkpoints"}
    assert not (models / "here" / "~").exists()


def test_a_run_that_stopped_early_is_not_lengthened(models):
    options = "--learning-rate 1e-30 --early-stopping 1 --save-every-steps 50"
    train(f"mine.py:build --data numbers.npz --epochs 9 {options}")
    answer = unidl("train", "--resume", "runs/mine", "--epochs", "20")
    assert answer.code == 2
    assert "it stopped early after epoch 2" in answer.err


def test_options_change_the_optimizer_that_the_model_has(models, monkeypatch):
    import keras

    from unidl.cli import train as command

    seen = []
    monkeypatch.setattr(command, "_report", lambda *_: None)
    monkeypatch.setattr("unidl.training.run_directory.save_run", lambda trainer, *_, **__: seen.append(trainer.model))
    monkeypatch.setattr("unidl.Trainer.fit", lambda *_, **__: None)
    options = "--learning-rate 0.25 --schedule cosine --clip-norm 0.5 --accumulate 4 --epochs 5 --batch-size 10"
    train(f"mine.py:build --data numbers.npz {options}")
    train("mine.py:build --data numbers.npz --clip-norm 2")
    train("mine.py:scheduled --data numbers.npz --accumulate 2")
    with_all, with_one, scheduled = seen
    optimizer = with_all.optimizer
    assert isinstance(optimizer, keras.optimizers.SGD)
    assert (optimizer.momentum, optimizer.clipnorm, optimizer.clipvalue) == (0.9, 0.5, None)
    assert optimizer.gradient_accumulation_steps == 4
    assert optimizer._learning_rate.decay_steps == 25  # 48 rows in batches of 10, five times
    assert float(optimizer._learning_rate(0)) == 0.25
    assert (with_all.loss.__name__, with_one.loss.__name__) == ("squared", "squared")
    assert float(with_one.optimizer.learning_rate) == pytest.approx(0.01)
    assert (with_one.optimizer.momentum, with_one.optimizer.clipnorm) == (0.9, 2.0)
    assert scheduled.optimizer._learning_rate.decay_steps == 100
    assert scheduled.optimizer.gradient_accumulation_steps == 2


def test_a_model_that_is_not_compiled_learns_the_classes_of_images(models):
    answer = train(f"mine.py:classes --data {arrays_file()} --epochs 4 --early-stopping 2 --out=runs/pictures")
    assert "is not compiled: using sparse categorical crossentropy on logits" in answer.err
    assert answer.out.endswith("next: unidl predict runs/pictures image.png --trust\n")
    assert load_model(models / "runs/pictures", trust=True).output_shape == (None, 3)
    with pytest.raises(SavedModelError, match="trust=True"):
        load_model(models / "runs/pictures")
    evaluated = unidl("evaluate", "runs/pictures", "--trust")
    assert evaluated.code == 0, evaluated.err
    assert evaluated.out.split(": ")[1] == answer.out.splitlines()[-2].split(": ")[1] + "\n"
    from PIL import Image

    Image.fromarray(pictures(1)[0][0, ..., 0]).save("picture.png")
    assert unidl("predict", "runs/pictures", "picture.png", "--trust").out.startswith("picture.png  ")


def test_images_come_in_the_form_of_a_model_that_has_one(models):
    answer = train(f"mine.py:fixed --data {arrays_file()} --epochs 1 --quiet")
    assert answer.out.startswith("test: loss ")


def test_a_model_of_words_is_trained_and_writes(models):
    answer = train(f"mine.py:words --data {text_file()} --epochs 1 --batch-size 512")
    assert "perplexity" in answer.out
    written = unidl("generate", "runs/mine", "--prompt", "the cat", "--words", "2", "--trust")
    assert written.code == 0, written.err
    assert written.out.startswith("the cat")


def test_a_saved_run_is_trained_further_elsewhere(models):
    train(f"mine.py:fixed --data {arrays_file()} --epochs 1 --quiet")
    words = f"runs/mine --data {arrays_file()} --epochs 1 --quiet --trust"
    assert "Pass --out" in unidl("train", *shlex.split(words)).err
    train(f"{words} --out runs/further")
    assert (models / "runs/further/weights.safetensors").is_file()


MISTAKES = {
    "no data": ("mine.py:build", 2, "No data given. `unidl train mine.py:build` needs --data"),
    "no such file": ("theirs.py:build --data numbers.npz", 2, "the file theirs.py does not exist"),
    "no such function": ("mine.py:missing --data numbers.npz", 7, "mine.py has no function 'missing'"),
    "no model at all": (
        "mine.py --data numbers.npz",
        2,
        "neither one of cnn, lstm, transfer, transformer, text-classifier, tabular, nor a function",
    ),
    "no such model": ("cnnn --data numbers.npz", 2, "'cnnn' is neither one of cnn, lstm, transfer"),
    "an argument nobody knows": ("mine.py:demanding --data numbers.npz", 2, "it requires the argument 'width'"),
    "no keras.Model": ("mine.py:nothing --data numbers.npz", 7, "it returned a NoneType, not a keras.Model"),
    "no classes to ask for": ("mine.py:classes --data numbers.npz", 6, "'numbers.npz' has no labels for a classifier"),
    "no loss": (
        "mine.py:uncompiled --data numbers.npz",
        7,
        "its loss cannot be chosen because 'numbers.npz' has no classes",
    ),
    "too few outputs": ("mine.py:narrow --data {arrays}", 7, "has 2 outputs for the 3 classes of"),
    "no text": ("mine.py:of_words --data numbers.npz", 6, "it needs vocabulary_size, but 'numbers.npz' is arrays"),
    "dropout for it": ("mine.py:build --data numbers.npz --dropout 0.2", 2, "Cannot use --dropout with"),
    "a schedule on a schedule": (
        "mine.py:scheduled --data numbers.npz --schedule constant",
        2,
        "already has a schedule. Also pass --learning-rate",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_error_with_its_code_before_anything_is_trained(models, monkeypatch, case: str):
    monkeypatch.setattr("unidl.Trainer.fit", lambda *_, **__: pytest.fail("trained"))
    words, code, reason = MISTAKES[case]
    answer = unidl("train", *shlex.split(words.format(arrays=arrays_file())))
    assert (answer.code, answer.out) == (code, ""), answer.err
    assert reason in answer.err
    assert "Traceback" not in answer.err
    assert not (models / "runs").exists()


def test_the_help_says_what_a_function_is_given():
    answer = unidl("train", "--help")
    assert "model.py:build may take any of the arguments input_shape, classes," in answer.out
