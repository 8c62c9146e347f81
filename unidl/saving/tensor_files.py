"""Reading of safetensors files with a fully validated header.

The safetensors library accepts a repeated name, using the last one, and does not check the shape of a tensor without
elements; this reader rejects both. The format: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from unidl.saving.strict_json import read_json

LONGEST_HEADER = 16 * 2**20
"""Maximum bytes of the header; a weight takes about 100."""
LONGEST_START = 8 + LONGEST_HEADER + 1
"""Bytes that contain every valid header, or show that the header is too long."""
MOST_DIMENSIONS = 32
"""Maximum number of dimensions in every supported NumPy."""
LARGEST_DIMENSION = 2**31

TYPES = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "C64": "<c8", "BOOL": "?"},
    **{"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1"},
}
"""The dtypes of the format that NumPy has; unidl writes no others."""


@dataclass(frozen=True)
class _Tensor:
    type: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


def read_tensors(content: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """Return the arrays of a safetensors file by name. Raises `ValueError` if any part of it is invalid."""
    tensors, start = _described(content, len(content))
    return {name: _array(name, tensor, content, start) for name, tensor in tensors.items()}


def count_numbers(start: bytes, size: int) -> int:
    """Return how many values a safetensors file of `size` bytes holds.

    start: its first bytes, `LONGEST_START` of them or all. Raises `ValueError` as `read_tensors` does.
    """
    tensors, _ = _described(start, size)
    return sum(math.prod(tensor.shape) for tensor in tensors.values())


def _described(content: bytes, size: int) -> tuple[dict[str, _Tensor], int]:
    """Parse the header of a file of `size` bytes: its tensors, and the offset of the data. content: the file or its
    start."""
    length = int.from_bytes(content[:8], "little")
    if size < 8 or length > size - 8:
        raise ValueError(f"a header of {length:,} bytes in a file of {size:,}")
    header = read_json(content[8 : 8 + length], LONGEST_HEADER)
    if not isinstance(header, dict):
        raise ValueError("its header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(word, str) for word in metadata.values()):
        raise ValueError("its metadata is not a mapping of strings")
    tensors = {name: _tensor(name, entry) for name, entry in header.items()}
    _refuse_gaps(tensors, size - 8 - length)
    return tensors, 8 + length


def _tensor(name: str, entry: Any) -> _Tensor:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"the keys of {name!r} must be exactly 'dtype', 'shape' and 'data_offsets'")
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in TYPES:
        raise ValueError(f"{name!r} has dtype {str(entry['dtype'])[:20]!r}; supported are {', '.join(TYPES)}")
    shape, offsets = (_whole_numbers(name, entry[key]) for key in ("shape", "data_offsets"))
    if len(shape) > MOST_DIMENSIONS or any(size > LARGEST_DIMENSION for size in shape):
        raise ValueError(f"{name!r} has an invalid shape")
    kind = np.dtype(TYPES[entry["dtype"]])
    if len(offsets) != 2 or offsets[1] - offsets[0] != math.prod(shape) * kind.itemsize:
        raise ValueError(f"{name!r} has data_offsets that do not fit its shape")
    return _Tensor(kind, shape, *offsets)


def _whole_numbers(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(number) is int and number >= 0 for number in value):
        raise ValueError(f"the shape and data_offsets of {name!r} must be whole numbers of at least 0")
    return tuple(value)


def _refuse_gaps(tensors: Mapping[str, _Tensor], size: int) -> None:
    """Raise `ValueError` unless the tensors are stored one after another and fill the file."""
    place = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.begin != place:
            raise ValueError(f"{name!r} begins at byte {tensor.begin:,}, but the data before it ends at {place:,}")
        place = tensor.end
    if place != size:
        raise ValueError(f"its tensors take {place:,} bytes, but the file has {size:,}")


def _array(name: str, tensor: _Tensor, content: bytes, start: int) -> np.ndarray[Any, Any]:
    """Return an aligned, writable copy, as frameworks require."""
    flat = np.frombuffer(content, "u1", tensor.end - tensor.begin, start + tensor.begin)
    if tensor.type.kind == "b" and np.any(flat > 1):
        raise ValueError(f"{name!r} holds bytes that are neither true nor false")
    return flat.copy().view(tensor.type).reshape(tensor.shape)
