"""Data that comes in batches of its own, told apart from arrays without importing any framework."""

from __future__ import annotations

import array
from collections import deque
from typing import Any

from unidl.errors import DataError

ADVICE = {
    "PyDataset": "a keras.utils.PyDataset",
    "DatasetV2": "a tf.data.Dataset",
    "DataLoader": "a DataLoader",
    "IterDataset": "a grain dataset",
    "MapDataset": "a grain dataset",
}
"""What people call the classes that Keras's `fit` takes beside arrays, by a name among their bases."""

FROM_MODULES = ("keras.", "tensorflow.", "torch.", "grain.")

SEQUENCES = (list, tuple, range, str, bytes, bytearray, memoryview, array.array, deque, set, frozenset)
"""What NumPy reads as one array, or refuses itself, although it has no shape."""


def refuse_batches(value: Any, part: str) -> None:
    """Raise `DataError` for what gives its samples one by one, or in batches with x and y in them: NumPy would read
    them as one array, x and y mixed."""
    kind = _kind(value)
    if kind is not None:
        raise DataError(
            f"{part} is {kind}, which gives samples or batches of its own; unidl makes batches itself, from arrays. "
            "Pass arrays, such as x, y = (np.concatenate(part) for part in zip(*batches)), or np.load(path, "
            "mmap_mode='r') for what is larger than the memory."
        )


def _kind(value: Any) -> str | None:
    """What it is, in words; None if it may be an array."""
    if isinstance(value, SEQUENCES):
        return None
    for base in type(value).__mro__:
        if base.__name__ in ADVICE and base.__module__.startswith(FROM_MODULES):
            return ADVICE[base.__name__]
    if hasattr(value, "__next__"):
        return f"an iterator ({type(value).__name__})"
    is_array = any(hasattr(value, name) for name in ("__array__", "__array_interface__", "__dlpack__", "shape"))
    if not is_array and (hasattr(value, "__getitem__") or hasattr(value, "__iter__")):
        return f"a {type(value).__module__}.{type(value).__qualname__}"
    return None
