"""What is refused before anything is computed, and what an exported directory has to be, without any runtime."""

from __future__ import annotations

import io
import json
import sys
import zipfile

import numpy as np
import pytest
from command_line import cnn_run, unidl

from unidl.computes import Interface, Tensor
from unidl.deploy import formats
from unidl.deploy.description import DESCRIPTION, Description, parse
from unidl.deploy.exported import is_exported, read_exported
from unidl.deploy.format import Model
from unidl.deploy.predicting import computed
from unidl.errors import DataError, ModelError, SavedModelError, UsageError
from unidl.saving.directories import read_directory, write_directory
from unidl.saving.saved_architecture import ARCHITECTURE

IMAGES = Interface((Tensor("image", (None, 18, 18, 1), "float32"),), (Tensor("classes", (None, 3), "float32"),))
TOKENS = Interface((Tensor("tokens", (None, None), "int32"),), (Tensor("words", (None, 9), "float32"),))


@pytest.mark.parametrize("name", formats.names())
def test_every_format_is_complete(name):
    form = formats.form(name)
    assert form.name == name
    assert form.files
    assert form.exporters
    assert form.runtime.install.startswith("pip install 'unidl[")


def test_an_unknown_format_names_the_known_ones():
    answer = unidl("export", cnn_run().run_directory, "--to", "caffe")
    assert answer.code == 2
    assert "Cannot export to 'caffe'. Known formats: onnx, openvino, litert, stablehlo, pt2, saved-model." in answer.err


def test_a_backend_that_cannot_is_refused_with_those_that_can():
    with pytest.raises(UsageError, match="only tensorflow or torch can"):
        formats.exporters(formats.form("onnx"), "jax")


def test_what_is_not_installed_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"LiteRT is not installed: pip install 'unidl\[litert\]'"):
        formats.exporters(formats.form("litert"))


@pytest.mark.parametrize(
    ("name", "backend", "said"),
    [
        ("onnx", "torch", "traces one length"),
        ("openvino", "torch", "traces one length"),
        ("litert", "tensorflow", "rows of one length"),
        ("pt2", "torch", "needs a fixed length"),
    ],
)
def test_a_free_length_that_a_format_cannot_hold_is_one_sentence(name, backend, said):
    form = formats.form(name)
    assert said in str(form.why_not(Model(TOKENS, frozenset({"LSTM"})), backend))
    assert form.why_not(Model(IMAGES, frozenset({"Conv2D"})), backend) is None


