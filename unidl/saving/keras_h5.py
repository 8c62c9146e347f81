"""Keras's HDF5 weight files, validated before any of their contents is used.

HDF5 allows links to other files, arrays with missing parts, compression, and cycles. Keras uses none of these,
so all of them are rejected.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

SIGNATURE = b"\x89HDF\r\n\x1a\n"
DEEPEST = 64
MOST_OBJECTS = 100_000
LARGEST_ATTRIBUTE = 4096
"""Bytes of attributes. Keras stores the name of a layer, and that a weight is bfloat16."""


@dataclass(frozen=True)
class Stored:
    """Description of one weight in a file. kind: NumPy's kind letter of its dtype, "V" for bfloat16."""

    shape: tuple[int, ...]
    kind: str

    def __str__(self) -> str:
        kinds = {"f": "floats", "V": "bfloat16", "i": "integers", "u": "unsigned integers", "b": "booleans"}
        return f"{kinds[self.kind]} of shape {self.shape}"


def stored_weights(content: bytes) -> dict[str, Stored]:
    """Return the arrays of a file by their paths in it. Raises `ValueError` if Keras does not write such a file."""
    import h5py

    if not content.startswith(SIGNATURE):
        raise ValueError("it does not start like an HDF5 file")
    found: dict[str, Stored] = {}
    places: list[tuple[int, int]] = []
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            for path, dataset in _datasets(file):
                found[path] = Stored(tuple(dataset.shape), dataset.dtype.kind)
                places += _place(path, dataset)
    except (OSError, RuntimeError, KeyError, TypeError, OverflowError, MemoryError, RecursionError) as error:
        raise ValueError(f"HDF5 cannot read it: {str(error)[:200]}") from error
    end = len(SIGNATURE)
    for begin, size in sorted(places):
        if begin < end or begin + size > len(content):
            raise ValueError("two of its arrays overlap, or one is outside the file")
        end = begin + size
    return found


def _datasets(file: Any) -> Iterator[tuple[str, Any]]:
    """Yield every array with its path. Each object has exactly one name, and links are rejected."""
    import h5py

    objects: Any = vars(h5py)["h5o"]  # missing from h5py's annotations
    seen: set[int] = set()
    waiting: list[tuple[str, Any]] = [("", file["/"])]
    while waiting:
        path, item = waiting.pop()
        place = objects.get_info(item.id).addr
        if place in seen:
            raise ValueError(f"{path!r} has the address of another object")
        seen.add(place)
        if len(seen) > MOST_OBJECTS or path.count("/") > DEEPEST:
            raise ValueError(f"it has more than {MOST_OBJECTS:,} objects, or nests them more than {DEEPEST} deep")
        _refuse_attributes(path, item)
        if isinstance(item, h5py.Dataset):
            yield path, item
        elif isinstance(item, h5py.Group):
            waiting += [(f"{path}/{name}".lstrip("/"), _child(item, str(name))) for name in item]
        else:
            raise ValueError(f"{path!r} is neither a group nor an array")


def _child(group: Any, name: str) -> Any:
    import h5py

    kind = group.get(name, getclass=True, getlink=True)
    if kind is not h5py.HardLink:
        raise ValueError(f"{name!r} is a link ({kind.__name__}), which could point to any file on this computer")
    if not name.isprintable() or name in (".", ".."):
        raise ValueError(f"{name!r} is not a valid name")
    return group[name]


def _refuse_attributes(path: str, item: Any) -> None:
    import h5py

    for number in range(h5py.h5a.get_num_attrs(item.id)):
        attribute = h5py.h5a.open(item.id, index=number)
        if number > 8 or attribute.get_storage_size() > LARGEST_ATTRIBUTE:
            raise ValueError(f"{path!r} has attributes that Keras does not write")


def _place(path: str, dataset: Any) -> list[tuple[int, int]]:
    """Return the byte range of an array, after checking that it is stored contiguously and completely."""
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"{path!r} is in another file")
    if dataset.chunks is not None or dataset.id.get_create_plist().get_nfilters():
        raise ValueError(f"{path!r} is compressed, which Keras does not do")
    if dataset.dtype.kind not in "fiubV" or dataset.dtype.hasobject or dataset.dtype.itemsize > 16:
        raise ValueError(f"{path!r} has dtype {dataset.dtype}, which is not numeric")
    if dataset.dtype.kind == "V" and dataset.dtype != np.dtype("V2"):
        raise ValueError(f"{path!r} has dtype {dataset.dtype}, which is not numeric")
    if dataset.shape is None:
        raise ValueError(f"{path!r} is empty")
    size = math.prod(dataset.shape) * dataset.dtype.itemsize
    if dataset.id.get_storage_size() != size:
        raise ValueError(
            f"{path!r} needs {size:,} bytes for its shape, but {dataset.id.get_storage_size():,} are stored"
        )
    offset = dataset.id.get_offset()
    return [(offset, size)] if offset is not None and size else []
