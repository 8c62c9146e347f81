"""Metrics as every adapter gives them to who reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def plain_logs(logs: Mapping[str, Any], as_array: Callable[[Any], np.ndarray[Any, Any]]) -> dict[str, Any]:
    """Return floats, and arrays where a metric has several values, as Keras's History holds them.

    A metric that gives a dict stands there with each of its own names. as_array: brings a value to the host.
    """
    plain: dict[str, Any] = {}
    for name, value in logs.items():
        if isinstance(value, dict):
            plain |= plain_logs(value, as_array)
        else:
            array = as_array(value)
            plain[name] = float(array) if array.ndim == 0 else array
    return plain
