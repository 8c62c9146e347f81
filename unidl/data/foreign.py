"""Which data that others made is what, told without importing the framework that made it."""

from __future__ import annotations

import array
from collections import deque
from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal["samples", "batches", "once", "iterable of samples"]
"""samples: each has a number. batches: read from the beginning, or by their numbers, again and again. once: read one
time only. iterable of samples: neither have they numbers nor are they batches."""

OF_BATCHES = {
    "PyDataset": "a keras.utils.PyDataset",
    "DatasetV2": "a tf.data.Dataset",
    "DataLoader": "a DataLoader",
    "IterDataset": "a Grain IterDataset",
}
"""What people call the classes that give batches, by a name among their bases."""
OF_SAMPLES = {
    "MapDataset": "a Grain MapDataset",
    "IterableDataset": "an IterableDataset",
}

FROM_MODULES = ("keras.", "tensorflow.", "torch.", "grain.", "datasets.")

SEQUENCES = (list, tuple, range, str, bytes, bytearray, memoryview, array.array, deque, set, frozenset, Mapping)
"""What NumPy reads as one array, or refuses itself, although it has no shape; and nests."""


def kind_of(value: Any) -> tuple[Kind, str] | None:
    """Return what gives its samples one by one, or in batches, x and y together; and its name in words. None for what
    may be an array."""
    if isinstance(value, SEQUENCES):
        return None
    bases = [base for base in type(value).__mro__ if base.__module__.startswith(FROM_MODULES)]
    for base in bases:
        if base.__name__ in OF_BATCHES:
            return "batches", OF_BATCHES[base.__name__]
        if base.__name__ == "IterableDataset":
            return "iterable of samples", OF_SAMPLES[base.__name__]
    if hasattr(value, "__next__"):
        return "once", f"an iterator ({type(value).__name__})"
    names = ("__array__", "__array_interface__", "__dlpack__", "shape")
    of_hugging_face = any(base.__module__.startswith("datasets.") for base in bases)  # which has a shape
    if any(hasattr(value, name) for name in names) and not of_hugging_face:
        return None
    name = next(
        (OF_SAMPLES[base.__name__] for base in bases if base.__name__ in OF_SAMPLES),
        f"a {type(value).__module__}.{type(value).__qualname__}",
    )
    if hasattr(value, "__getitem__") and hasattr(value, "__len__"):
        return "samples", name
    return ("batches", name) if hasattr(value, "__iter__") else None
