"""Whether targets can be compared with an output by its loss: their shape, and the range that the loss is defined on.

What only broadcasts trains to a wrong model without a word, and what is out of range gives a loss that falls below
zero for ever on one backend and an error without row or range on another.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unidl.data.losses import KnownLoss
from unidl.data.rows import IsGood, Reading, every
from unidl.data.streaming import is_read_later
from unidl.errors import DataError

Shape = tuple[int | None, ...]

ALLOWED: dict[str, tuple[str, IsGood]] = {
    "counts": ("numbers from 0, such as counts", lambda block: block >= 0),
    "signs": ("-1 and 1, or 0 and 1", lambda block: (block == -1) | (block == 0) | (block == 1)),
    "one_hot": ("numbers from 0 to 1", lambda block: (block >= 0) & (block <= 1)),
    "probabilities": ("numbers from 0 to 1", lambda block: (block >= 0) & (block <= 1)),
}
"""By the kind of target that a loss takes: the values in words, and which they are."""


def ask_targets(
    reading: Reading, loss: KnownLoss, targets: np.ndarray, output: Shape | None, part: str, name: str
) -> None:
    """Have `DataError` raised, naming the first bad row, unless `targets` suit the loss; at once for their shape.

    output: the shape of the output that they are compared with, None if it is not known. part, name: what the messages
    call the targets and the data.
    """
    if output is not None and not _compares(targets.shape, output):
        raise DataError(_wrong_shape(loss, targets, output, part, name))
    if loss.targets not in ALLOWED:
        return
    allowed, is_good = ALLOWED[loss.targets]
    wrong = reading.first_bad(targets, is_good)
    mixed = _mixed_signs(reading, targets) if loss.targets == "signs" else None

    def hear() -> None:
        found = wrong.found or (mixed() if mixed is not None else None)
        if found is not None:
            raise DataError(
                f"{part} is {found[1]} in row {found[0]} of the {name}; the loss {loss.name} takes {allowed}. "
                f"{_remedy(loss, targets, part)}"
            )

    reading.then(hear)


def _compares(given: tuple[int, ...], output: Shape) -> bool:
    """Whether Keras compares these number by number: the same shape, but for a last axis of length 1."""
    wanted = output[1:]
    rows = given[1:]
    shapes = [(rows, wanted)]
    if len(rows) == len(wanted) + 1 and rows[-1] == 1:
        shapes.append((rows[:-1], wanted))
    if len(wanted) == len(rows) + 1 and wanted[-1] in (1, None):
        shapes.append((rows, wanted[:-1]))
    return any(
        len(one) == len(other) and all(side in (None, length) for length, side in zip(one, other, strict=True))
        for one, other in shapes
    )


def _wrong_shape(loss: KnownLoss, targets: np.ndarray, output: Shape, part: str, name: str) -> str:
    given, wanted = targets.shape, (len(targets), *output[1:])
    classes = output[-1]
    found = f"{part} of the {name} has the shape {given}, and the model's outputs {_written(wanted)}"
    if loss.targets != "one_hot":
        advice = "Reshape the targets, or build the model for them."
        if len(given) == len(wanted) == 2:
            advice = f"Take the column that the model predicts, or build the model with {given[1]} outputs."
        return f"{found}: the loss {loss.name} compares them number by number, and does not broadcast. {advice}"
    counted = given[1:] in (output[1:-1], (*output[1:-1], 1)) and targets.dtype.kind in "biu"
    if counted:
        advice = "For whole-number labels take the loss 'sparse_categorical_crossentropy', or "
        advice += f"keras.utils.to_categorical({part}, {classes})."
    else:
        advice = f"Encode the labels with {classes} columns, or build the model for the classes that they have."
    return f"{found}: the loss {loss.name} takes one number from 0 to 1 for each of the {classes} classes. {advice}"


def _written(shape: Shape) -> str:
    sides = ", ".join("any" if side is None else str(side) for side in shape)
    return f"({sides},)" if len(shape) == 1 else f"({sides})"


def _mixed_signs(reading: Reading, targets: np.ndarray) -> Callable[[], tuple[int, str] | None]:
    """Ask for the first 0 among targets of -1 and 1: Keras turns 0 and 1 into -1 and 1 batch by batch, and so of a
    mixture some batches and others not."""
    negative = reading.first_bad(targets, lambda block: block >= 0)
    zero = reading.first_bad(targets, lambda block: block != 0)
    return lambda: zero.found if negative.found is not None else None


def _remedy(loss: KnownLoss, targets: np.ndarray, part: str) -> str:
    """What to do about targets out of range, by the values that there are."""

    def only(*values: int) -> bool:
        # What is read when it is needed is not read whole for the sake of a sentence.
        return not is_read_later(targets) and every(targets, lambda block: np.isin(block, values))

    aim = "0 and 1" if loss.targets != "signs" else "-1 and 1"
    if loss.targets == "counts":
        return "Repair such rows, or take a loss for any number, such as 'mean_squared_error'."
    if only(-1, 1):
        return f"Pass ({part} + 1) / 2."
    if only(1, 2):
        return f"Pass {part} - 1."
    if only(0, 255) or (loss.targets != "signs" and targets.dtype.kind == "u" and targets.dtype.itemsize == 1):
        return f"Pass {part} / 255."
    advice = f"Encode the labels as {aim}"
    if loss.targets == "one_hot":
        return f"{advice}, one column a class. What a row counts belongs into sample_weight."
    return f"{advice}, or take a loss for any number, such as 'mean_squared_error'."
