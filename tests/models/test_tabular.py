"""The network for tables: what it was trained on decides its scale, and a saved model that has lost it predicts
nonsense with the same confidence."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command_line import unidl
from sklearn.datasets import load_diabetes, load_wine

import unidl as package
from unidl import Trainer, build_tabular, load_data, load_model
from unidl.errors import DataError, ModelError, SavedModelError, UsageError
from unidl.models import record_of
from unidl.report.making import require_classes
from unidl.saving.saved_architecture import read_description

CITIES = ("Rome", "Oslo", "Lima")


def written(path, bundled, target):
    """A table of scikit-learn with a column of words, every third of which is a city of its own."""
    header = (*bundled.feature_names, "city", target)
    names = getattr(bundled, "target_names", None)
    lines = [",".join(header)]
    for row, (numbers, value) in enumerate(zip(bundled.data, bundled.target, strict=True)):
        lines.append(",".join(map(str, (*numbers, CITIES[row % 3], value if names is None else names[value]))))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def wine(tmp_path_factory, backend):
    """A table of wines, and the directory of a run that the command line has trained on it."""
    folder = tmp_path_factory.mktemp("wine")
    path = written(folder / "wine.csv", load_wine(), "kind")
    answer = unidl("train", "tabular", "--data", path, "--label", "kind", "--epochs", 12, "--out", folder / "run")
    assert answer.code == 0, answer.err
    assert f"unidl predict {folder / 'run'} --data" in answer.out
    return path, folder / "run"


def test_a_run_is_evaluated_on_its_table(wine):
    path, run = wine
    own, other = (json.loads(unidl("evaluate", run, *words, "--json").out) for words in ((), ("--data", path)))
    assert own["accuracy"] > 0.9
    assert own["rows"] == 36
    assert own["loss"] == pytest.approx(other["loss"], rel=1e-6)


def test_predictions_are_those_of_the_raw_table(wine):
    path, run = wine
    answer = unidl("predict", run, "--data", path, "--top", 3, "--json")
    assert answer.code == 0, answer.err
    rows = json.loads(answer.out)
    header, *lines = path.read_text().splitlines()
    columns = dict(zip(header.split(","), zip(*(line.split(",") for line in lines), strict=True), strict=True))
    model = load_model(run)
    outputs = Trainer(model).predict(columns)
    assert [row["classes"][0]["name"] for row in rows] == [record_of(model).class_names[k] for k in outputs.argmax(1)]
    np.testing.assert_allclose([row["classes"][0]["probability"] for row in rows], outputs.max(axis=1), rtol=1e-6)
    assert np.mean([row["classes"][0]["name"] == kind for row, kind in zip(rows, columns["kind"], strict=True)]) > 0.9
    printed = unidl("predict", run, "--data", path).out.splitlines()
    assert printed[3].startswith(f"3  {rows[3]['classes'][0]['name']} ")


def test_what_cannot_be_predicted_from_is_refused(wine, tmp_path):
    path, run = wine
    for words, message in (
        (("a.png",), "predicts from a table"),
        ((), "predicts from a table"),
        (("--data", path.with_name("run") / "none.csv"), "Cannot read"),
        (("--data", path, "--augmentations", 2), "Cannot use --augmentations"),
    ):
        answer = unidl("predict", run, *words)
        assert (answer.code != 0, answer.out) == (True, "")
        assert message in answer.err
    header, line = path.read_text().splitlines()[:2]
    (tmp_path / "bad.csv").write_text(f"{header}\n{line.replace(line.split(',')[0], 'strong', 1)}\n")
    answer = unidl("predict", run, "--data", tmp_path / "bad.csv")
    assert "Row 0 of" in answer.err
    assert "'strong' in the column 'alcohol'" in answer.err


def test_a_number_is_predicted_in_its_own_unit(tmp_path, backend):
    data = load_data(written(tmp_path / "diabetes.csv", load_diabetes(), "target"))
    model = build_tabular(**data.table.arguments(), units=(16,))
    trainer = Trainer(model, optimizer=package_adam(0.01))
    trainer.fit(data.train, epochs=25, progress="quiet")
    before = trainer.predict(data.test.x)
    with pytest.raises(DataError, match="one class for each row"):
        require_classes(data.test)  # a report, which would take the numbers for one-hot
    assert np.mean((before - data.test.y) ** 2) < 0.75 * data.test.y.var()
    trainer.save(tmp_path / "run")
    again = load_model(tmp_path / "run")
    assert record_of(again).table == data.table
    np.testing.assert_array_equal(Trainer(again).predict(data.test.x), before)


def package_adam(rate):
    import keras

    return keras.optimizers.Adam(rate)


def test_it_computes_what_numpy_computes(backend):
    model = build_tabular([10.0, -2.0], [4.0, 0.5], (2, 3), None, target_mean=100.0, target_deviation=7.0, units=(5,))
    x = {
        "numbers": np.array([[12.0, -1.0], [3.0, -2.5]], np.float32),
        "categories": np.array([[1, 4], [0, 2]], np.int32),
    }
    embedding, kernel, bias, last, offset = (np.asarray(weight, np.float64) for weight in model.get_weights())
    values = (x["numbers"].astype(np.float64) - [10.0, -2.0]) / [4.0, 0.5]
    values = np.concatenate([values, embedding[x["categories"]].reshape(2, -1)], axis=1)
    expected = (np.maximum(values @ kernel + bias, 0) @ last + offset) * 7.0 + 100.0
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"means": [1.0], "deviations": []}, "there are 1 means"),
        ({"means": [], "deviations": []}, "a column of numbers or of categories"),
        ({"means": [1.0], "deviations": [0.0]}, "change the unit of the column"),
        ({"means": [float("nan")], "deviations": [1.0]}, "a list of finite numbers"),
        ({"categories": [0]}, "whole numbers of at least 1"),
        ({"classes": 1}, "at least 2"),
        ({"target_deviation": 0}, "from 1e-06"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ModelError, match="Cannot use build_tabular") as caught:
        package.build_tabular(**arguments)
    assert message in str(caught.value)


def test_a_damaged_table_is_refused(wine, tmp_path):
    content = json.loads((wine[1] / "architecture.json").read_text())
    assert read_description(json.dumps(content).encode(), tmp_path).table is not None
    for bad in (3, {}, content["table"] | {"target": None}):
        with pytest.raises(SavedModelError, match=r"architecture\.json is damaged: its table cannot be read"):
            read_description(json.dumps(content | {"table": bad}).encode(), tmp_path)


def test_a_model_of_your_own_keeps_the_table(tmp_path, backend):
    import keras

    data = load_data("wine")
    inputs = keras.Input((13,))
    outputs = keras.layers.Dense(3, activation="softmax")(keras.layers.Rescaling(1e-3)(inputs))
    model = keras.Model(inputs, outputs)
    compiled = {"optimizer": "sgd", "loss": "sparse_categorical_crossentropy"}
    trainer = Trainer(model, **compiled)
    trainer.fit(data.train, progress="quiet")
    trainer.save(tmp_path / "run")
    again = load_model(tmp_path / "run", trust=True)
    assert record_of(again).table == data.table
    raw = {column.name: data.test.x[:, place].astype(str) for place, column in enumerate(data.table.numbers)}
    np.testing.assert_allclose(Trainer(again, **compiled).predict(raw), trainer.predict(data.test.x), rtol=1e-5)


def test_a_saved_run_reads_another_table_as_its_own(wine, tmp_path):
    """Words and classes counted anew would get the numbers of others, with whose vectors the model goes on."""
    path, run = wine
    header, *lines = path.read_text().splitlines()
    kept = [line.replace(",Lima,", ",Zama,") for line in lines if not line.endswith("class_0")]
    (tmp_path / "other.csv").write_text("\n".join([header, *kept]) + "\n")
    words = ("--data", tmp_path / "other.csv", "--label", "kind", "--epochs", 1, "--out", tmp_path / "further")
    answer = unidl("train", run, *words)
    assert answer.code == 0, answer.err
    assert record_of(load_model(tmp_path / "further")).table == record_of(load_model(run)).table
    with pytest.raises(UsageError, match=r"missing does not apply .* the trained model knows its columns"):
        load_data(path, table=record_of(load_model(run)).table, missing="mean")
