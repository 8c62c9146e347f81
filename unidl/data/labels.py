"""Checks that labels match the loss of their output, in particular that class indices are in range."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.backend import Tree
from unidl.data.losses import known_loss
from unidl.data.rows import Reading, is_whole
from unidl.data.targets import ask_targets
from unidl.data.trees import is_nest
from unidl.errors import DataError

if TYPE_CHECKING:
    import keras

_MISSING = object()


def ask_labels(reading: Reading, model: keras.Model, y: Tree, name: str) -> None:
    """Request a `DataError` for labels for which the loss of their output is undefined; raise it at once for labels
    that cannot be compared with it.

    Only outputs with a Keras loss are checked. Labels of sparse categorical crossentropy are whole numbers
    from 0 to classes - 1, one per row, or per step if the output has steps; the targets of other losses are in
    `unidl.data.losses`. Outputs whose labels or loss cannot be identified are left to Keras.
    """
    if y is None:
        return
    for part, labels, loss, output in _outputs(model, y):
        known = known_loss(loss, labels, output)
        shape = None if output is None or not len(output.shape) else tuple(output.shape)
        if known is None:
            continue
        if known.targets == "sequences":
            if labels.ndim != 2:
                raise DataError(
                    f"{part} of the {name} has shape {labels.shape}; the loss {known.name} takes the labels of a "
                    "row in sequence: (rows, longest), with shorter ones padded with 0 at the end. Reshape them."
                )
            _ask_classes(reading, labels, None if shape is None else shape[-1], None, part, name)
        elif known.targets != "classes":
            ask_targets(reading, known, labels, shape, part, name)
        elif known.options.get("axis", -1) == -1:
            classes = None
            if shape is not None:
                _require_shape(labels, shape, known.name, part, name)
                classes = shape[-1]
            _ask_classes(reading, labels, classes, known.options.get("ignore_class"), part, name)


def _outputs(model: keras.Model, y: Tree) -> Iterator[tuple[str, np.ndarray, Any, Any]]:
    """Yield for each output: the name of its part of y, the labels, the loss, and the symbolic output if known."""
    loss = getattr(model, "loss", None)
    outputs = list(getattr(model, "outputs", None) or ())
    if not outputs:
        if not is_nest(y):
            yield "y", y, loss, None
        return
    structure = getattr(model, "output", None)
    # Keras flattens a dict in the order of its sorted keys.
    keys = sorted(structure) if isinstance(structure, dict) else [None] * len(outputs)
    names = getattr(model, "output_names", None) or [None] * len(outputs)
    for position, output in enumerate(outputs):
        places = (position, keys[position], names[position])
        part, labels = _member(y, is_nest(y), places, len(outputs))
        _, own_loss = _member(loss, isinstance(loss, (list, tuple, dict)), places, len(outputs), shared=True)
        if labels is not _MISSING and own_loss is not _MISSING and not is_nest(labels):
            yield f"y{part}", labels, own_loss, output


def _member(tree: Any, nested: bool, places: tuple[int, Any, Any], count: int, shared: bool = False) -> tuple[str, Any]:
    """Return the member of `tree` for one output, and its index as text. shared: a single value applies to all
    outputs."""
    if not nested:
        return "", tree if shared or count == 1 else _MISSING
    if isinstance(tree, dict):
        for key in places[1:]:
            if key is not None and key in tree:
                return f"[{key!r}]", tree[key]
    elif len(tree) == count:
        return f"[{places[0]}]", tree[places[0]]
    return "", _MISSING


def _require_shape(labels: np.ndarray, output: tuple[int | None, ...], loss: str, part: str, name: str) -> None:
    steps, given = output[1:-1], labels.shape[1:]
    for shape in (given, given[:-1] if given[-1:] == (1,) else given):
        if len(shape) == len(steps) and all(s in (None, g) for s, g in zip(steps, shape, strict=True)):
            return
    rows = len(labels)
    expected = str((rows, *(("any" if step is None else step) for step in steps))).replace("'", "")
    one_hot = given[-1:] == output[-1:] and len(given) == len(steps) + 1
    hint = (
        f"For one-hot labels use {part}.argmax(axis=-1), or the loss 'categorical_crossentropy'."
        if one_hot
        else "An additional last axis of length 1 is allowed."
    )
    raise DataError(
        f"{part} of the {name} has shape {labels.shape}; the loss {loss} takes "
        f"one label per output of the model: {expected}. {hint}"
    )


def _ask_classes(
    reading: Reading, labels: np.ndarray, classes: int | None, ignored: int | None, part: str, name: str
) -> None:
    upper = np.inf if classes is None else classes

    def is_good(block: np.ndarray) -> np.ndarray:
        good = (block >= 0) & (block < upper) & is_whole(block)
        return good if ignored is None else good | (block == ignored)

    label = reading.first_bad(labels, is_good)

    def hear() -> None:
        if label.found is None:
            return
        row, value = label.found
        where = f"row {row} of the {name}" if part == "y" else f"row {row} of {part} of the {name}"
        problem = "is out of range" if float(value).is_integer() else "is not a whole number"
        allowed = (
            "labels must be whole numbers of at least 0"
            if classes is None
            else f"the model has {classes} classes, labels 0 to {classes - 1}"
        )
        raise DataError(f"Label {value} in {where} {problem}: {allowed}.")

    reading.then(hear)
