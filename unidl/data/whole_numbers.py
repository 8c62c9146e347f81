"""Checks for integers that overflow: JAX has no int64 by default and wraps 1.7e12 to -8.07e8."""

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
    """Request a `DataError` for integers that would overflow. Returns a function that returns, after the data was read,
    `split` with values that are equal on every backend.

    If the backend lacks the integer dtype and the model expects floats, integers are converted to float32
    here, as Keras does on backends that have the dtype. An integer input accepts only the values of its own dtype.
    Everything else is unchanged. name: the name of the data in messages.
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
    """Return the smallest and largest integer of this dtype that does not overflow on the current backend."""
    limits = np.iinfo(dtype)
    return _ends_held(dtype) or (int(limits.min), int(limits.max))


def _ends_held(dtype: np.dtype[Any]) -> tuple[int, int] | None:
    """Return the same; None if Keras does not have this dtype on this backend."""
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
    """Request a `DataError` for a value that would overflow in an integer input of the model."""
    if array.dtype.kind not in "iuf" or (np.can_cast(array.dtype, wanted) and wanted.itemsize <= 4):
        return
    low, high = range_held(wanted)
    outside = _ask_outside(reading, array, low, high)

    def hear() -> None:
        if outside.found is None:
            return
        missing = high < np.iinfo(wanted).max
        raise DataError(
            f"{part} is {outside.found[1]} in row {outside.found[0]} of the {name}; the model's {wanted} input "
            f"takes whole numbers from {low} to {high}{' on this backend' if missing else ''}. Renumber the values, "
            f"such as with numpy.unique({part}, return_inverse=True), or "
            + ("choose a backend with this dtype." if missing else "build the model with an input of a wider dtype.")
        )

    reading.then(hear)


def _ask_wrapped(
    reading: Reading, array: np.ndarray, part: str, name: str, becomes_float: bool, floats: set[str]
) -> None:
    """Add `part` to `floats` if values that become floats would overflow on the backend, and request a `DataError`
    if they do not become floats."""
    if array.dtype.kind not in "iu" or array.dtype.itemsize <= 4:
        return
    held = _ends_held(array.dtype)
    if held is None:
        # Keras lacks this dtype on this backend; the adapter accepts such rows, but there is no symbolic tensor for
        # them.
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
            f"{part} is {outside.found[1]} in row {outside.found[0]} of the {name}, but this backend supports only "
            f"whole "
            f"numbers from {low} to {high}. {advice} if rounding to 7 digits is acceptable, or smaller "
            "numbers, such as differences to the first row; or choose a backend with 64-bit integers."
        )

    reading.then(hear)


def _ask_outside(reading: Reading, array: np.ndarray, low: int, high: int) -> FirstBad:
    # high + 1 is a power of two, which float32 represents exactly.
    return reading.first_bad(array, lambda block: (block >= low) & (block < high + 1))


def _has_plain_step(model: keras.Model) -> bool:
    """Return whether the targets are used only by Keras's losses and metrics, which convert them to float32."""
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
