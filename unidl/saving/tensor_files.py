"""Files of safetensors, read by a header that has to be true in every detail.

The library accepts a name twice, takes the last, and checks no dimension of a tensor without elements; what is read
here has one meaning only. The format: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from unidl.saving.strict_json import read_json

LONGEST_HEADER = 16 * 2**20
"""Bytes; a weight takes about 100."""
LONGEST_START = 8 + LONGEST_HEADER + 1
"""Bytes of a file with a header that is not too long, or enough to see that it is."""
MOST_DIMENSIONS = 32
"""What every NumPy that we run on can hold."""
LARGEST_DIMENSION = 2**31

TYPES = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "C64": "<c8", "BOOL": "?"},
    **{"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1"},
}
"""Those of the format that NumPy has, and so those that we write."""


@dataclass(frozen=True)
class _Tensor:
    type: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


def read_tensors(content: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """Return the arrays of a file of safetensors by name. Raises `ValueError` if a detail of it is wrong."""
    tensors, start = _described(content, len(content))
    return {name: _array(name, tensor, content, start) for name, tensor in tensors.items()}


def count_numbers(start: bytes, size: int) -> int:
    """Return how many numbers a file of safetensors of `size` bytes holds.

    start: its first bytes, as many as `LONGEST_START` or all. Raises `ValueError` as `read_tensors` does.
    """
    tensors, _ = _described(start, size)
    return sum(math.prod(tensor.shape) for tensor in tensors.values())


def _described(content: bytes, size: int) -> tuple[dict[str, _Tensor], int]:
    """The tensors of a file of `size` bytes by its header, and where they begin. content: it, or its first bytes."""
    length = int.from_bytes(content[:8], "little")
    if size < 8 or length > size - 8:
        raise ValueError(f"a header of {length:,} bytes in a file of {size:,}")
    header = read_json(content[8 : 8 + length], LONGEST_HEADER)
    if not isinstance(header, dict):
        raise ValueError("its header is no object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(word, str) for word in metadata.values()):
        raise ValueError("its metadata are no words")
    tensors = {name: _tensor(name, entry) for name, entry in header.items()}
    _refuse_gaps(tensors, size - 8 - length)
    return tensors, 8 + length


def _tensor(name: str, entry: Any) -> _Tensor:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name!r} has not exactly a dtype, a shape and data_offsets")
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in TYPES:
        raise ValueError(f"{name!r} is of the type {str(entry['dtype'])[:20]!r}, and {', '.join(TYPES)} are possible")
    shape, offsets = (_whole_numbers(name, entry[key]) for key in ("shape", "data_offsets"))
    if len(shape) > MOST_DIMENSIONS or any(size > LARGEST_DIMENSION for size in shape):
        raise ValueError(f"{name!r} has a shape that no array can have")
    kind = np.dtype(TYPES[entry["dtype"]])
    if len(offsets) != 2 or offsets[1] - offsets[0] != math.prod(shape) * kind.itemsize:
        raise ValueError(f"{name!r} has data_offsets that do not fit its shape")
    return _Tensor(kind, shape, *offsets)


def _whole_numbers(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(number) is int and number >= 0 for number in value):
        raise ValueError(f"{name!r} has a shape or data_offsets that are no whole numbers from 0")
    return tuple(value)


def _refuse_gaps(tensors: Mapping[str, _Tensor], size: int) -> None:
    """Raise unless the tensors lie one behind the other and fill the file."""
    place = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.begin != place:
            raise ValueError(f"{name!r} begins at byte {tensor.begin:,}, and what is before it ends at {place:,}")
        place = tensor.end
    if place != size:
        raise ValueError(f"its tensors have {place:,} bytes, and the file {size:,}")


def _array(name: str, tensor: _Tensor, content: bytes, start: int) -> np.ndarray[Any, Any]:
    """A copy, which is aligned and may be written to, as frameworks want it."""
    flat = np.frombuffer(content, "u1", tensor.end - tensor.begin, start + tensor.begin)
    if tensor.type.kind == "b" and np.any(flat > 1):
        raise ValueError(f"{name!r} holds bytes that are neither true nor false")
    return flat.copy().view(tensor.type).reshape(tensor.shape)
