"""What is to be predicted in a table: classes, or a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from unidl.data.table_columns import is_missing, number_in, require_points
from unidl.errors import DataError
from unidl.notices import notice
from unidl.shortening import listed, shown

MOST_CLASSES = 20
"""Different whole numbers that are taken for classes; with more of them the column is a quantity, such as a price."""

TRUTHS = {"0": 0, "1": 1, "false": 0, "true": 1, "0.0": 0, "1.0": 1}
"""How a table says that a row has a label or has it not."""


def labels_of_images(
    path: Path, target: str, values: Sequence[str], rows: Sequence[int]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """What images show, and the names of the classes, if it is classes: words, and whole numbers from 0; other numbers
    are predicted, as y of shape (n, 1)."""
    chosen = [values[row] for row in rows]
    if "" in chosen:
        raise DataError(
            f"Row {rows[chosen.index('')]} of '{path}' has no value for '{target}'. Fill it in or remove it."
        )
    numbers = _numbers(chosen)
    if numbers is None:
        return _of_words(f"'{path}'", chosen)
    is_class = (numbers >= 0) & (numbers == np.floor(numbers)) & (numbers < len(chosen))
    if is_class.all():
        labels = numbers.astype(np.int32)
        if labels.min() == labels.max():
            raise _one_class(f"'{path}'", chosen[0])
        return labels, tuple(str(label) for label in range(int(labels.max()) + 1))
    return numbers.astype(np.float32)[:, np.newaxis], ()


def several_labels(
    where: str, columns: Mapping[str, Sequence[str]], rows: Sequence[int]
) -> tuple[np.ndarray, tuple[str, ...]] | None:
    """Return several labels of a row as 0 and 1 of shape (n, labels), float32, and their names; None for one label.

    columns: one with names between semicolons, of which a row may have none, or several with 0 and 1 each.
    """
    if len(columns) == 1:
        [values] = columns.values()
        chosen = [[name for part in values[row].split(";") if (name := part.strip())] for row in rows]
        if not any(";" in values[row] for row in rows):
            return None
        names = tuple(sorted({name for row in chosen for name in row}))
        return np.array([[name in row for name in names] for row in chosen], np.float32), names
    for name, values in columns.items():
        wrong = next((row for row in rows if values[row].lower() not in TRUTHS), None)
        if wrong is not None:
            raise DataError(
                f"Row {wrong} of {where} has {shown(values[wrong])} for '{name}', which is one of several labels: each "
                "must be 0 or 1, or true or false."
            )
    found = [[TRUTHS[values[row].lower()] for values in columns.values()] for row in rows]
    return np.array(found, np.float32), tuple(columns)


def target_values(
    where: str, target: str, values: Sequence[str], known: tuple[str, ...] | None, *, words: bool = False
) -> tuple[np.ndarray, tuple[str, ...]]:
    """What a row of numbers and categories predicts, and the names of the classes, if it is classes.

    Words are classes. So are whole numbers that are written without a point, each at least twice, up to `MOST_CLASSES`
    different ones; other numbers are predicted, as y of shape (n, 1). known: the classes of a trained model, () if it
    predicts a number, None if there is no model. words: whether all values are classes, whatever they look like.
    """
    missing = [row for row, value in enumerate(values) if is_missing(value) and value not in (known or ())]
    if missing:
        raise DataError(f"Row {missing[0]} of {where} has no value for '{target}'. Fill it in or remove the row.")
    if known:
        return _of_known(where, target, values, known)
    numbers = None if words and known is None else _numbers(values)
    if numbers is None:
        if not words:
            require_points(target, values, where)
        if known is not None:
            raise DataError(f"The model predicts '{target}' as a number, and {where} has words in that column.")
        return _of_words(where, values)
    if not np.isfinite(numbers).all():
        row = int(np.flatnonzero(~np.isfinite(numbers))[0])
        raise DataError(f"Row {row} of {where} has {shown(values[row])} for '{target}', which is to be predicted.")
    if known is None and _count_classes(values, numbers):
        names, labels = np.unique(numbers.astype(np.int64), return_inverse=True)
        return labels.reshape(-1).astype(np.int32), tuple(str(name) for name in names)
    if known is None:
        notice(f"'{target}' of {where} is predicted as a number; categories=['{target}'] makes its values classes")
    return numbers.astype(np.float32)[:, np.newaxis], ()


def _of_words(where: str, values: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    names = tuple(sorted(set(values)))
    if len(names) < 2:
        raise _one_class(where, values[0])
    place = {name: label for label, name in enumerate(names)}
    return np.array([place[value] for value in values], np.int32), names


def _one_class(where: str, name: str) -> DataError:
    return DataError(f"All rows of {where} have the class {shown(name)}. At least 2 classes are needed.")


def _of_known(
    where: str, target: str, values: Sequence[str], known: tuple[str, ...]
) -> tuple[np.ndarray, tuple[str, ...]]:
    place = {name: label for label, name in enumerate(known)}
    values = [str(int(value)) if value not in place and value.isdecimal() else value for value in values]
    for row, value in enumerate(values):
        if value not in place:
            raise DataError(
                f"Row {row} of {where} has {shown(value)} for '{target}', and the model knows the classes "
                f"{listed(known)}."
            )
    return np.array([place[value] for value in values], np.int32), known


def _count_classes(values: Sequence[str], numbers: np.ndarray) -> bool:
    """Whether whole numbers name classes."""
    if not all(value.removeprefix("-").isdigit() for value in values):
        return False
    counts = np.unique(numbers, return_counts=True)[1]
    return 2 <= len(counts) <= MOST_CLASSES and counts.min() >= 2


def _numbers(values: Sequence[str]) -> np.ndarray | None:
    found = [number_in(value) for value in values]
    return None if None in found else np.array(found, float)
