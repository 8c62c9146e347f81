"""Conversion of metrics to Python values, shared by all adapters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def plain_logs(logs: Mapping[str, Any], as_array: Callable[[Any], np.ndarray[Any, Any]]) -> dict[str, Any]:
    """Return floats, or arrays for metrics with several values, as in Keras's History.

    A metric that returns a dict contributes one entry per key. as_array: copies a value to the host.
    """
    plain: dict[str, Any] = {}
    for name, value in logs.items():
        if isinstance(value, dict):
            plain |= plain_logs(value, as_array)
        else:
            array = as_array(value)
            plain[name] = float(array) if array.ndim == 0 else array
    return plain
