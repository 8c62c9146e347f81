"""The precisions of `unidl export --precision`, and what a file in fewer bits has to keep."""

from __future__ import annotations

from unidl.errors import UsageError

FLOAT32, FLOAT16, INT8 = "float32", "float16", "int8"
PRECISIONS = (FLOAT32, FLOAT16, INT8)

LEAST_SAME_CLASS = 0.99
"""Share of the rows that a file in fewer bits puts in the same class as the model, at least."""
LARGEST_CHANGE = 0.25
"""Largest error of a file in fewer bits, as a fraction of the spread of an output over the rows. It tells a file that
computes from one that returns constants; how much accuracy is lost is measured."""
MOST_LOST = 0.01
"""Share of the test rows by which the accuracy may fall."""


def require_known(precision: str) -> None:
    """Raise `UsageError` for an unknown precision."""
    if precision not in PRECISIONS:
        raise UsageError(f"Cannot export in precision {precision!r}. Known precisions: {', '.join(PRECISIONS)}.")
