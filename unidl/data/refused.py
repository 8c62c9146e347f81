"""Data that comes in samples or batches of its own, where an array is needed."""

from __future__ import annotations

from typing import Any

from unidl.data.foreign import kind_of
from unidl.data.source import Source
from unidl.errors import DataError


def refuse_batches(value: Any, part: str) -> None:
    """Raise `DataError` for what gives its samples one by one, or in batches with x and y in them: NumPy would read
    them as one array, x and y mixed."""
    kind = ("samples", f"a {type(value).__name__}") if isinstance(value, Source) else kind_of(value)
    if kind is not None:
        raise DataError(
            f"{part} is {kind[1]}, which gives samples or batches of its own, x and y together. Pass it alone, as in "
            "trainer.fit(data) and validation_data=data; beside other data pass arrays."
        )
