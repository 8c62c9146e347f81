"""Selection of the test rows by a seed, equal on every machine and backend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unidl.errors import DataError, UsageError
from unidl.random import stream
from unidl.shortening import shown

Rows = np.ndarray


def check_fraction(test_fraction: float) -> None:
    """Raise `UsageError` unless the fraction is between 0 and 1."""
    if not isinstance(test_fraction, (int, float, np.floating)) or not 0 < test_fraction < 1:
        raise UsageError(
            f"test_fraction must be between 0 and 1, not {shown(test_fraction)}. Typical values: 0.1, 0.2."
        )


def divide(count: int, test_fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Return the (training, test) rows of `count` rows, each in ascending order."""
    check_fraction(test_fraction)
    if count < 2:
        raise DataError(f"Cannot hold out test rows: the data has {count} row(s), but at least 2 are needed.")
    return _cut(np.arange(count), test_fraction, seed, "all")


def divide_by_class(
    labels: np.ndarray, test_fraction: float, seed: int, class_names: Sequence[str] = ()
) -> tuple[Rows, Rows]:
    """Split per class: of each class at least one row is held out, but never all. labels: (n,) integers.

    Raises `DataError` if a class has only one row, which cannot be in both parts.
    """
    check_fraction(test_fraction)
    train: list[Rows] = []
    test: list[Rows] = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) < 2:
            name = class_names[label] if class_names else label
            raise DataError(
                f"Class '{name}' has a single row (row {rows[0]}); with 1 for training and 1 for the test, "
                "every class needs at least 2. Add rows, remove the class, or provide a separate test set."
            )
        kept, held_out = _cut(rows, test_fraction, seed, int(label))
        train.append(kept)
        test.append(held_out)
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(test))


def _cut(rows: Rows, test_fraction: float, seed: int, part: int | str) -> tuple[Rows, Rows]:
    held_out = min(max(round(len(rows) * test_fraction), 1), len(rows) - 1)
    order = stream(seed, "split", part).permutation(rows)
    return np.sort(order[held_out:]), np.sort(order[:held_out])