def test_only_a_run_is_exported(tmp_path):
    answer = unidl("export", tmp_path / "nothing", "--to", "pt2")
    assert answer.code == 2
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("option", [("--steps", "2"), ("--by", "keras"), ("--precision", "tf32")])
def test_options_of_backends_mean_nothing_against_a_file(option, tmp_path):
    answer = unidl("verify", cnn_run().run_directory, "--against", tmp_path, *option)
    assert answer.code == 2
    assert "with --against: pass one run, and an exported directory" in answer.err


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A directory as `unidl export` writes it, with a file that no runtime could read."""
    folder = tmp_path_factory.mktemp("exported") / "cnn"
    description = Description("onnx", "float32", IMAGES, {"tensorflow": "2"}, {"weights.safetensors": "0" * 64})
    assert cnn_run().code == 0, cnn_run().err
    architecture = read_directory(cnn_run().run_directory, only=(ARCHITECTURE,))
    write_directory(folder, {"model.onnx": b"graph", DESCRIPTION: description.to_json(), **architecture})
    return folder


def test_an_exported_directory_is_known_by_its_manifest(exported, tmp_path):
    assert is_exported(exported)
    assert not is_exported(cnn_run().run_directory)
    assert not is_exported(tmp_path)
    read = read_exported(exported)
    assert read.description.interface == IMAGES
    assert read.record.class_names == ("left", "right", "below")
    assert read.record.value_range == (0.0, 1.0)
    assert read.files == {"model.onnx": b"graph"}


def _another_graph(folder):
    (folder / "model.onnx").write_bytes(b"other")


def _longer(folder):
    (folder / "model.onnx").write_bytes(b"graph and more")


def _a_link(folder):
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to("/dev/zero")


def _without_the_graph(folder):
    (folder / "model.onnx").unlink()


def _another_description(folder):
    (folder / DESCRIPTION).write_text((folder / DESCRIPTION).read_text().replace('"onnx"', '"pt2_"'))


def _without_a_manifest(folder):
    (folder / "manifest.json").unlink()


DAMAGES = (_another_graph, _longer, _a_link, _without_the_graph, _another_description, _without_a_manifest)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_file_is_refused_before_a_runtime_parses_it(exported, tmp_path, damage, monkeypatch):
    folder = tmp_path / "cnn"
    write_directory(folder, read_directory(exported))
    damage(folder)

    def parse_it(*_):
        raise AssertionError("the runtime parsed it")

    form = formats.form("onnx")
    monkeypatch.setattr(formats, "form", lambda name: form)
    with pytest.raises(SavedModelError, match="Cannot load"):
        read_exported(folder)


def _described(**changes):
    values = json.loads(Description("onnx", "float32", IMAGES, {}, {}).to_json())
    return json.dumps(values | changes).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        _described(format=2),
        _described(to="caffe"),
        _described(to=["onnx"]),
        _described(precision=3),
        _described(inputs=[]),
        _described(inputs={}),
        _described(inputs=[{"name": "a"}]),
        _described(inputs=[{"name": 1, "shape": [None], "dtype": "float32"}]),
        _described(inputs=[{"name": "a", "shape": [-1], "dtype": "float32"}]),
        _described(inputs=[{"name": "a", "shape": [2**40], "dtype": "float32"}]),
        _described(outputs=[{"name": "a", "shape": "x", "dtype": "float32"}]),
        _described(outputs=[{"name": "a", "shape": [True], "dtype": "float32"}]),
        _described(source=[1]),
        _described(exported_by={"a": 1}),
        _described(more=1),
    ],
)
def test_a_hostile_description_is_one_error(content, tmp_path):
    with pytest.raises(SavedModelError, match=r"its export\.json is damaged"):
        parse(content, tmp_path)


def test_a_description_comes_back_as_it_was(tmp_path):
    one = Description("onnx", "float32", TOKENS, {"tensorflow": "2"}, {"weights.safetensors": "0"})
    assert parse(one.to_json(), tmp_path) == one


def test_a_format_that_runs_code_needs_trust(exported, tmp_path):
    description = Description("pt2", "float32", IMAGES, {"torch": "2"}, {})
    architecture = read_directory(exported, only=(ARCHITECTURE,))
    write_directory(tmp_path / "cnn", {"model.pt2": b"PK", DESCRIPTION: description.to_json(), **architecture})
    with pytest.raises(SavedModelError, match="can run code"):
        read_exported(tmp_path / "cnn")
    assert read_exported(tmp_path / "cnn", trust=True).files == {"model.pt2": b"PK"}


def zipped(**contents):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is damaged"),
        (zipped(**{"saved_model.pb": b"graph"})[:-9], "is damaged"),
        (zipped(**{"../saved_model.pb": b""}), "which unidl did not write"),
        (zipped(**{"/etc/passwd": b""}), "which unidl did not write"),
        (zipped(**{"variables/variables.data-/../../a": b""}), "which unidl did not write"),
        (zipped(**{"assets/words.txt": b""}), "which unidl did not write"),
    ],
)
def test_a_hostile_archive_is_refused_before_tensorflow_sees_it(content, said, monkeypatch):
    from unidl_tensorflow.running import open_saved_model

    monkeypatch.setitem(sys.modules, "tensorflow", None)  # importing it would fail
    with pytest.raises(SavedModelError, match=said):
        open_saved_model(content)


class Doubling:
    """Two inputs, added."""

    interface = Interface(
        (Tensor("b", (None, 2), "float32"), Tensor("a", (None, 2), "int32")), (Tensor("sum", (None, 2), "float32"),)
    )

    def outputs(self, inputs):
        assert len(inputs[0]) <= 256
        return [inputs[0] + 10 * inputs[1]]


def test_rows_are_passed_by_name_in_batches():
    b, a = np.arange(600.0).reshape(300, 2), np.ones((300, 2))
    np.testing.assert_array_equal(computed(Doubling(), {"a": a, "b": b}), b + 10)
    np.testing.assert_array_equal(computed(Doubling(), [b, a]), b + 10)
    with pytest.raises(DataError, match="the input 'a' is missing"):
        computed(Doubling(), {"b": b})
    with pytest.raises(DataError, match="takes rows of shape"):
        computed(Doubling(), [b, a[:, :1]])
    with pytest.raises(ModelError, match="2 inputs, and 1"):
        computed(Doubling(), b)
