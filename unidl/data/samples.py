"""Other people's data sets whose samples have numbers, such as a PyTorch `Dataset`, as a source of rows."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from unidl.backend import Batches, Tree
from unidl.data.numbers import computed_type
from unidl.data.source import Rows
from unidl.data.trees import is_nest, leaves, map_leaves, named_leaves
from unidl.errors import DataError
from unidl.shortening import shortened, shown

LABELS = ("label", "labels", "target", "targets", "y")
"""What people call y in a dict."""
WEIGHTS = ("sample_weight", "sample_weights")
HASHED_SAMPLES = 32
"""Samples of which the fingerprint is made: to read one may take a while."""


class Samples:
    """Any object with `len` and `[number]` whose samples are (x,), (x, y) or (x, y, sample_weight), dicts, or x alone.

    Of a dict, y is the value under one of `LABELS`, and x all others, or the only other one. Pictures of Pillow become
    uint8 (height, width, channels), words nothing: they need encoding first.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._kind = f"{type(dataset).__module__}.{type(dataset).__qualname__}"
        if not len(dataset):
            raise DataError(f"The data has no rows: the {self._kind} is empty. Pass at least one sample.")
        self.form = mapped(lambda array: array[np.newaxis][:0], self._sample(0))

    def __len__(self) -> int:
        return len(self._dataset)

    def read(self, rows: Rows) -> Batches:
        """Return samples, stacked. Raises `DataError`, naming the first that looks unlike sample 0."""
        numbers = [int(row) for row in rows]
        several = getattr(self._dataset, "__getitems__", None)
        if several is not None and numbers:
            samples = [as_parts(sample) for sample in several(numbers)]
        else:
            samples = [self._sample(number) for number in numbers]
        for number, sample in zip(numbers, samples, strict=True):
            self._require_alike(number, sample)
        parts = [[leaf for part in _three(sample) for leaf in leaves(part)] for sample in samples]
        stacked = iter([np.stack(arrays) for arrays in zip(*parts, strict=True)])
        return mapped(lambda like: next(stacked).astype(like.dtype, copy=False), self.form)

    def fingerprint(self) -> str:
        """A hash of how many samples there are, and of some of them, if they are the same each time."""
        found = hashlib.sha256(f"{self._kind} {len(self)}".encode())
        if self._hash(0) == self._hash(0):  # else something is drawn for each of them
            for row in np.unique(np.linspace(0, len(self) - 1, HASHED_SAMPLES).astype(int)):
                found.update(self._hash(int(row)))
        return found.hexdigest()

    def where(self, row: int) -> str:
        """Which sample a row is."""
        return f"[{row}] of the {self._kind}"

    def _sample(self, number: int) -> Batches:
        return as_parts(self._dataset[number])

    def _hash(self, number: int) -> bytes:
        found = hashlib.sha256()
        for part in _three(self._sample(number)):
            for array in leaves(part):
                found.update(np.ascontiguousarray(array).tobytes())
        return found.digest()

    def _require_alike(self, number: int, sample: Batches) -> None:
        for part in ("x", "y", "sample_weight"):
            form = dict(named_leaves(getattr(self.form, part), part))
            found = dict(named_leaves(getattr(sample, part), part))
            if form.keys() != found.keys():
                raise DataError(
                    f"Sample {number} of the {self._kind} has the parts {', '.join(found) or 'none'} for {part}, and "
                    f"sample 0 {', '.join(form) or 'none'}. All samples must look alike."
                )
            for name, array in found.items():
                like = form[name]
                if array.shape != like.shape[1:] or not _becomes(array.dtype, like.dtype):
                    raise DataError(
                        f"{name} of sample {number} of the {self._kind} has the shape {array.shape} and the type "
                        f"{array.dtype}, and that of sample 0 {like.shape[1:]} and {like.dtype}. Bring all to one "
                        "shape, by resizing or padding, and to one type."
                    )


def as_parts(given: Any) -> Batches:
    """Return what a sample, or a batch, holds: a tuple or list of parts, a dict, or x alone, as arrays."""
    if isinstance(given, Batches):
        parts: tuple[Any, ...] = given.parts()
    elif isinstance(given, dict):
        parts = _of_dict(given)
    elif isinstance(given, (tuple, list)) and (isinstance(given, tuple) or any(_is_array(part) for part in given)):
        if not 1 <= len(given) <= 3:
            raise DataError(f"A sample or batch is (x,), (x, y) or (x, y, sample_weight), not {len(given)} values.")
        parts = tuple(given)
    else:
        parts = (given,)
    return Batches(*(_as_arrays(part, name) for part, name in zip(parts, ("x", "y", "sample_weight"), strict=False)))


def mapped(function: Any, batches: Batches) -> Batches:
    """Return `batches` with a function applied to each array."""
    return Batches(*(map_leaves(function, part) for part in _three(batches)))


def _three(batches: Batches) -> tuple[Tree, Tree, Tree]:
    return batches.x, batches.y, batches.sample_weight


def _of_dict(given: dict[Any, Any]) -> tuple[Any, ...]:
    labels = [name for name in LABELS if name in given]
    weights = [name for name in WEIGHTS if name in given]
    x = {name: value for name, value in given.items() if name not in (*labels[:1], *weights[:1])}
    if not labels:
        return (given,)
    if not x:
        raise DataError(f"A sample has the key {shown(labels[0])} alone, which is y, and no x.")
    x = next(iter(x.values())) if len(x) == 1 else x
    return (x, given[labels[0]], *(given[name] for name in weights[:1]))


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") or hasattr(value, "__array_interface__")


def _as_arrays(tree: Any, name: str) -> Tree:
    if tree is None:
        return None
    if is_nest(tree):
        return map_leaves(lambda leaf: _as_array(leaf, name), tree)
    return _as_array(tree, name)


def _as_array(value: Any, name: str) -> np.ndarray[Any, Any]:
    is_picture = hasattr(value, "getbands") and hasattr(value, "mode")
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"NumPy cannot read {name} of a sample as one array: {shortened(error)}") from error
    if array.dtype.kind not in "biufV" or array.dtype.type is np.void:
        raise DataError(
            f"{name} of a sample is {shown(value)}, and models take numbers. Encode such values, or leave them out."
        )
    if is_picture and array.ndim == 2:
        array = array[..., np.newaxis]
    return array.astype(computed_type(array.dtype), copy=False)


def _becomes(dtype: np.dtype[Any], like: np.dtype[Any]) -> bool:
    return dtype == like or (dtype.kind == like.kind and dtype.kind in "iu") or np.can_cast(dtype, like)
