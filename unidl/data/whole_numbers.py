"""Whole numbers too large for what they go into: JAX has no int64 by default, and wraps 1.7e12 to -8.07e8."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.backend import Tree
from unidl.data.dataset import Split
from unidl.data.inputs import matched_inputs
from unidl.data.rows import FirstBad, Reading
from unidl.data.streaming import is_mapped
from unidl.data.trees import map_leaves, named_leaves
from unidl.errors import DataError

if TYPE_CHECKING:
    import keras


def ask_whole_numbers(reading: Reading, model: keras.Model, split: Split, name: str) -> Callable[[], Split]:
    """Have `DataError` raised where a whole number would wrap. What this returns gives, when all is answered, `split`
    with the numbers that every backend computes on.

    Where the backend lacks the type for a whole number, and the model takes floats there, the number becomes a float32
    here, as Keras makes of it where the backend has the type. An input of whole numbers takes those of its own type
    alone. Everything else comes back as it was. name: what the messages call the data.
    """
    inputs = {part: str(expected.dtype) for _, part, _, expected in matched_inputs(model, split.x, name)}
    floats: set[str] = set()
    for part, array in named_leaves(split.x, "x"):
        wanted = inputs.get(part)
        if wanted is not None and _is_whole_type(wanted):
            _ask_range(reading, array, np.dtype(wanted), part, name)
        else:
            _ask_wrapped(reading, array, part, name, "float" in (wanted or ""), floats)
    for part, array in named_leaves(split.y, "y"):
        _ask_wrapped(reading, array, part, name, _has_plain_step(model), floats)
    for part, array in named_leaves(split.sample_weight, "sample_weight"):
        _ask_wrapped(reading, array, part, name, True, floats)
    return lambda: _with_floats(split, floats)


def range_held(dtype: np.dtype[Any]) -> tuple[int, int]:
    """Return the least and the largest whole number of this type that the backend in use does not wrap."""
    limits = np.iinfo(dtype)
    return _ends_held(dtype) or (int(limits.min), int(limits.max))


def _ends_held(dtype: np.dtype[Any]) -> tuple[int, int] | None:
    """The same; None if Keras has no such type on this backend."""
    from keras import ops

    limits = np.iinfo(dtype)
    ends = np.array([limits.min, limits.max], dtype)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            held = np.asarray(ops.convert_to_numpy(ops.convert_to_tensor(ends)))
    except (ValueError, TypeError):
        return None
    if not np.array_equal(held.astype(object), ends.astype(object)):
        limits = np.iinfo(np.int32 if dtype.kind == "i" else np.uint32)
    return int(limits.min), int(limits.max)


def _is_whole_type(name: str) -> bool:
    return name.startswith(("int", "uint"))


def _ask_range(reading: Reading, array: np.ndarray, wanted: np.dtype[Any], part: str, name: str) -> None:
    """Have `DataError` raised for a number that the model's input of whole numbers would wrap."""
    if array.dtype.kind not in "iuf" or (np.can_cast(array.dtype, wanted) and wanted.itemsize <= 4):
        return
    low, high = range_held(wanted)
    outside = _ask_outside(reading, array, low, high)

    def hear() -> None:
        if outside.found is None:
            return
        missing = high < np.iinfo(wanted).max
        raise DataError(
            f"{part} is {outside.found[1]} in row {outside.found[0]} of the {name}; the model's input of {wanted} "
            f"takes whole numbers from {low} to {high}{' on this backend' if missing else ''}. Number the values anew, "
            f"such as with numpy.unique({part}, return_inverse=True), or "
            + ("choose a backend that has this type." if missing else "build the model with an input of a wider type.")
        )

    reading.then(hear)


def _ask_wrapped(
    reading: Reading, array: np.ndarray, part: str, name: str, becomes_float: bool, floats: set[str]
) -> None:
    """Have `part` added to `floats` if the backend would wrap numbers that are to become floats, and `DataError` raised
    if they are not to."""
    if array.dtype.kind not in "iu" or array.dtype.itemsize <= 4:
        return
    held = _ends_held(array.dtype)
    if held is None:
        # Keras has no such type on this backend; the adapter hands rows over as they are, but no symbolic tensor.
        if becomes_float and not part.startswith("x"):
            floats.add(part)
        return
    low, high = held
    if high == np.iinfo(array.dtype).max:
        return
    outside = _ask_outside(reading, array, low, high)

    def hear() -> None:
        if outside.found is None:
            return
        if becomes_float and not is_mapped(array):
            floats.add(part)
            return
        advice = "Store the file as float32 or float64" if becomes_float else f"Pass {part}.astype('float32')"
        raise DataError(
            f"{part} is {outside.found[1]} in row {outside.found[0]} of the {name}, and this backend has whole "
            f"numbers from {low} to {high} only. {advice}, where rounding to 7 digits does no harm, or smaller "
            "numbers, such as differences to the first row; or choose a backend that has 64 bits."
        )

    reading.then(hear)


def _ask_outside(reading: Reading, array: np.ndarray, low: int, high: int) -> FirstBad:
    # high + 1 is a power of two, which a float32 has exactly.
    return reading.first_bad(array, lambda block: (block >= low) & (block < high + 1))


def _has_plain_step(model: keras.Model) -> bool:
    """Whether the targets go to Keras's losses and metrics alone, which make float32 of them."""
    import keras

    own = ("train_step", "test_step", "compute_loss", "compute_metrics")
    return all(getattr(type(model), method) is getattr(keras.Model, method) for method in own)


def _with_floats(split: Split, floats: set[str]) -> Split:
    if not floats:
        return split
    return replace(
        split,
        x=_as_floats(split.x, "x", floats),
        y=_as_floats(split.y, "y", floats),
        sample_weight=_as_floats(split.sample_weight, "sample_weight", floats),
    )


def _as_floats(tree: Tree, part: str, chosen: set[str]) -> Tree:
    names: Iterator[str] = (name for name, _ in named_leaves(tree, part))
    return map_leaves(lambda leaf: leaf.astype(np.float32) if next(names) in chosen else leaf, tree)
