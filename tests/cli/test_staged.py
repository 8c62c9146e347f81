"""`unidl train transfer --stages` as a person meets it."""

from __future__ import annotations

import json

import pytest
from command_line import arrays_file, unidl

from unidl.runs import RunConfiguration
from unidl.runs.files import read_options, to_toml
from unidl.saving.directories import read_directory
from unidl.training.interrupt import UninterruptedLoop
from unidl.training.run_directory import read_run
from unidl.training.stage import Stage

STAGES = "head:1,conv_3:1@1e-3,all:1@1e-4*0.9"


class KilledError(Exception):
    """In place of the death of the process."""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    out = tmp_path_factory.mktemp("base") / "cnn"
    words = ["--data", arrays_file(), "--epochs", "1", "--batch-size", "20", "--quiet", "--out", out]
    assert unidl("train", "cnn", *words).code == 0
    return out


def words(base, out):
    return ["train", "transfer", "--base", base, "--data", arrays_file(), "--batch-size", "20", "--out", out]


def test_a_killed_run_in_stages_goes_on_to_the_same_end(base, tmp_path, monkeypatch):
    """With nothing said but where it is: the stages are kept with it."""
    whole = unidl(*words(base, tmp_path / "whole"), "--stages", STAGES)
    assert whole.code == 0, whole.err
    assert "stage 3 of 3, epochs 3 to 3: all of it learns" in whole.out
    run, done = UninterruptedLoop.run, [0]

    def until(self, chunk):
        done[0] += len(chunk.rows)
        if done[0] > 5:
            raise KilledError
        return run(self, chunk)

    with monkeypatch.context() as patch:
        patch.setattr(UninterruptedLoop, "run", until)
        killed = unidl(*words(base, tmp_path / "run"), "--stages", STAGES, "--save-every-steps", "1")
        assert "KilledError" in killed.err
    answer = unidl("train", "--resume", tmp_path / "run")
    assert answer.code == 0, answer.err
    assert "stage 1 of 3" not in answer.out
    found, expected = read_directory(tmp_path / "run"), read_directory(tmp_path / "whole")
    assert found["weights.safetensors"] == expected["weights.safetensors"]
    assert found["history.csv"] == expected["history.csv"]
    kept = read_run(tmp_path / "run")
    assert kept["configuration"]["stages"] == STAGES
    assert [stage["epochs"] for stage in kept["stages"]] == [1, 1, 1]
    answer = unidl("train", "--resume", tmp_path / "run", "--epochs", "9")
    assert (answer.code, "its stages say how many epochs" in answer.err) == (2, True)


def test_a_file_says_stages_as_well(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(f'model = "transfer"\nstages = "{STAGES}"\nlearning_rate = 0.01\n')
    asked = RunConfiguration.of(**read_options(file))
    assert asked.epochs == 3
    assert asked.read_stages() == [
        Stage(1, "head", 0.01, "cosine"),
        Stage(1, "conv_3", 1e-3, "cosine"),
        Stage(1, "all", 1e-4, "cosine", layer_decay=0.9),
    ]
    assert RunConfiguration.from_json(json.loads(json.dumps(asked.to_json()))) == asked
    file.write_text(to_toml(asked))
    assert RunConfiguration.of(**read_options(file)) == asked


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (["--stages", "head"], "Cannot read the stage 'head': it must be PART:EPOCHS[@RATE][*DECAY][~WARMUP]"),
        (["--stages", "head:1", "--epochs", "3"], "Cannot use --epochs with --stages"),
    ],
)
def test_mistakes_are_told_in_a_line(said, told):
    answer = unidl("train", "transfer", *said)
    assert answer.code == 2
    assert told in answer.err
