"""Files in float16 and int8: what they lose is measured, what loses too much is not written, and none is called faster
that was not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from command_line import cnn_run, unidl

from unidl.deploy import export, formats
from unidl.deploy.judging import compared, in_fewer_bits
from unidl.deploy.measuring import Measured, measured, measured_in
from unidl.errors import UsageError

SOUND = Measured("9 training rows", 100, (0.98, 0.983), 0.99, (30, 100), (0.1, 0.2), (900.0, 1000.0))
EXPECTED = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.4, 0.4, 0.2]])


def test_what_was_lost_is_said_and_speed_only_where_it_was_measured():
    said = SOUND.summary()
    assert SOUND.why_not() is None
    assert "30% of the bytes of float32; accuracy 98.00% (+0.30 points lost); 99.0% of 100 test rows" in said
    assert "one row 2.0 times as fast here; batches of 256 not faster here (1.1 times the time)" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"same_class": 0.98}, "98.0% of 100 test rows get the same class"),
        ({"accuracy": (0.96, 0.983)}, "falls from 98.30% to 96.00%"),
    ],
)
def test_a_file_that_loses_too_much_is_not_accepted(changes, said):
    assert said in str(replace(SOUND, **changes).why_not())


def test_both_files_are_measured_on_the_same_rows():
    inputs = np.eye(3)[[0, 1, 2, 0]]
    found = measured(
        lambda rows: [rows[0][:, ::-1]],
        lambda rows: [rows[0]],
        [inputs],
        np.array([0, 1, 2, 0]),
        bytes=(1, 4),
        calibrated_on=None,
    )
    assert (found.rows, found.accuracy, found.same_class) == (4, (0.25, 1.0), 0.25)
    assert min(*found.milliseconds, *found.rows_per_second) > 0
    assert measured_in(vars(found) | {"bytes": [1, 4]}) == found


def test_a_constant_file_is_found_however_few_its_bits():
    for values, verdict in ((EXPECTED + 0.05, "agrees"), (np.full_like(EXPECTED, 1 / 3), "disagrees")):
        one = in_fewer_bits(compared("classes", 3, None, values, EXPECTED, 1e-6), values, EXPECTED)
        assert one.verdict == verdict, one
    assert in_fewer_bits(compared("classes", 3, None, None, EXPECTED, 1e-6), None, EXPECTED).verdict == "disagrees"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"precision": "int4"}, "Known precisions: float32, float16, int8"),
        ({"to": "litert", "precision": "int8"}, "writes int8 as onnx only"),
        ({"precision": "int8", "rows": np.zeros((4, 18, 18, 1))}, "training rows and labelled test rows are needed"),
    ],
)
def test_an_impossible_precision_is_refused_before_anything_starts(options, said, tmp_path):
    with pytest.raises(UsageError, match=said):
        export(tmp_path, **{"to": "onnx"} | options)


def test_precisions_of_formats_are_known():
    assert set(formats.form("onnx").in_fewer_bits) == {"float16", "int8"}


@pytest.mark.export
@pytest.mark.parametrize(("precision", "most"), [("int8", 0.5), ("float16", 0.6)])
def test_a_run_in_fewer_bits_is_small_and_sees_the_same(tmp_path, precision, most):
    import json

    onnx = pytest.importorskip("onnx", reason="needs unidl[export], as in tox -m export")
    assert cnn_run().code == 0, cnn_run().err
    out = tmp_path / "small"
    answer = unidl("export", cnn_run().run_directory, "--to", "onnx", "--precision", precision, "--out", out, "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert found["precision"] == precision
    assert found["measured"]["same_class"] >= 0.99
    assert found["measured"]["bytes"][0] < most * found["measured"]["bytes"][1]
    model = onnx.load(out / "model.onnx")
    assert {one.key: one.value for one in model.metadata_props}["unidl.precision"] == precision
    if precision == "int8":
        zeros = [one for one in model.graph.initializer if one.name.endswith("zero_point")]
        assert zeros
        assert not any(onnx.numpy_helper.to_array(one).any() for one in zeros), "TensorRT takes zero points of 0 only"
        assert found["measured"]["calibrated_on"].endswith("training rows of pictures.npz")
    assert unidl("verify", cnn_run().run_directory, "--against", out).code == 0
