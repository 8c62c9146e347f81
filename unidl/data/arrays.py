"""Data sets in a NumPy .npz file."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from unidl.data.dataset import Dataset, Kind, Split, take
from unidl.data.images import reform
from unidl.data.splitting import divide, divide_by_class
from unidl.data.value_range import scaled_bytes
from unidl.errors import DataError, UsageError
from unidl.shortening import listed, shortened

_DIVIDED = ("x_train", "y_train", "x_test", "y_test")
_WHOLE = ("x", "y")
_MOST_CLASSES = 100_000
"""Larger labels are not class indices; ImageNet-21k, one of the largest data sets, has 21 841 classes."""


def load_arrays(
    path: Path,
    seed: int,
    *,
    test_fraction: float | None = None,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
) -> Dataset:
    """Return the arrays x_train, y_train, x_test and y_test of a .npz file, or x and y after splitting them.

    `test_fraction` (0.2) of x and y is held out. Integer labels of shape (n,) are split per class. uint8 arrays
    with 3 or 4 axes are images: they are converted to float32 in [0, 1] with a channel axis; so are other
    integers from 0 to 255 with 4 axes and 1 or 3 channels. Floats are unchanged. `class_names` in the file names its
    classes. Pickled objects are never loaded.
    """
    arrays = _read(path)
    origin = {"source": str(path), "sha256": _sha256(path)}
    if set(_DIVIDED) <= arrays.keys():
        if test_fraction is not None:
            raise UsageError(f"test_fraction does not apply to '{path}': it already has x_test and y_test.")
        inputs = scaled_bytes(arrays["x_train"], arrays["x_test"])
        targets = prepare_y(arrays["y_train"]), prepare_y(arrays["y_test"])
        train, test = (Split(x, y) for x, y in zip(inputs, targets, strict=True))
        _require_same_form(path, train.x, test.x)
    else:
        test_fraction = 0.2 if test_fraction is None else test_fraction
        origin |= {"split_seed": seed, "test_fraction": test_fraction}
        train, test = _divided(Split(scaled_bytes(arrays["x"])[0], prepare_y(arrays["y"])), test_fraction, seed)
    kind: Kind = "images" if train.x.ndim == 4 and train.x.shape[3] in (1, 3) else "arrays"
    if kind == "arrays" and (image_size is not None or channels is not None):
        raise UsageError(
            f"image_size and channels apply to images, (rows, height, width, 1 or 3), but x in '{path}' has "
            f"shape {train.x.shape}. Leave them out."
        )
    names = class_names_of(path, arrays.get("class_names"), kind, (train.y, test.y))
    if kind == "images":
        train, test = (replace(part, x=reform(part.x, image_size, channels)) for part in (train, test))
    train, test = (replace(part, class_names=names) for part in (train, test))
    return Dataset(path.name, kind, train, test, origin)


def prepare_y(y: np.ndarray) -> np.ndarray:
    """Return integer labels of shape (n,) or (n, 1) as (n,) int32; others unchanged."""
    if y.dtype.kind not in "iu":
        return y
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.size and (y.min() < np.iinfo(np.int32).min or y.max() > np.iinfo(np.int32).max):
        return y
    return y.astype(np.int32)


def _divided(whole: Split, test_fraction: float, seed: int) -> tuple[Split, Split]:
    if counts_classes(whole.y):
        rows = divide_by_class(whole.y, test_fraction, seed)
    else:
        rows = divide(len(whole), test_fraction, seed)
    return take(whole, rows[0]), take(whole, rows[1])


def _read(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of the data set by name."""
    if not zipfile.is_zipfile(path):
        raise DataError(
            f"'{path}' is not an .npz file, or it is damaged. Write it with numpy.savez(path, x=..., y=...)."
        )
    try:
        # Opened here, since numpy.load does not close the file if the archive is damaged.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in _wanted(path, archive.files)}
    except DataError:
        raise
    except Exception as error:
        # Damage raises BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError and others.
        pickled = "allow_pickle" in str(error)
        reason = (
            "it holds pickled Python objects, which are never loaded"
            if pickled
            else f"it is damaged: {shortened(error)}"
        )
        raise DataError(f"Cannot load '{path}': {reason}. Write it again with numpy.savez and plain arrays.") from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise DataError(f"'{name}' in '{path}' is not an array. Write the file with numpy.savez.")
    return arrays


_EXPECTED = f"Expected the arrays {', '.join(_DIVIDED)}; or {' and '.join(_WHOLE)}."


def _wanted(path: Path, found: Sequence[str]) -> tuple[str, ...]:
    for names in (_DIVIDED, _WHOLE):
        if set(names) <= set(found):
            return (*names, "class_names") if "class_names" in found else names
    raise DataError(f"'{path}' has the arrays {listed(sorted(found)) or 'none'}. {_EXPECTED}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_same_form(path: Path, train: np.ndarray, test: np.ndarray) -> None:
    if train.shape[1:] != test.shape[1:]:
        raise DataError(
            f"The rows of x_train and x_test in '{path}' differ in shape: {train.shape[1:]} and {test.shape[1:]}."
        )


def counts_classes(y: np.ndarray) -> bool:
    """Whether labels are numbers of classes."""
    return y.ndim == 1 and y.dtype.kind in "iu"


def class_names_of(path: Path, names: np.ndarray | None, kind: Kind, labels: Sequence[np.ndarray]) -> tuple[str, ...]:
    """Return the names in the file; else "0", "1"... up to the largest label of images; else none."""
    if not all(map(counts_classes, labels)) or (kind != "images" and names is None):
        return ()
    low, high = min(int(y.min()) for y in labels), max(int(y.max()) for y in labels)
    limit = _MOST_CLASSES if names is None else names.size
    if low < 0 or high >= limit:
        raise DataError(
            f"'{path}' has labels from {low} to {high}; allowed are 0 to {limit - 1}"
            + (". " if names is None else f", since class_names has {limit} names. ")
            + "Renumber the labels, or store y as floats if it does not contain classes."
        )
    if names is None:
        return tuple(str(label) for label in range(high + 1))
    return tuple(str(name) for name in names.ravel())
