"""Assertions of the conformance suite."""

from __future__ import annotations

from typing import Any

import numpy as np

from unidl.backend import Logs

FLOAT32_TOLERANCE = 1e-5
"""For sums of about ten float32 products, each rounded by 6e-8 of its size, in any order."""


def expect(condition: bool, otherwise: str) -> None:
    """Fail the test, saying why, unless a condition holds. An `assert` would vanish under `python -O`.

    Args:
        condition: What must hold.
        otherwise: What the failure says.

    Raises:
        AssertionError: If it does not hold.

    Examples:
        >>> from unidl.testing import expect
        >>> expect(1 + 1 == 2, "the sum is wrong")
    """
    if not condition:
        raise AssertionError(otherwise)


def expect_close(found: Any, expected: Any) -> None:
    """Fail the test unless the numbers are equal up to float32 rounding."""
    np.testing.assert_allclose(found, expected, rtol=FLOAT32_TOLERANCE, atol=FLOAT32_TOLERANCE)


def expect_loss(logs: Logs, expected: float) -> None:
    """Fail the test unless the logs hold a loss, but for rounding in float32.

    Args:
        logs: The logs of an adapter's loop.
        expected: The loss.

    Raises:
        AssertionError: If they hold another one.

    Examples:
        >>> from unidl.testing import expect_loss
        >>> class Read:
        ...     def read(self):
        ...         return {"loss": 0.25}
        >>> expect_loss(Read(), 0.25)
    """
    np.testing.assert_allclose(logs.read()["loss"], expected, rtol=FLOAT32_TOLERANCE)
