"""`unidl evaluate`: how good a saved model is, told in figures that a person can rely on."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from command_line import SENTENCES, arrays_file, cnn_run, image_folder, pictures, text_run, unidl

from unidl import Trainer, load_data, load_model
from unidl.cli import evaluate
from unidl.models import record_of


def results(answer) -> dict:
    """The JSON of an evaluation."""
    assert answer.code == 0, answer.err
    [line] = answer.out.splitlines()
    return json.loads(line)


def trained(answer) -> dict:
    """The test metrics that the training ended with."""
    return json.loads(answer.out.splitlines()[-1])["test"]


def test_a_run_is_evaluated_on_its_own_test_rows(tmp_path, monkeypatch):
    """From another directory as well; and the numbers are those of the training."""
    monkeypatch.chdir(tmp_path)
    found = results(unidl("evaluate", cnn_run().run_directory, "--json"))
    assert (found.pop("data"), found.pop("rows")) == ("pictures.npz", 12)
    assert found == pytest.approx(trained(cnn_run()), abs=1e-6)  # float32: another batch size adds up in another order


def test_a_text_model_is_told_by_its_perplexity(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = unidl("evaluate", text_run().run_directory)
    assert answer.code == 0
    said = text_run().out.splitlines()[-2].removeprefix("test: ")
    assert answer.out == f"text.txt: {said}\n"
    assert "perplexity " in said


def test_perplexity_is_the_exponential_of_the_loss(monkeypatch):
    class Fake:
        def evaluate(self, _, augmentations):
            return {"loss": self.loss}

    trainer = Fake()
    text = load_data("python-docs", vocabulary_size=10).test
    for loss, expected in ((0.0, 1.0), (2.0, math.exp(2)), (1000.0, math.inf)):
        trainer.loss = loss
        assert evaluate.test_results(trainer, text, None) == {"loss": loss, "perplexity": expected}


def test_another_text_is_read_with_the_words_of_the_model(tmp_path):
    """Its words counted anew would get other numbers, and a good model would look like a bad one."""
    other = tmp_path / "other.txt"
    other.write_text("zebra zebra zebra zebra. " * 9 + SENTENCES * 12)
    run = text_run().run_directory
    found = results(unidl("evaluate", run, "--data", other, "--json"))
    model = load_model(run)
    data = load_data(other, vocabulary=record_of(model).vocabulary)
    assert data.vocabulary != load_data(other).vocabulary
    assert found["rows"] == len(data.test)
    assert found["loss"] == pytest.approx(Trainer(model).evaluate(data.test)["loss"], abs=1e-6)


def test_other_images_are_brought_to_the_size_of_the_model(tmp_path):
    x, y = pictures(45)
    np.savez(tmp_path / "large.npz", x=np.repeat(np.repeat(x, 2, axis=1), 2, axis=2).repeat(3, axis=3), y=y)
    answer = unidl("evaluate", cnn_run().run_directory, "--data", tmp_path / "large.npz")
    assert answer.code == 6
    assert "its classes are 0, 1, 2, but the model's are left, right, below" in answer.err
    names = np.array(["left", "right", "below"])
    np.savez(tmp_path / "large.npz", x=np.repeat(np.repeat(x, 2, axis=1), 2, axis=2), y=y, class_names=names)
    assert results(unidl("evaluate", cnn_run().run_directory, "--data", tmp_path / "large.npz", "--json"))["rows"] == 9


@pytest.mark.parametrize(
    ("run", "data", "reason"),
    [
        (text_run, image_folder, "the model expects text."),
        (cnn_run, "python-docs", "the model expects images of 18 x 18 x 1 (height x width x channels)."),
        (cnn_run, image_folder, "its classes are below, left, right, but the model's are left, right, below"),
        (cnn_run, "nothing.npz", "'nothing.npz'"),
    ],
)
def test_data_that_means_something_else_is_one_error(run, data, reason: str):
    """Labels in another order, or no labels at all, would give a number that is wrong and looks right."""
    answer = unidl("evaluate", run().run_directory, "--data", data() if callable(data) else data)
    assert (answer.code, answer.out) == (6, "")
    assert reason in answer.err


def test_a_run_that_does_not_say_its_data_asks_for_it(tmp_path):
    """`Trainer.save` does not know where the arrays came from."""
    Trainer(load_model(cnn_run().run_directory)).save(tmp_path / "run")
    answer = unidl("evaluate", tmp_path / "run")
    assert answer.code == 2
    assert "does not record its training data. Pass --data." in answer.err
    assert unidl("evaluate", tmp_path / "run", "--data", arrays_file()).code == 0


def test_a_missing_or_damaged_run_is_exit_code_8(tmp_path):
    missing = tmp_path / "nothing"
    answer = unidl("evaluate", missing)
    assert (answer.code, answer.err) == (8, f"unidl: Cannot load {missing}: the directory does not exist.\n")
    Trainer(load_model(cnn_run().run_directory)).save(tmp_path / "run")
    (tmp_path / "run" / "weights.safetensors").write_bytes(b"")
    answer = unidl("evaluate", tmp_path / "run")
    assert answer.code == 8
    assert "weights.safetensors has changed since it was saved" in answer.err
