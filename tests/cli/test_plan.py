"""`unidl plan` as a person meets it."""

from __future__ import annotations

import json

import pytest
from command_line import arrays_file, unidl


@pytest.fixture(scope="module")
def planned() -> dict:
    answer = unidl(
        "plan", "cnn", "--data", arrays_file(), "--epochs", "3", "--batch-size", "20", "--price", "T4=0.35", "--json"
    )
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def test_all_gpus_are_planned_with_their_sources(planned):
    assert len(planned["gpus"]) >= 31
    for row in planned["gpus"]:
        assert row["data_sheet"]["source"]
        assert row["step_seconds"] > 0
        assert row["run_seconds"] == pytest.approx(planned["steps"] * row["step_seconds"])
        assert row["run_kilowatt_hours_at_most"] > 0
    assert planned["best"] == "T4 16GB"  # the only one with a price
    assert planned["rows"] > 0
    assert planned["optimizer"] == "Adam"
    assert sum(layer["forward_flops"] for layer in planned["layers"]) == planned["forward_flops_per_row"]


def test_the_table_says_what_is_best_why_and_where_figures_are_from():
    words = ["plan", "cnn", "--data", arrays_file(), "--gpus", "RTX 4090,T4", "--explain", "--layers"]
    answer = unidl(*words)
    assert answer.code == 0, answer.err
    text = " ".join(answer.out.split())
    for said in (
        "GeForce RTX 4090 24GB",
        "T4 16GB",
        "is the fastest",
        "max batch",
        "Where the figures are from",
        "data sheets, as of 2026-11",
        "ridge point",
        "Tensor Cores",
        "Power limit",
        "conv",
    ):
        assert said in text, said
    assert "H100" not in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--gpus", "RTX 4091"], "Unknown GPU 'RTX 4091'. Nearest:"),
        (["--gpus", "T4", "--price", "T4"], "Cannot read --price"),
        (["--gpus", "T4", "--price", "T4=cheap"], "is not a number"),
        (["--gpus", "T4", "--precision", "float33"], "float33"),
        (["--gpus", "T4", "--precision", "float16"], "Cannot train in precision 'float16'"),
        (["--gpu-file", "/no/such/file.toml"], "Cannot read the figures of GPUs"),
        (["--base", "VGG16"], "Cannot use --base"),
    ],
)
def test_what_cannot_be_planned_is_refused_with_the_reason(words, said):
    answer = unidl("plan", "cnn", "--data", arrays_file(), *words)
    assert answer.code != 0
    assert said in answer.err
    assert answer.out == ""


def test_gpus_of_a_file_of_ones_own(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text(
        '[[gpu]]\nname = "Ours 1"\nmemory_gb = 10\nbandwidth_gb_s = 100\nfp32_tflops = 2\npower_watts = 50\n'
        'as_of = "2026-11"\nsource = "measured by us"\n'
    )
    answer = unidl("plan", "cnn", "--data", arrays_file(), "--gpu-file", file, "--json", "--inference")
    assert answer.code == 0, answer.err
    [row] = json.loads(answer.out)["gpus"]
    assert (row["data_sheet"]["name"], row["precision"]) == ("Ours 1", "float32")


def test_a_network_of_keras_is_planned_by_its_name():
    answer = unidl("plan", "MobileNet", "--image-size", "64", "--gpus", "T4,L4", "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert found["parameters"] > 4e6
    assert found["steps"] is None
    assert [row["run_seconds"] for row in found["gpus"]] == [None, None]
    refused = unidl("plan", "MobileNet", "--data", arrays_file())
    assert refused.code == 2
    assert "unidl plan transfer --base MobileNet" in refused.err


@pytest.mark.once  # Keras imports every framework to seed them
def test_a_function_is_planned(tmp_path):
    file = tmp_path / "model.py"
    file.write_text(
        "import keras\n\n\ndef build(input_shape, classes):\n"
        "    layers = [keras.layers.Flatten(), keras.layers.Dense(classes, activation='softmax')]\n"
        "    return keras.Sequential([keras.Input(input_shape), *layers])\n"
    )
    answer = unidl("plan", f"{file}:build", "--data", arrays_file(), "--gpus", "T4", "--json")
    assert answer.code == 0, answer.err
    assert [layer["kind"] for layer in json.loads(answer.out)["layers"]] == ["Flatten", "Dense"]
