"""Data sets in .npy files, which are mapped and not read: rows come from the disk when they are needed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from unidl.backend import Batches
from unidl.data.arrays import class_names_of, counts_classes, prepare_y
from unidl.data.dataset import Dataset, Kind, Split, take
from unidl.data.fingerprint import hash_of
from unidl.data.source import Rows, columns
from unidl.data.splitting import divide, divide_by_class
from unidl.errors import DataError
from unidl.shortening import shortened


class MappedArray:
    """An array in a file, as a source."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._array: np.ndarray[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(
                f"Cannot read '{path}': {shortened(error)}. Write it with numpy.save, as an array of numbers."
            ) from error
        if self._array.ndim == 0 or self._array.dtype.kind not in "biuf":
            raise DataError(f"'{path}' must hold an array of numbers with a row a sample, not {self._array.dtype}.")
        self.form = Batches(np.empty((0, *self._array.shape[1:]), self._array.dtype))

    def __len__(self) -> int:
        return len(self._array)

    def read(self, rows: Rows) -> Batches:
        """Return rows of the array."""
        return Batches(np.take(self._array, rows, axis=0))

    def fingerprint(self) -> str:
        """The hash of a checkpoint: of all values, or of a sample of the rows."""
        return hash_of(self._array)

    def where(self, row: int) -> str:
        """Which row of which file it is."""
        return f"row {row} of '{self._path}'"


def load_mapped(path: Path, seed: int, *, test_fraction: float | None = None) -> Dataset:
    """Return the rows of x.npy with the labels of y.npy beside it; so of any name that begins with x.

    uint8 images become 0 to 1 in the compiled step. `test_fraction` (0.2) is held out, class by class where y has
    classes.
    """
    beside = path.with_name(f"y{path.name[1:]}")
    if path.name[:1].lower() != "x" or not beside.is_file():
        raise DataError(
            f"'{path}' holds x alone. Put y beside it, as in x.npy and y.npy; or pass numpy.load(path, mmap_mode='r') "
            "to Trainer.fit, beside y."
        )
    source = MappedArray(path)
    y = prepare_y(np.asarray(columns(MappedArray(beside)).x))
    if not len(source) or len(y) != len(source):
        raise DataError(f"'{path}' has {len(source):,} rows and '{beside}' {len(y):,}: row k of both is one sample.")
    shape = source.form.x.shape
    kind: Kind = "images" if len(shape) == 4 and shape[3] in (1, 3) else "arrays"
    names = class_names_of(path, None, kind, (y,))
    whole = Split(columns(source).x, y, class_names=names)
    test_fraction = 0.2 if test_fraction is None else test_fraction
    by_class = counts_classes(y)
    rows = divide_by_class(y, test_fraction, seed, names) if by_class else divide(len(y), test_fraction, seed)
    digest = hashlib.sha256(f"{source.fingerprint()} {hash_of(y)}".encode()).hexdigest()
    origin = {"source": str(path), "sha256": digest, "split_seed": seed, "test_fraction": test_fraction}
    return Dataset(path.name, kind, take(whole, rows[0]), take(whole, rows[1]), origin)
