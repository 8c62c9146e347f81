"""What differences mean: which layer is blamed, and when rounding explains an error."""

from __future__ import annotations

import numpy as np
import pytest

from unidl.agreement.files import Quantity, deviations, read_values, write
from unidl.agreement.tolerance import amplitude
from unidl.agreement.verdicts import LATER_STEPS, LOSS, OPTIMIZER, Difference, Layer, first_fault, worst
from unidl.precision import named

LAYERS = [Layer("conv", "Conv2D", {}), Layer("norm", "BatchNormalization", {}), Layer("scores", "Dense", {})]
ALL = [
    *(("output", layer.path) for layer in LAYERS),
    *(("training output", layer.path) for layer in LAYERS),
    ("loss", ""),
    *(("gradient", f"{name}/kernel") for name in ("conv", "norm", "scores")),
    *(("weight", name) for name in ("conv/kernel", "norm/kernel", "norm/moving_mean", "scores/kernel")),
    ("losses", ""),
]


def found(*bad: tuple[str, str]) -> list[Difference]:
    return [Difference(kind, place, 1.0 if (kind, place) in bad else 0.0, 1e-6, 1e-3) for kind, place in ALL]


@pytest.mark.parametrize(
    ("bad", "place"),
    [
        ([("output", "norm"), ("output", "scores"), ("loss", "")], "norm"),
        ([("training output", "norm"), ("training output", "scores"), ("loss", "")], "norm"),
        ([("loss", ""), ("gradient", "conv/kernel")], LOSS),
        ([("gradient", "conv/kernel"), ("gradient", "norm/kernel"), ("weight", "conv/kernel")], "norm"),
        ([("weight", "norm/moving_mean")], "norm"),
        ([("weight", "scores/kernel")], "scores"),
        ([("weight", "conv/kernel"), ("weight", "scores/kernel")], OPTIMIZER),
        ([("losses", "")], LATER_STEPS),
    ],
)
def test_the_blame_is_where_a_fault_is_first_seen(bad, place):
    fault = first_fault(found(*bad), LAYERS)
    assert fault is not None
    assert fault.place == place


def test_a_later_call_of_a_shared_layer_is_a_fault_of_that_layer():
    shared = [Difference("output", "my conv call 2 output 1", 1.0, 1e-6, 1e-6)]
    fault = first_fault(shared, [Layer("my conv", "Conv2D", {})])
    assert fault is not None
    assert fault.place == "my conv"
    assert fault.layer == Layer("my conv", "Conv2D", {})


def test_nobody_is_blamed_for_nothing():
    assert first_fault(found(), LAYERS) is None
    assert worst(found()) == "agrees"
    assert worst([]) == "agrees"


@pytest.mark.parametrize(
    ("error", "verdict"),
    [(1e-6, "agrees"), (2e-6, "agrees within the dtype"), (1e-3, "agrees within the dtype"), (2e-3, "disagrees")],
)
def test_an_error_is_judged_by_both_bounds(error, verdict):
    one = Difference("output", "conv", error, 1e-6, 1e-3)
    assert one.verdict == worst([one, *found()]) == verdict


def test_the_largest_error_counts_and_nan_is_one():
    expected = {Quantity("output", name): np.arange(3.0) for name in "abcde"}
    others = {
        Quantity("output", "a"): np.array([0, 1, 2.5], np.float32),
        Quantity("output", "b"): np.array([0, 1, np.nan]),
        Quantity("output", "c"): np.arange(4.0),
        Quantity("output", "d"): np.arange(3.0),
    }
    errors = deviations(others, expected)
    assert list(errors.values()) == [0.5, np.inf, np.inf, 0.0, np.inf]


def test_nan_where_nan_is_expected_is_no_error():
    name = Quantity("output", "a")
    assert deviations({name: np.array([np.nan, np.inf])}, {name: np.array([np.nan, np.inf])}) == {name: 0.0}


def test_values_come_back_in_their_order(tmp_path):
    values = {Quantity("output", "b/c call 2"): np.ones((2, 0)), Quantity("loss"): np.asarray(2.5)}
    write(tmp_path / "values.npz", values)
    back = read_values(tmp_path / "values.npz")
    assert list(back) == list(values)
    assert deviations(back, values) == dict.fromkeys(values, 0.0)


def test_a_bound_grows_with_the_root_of_the_terms_and_with_the_type():
    u = 2.0**-24
    assert amplitude(u, 1) == pytest.approx(8 * u)
    assert amplitude(u, 10_000) == pytest.approx(404 * u)
    assert amplitude(named("mixed_bfloat16").unit_roundoff, 1) == pytest.approx(4 * 2.0**-8, rel=1e-3)
