"""Data sets in a table, CSV or Parquet, of paths of images and what they show."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unidl.data.dataset import Dataset, take
from unidl.data.image_sets import ImageOptions, image_split
from unidl.data.images import IMAGE_SUFFIXES
from unidl.data.splitting import divide, divide_by_class
from unidl.errors import DataError, UsageError
from unidl.shortening import listed, shortened, shown

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
TARGETS = ("label", "labels", "class", "target", "y")
"""What people call the column that is to be predicted."""
PARTS = ("split", "part", "subset")
"""What people call the column that says which rows are for training and which for the test."""
TRAIN, TEST = ("train", "training"), ("test",)

Table = dict[str, list[str]]


def load_table(
    path: Path, seed: int, *, test_fraction: float | None = None, target: str | None = None, **options: Any
) -> Dataset:
    """Return the images whose paths are in a column of a table, relative to the folder of the table.

    target: the column to predict; None for the one called as one of `TARGETS`. Words, and whole numbers from 0,
    are classes; other numbers are predicted, as y of shape (n, 1). A column called as one of `PARTS` with the values
    train and test fixes the split; rows of other parts are left out. options: the fields of `ImageOptions`.
    """
    wanted = ImageOptions(**options)
    table = _read(path)
    target = _target(path, table, target)
    rows, fixed = _parts(path, table, test_fraction)
    files = _files(path, table, target)
    y, class_names = _labels(path, target, table[target], rows)
    chosen = [files[row] for row in rows]
    whole, digest = image_split(chosen, y, class_names, wanted)
    test_fraction = 0.2 if test_fraction is None else test_fraction
    if fixed is not None:
        train_rows, test_rows = np.flatnonzero(~fixed), np.flatnonzero(fixed)
    elif class_names:
        train_rows, test_rows = divide_by_class(y, test_fraction, seed, class_names)
    else:
        train_rows, test_rows = divide(len(y), test_fraction, seed)
    origin = {"source": str(path), "sha256": digest, "images": len(chosen), "target": target}
    if fixed is None:
        origin |= {"split_seed": seed, "test_fraction": test_fraction}
    return Dataset(path.name, "images", take(whole, train_rows), take(whole, test_rows), origin)


def _read(path: Path) -> Table:
    """The columns by name, all as words."""
    table = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    if not table or not next(iter(table.values())):
        raise DataError(f"'{path}' has no rows. A table begins with the names of its columns, and has a row a sample.")
    return table


def _csv(path: Path) -> Table:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            separator = "\t" if path.suffix.lower() == ".tsv" else _separator(file.readline())
            file.seek(0)
            reader = csv.reader(file, delimiter=separator, strict=True)
            names = next(reader, [])
            table: Table = {name.strip(): [] for name in names}
            if len(table) != len(names):
                raise DataError(f"Two columns of '{path}' have one name: {listed(names)}. Name each column once.")
            for row in reader:
                if not row:
                    continue
                if len(row) != len(names):
                    raise DataError(
                        f"Line {reader.line_num} of '{path}' has {len(row)} values, and there are {len(names)} "
                        f"columns: {listed(names)}. Put a value with a comma between double quotes."
                    )
                for column, value in zip(table.values(), row, strict=True):
                    column.append(value.strip())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"Cannot read '{path}': {shortened(error)}. Write it as CSV in UTF-8.") from error
    return table


def _separator(header: str) -> str:
    return max((",", ";", "\t"), key=header.count)


def _parquet(path: Path) -> Table:
    try:
        import pyarrow.parquet as parquet  # pyright: ignore[reportMissingImports] - an extra
    except ImportError as error:
        raise DataError(
            f"Cannot read '{path}': it needs pyarrow. Install it with: pip install 'unidl[tables]'"
        ) from error
    try:
        columns = parquet.read_table(path).to_pydict()
    except Exception as error:
        # pyarrow raises its own errors, OSError and ValueError for damaged files.
        raise DataError(f"Cannot read '{path}': {shortened(error)}. Write it anew.") from error
    return {name: ["" if value is None else str(value) for value in values] for name, values in columns.items()}


def _target(path: Path, table: Table, target: str | None) -> str:
    if target is None:
        target = next((name for name in table if name.lower() in TARGETS), None)
    if target not in table:
        asked = f"there is no column {shown(target)}" if target else "no column is called label, class, target or y"
        raise UsageError(f"Which column of '{path}' is to be predicted? Pass target=; {asked}, of {listed(table)}.")
    return target


def _files(path: Path, table: Table, target: str) -> list[Path]:
    """The image of each row."""
    named = [
        name
        for name, values in table.items()
        if name != target and all(value.lower().endswith(IMAGE_SUFFIXES) for value in values)
    ]
    if len(named) != 1:
        found = f"the columns {listed(named)} do" if named else f"none of {listed(table)} does"
        raise DataError(
            f"One column of '{path}' must hold the paths of images ({', '.join(IMAGE_SUFFIXES)}), one in each row, and "
            f"{found}. Tables of numbers go to Trainer.fit as arrays."
        )
    return [path.parent / value for value in table[named[0]]]


def _parts(path: Path, table: Table, test_fraction: float | None) -> tuple[list[int], np.ndarray | None]:
    """The rows that are used, and which of them are for the test, if the table says it."""
    every = len(next(iter(table.values())))
    for name in (name for name in table if name.lower() in PARTS):
        values = [value.lower() for value in table[name]]
        if not set(values) & set(TEST) or not set(values) & set(TRAIN):
            continue
        if test_fraction is not None:
            raise UsageError(f"test_fraction does not apply to '{path}': its column '{name}' fixes the split.")
        rows = [row for row in range(every) if values[row] in (*TRAIN, *TEST)]
        return rows, np.array([values[row] in TEST for row in rows])
    return list(range(every)), None


def _labels(path: Path, target: str, values: Sequence[str], rows: Sequence[int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """What is to be predicted, and the names of its classes, if it is classes."""
    chosen = [values[row] for row in rows]
    if "" in chosen:
        raise DataError(
            f"Row {rows[chosen.index('')]} of '{path}' has no value for '{target}'. Fill it in or remove it."
        )
    numbers = _numbers(chosen)
    if numbers is None:
        names: tuple[str, ...] = tuple(sorted(set(chosen)))
        if len(names) < 2:
            raise DataError(f"All rows of '{path}' have the class {shown(chosen[0])}. At least 2 classes are needed.")
        place = {name: label for label, name in enumerate(names)}
        return np.array([place[value] for value in chosen], np.int32), names
    is_class = (numbers >= 0) & (numbers == np.floor(numbers)) & (numbers < len(chosen))
    if is_class.all():
        labels = numbers.astype(np.int32)
        return labels, tuple(str(label) for label in range(int(labels.max()) + 1))
    return numbers.astype(np.float32)[:, np.newaxis], ()


def _numbers(values: Sequence[str]) -> np.ndarray | None:
    try:
        return np.array([float(value) for value in values])
    except ValueError:
        return None
