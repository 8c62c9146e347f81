"""`unidl train --config`, and the same training from Python. What a file says would else be another run than the one on
the command line, and nobody would see it."""

from __future__ import annotations

import pytest
from command_line import arrays_file, unidl

from unidl.runs import RunConfiguration, train
from unidl.runs.files import to_toml
from unidl.saving.directories import read_directory
from unidl.training.run_directory import read_run

pytestmark = pytest.mark.usefixtures("backend")

WORDS = ("--epochs", "2", "--batch-size", "16", "--dropout", "0.1", "--seed", "3", "--learning-rate", "0.01")


def same(one, other):
    found, expected = read_directory(one), read_directory(other)
    assert found["weights.safetensors"] == expected["weights.safetensors"]
    assert found["history.csv"] == expected["history.csv"]
    assert read_run(one)["configuration"] == read_run(other)["configuration"]


def test_options_a_file_a_run_and_python_train_the_same(tmp_path):
    typed = tmp_path / "typed"
    assert unidl("train", "cnn", "--data", arrays_file(), *WORDS, "--quiet", "--out", typed).code == 0
    file = tmp_path / "run.toml"
    file.write_text(
        f'model = "cnn"\ndata = "{arrays_file()}"\nepochs = 9\nbatch_size = 16\ndropout = 0.1\nseed = 3\n'
        f'learning_rate = 0.01\nquiet = true\nout = "{tmp_path / "written"}"\n'
    )
    answer = unidl("train", "--config", file, "--epochs", "2")
    assert answer.code == 0, answer.err
    assert answer.err == "", "the file says quiet"
    same(tmp_path / "written", typed)
    answer = unidl("train", "--config", typed / "run.json", "--quiet", "--out", tmp_path / "again")
    assert answer.code == 0, answer.err
    same(tmp_path / "again", typed)
    asked = RunConfiguration.from_json(read_run(typed)["configuration"])
    file.write_text(to_toml(asked))
    assert unidl("train", "--config", file, "--quiet", "--out", tmp_path / "toml").code == 0
    same(tmp_path / "toml", typed)
    finished = train(
        RunConfiguration.of(
            model="cnn", data=str(arrays_file()), epochs=2, batch_size=16, dropout=0.1, seed=3, learning_rate=0.01
        ),
        tmp_path / "python",
        progress="quiet",
    )
    assert finished.kept
    assert len(finished.trainer.history["loss"]) == 2
    same(finished.out, typed)


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("epoch = 3", (), "Unknown option 'epoch'"),
        ('model = "nothing"', (), "Cannot use model = 'nothing' in "),
        ("epochs = 3", (), "No model given. Pass one of cnn, "),
        ("epochs = 3", ("--resume", "run"), "Cannot use --config with --resume"),
        ('model = "cnn"\nbase = "VGG16"', (), "Cannot use --base with `unidl train cnn`"),
    ],
)
def test_mistakes_are_told_in_a_line_before_anything_is_done(text, words, said, tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(text)
    answer = unidl("train", "--config", file, *words)
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err
    assert answer.err.startswith("unidl: ")


def test_the_file_says_on_which_backend_and_device(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('model = "cnn"\nbackend = "jaxx"\n')
    assert "Unknown backend 'jaxx'" in unidl("train", "--config", file).err
    file.write_text('model = "cnn"\ndevice = "tpu"\n')
    assert unidl("train", "--config", file, "--out", tmp_path / "run").code == 4
