"""`unidl runs`: which run was best, and what was different in it. Without this a folder of runs is a list of names."""

from __future__ import annotations

import json

import pytest
from command_line import unidl

from unidl import Trainer, build_cnn
from unidl.training.run_directory import save_run

SMALL = {"input_shape": (8, 8, 1), "classes": 2, "filters": (2,), "dense_units": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three runs, one of them deeper; one that is damaged; a folder that holds none."""
    folder = tmp_path_factory.mktemp("runs")
    trainer = Trainer(build_cnn(**SMALL))
    for name, rate, loss in (("a", 0.001, 0.5), ("b", 0.01, 0.25), ("deep/c", 0.1, float("nan"))):
        trainer.history = {"loss": [1.0, loss], "val_loss": [1.0, loss + 1]}
        configuration = {"model": "cnn", "data": "digits", "epochs": 2, "learning_rate": rate}
        (folder / name).parent.mkdir(exist_ok=True)
        save_run(trainer, folder / name, configuration=configuration)
    save_run(trainer, folder / "damaged")
    (folder / "damaged/run.json").write_text("{}")
    (folder / "empty").mkdir()
    return folder


def listed(*words) -> list[str]:
    answer = unidl("runs", *words, "--json")
    assert answer.code == 0, answer.err
    return [run["path"].rpartition("/")[2] for run in json.loads(answer.out)["runs"]]


def test_runs_are_found_sorted_and_filtered(folder):
    assert listed(folder) == ["a", "b", "c"]
    assert listed(folder, "--sort", "val_loss") == ["b", "a", "c"], "a loss that is not a number comes last"
    assert listed(folder, "--sort", "learning_rate", "--reverse") == ["c", "b", "a"]
    assert listed(folder, "--where", "learning_rate=0.01,model=cnn") == ["b"]
    assert listed(folder / "a", folder / "b", folder) == ["a", "b", "c"], "each once"
    assert listed(folder / "empty") == []


def test_a_damaged_run_is_named_and_the_others_are_listed(folder, backend):
    answer = unidl("runs", folder)
    assert answer.code == 0
    assert "damaged" in answer.err
    assert "damaged" not in answer.out
    assert "1.25" in answer.out
    assert backend.name in answer.out


def test_two_runs_are_compared_in_what_differs(folder):
    answer = unidl("runs", "--compare", folder / "a", folder / "b")
    assert answer.code == 0
    lines = {line.split("  ")[1].strip(): line.split()[-2:] for line in answer.out.splitlines() if line.strip()}
    assert lines["learning rate"] == ["0.001", "0.01"]
    assert lines["val loss"] == ["1.5", "1.25"]
    assert "epochs" not in lines


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "there is no such folder"),
        (["{folder}", "--sort", "speed"], "Cannot sort by 'speed', which no run has. There are backend, data, "),
        (["{folder}", "--compare", "{folder}/a", "{folder}/b"], "Cannot use --compare with folders"),
        (["--compare", "{folder}/a", "{folder}/empty"], "{folder}/empty"),
        (["--where", "cnn"], "expected NAME=VALUE"),
    ],
)
def test_what_cannot_be_listed_says_so(folder, words, said):
    answer = unidl("runs", *(word.format(folder=folder) for word in words))
    assert answer.code != 0
    assert said.format(folder=folder) in answer.err
