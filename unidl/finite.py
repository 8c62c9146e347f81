"""Whether a value that a user has given is a number to compute with."""

from __future__ import annotations

import math
from typing import Any


def is_number(value: Any) -> bool:
    """Whether a value is a finite number of Python; True and False are not, nor are NumPy's other than float64, which
    JSON does not hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
