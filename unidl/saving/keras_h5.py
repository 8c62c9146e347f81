"""Files of weights as Keras writes them, in HDF5: looked through before anything of them is believed.

HDF5 can name other files, leave parts of an array out, pack zeros to nothing, and go round in circles. Keras writes
none of it, so none of it is read.
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
"""Bytes. Keras notes the name of a layer and that a weight is in bfloat16."""


@dataclass(frozen=True)
class Stored:
    """What one weight is in a file. kind: NumPy's letter for its type, "V" for bfloat16."""

    shape: tuple[int, ...]
    kind: str

    def __str__(self) -> str:
        kinds = {"f": "floats", "V": "bfloat16", "i": "whole numbers", "u": "whole numbers from 0", "b": "truths"}
        return f"{kinds[self.kind]} of shape {self.shape}"


def stored_weights(content: bytes) -> dict[str, Stored]:
    """Return the arrays of a file by their paths in it. Raises `ValueError` if it is no file that Keras writes."""
    import h5py

    if not content.startswith(SIGNATURE):
        raise ValueError("it does not begin as a file of HDF5 does")
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
            raise ValueError("two of its arrays are at one place, or one is outside the file")
        end = begin + size
    return found


def _datasets(file: Any) -> Iterator[tuple[str, Any]]:
    """Every array with its path. Each object has one name, which leads to no link."""
    import h5py

    objects: Any = vars(h5py)["h5o"]  # which its annotations forget
    seen: set[int] = set()
    waiting: list[tuple[str, Any]] = [("", file["/"])]
    while waiting:
        path, item = waiting.pop()
        place = objects.get_info(item.id).addr
        if place in seen:
            raise ValueError(f"{path!r} is at the place of another object")
        seen.add(place)
        if len(seen) > MOST_OBJECTS or path.count("/") > DEEPEST:
            raise ValueError(f"more than {MOST_OBJECTS:,} objects, or more than {DEEPEST} inside one another")
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
        raise ValueError(f"{name!r} is a link ({kind.__name__}), and could name any file of this computer")
    if not name.isprintable() or name in (".", ".."):
        raise ValueError(f"{name!r} is no name")
    return group[name]


def _refuse_attributes(path: str, item: Any) -> None:
    import h5py

    for number in range(h5py.h5a.get_num_attrs(item.id)):
        attribute = h5py.h5a.open(item.id, index=number)
        if number > 8 or attribute.get_storage_size() > LARGEST_ATTRIBUTE:
            raise ValueError(f"{path!r} has attributes that Keras does not write")


def _place(path: str, dataset: Any) -> list[tuple[int, int]]:
    """Where the bytes of an array are, once it is known to be a plain one that has them all."""
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"{path!r} is in another file")
    if dataset.chunks is not None or dataset.id.get_create_plist().get_nfilters():
        raise ValueError(f"{path!r} is packed, and Keras packs nothing")
    if dataset.dtype.kind not in "fiubV" or dataset.dtype.hasobject or dataset.dtype.itemsize > 16:
        raise ValueError(f"{path!r} holds {dataset.dtype}, which are no numbers")
    if dataset.dtype.kind == "V" and dataset.dtype != np.dtype("V2"):
        raise ValueError(f"{path!r} holds {dataset.dtype}, which are no numbers")
    if dataset.shape is None:
        raise ValueError(f"{path!r} is empty")
    size = math.prod(dataset.shape) * dataset.dtype.itemsize
    if dataset.id.get_storage_size() != size:
        raise ValueError(f"{path!r} has a shape of {size:,} bytes, and {dataset.id.get_storage_size():,} are stored")
    offset = dataset.id.get_offset()
    return [(offset, size)] if offset is not None and size else []
