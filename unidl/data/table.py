"""Data sets in a table, CSV or Parquet: of paths of images and what they show, or of numbers and categories."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from unidl.data.dataset import Dataset, Split, take
from unidl.data.image_sets import ImageOptions, image_split
from unidl.data.images import IMAGE_SUFFIXES
from unidl.data.splitting import divide, divide_by_class
from unidl.data.table_files import TABLE_SUFFIXES, Table, read_table
from unidl.data.table_form import TableForm
from unidl.data.table_heads import targets_of_images
from unidl.data.table_targets import target_values
from unidl.errors import DataError, UsageError
from unidl.shortening import listed, shown

__all__ = ["TABLE_SUFFIXES", "load_table"]

TARGETS = ("label", "labels", "class", "target", "y")
"""What people call the column that is to be predicted."""
PARTS = ("split", "part", "subset")
"""What people call the column that says which rows are for training and which for the test."""
TRAIN, TEST = ("train", "training"), ("test",)
FOR_IMAGES = tuple(field.name for field in fields(ImageOptions))
FOR_NUMBERS = ("categories", "missing", "table")


def load_table(
    path: Path,
    seed: int,
    *,
    test_fraction: float | None = None,
    target: str | None = None,
    table: TableForm | None = None,
    **options: Any,
) -> Dataset:
    """Return the images whose paths are in a column of a table, relative to the folder of the table; or, where no
    column has paths of images, the numbers and categories of the table.

    target: the column to predict, or for images several columns, with commas between their names; None for the one
    called as one of `TARGETS`. A column called as one of `PARTS` with the values train and test fixes the
    split; rows of other parts are left out. table: what a trained model knows of the columns. options: the fields of
    `ImageOptions`; or `categories` and `missing`, as in `TableForm.learned`.
    """
    columns = read_table(path)
    targets = target_columns(path, columns, target, table)
    paths = [name for name, values in columns.items() if name not in targets and _are_paths(values)]
    others = [value for name in paths for value in columns[name] if not _is_path(value)]
    if len(paths) > 1 or others:
        found = f"{shown(others[0])} is not such a path" if others else f"the columns {listed(paths)} do"
        raise DataError(
            f"One column of '{path}' must hold the paths of images ({', '.join(IMAGE_SUFFIXES)}), one in each row, and "
            f"{found}."
        )
    _require_meaning(path, options | ({} if table is None else {"table": table}), bool(paths))
    rows, fixed, part = parts_of(path, columns, test_fraction)
    if not paths:
        target = _only(path, targets)
        chosen = {name: [values[row] for row in rows] for name, values in columns.items() if name != part}
        split = {"fixed": fixed, "test_fraction": test_fraction, "seed": seed}
        return table_of_numbers(path.name, chosen, target, table=table, source=str(path), **split, **options)
    files = [path.parent / columns[paths[0]][row] for row in rows]
    shown_in = targets_of_images(path, {name: columns[name] for name in targets}, rows)
    y, class_names = shown_in.y, shown_in.class_names
    whole, digest = image_split(files, y, class_names, ImageOptions(**options))
    whole = replace(whole, head_names=shown_in.head_names)
    train_rows, test_rows, drawn = divided(y, class_names, fixed, test_fraction, seed)
    origin = {"source": str(path), "sha256": digest, "images": len(files), "target": ",".join(targets), **drawn}
    return Dataset(path.name, "images", take(whole, train_rows), take(whole, test_rows), origin)


def table_of_numbers(
    name: str,
    columns: Mapping[str, Sequence[str]],
    target: str,
    *,
    seed: int,
    source: str,
    test_fraction: float | None = None,
    fixed: np.ndarray[Any, Any] | None = None,
    table: TableForm | None = None,
    **options: Any,
) -> Dataset:
    """Return the numbers and categories of a table as the inputs of a model, and one column as what is predicted.

    fixed: which rows are for the test; None if they are drawn. table, options: as in `load_table`.
    """
    where = f"'{source}'"
    given = [name for name in ("categories", "missing") if name in options and table is not None]
    if given:
        raise UsageError(f"{given[0]} does not apply to {where}: the trained model knows its columns. Leave it out.")
    known, words = None if table is None else table.class_names, target in options.get("categories", ())
    y, class_names = target_values(where, target, columns[target], known, words=words)
    train_rows, test_rows, drawn = divided(y, class_names, fixed, test_fraction, seed)
    if table is None:
        table = TableForm.learned(columns, train_rows, target=target, class_names=class_names, where=where, **options)
    whole = Split(table.encoded(columns, where), y, class_names=class_names, table=table)
    origin = {"source": source, "sha256": _digest(columns), "rows": len(y), "target": target, **drawn}
    return Dataset(name, "table", take(whole, train_rows), take(whole, test_rows), origin)


def target_columns(path: Path, columns: Table, target: str | None, table: TableForm | None) -> list[str]:
    """Return the names of the columns to predict: one, or several with commas between them. Raises `UsageError` if one
    does not exist."""
    names = [name.strip() for name in (target or "").split(",")]
    if target in columns or len(names) == 1 or not set(names) & set(columns):
        return [target_column(path, columns, target, table)]
    return [target_column(path, columns, name) for name in dict.fromkeys(names)]


def _only(path: Path, targets: list[str]) -> str:
    if len(targets) > 1:
        raise UsageError(
            f"Cannot predict {listed(targets)} of '{path}' together: only of images can several columns be "
            "predicted. Pass one column as target=."
        )
    return targets[0]


def target_column(path: Path, columns: Table, target: str | None, table: TableForm | None = None) -> str:
    """Return the name of the column to predict. Raises `UsageError` if there is no such column."""
    if table is not None:
        if target not in (None, table.target):
            raise UsageError(f"Cannot predict {shown(target)}: the model was trained to predict {shown(table.target)}.")
        target = table.target
    if target is None:
        target = next((name for name in columns if name.lower() in TARGETS), None)
    if target not in columns:
        asked = f"there is no column {shown(target)}" if target else "no column is called label, class, target or y"
        raise UsageError(f"Which column of '{path}' is to be predicted? Pass target=; {asked}, of {listed(columns)}.")
    return target


def _is_path(value: str) -> bool:
    return value.lower().endswith(IMAGE_SUFFIXES)


def _are_paths(values: Sequence[str]) -> bool:
    """Whether most values of a column are paths of images."""
    return 2 * sum(map(_is_path, values)) > len(values)


def _require_meaning(path: Path, options: dict[str, Any], images: bool) -> None:
    """Raise `UsageError` for an option that is for the other kind of tables."""
    others = FOR_NUMBERS if images else FOR_IMAGES
    given = [name for name in others if name in options]
    if given:
        what = "holds paths of images" if images else "has no column of paths of images"
        raise UsageError(f"{given[0]} does not apply to '{path}', which {what}. Leave it out.")
    missing = options.get("missing", "raise")
    if missing not in ("raise", "mean"):
        raise UsageError(f"missing must be 'raise' or 'mean', not {shown(missing)}.")
    categories = options.get("categories", ())
    if isinstance(categories, str) or not all(isinstance(name, str) for name in categories):
        raise UsageError(f"categories must be a list of names of columns, not {shown(categories)}.")


def parts_of(
    path: Path, columns: Table, test_fraction: float | None
) -> tuple[list[int], np.ndarray[Any, Any] | None, str | None]:
    """Return the rows that are used; which of them are for the test, and the column that says it, if there is one."""
    every = len(next(iter(columns.values())))
    for name in (name for name in columns if name.lower() in PARTS):
        values = [value.lower() for value in columns[name]]
        if not set(values) & set(TEST) or not set(values) & set(TRAIN):
            continue
        if test_fraction is not None:
            raise UsageError(f"test_fraction does not apply to '{path}': its column '{name}' fixes the split.")
        rows = [row for row in range(every) if values[row] in (*TRAIN, *TEST)]
        return rows, np.array([values[row] in TEST for row in rows]), name
    return list(range(every)), None, None


def divided(
    y: Any,
    class_names: tuple[str, ...],
    fixed: np.ndarray[Any, Any] | None,
    test_fraction: float | None,
    seed: int,
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], dict[str, Any]]:
    """Return the training rows, the test rows, and how they were drawn, if they were. y: an array, or one a head."""
    if fixed is not None:
        return np.flatnonzero(~fixed), np.flatnonzero(fixed), {}
    test_fraction = 0.2 if test_fraction is None else test_fraction
    by_class = bool(class_names) and y.ndim == 1
    heads: Any = y
    count = len(next(iter(heads.values())) if isinstance(heads, dict) else y)
    train, test = (
        divide_by_class(y, test_fraction, seed, class_names) if by_class else divide(count, test_fraction, seed)
    )
    return train, test, {"split_seed": seed, "test_fraction": test_fraction}


def _digest(columns: Mapping[str, Sequence[str]]) -> str:
    """A hash of all values."""
    found = hashlib.sha256()
    for name, values in columns.items():
        for word in (name, *values):
            found.update(f"{len(word)} {word}\n".encode())
    return found.hexdigest()
