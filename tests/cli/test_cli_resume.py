"""`unidl train --save-every-steps` and `--resume` as a person, or a scheduler, meets them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from command_line import arrays_file, unidl

from unidl.saving.directories import read_directory
from unidl.training.run_directory import read_run

OPTIONS = ("--epochs", "40", "--batch-size", "8", "--dropout", "0.2", "--early-stopping", "30", "--seed", "3")


@pytest.fixture
def begun(tmp_path):
    """A run of 40 epochs that SIGTERM has ended, its directory, and how it ended."""
    out = tmp_path / "run"
    words = ["train", "cnn", "--data", arrays_file(), *OPTIONS, "--save-every-steps", "5", "--out", out]
    with subprocess.Popen(
        [sys.executable, "-m", "unidl", *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        checkpoints = tmp_path / "run.checkpoints"
        while not (checkpoints.exists() and list(checkpoints.glob("epoch-*"))):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        _, said = process.communicate(timeout=60)
        return out, process.returncode, said, time.monotonic() - asked


def test_a_run_that_a_scheduler_ends_goes_on_to_the_same_end(begun, tmp_path):
    """With the options that it was begun with, and nothing lost but time."""
    out, code, said, seconds = begun
    assert code == 143, said
    assert f"resume with: unidl train --resume {out}" in said
    assert seconds < 10
    assert not out.exists()
    answer = unidl("train", "--resume", out, "--quiet")
    assert answer.code == 0, answer.err
    whole = tmp_path / "whole"
    assert unidl("train", "cnn", "--data", arrays_file(), *OPTIONS, "--quiet", "--out", whole).code == 0
    found, expected = read_directory(out), read_directory(whole)
    assert found["weights.safetensors"] == expected["weights.safetensors"]
    assert found["history.csv"] == expected["history.csv"]
    configuration = read_run(out)["configuration"]
    assert configuration.pop("save_every_steps") == 5
    assert read_run(whole)["configuration"] == configuration | {"save_every_steps": None}


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--resume", "nowhere"], 8, "there is no checkpoint in nowhere.checkpoints"),
        (["cnn", "--resume", "nowhere"], 2, "Cannot use a model with --resume"),
        (["--resume", "nowhere", "--batch-size", "8"], 2, "Cannot use --batch-size with --resume"),
        ([], 2, "No model given. Pass one of cnn, lstm, transfer"),
        (["cnn", "--save-every-steps", "0"], 2, "'0' is not a whole number of at least 1"),
    ],
)
def test_mistakes_are_told_in_a_line(words, code, told):
    answer = unidl("train", *words)
    assert answer.code == code
    assert told in answer.err
