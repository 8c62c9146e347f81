"""What counts as the same: a wrong exported file must not pass, and a sound one must."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unidl.computes import Interface, Tensor
from unidl.deploy.cases import BATCHES, ROWS, STEPS, Case, cases_of, read_cases, write_cases
from unidl.deploy.certificate import ExportCertificate
from unidl.deploy.judging import compared, why_not_declared
from unidl.errors import DataError

IMAGES = Interface((Tensor("image", (None, 4, 4, 1), "float32"),), (Tensor("classes", (None, 3), "float32"),))
TOKENS = Interface((Tensor("tokens", (None, None), "int32"),), (Tensor("words", (None, 9), "float32"),))
EXPECTED = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.4, 0.4, 0.2]])
BOUND = 1e-6


def judged(found, expected=EXPECTED, bound=BOUND):
    return compared("classes", 3, None, found, expected, bound)


def test_rounding_is_accepted_and_a_tie_is_no_other_class():
    found = EXPECTED + np.array([[3e-7, 0, 0], [0, 0, 0], [-3e-7, 3e-7, 0]])
    one = judged(found.astype(np.float32))
    assert (one.verdict, one.same_class, one.ties) == ("agrees", 1.0, 1)
    assert one.why_not() is None


@pytest.mark.parametrize(
    "found",
    [
        EXPECTED + 1e-4,
        EXPECTED[:, ::-1],
        np.full_like(EXPECTED, np.nan),
        EXPECTED[:2],
        np.tile(EXPECTED.mean(axis=0), (3, 1)),
        None,
    ],
    ids=["off", "swapped", "nan", "fewer rows", "constant", "nothing"],
)
def test_a_wrong_output_disagrees(found):
    one = judged(found)
    assert one.verdict == "disagrees"
    assert "'classes' in batches of 3 is off by" in str(one.why_not())


def test_rows_that_hardly_differ_decide_nothing():
    expected = 1 / 3 + np.array([[0, 0, 0], [3e-8, 0, 0], [0, 3e-8, 0]])
    one = judged(np.full_like(expected, 1 / 3), expected, bound=1e-7)
    assert one.verdict == "undecided"
    assert "train the model first" in str(one.why_not())


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (Interface(IMAGES.inputs, ()), "it has 0 outputs, and the model has 1"),
        (Interface((Tensor("95", (None, 4, 4, 1), "float32"),), IMAGES.outputs), "'95' in place of 'image'"),
        (Interface((Tensor("image", (1, 4, 4, 1), "float32"),), IMAGES.outputs), "has shape (1, 4, 4, 1)"),
        (Interface((Tensor("image", (None, 1, 4, 4), "float32"),), IMAGES.outputs), "has shape (batch, 1, 4, 4)"),
        (Interface((Tensor("image", (None, 4, 4, 1), "float16"),), IMAGES.outputs), "has dtype float16"),
    ],
)
def test_other_names_axes_and_dtypes_are_named(declared, said):
    assert said in str(why_not_declared(declared, IMAGES))


def test_equal_interfaces_have_nothing_wrong():
    assert why_not_declared(IMAGES, IMAGES) is None
    assert IMAGES.inputs[0].axes == ("batch", 4, 4, 1)
    assert TOKENS.inputs[0].axes == ("batch", "length")


def test_few_rows_are_repeated_and_free_lengths_are_varied(tmp_path):
    tokens = np.arange(50).reshape(5, 10)
    cases = cases_of([tokens], TOKENS)
    assert [(len(case.inputs[0]), case.length) for case in cases] == [
        (ROWS, 10),
        (8, 10 - STEPS),
        (8, 10 + STEPS),
    ]
    assert cases[0].batches() == BATCHES
    assert cases[2].inputs[0].shape == (8, 13)
    assert cases[0].inputs[0].dtype == np.int32
    write_cases(tmp_path / "cases.npz", cases)
    for one, other in zip(read_cases(tmp_path / "cases.npz"), cases, strict=True):
        assert one.length == other.length
        np.testing.assert_array_equal(one.inputs[0], other.inputs[0])
    [only] = cases_of([np.zeros((300, 4, 4, 1))], IMAGES)
    assert only == Case(only.inputs, None)


@pytest.mark.parametrize("leaves", [[], [np.zeros((1, 4, 4, 1))], [np.zeros((5, 4, 5, 1))], [np.zeros((5, 4))]])
def test_rows_that_the_model_does_not_take_are_refused(leaves):
    with pytest.raises(DataError, match="Cannot certify with these rows"):
        cases_of(leaves, IMAGES)


def certificate(**changes):
    values = {
        "subject": "runs/cnn",
        "form": "onnx",
        "precision": "float32",
        "created": "2026-01-01",
        "version": "0",
        "environment": {},
        "oracle": "torch",
        "rows": "3 test rows",
        "exported_by": {},
        "runtime": {"onnxruntime": "1"},
        "frameworks": (),
        "sizes": {"model.onnx": 2000},
        "comparisons": (judged(EXPECTED),),
    }
    return ExportCertificate(**(values | changes))


def test_a_certificate_says_the_first_thing_that_is_wrong():
    assert certificate().agrees
    assert certificate().summary() == "runs/cnn as onnx, 2 kB, run by onnxruntime 1: agrees with torch in float64"
    assert certificate(comparisons=()).why_not() == "nothing was compared"
    assert certificate(fault="its class names differ").why_not() == "its class names differ"
    assert "failed: no memory" in str(certificate(failure="no memory").why_not())
    assert "off by inf" in str(certificate(comparisons=(judged(EXPECTED), judged(None))).why_not())


def test_a_certificate_is_json_whatever_it_says():
    values = certificate(comparisons=(judged(None),)).to_json()
    assert values["comparisons"][0]["error"] is None
    assert values["comparisons"][0]["verdict"] == "disagrees"
    assert not values["agrees"]
    assert certificate(comparisons=(judged(None),)).content()
    assert math.isinf(judged(None).error)
