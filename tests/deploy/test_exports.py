"""Runs as files that other programs run: certified, usable without a framework, and never wrong. `tox -m export`."""

from __future__ import annotations

import json
import sys
from importlib import import_module

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs unidl[export], as in tox -m export")

from changed_graphs import FAULTS, OF_TEXT, changed
from command_line import cnn_run, pictures, unidl
from PIL import Image
from processes import run as run_process

from unidl import build_cnn, build_lstm
from unidl.deploy import export, verify
from unidl.deploy.certifying import Certifier
from unidl.deploy.description import facts_of
from unidl.deploy.exported import read_exported
from unidl.deploy.exporting import subject_of
from unidl.errors import UnidlError
from unidl.models import note
from unidl.training import Trainer

keras = import_module("keras")  # only now, since the backend decides on which framework it runs
pytestmark = pytest.mark.export


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("exports")


def trained(folder, name, model, x, y):
    """A run of a few steps, so that its outputs differ between rows."""
    note(model, class_names=("first", "second", "third"))
    trainer = Trainer(model, optimizer=keras.optimizers.Adam(0.01))
    trainer.fit(x, y, epochs=3, batch_size=16, verbose=0)
    return trainer.save(folder / name)


def digits(count=48):
    """Images of 8 x 8 whose bright half tells the class."""
    drawn = np.random.default_rng(0)
    labels = np.arange(count) % 3
    images = drawn.uniform(0, 0.4, size=(count, 8, 8, 1)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        image[label * 2 : label * 2 + 3, : 3 + label] += 0.6
    return images, labels


def tokens(count=48, length=7):
    drawn = np.random.default_rng(0)
    rows = drawn.integers(1, 12, size=(count, length)).astype(np.int32)
    return rows, rows[:, 2] % 3


@pytest.fixture(scope="module")
def images(folder):
    x, y = digits()
    return trained(folder, "images", build_cnn((8, 8, 1), classes=3, filters=(4,), dense_units=8), x, y), x


@pytest.fixture(scope="module")
def texts(folder):
    x, y = tokens()
    return trained(folder, "texts", build_lstm(12, None, units=8, embedding_size=8, classes=3), x, y), x


@pytest.mark.parametrize("to", ["onnx", "openvino", "litert", "stablehlo", "pt2", "saved-model"])
def test_a_cnn_is_certified_in_every_format(images, folder, to):
    run, x = images
    done = export(run, to, out=folder / f"cnn-{to}", rows=x)
    assert done.certificate.agrees, done.certificate.why_not()
    assert {one.batch for one in done.certificate.comparisons} == {1, 3, 256}
    assert "keras" not in done.certificate.frameworks
    assert json.loads((done.directory / "certificate.json").read_text())["agrees"]
    again = verify(run, done.directory, rows=x, trust=to in ("pt2", "saved-model"))
    assert again.agrees, again.why_not()


@pytest.mark.parametrize("to", ["onnx", "openvino", "stablehlo", "saved-model"])
def test_a_recurrent_model_keeps_its_free_length(texts, folder, to):
    run, x = texts
    done = export(run, to, out=folder / f"lstm-{to}", rows=x)
    assert done.certificate.agrees, done.certificate.why_not()
    assert {one.length for one in done.certificate.comparisons} == {4, 7, 10}


@pytest.mark.parametrize(("to", "said"), [("litert", "rows of one length"), ("pt2", "needs a fixed length")])
def test_a_free_length_is_refused_where_it_cannot_be(texts, folder, to, said):
    with pytest.raises(UnidlError, match=said):
        export(texts[0], to, out=folder / "refused", rows=texts[1])
    assert not (folder / "refused").exists()


def test_a_run_of_the_command_line_predicts_from_its_file(folder, tmp_path):
    out = folder / "command"
    answer = unidl("export", cnn_run().run_directory, "--to", "onnx", "--out", out)
    assert answer.code == 0, answer.err
    assert "agrees with" in answer.out
    image = Image.fromarray(pictures(1)[0][0, ..., 0])
    image.save(tmp_path / "a.png")
    [of_run], [of_file] = (
        json.loads(unidl("predict", place, tmp_path / "a.png", "--top", 3, "--json").out)
        for place in (cnn_run().run_directory, out)
    )
    for one, other in zip(of_run["classes"], of_file["classes"], strict=True):
        assert one["name"] == other["name"]
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)
    data = cnn_run().run_directory.parents[1] / "pictures.npz"
    of_run, of_file = (
        json.loads(unidl("evaluate", place, "--data", data, "--json", "--quiet").out)
        for place in (cnn_run().run_directory, out)
    )
    assert of_file == pytest.approx(of_run, abs=1e-5)
    again = unidl("verify", cnn_run().run_directory, "--against", out)
    assert again.code == 0, again.err
    (out / "model.onnx").write_bytes((out / "model.onnx").read_bytes()[:-1] + b"0")
    assert unidl("verify", cnn_run().run_directory, "--against", out).code == 8


@pytest.fixture(scope="module")
def certifiers(images, texts, folder):
    """For either model, a certifier with the reference, its exported file, and the facts of the run."""
    opened, found = [], {}
    for name, (run, x) in (("images", images), ("texts", texts)):
        read = read_exported(export(run, "onnx", out=folder / f"{name}-right", rows=x).directory)
        rows = folder / f"{name}.npz"
        np.savez(rows, x)
        certifier = Certifier(subject_of(run, trust=False), lambda text: None).__enter__()
        opened.append(certifier)
        reference = certifier.reference("tensorflow", rows)
        found[name] = certifier, read, reference, facts_of(read.record, "float32")
    yield found
    for certifier in opened:
        certifier.__exit__(None, None, None)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_file_is_found(certifiers, tmp_path, fault):
    certifier, read, reference, facts = certifiers["texts" if fault in OF_TEXT else "images"]
    for content, agrees in ((read.files["model.onnx"], True), (changed(read.files["model.onnx"], fault), False)):
        (tmp_path / "model.onnx").write_bytes(content)
        certificate = certifier.certificate(tmp_path, read.description, facts, reference)
        assert certificate.agrees is agrees, (fault, certificate.why_not())


def test_prediction_from_a_file_imports_no_framework(images, folder):
    out = folder / "cnn-onnx"
    if not out.exists():
        export(images[0], "onnx", out=out, rows=images[1])
    code = (
        "import sys, numpy; from pathlib import Path; from unidl.deploy.predicting import predictor; "
        f"model = predictor(Path({str(out)!r})); print(model.predict(numpy.zeros((2, 8, 8, 1))).shape); "
        "print(sorted({'jax', 'torch', 'tensorflow', 'keras'} & set(sys.modules)))"
    )
    done = run_process(sys.executable, "-c", code)
    assert done.stdout.split("\n")[:2] == ["(2, 3)", "[]"], done.stderr
