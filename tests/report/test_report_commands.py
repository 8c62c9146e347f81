"""`unidl train --report`, `unidl evaluate --report` and `classification_report`, on a trained model."""

from __future__ import annotations

import json

import pytest
from command_line import arrays_file, unidl

from unidl import Trainer, load_data, load_model
from unidl.report import classification_report
from unidl.saving.directories import read_directory


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "cnn"
    words = ["--data", arrays_file(), "--epochs", "1", "--batch-size", "20", "--quiet", "--report", "--out", out]
    answer = unidl("train", "cnn", *words)
    assert answer.code == 0, answer.err
    return out


def test_a_run_keeps_its_report_and_can_still_be_read(backend, run):
    files = read_directory(run)
    assert {"report.html", "report.json"} <= set(files)
    mistakes = json.loads(files["report.json"])["most_confident_mistakes"]
    assert ("mistakes.png" in files) == bool(mistakes)
    assert json.loads(files["run.json"])["configuration"]["report"] is True
    load_model(run)


def test_it_says_what_evaluate_says(backend, run, tmp_path):
    answer = unidl("evaluate", run, "--report", tmp_path / "r", "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    kept = json.loads((tmp_path / "r" / "report.json").read_text())
    assert kept["rows"] == told["rows"] == sum(map(sum, kept["confusion"]))
    assert kept["accuracy"] == pytest.approx(told["accuracy"], abs=1e-6)
    assert kept["crossentropy"] == pytest.approx(told["loss"], rel=1e-4)
    assert (tmp_path / "r" / "report.html").read_text() == (run / "report.html").read_text().replace(
        "cnn on", f"{run} on"
    )


def test_from_python_with_logits(backend, run):
    import keras

    data = load_data(str(arrays_file()))
    model = load_model(run)
    expected = classification_report(Trainer(model), data.test).classification
    logits = keras.Model(model.input, model.layers[-2].output)
    assert logits.output_shape == model.output_shape
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    found = classification_report(Trainer(logits, loss=loss), data.test).classification
    assert found.confusion().tolist() == expected.confusion().tolist()
    assert found.crossentropy == pytest.approx(expected.crossentropy, rel=1e-4)
