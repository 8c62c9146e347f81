"""A damaged or hand-made model is one error that names the place. Without this a person gets a traceback of a library
they have never heard of; or a model with some weights of its own and some from elsewhere."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from saving import IMAGES, assert_same_model, outputs, rewrite, save, scramble

from unidl import build_cnn, build_transfer, load_model
from unidl.errors import SavedModelError, UnidlError
from unidl.saving.directories import read_directory


@pytest.fixture(scope="module")
def model():
    return scramble(build_cnn((8, 8, 1), 3, filters=(2, 2), dense_units=4))


@pytest.fixture
def saved(model, tmp_path):
    """A model of ours on the disk."""
    return save(model, tmp_path / "run")


def description_of(path) -> dict[str, Any]:
    return json.loads(read_directory(path)["architecture.json"])


def describe(path, description: object) -> None:
    rewrite(path, architecture=json.dumps(description).encode())


@pytest.mark.parametrize("name", ["architecture.json", "weights.safetensors", "manifest.json"])
def test_a_flipped_bit_or_a_missing_end_is_found_before_anything_is_built(saved, monkeypatch, name: str):
    from unidl.saving import saved as loading

    monkeypatch.setattr(loading, "rebuild", lambda *_: pytest.fail("a damaged file was used"))
    content = (saved / name).read_bytes()
    places = np.random.default_rng(0).integers(len(content), size=20)
    for damaged in (*(flipped(content, place) for place in places), content[:-2], b""):
        (saved / name).write_bytes(damaged)
        with pytest.raises(SavedModelError, match="Cannot load"):
            load_model(saved)


def flipped(content: bytes, place: int) -> bytes:
    """One bit flipped; the highest, so that no white space of JSON becomes other white space."""
    return content[:place] + bytes([content[place] ^ 128]) + content[place + 1 :]


def test_a_directory_without_a_model_says_so(saved):
    rewrite(saved, weights=None)
    with pytest.raises(SavedModelError, match=r"it is not a saved model: weights\.safetensors is missing"):
        load_model(saved)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"null", b"5", b'"text"', b"[" * 100_000])
def test_a_description_that_is_no_json_object_is_one_error(saved, content: bytes):
    rewrite(saved, architecture=content)
    with pytest.raises(SavedModelError, match=r"its architecture\.json is damaged"):
        load_model(saved)


@pytest.mark.parametrize("key", ["class_names", "vocabulary", "frozen", "builder", "arguments"])
@pytest.mark.parametrize("value", [None, 5, "text", [5], [None], {"a": 1}, "absent"])
def test_a_missing_key_or_a_value_of_another_type_is_one_error(saved, key: str, value: object):
    description = description_of(saved)
    if value == "absent":
        del description[key]
    else:
        description[key] = value
    describe(saved, description)
    with pytest.raises(SavedModelError, match="Cannot load"):
        load_model(saved)


def test_a_key_that_nobody_knows_is_refused(saved):
    """It may mean something: written by a later version, say, which trusts that it is read."""
    describe(saved, description_of(saved) | {"quantized": True})
    with pytest.raises(
        SavedModelError, match=r"its architecture\.json is damaged: its keys are \['arguments', 'builder'"
    ):
        load_model(saved)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"builder": "resnet"}, "unknown builder 'resnet'. Known builders: 'cnn', 'lstm', 'transfer'"),
        ({"builder": "__import__"}, "unknown builder"),
        ({"builder": "lstm"}, "build_lstm has no argument 'input_shape'"),
        ({"frozen": ["no such layer"]}, "no such layer"),
    ],
)
def test_a_description_that_fits_no_builder_is_one_error(saved, changes: dict[str, Any], reason: str):
    describe(saved, description_of(saved) | changes)
    with pytest.raises(SavedModelError, match=f"Cannot load .*run: .*{reason}"):
        load_model(saved)


@pytest.mark.parametrize(
    "arguments",
    [
        {"colour": "red"},
        {"filters": []},
        {"filters": "many"},
        {"filters": [[2]]},
        {"filters": None},
        {"classes": 2.5},
        {"classes": True},
        {"classes": 10**18},
        {"classes": -1},
        {"dense_units": 10**400},
        {"input_shape": [10**9, 10**9, 10**9]},
        {"input_shape": [8, 8]},
        {"seed": "zero"},
        {"name": "a/b"},
        {"name": ""},
        {"dropout": 1e400},
        {"precision": 16},
        {"precision": "float7"},
    ],
)
def test_arguments_that_no_builder_wrote_are_one_error(saved, arguments: dict[str, Any]):
    """Sizes that no memory holds among them: nothing may be allocated for them."""
    description = description_of(saved)
    description["arguments"] |= arguments
    describe(saved, description)
    with pytest.raises(SavedModelError, match="Cannot load"):
        load_model(saved)


@pytest.mark.parametrize(
    "base",
    [
        "../run",
        "NoSuchNetwork",
        5,
        None,
        {},
        {"builder": "cnn"},
        {"builder": 5, "arguments": {}},
        {"builder": "cnn", "arguments": {"base": "x"}},
        {"builder": "transfer", "arguments": {}},
    ],
)
def test_a_base_that_no_builder_wrote_is_one_error(model, tmp_path, base: object):
    path = save(build_transfer(model, classes=3, dense_units=4), tmp_path / "run")
    description = description_of(path)
    description["arguments"]["base"] = base
    describe(path, description)
    with pytest.raises(SavedModelError, match="Cannot load"):
        load_model(path)


def weights_of(path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load

    return load(read_directory(path)["weights.safetensors"])


def store(path, weights: dict[str, np.ndarray]) -> None:
    from safetensors.numpy import save

    rewrite(path, weights=save(weights))


def test_weights_of_another_model_are_refused(saved):
    weights = weights_of(saved)
    store(saved, {**weights, "another/kernel": np.zeros(3, np.float32)})
    with pytest.raises(SavedModelError, match="'another/kernel' is in only one of them"):
        load_model(saved)
    store(saved, {name: value for name, value in weights.items() if name != "logits/bias"})
    with pytest.raises(SavedModelError, match="'logits/bias' is in only one of them"):
        load_model(saved)
    for other in (
        np.zeros((3, 1), np.float32),
        np.zeros(4, np.float32),
        np.zeros(3, np.complex64),
        np.zeros(3, np.int8),
    ):
        store(saved, weights | {"logits/bias": other})
        with pytest.raises(
            SavedModelError, match=r"'logits/bias' holds .* and the model needs float32 of shape \(3,\)"
        ):
            load_model(saved)
    store(saved, weights | {"logits/bias": weights["logits/bias"].astype(np.float64)})
    load_model(saved)


def header(content: object, data: bytes = b"") -> bytes:
    """A safetensors file by hand."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 20,
        (2**63).to_bytes(8, "little") + b"{}",
        header(b"{"),
        header({"logits/bias": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}}, b"\0" * 4),
        header({"logits/bias": {"dtype": "F32", "shape": [2**40, 0], "data_offsets": [0, 0]}}),
        header({"logits/bias": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}, b"\0" * 4),
        header({"logits/bias": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}, b"\0" * 4),
        header({"logits/bias": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, b"\0" * 4),
        header({"__metadata__": {"a": "b"}}),
    ],
)
def test_a_weights_file_made_by_hand_is_one_error(saved, content: bytes):
    rewrite(saved, weights=content)
    with pytest.raises(SavedModelError, match="Cannot load"):
        load_model(saved)


def test_a_weight_that_does_not_fit_changes_no_other(saved, model):
    """All are looked at before the first is given its value: a half-loaded model would look like a trained one."""
    from unidl.saving.saved import assign_weights

    weights = weights_of(saved)
    other = build_cnn((8, 8, 1), 3, filters=(2, 2), dense_units=4)
    before = outputs(other, IMAGES)
    with pytest.raises(SavedModelError):
        assign_weights(other, weights | {"logits/bias": np.zeros(5, np.float32)}, saved)
    np.testing.assert_array_equal(outputs(other, IMAGES), before)
    assign_weights(other, weights, saved)
    assert_same_model(other, model, IMAGES)


def test_an_error_of_loading_is_one_of_ours(saved):
    """So that a program can catch it, and the command line exits with its code."""
    assert issubclass(SavedModelError, UnidlError)
    assert SavedModelError.exit_code == 8
