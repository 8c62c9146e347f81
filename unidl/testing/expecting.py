"""Assertions of the conformance suite."""

from __future__ import annotations

from typing import Any

import numpy as np

from unidl.backend import Logs

FLOAT32_TOLERANCE = 1e-5
"""For sums of about ten float32 products, each rounded by 6e-8 of its size, in any order."""


def expect(condition: bool, otherwise: str) -> None:
    """Fail the test, saying why, unless the condition holds. An `assert` would vanish under `python -O`."""
    if not condition:
        raise AssertionError(otherwise)


def expect_close(found: Any, expected: Any) -> None:
    """Fail the test unless the numbers are equal up to float32 rounding."""
    np.testing.assert_allclose(found, expected, rtol=FLOAT32_TOLERANCE, atol=FLOAT32_TOLERANCE)


def expect_loss(logs: Logs, expected: float) -> None:
    """Fail the test unless the logs hold this loss."""
    np.testing.assert_allclose(logs.read()["loss"], expected, rtol=FLOAT32_TOLERANCE)
