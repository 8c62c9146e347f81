"""What images of a table show: one class or number, several labels, or one of these for each of several columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unidl.data.table_columns import number_in
from unidl.data.table_targets import TRUTHS, labels_of_images, several_labels
from unidl.errors import DataError
from unidl.notices import notice
from unidl.shortening import listed, shown


@dataclass(frozen=True)
class Targets:
    """What rows show. y: an array, or one for each head by its name. class_names: of the classes or labels, or else
    head_names: of the classes of each head, empty for a number."""

    y: Any
    class_names: tuple[str, ...] = ()
    head_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])


def targets_of_images(path: Path, columns: Mapping[str, Sequence[str]], rows: Sequence[int]) -> Targets:
    """Return what some rows show. columns: those to predict.

    Several columns are several labels if all hold 0 and 1, and otherwise each is what one head predicts.
    """
    if len(columns) > 1 and not all(_are_marks(values, rows) for values in columns.values()):
        return _of_heads(path, columns, rows)
    found = several_labels(f"'{path}'", columns, rows)
    if found is None:
        [(name, values)] = columns.items()
        found = labels_of_images(path, name, values, rows)
    return Targets(*found)


def _are_marks(values: Sequence[str], rows: Sequence[int]) -> bool:
    """Whether a column holds 0 and 1, though a few words among them may be mistakes."""
    others = [values[row] for row in rows if values[row].lower() not in TRUTHS]
    return 2 * len(others) <= len(rows) and all(number_in(value) is None for value in others)


def _of_heads(path: Path, columns: Mapping[str, Sequence[str]], rows: Sequence[int]) -> Targets:
    y: dict[str, np.ndarray[Any, Any]] = {}
    names: dict[str, tuple[str, ...]] = {}
    for name, values in columns.items():
        row = next((row for row in rows if ";" in values[row]), None)
        if row is not None:
            raise DataError(
                f"Row {row} of '{path}' has {shown(values[row])} for '{name}', which is several labels, and of several "
                "columns each holds one class or one number. Predict that column alone, or write one column of 0 and 1 "
                "for each label."
            )
        y[name], names[name] = labels_of_images(path, name, values, rows)
    kinds = (f"{name} ({f'{len(classes)} classes' if classes else 'a number'})" for name, classes in names.items())
    notice(f"each of these columns of '{path}' is predicted by a head of its own: {listed(kinds)}")
    return Targets(y, head_names=names)
