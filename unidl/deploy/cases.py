"""The rows on which an exported file is compared: real ones, in batches of several sizes, and at other lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from unidl.computes import Interface
from unidl.errors import DataError

Array: TypeAlias = np.ndarray[Any, Any]

ROWS = 256
SINGLE_ROWS = 4
"""Rows that are computed one by one."""
BATCHES = {1: SINGLE_ROWS, 3: 9, ROWS: ROWS}
"""How many of the rows are computed in batches of each size. One batch has all rows: what couples the rows of a batch
shows."""
STEPS = 3
"""How much shorter and longer rows of a free length are also tried."""
FEW_ROWS = 8
"""Rows of another length."""


@dataclass(frozen=True)
class Case:
    """Rows of one shape. inputs: one array (rows, ...) per input. length: of the second axis, if it is free."""

    inputs: tuple[Array, ...]
    length: int | None

    def batches(self) -> Mapping[int, int]:
        """Return how many rows are computed in batches of each size."""
        rows = len(self.inputs[0])
        return BATCHES if rows == ROWS else {rows: rows}


def cases_of(leaves: Sequence[Array], interface: Interface) -> list[Case]:
    """Return the cases of a model. leaves: its inputs for any rows, which are repeated up to `ROWS`.

    Raises `DataError` for fewer than 2 rows, or rows that the model does not take.
    """
    if len(leaves) != len(interface.inputs) or any(len(leaf) < 2 for leaf in leaves):
        raise DataError(
            f"Cannot certify with these rows: the model has {len(interface.inputs)} inputs, and 2 rows are "
            "needed at least."
        )
    for leaf, tensor in zip(leaves, interface.inputs, strict=True):
        if len(leaf.shape) != len(tensor.shape) or any(
            size not in (None, found) for found, size in zip(leaf.shape[1:], tensor.shape[1:], strict=True)
        ):
            raise DataError(
                f"Cannot certify with these rows: {tensor.name!r} takes {tensor.shape[1:]}, and they have shape "
                f"{leaf.shape[1:]}."
            )
    places = np.arange(ROWS) % len(leaves[0])
    rows = tuple(leaf[places].astype(tensor.dtype) for leaf, tensor in zip(leaves, interface.inputs, strict=True))
    if not interface.has_free_length:
        return [Case(rows, None)]
    length = max(leaf.shape[1] for leaf, tensor in zip(rows, interface.inputs, strict=True) if _is_free(tensor.shape))
    lengths = [one for one in (length - STEPS, length + STEPS) if one > 0]
    return [Case(rows, length), *(Case(_of_length(rows, interface, one), one) for one in lengths)]


def write_cases(path: Path, cases: Sequence[Case]) -> None:
    """Write the cases to a file."""
    arrays: dict[str, Any] = {
        f"{number}|{place}|{'' if case.length is None else case.length}": leaf
        for number, case in enumerate(cases)
        for place, leaf in enumerate(case.inputs)
    }
    np.savez(path, **arrays)


def read_cases(path: Path) -> list[Case]:
    """Read what `write_cases` wrote."""
    found: dict[int, tuple[list[Array], int | None]] = {}
    with np.load(path) as file:
        for name in file.files:
            number, _, length = name.split("|")
            leaves, _ = found.setdefault(int(number), ([], int(length) if length else None))
            leaves.append(file[name])
    return [Case(tuple(leaves), length) for leaves, length in found.values()]


def _is_free(shape: Sequence[int | None]) -> bool:
    return len(shape) > 1 and shape[1] is None


def _of_length(rows: Sequence[Array], interface: Interface, length: int) -> tuple[Array, ...]:
    """Return a few rows of another length: shortened, or repeated from their first step."""
    return tuple(
        leaf[:FEW_ROWS, np.arange(length) % leaf.shape[1]] if _is_free(tensor.shape) else leaf[:FEW_ROWS]
        for leaf, tensor in zip(rows, interface.inputs, strict=True)
    )
