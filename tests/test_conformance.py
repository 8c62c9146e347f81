"""The adapter under test passes the same suite as a third-party adapter."""

import os

import numpy as np
import pytest

from unidl import testing
from unidl.backend import Kernels


class TestConformance(testing.BackendConformance):
    backend_name = os.environ["UNIDL_BACKEND"]


def test_the_suite_fails_on_a_wrong_answer(backend, monkeypatch):
    """A suite that accepts anything would let a broken adapter through."""

    class Wrong(testing.BackendConformance):
        backend_name = backend.name

    suite = Wrong()
    suite.setup_method()
    true_step = testing.LinearCase.stepped
    monkeypatch.setattr(
        testing.LinearCase,
        "stepped",
        lambda case, kernel, bias, rows, row_weights=None: true_step(
            case, np.asarray(kernel) * 1.001, bias, rows, row_weights
        ),
    )
    with pytest.raises(AssertionError):
        suite.test_steps_are_those_of_gradient_descent()
    with pytest.raises(AssertionError):
        suite.test_logs_are_means_since_the_reset()
    with pytest.raises(AssertionError):
        suite.test_a_smaller_last_batch_trains()
    monkeypatch.setattr(type(backend), "kernels_off", lambda *_: ["off"], raising=False)
    if isinstance(backend, Kernels):
        with pytest.raises(AssertionError, match="kernels_off of cpu:0 returns a str"):
            suite.test_kernels_are_in_use_or_say_why_not()
    suite.teardown_method()
    Wrong.backend_name = "none such"
    with pytest.raises(AssertionError, match="UNIDL_BACKEND=none such"):
        suite.test_devices_start_with_a_cpu()
