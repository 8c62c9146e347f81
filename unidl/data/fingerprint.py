"""Fingerprints of training data, by which a resumed run detects changes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from unidl.data.batch_stream import Stream
from unidl.data.dataset import Split, named_leaves
from unidl.data.numbers import computed, computed_type
from unidl.data.source import Column
from unidl.random import stream

WHOLE_BYTES = 2**24
"""Arrays up to this size are hashed completely, in about 10 ms; of larger ones at most this much is read."""
SAMPLED_ROWS = 1024
"""Rows sampled from a larger array: changes to 1% of the rows are missed once in 29 000 times (0.99 ** 1024)."""

Fingerprint = dict[str, dict[str, Any]]


def fingerprint(**splits: Split | None) -> Fingerprint:
    """Return what tells the arrays of some data from others, as JSON values: shape, type and a hash of each.

    The hash covers every byte of an array of up to 16 MiB. Of a larger one, in memory or in a file, it covers 1,024
    rows, fewer where they are large, at places that depend on nothing but their number: an edit of a few other rows
    is not seen. Of a column it is what its source says of itself; of data that comes in batches of its own, the shape
    and type of its rows alone. Names of classes and words are not part of it.
    """
    found: Fingerprint = {}
    for name, split in splits.items():
        if split is not None:
            for part in ("x", "y", "sample_weight"):
                for place, array in named_leaves(getattr(split, part), part):
                    found[f"{place} of the {name} data"] = _of_array(array, values=not isinstance(split, Stream))
    return found


def difference(then: Mapping[str, Mapping[str, Any]], now: Fingerprint) -> str | None:
    """Say in words what the first difference of two fingerprints is; None if there is none."""
    for name in (*now, *(name for name in then if name not in now)):
        if name not in then:
            return f"there was no {name} then"
        if name not in now:
            return f"there is no {name} now"
        for aspect, word in (("shape", "the shape"), ("dtype", "the type")):
            old, new = (_readable(entry.get(aspect)) for entry in (then[name], now[name]))
            if old != new:
                return f"{name} had {word} {old} then, and has {new} now"
        if then[name].get("sha256") != now[name]["sha256"]:
            return f"{name} holds other values, or rows in another order"
    return None


def _of_array(array: np.ndarray[Any, Any] | Column, *, values: bool) -> dict[str, Any]:
    if not values:  # batches that others make may be others each time
        return {"shape": list(array.shape[1:]), "dtype": array.dtype.name, "sha256": ""}
    if isinstance(array, Column):
        told = f"{array.source.fingerprint()} {array.number}"
        hashed = hashlib.sha256(told.encode()).hexdigest()
        return {"shape": list(array.shape), "dtype": array.dtype.name, "sha256": hashed}
    return {"shape": list(array.shape), "dtype": computed_type(array.dtype).name, "sha256": hash_of(array)}


def hash_of(array: np.ndarray[Any, Any]) -> str:
    """Return the hash of the numbers of an array as they are computed with; of one above 16 MiB, of some rows."""
    size_bytes = array.size * computed_type(array.dtype).itemsize
    content = computed(array if size_bytes <= WHOLE_BYTES else array[_sample(len(array), size_bytes)])
    little = np.ascontiguousarray(content, dtype=content.dtype.newbyteorder("<"))
    return hashlib.sha256(little.tobytes()).hexdigest()


def _sample(rows: int, size_bytes: int) -> np.ndarray[Any, Any]:
    """The rows that stand for all of them, in ascending order, as a disk reads them fastest; one at least."""
    count = max(1, min(SAMPLED_ROWS, rows, WHOLE_BYTES * rows // size_bytes))
    # Whole numbers with repeats, unlike a permutation, cost nothing for a thousand million rows.
    return np.unique(stream(0, "fingerprint", rows).integers(rows, size=count))


def _readable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
