"""Which data was meant, said in Keras's ways or in ours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from unidl.backend import Batches
from unidl.data.batch_stream import Stream
from unidl.data.checks import NonFinite
from unidl.data.dataset import Split, take
from unidl.data.recognising import as_split
from unidl.data.source import Column
from unidl.data.trees import is_nest
from unidl.errors import DataError, UsageError


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What one `Trainer.fit` learns from, and what it is validated on; and of each, once it is checked, the first row
    that holds NaN or infinity. variants: the training rows of each pass, in turn, where passes differ."""

    training: Split
    validation: Split | None = None
    not_finite: NonFinite | None = None
    validation_not_finite: NonFinite | None = None
    variants: tuple[Split, ...] = ()


def training_data(
    training: Split, *, validation: Any, validation_data: Any, validation_split: float, class_weight: Any
) -> TrainingData:
    """Return the data of a run. validation_data: as Keras reads it, where a list is (x, y) or (x, y, sample_weight) as
    well; it is used in place of validation_split, the share of the last rows. class_weight: by label, for training."""
    if validation is not None and validation_data is not None:
        raise UsageError(
            "Cannot use validation= beside validation_data=: they are two names of one argument. Pass one."
        )
    held_out = validation
    if validation_data is not None:
        held_out = tuple(validation_data) if isinstance(validation_data, list) else validation_data
    given = None if held_out is None else as_split(held_out)
    share = _share(validation_split)
    if share and given is None and isinstance(training, Stream):
        raise UsageError(
            f"Cannot use validation_split={validation_split!r} with {training.stream.what}, whose rows have no "
            "numbers. Pass validation_data=."
        )
    if share and given is None:
        rows = math.floor(len(training) * (1.0 - share))
        if rows in (0, len(training)):
            raise DataError(
                f"Cannot use validation_split={validation_split!r} with {len(training)} rows: it leaves "
                f"{rows} for training. Pass more data, or another share."
            )
        training, given = take(training, slice(0, rows)), take(training, slice(rows, None))
    if class_weight is not None:
        training = _weighted(training, class_weight)
    return TrainingData(training, given)


def one_split(data: Any, y: Any, sample_weight: Any, x: Any) -> Split:
    """Return the rows that were passed as `(x, y)` side by side, by name, or as one value in the first place.

    A tuple in the first place alone is (x, y) or (x, y, sample_weight); beside `y`, and as `x=`, it is several inputs.
    """
    if x is not None:
        if data is not None:
            raise UsageError("Cannot use x= beside data in the first place: pass one of them.")
        alone = y is None and sample_weight is None and not isinstance(x, tuple)
        return as_split(x) if alone else Split(x, y, sample_weight)
    if data is None:
        raise UsageError("There is no data. Pass arrays, as in (x, y), or a Split.")
    if y is None and sample_weight is None:
        return as_split(data)
    if y is None and isinstance(data, tuple) and len(data) == 2:
        return Split(*data, sample_weight)
    if isinstance(data, Batches):
        raise UsageError(
            "Cannot use y= or sample_weight= beside a Split, which holds them. Pass the Split alone, or its .x."
        )
    if not isinstance(data, tuple) and hasattr(data, "train") and hasattr(data, "test"):
        return as_split(data)  # a whole data set, which is refused in its own words
    return Split(data, y, sample_weight)


def inputs(x: Any) -> Split:
    """Return the rows to predict for: x alone, whatever labels and weights came with it."""
    split = as_split(x)
    if split.y is None and split.sample_weight is None:
        return split
    if isinstance(split, Stream):
        return replace(split, y=None, sample_weight=None, look=lambda batch, _: Split(batch.x))
    return Split(split.x)


def size_of_batches(argument: int | None, split: Split, steps: int | None, otherwise: int) -> int:
    """Return how many rows a batch has; by default as many as make the steps take all rows."""
    if isinstance(split, Stream):
        if argument:
            raise UsageError(
                f"Cannot use batch_size={argument} with {split.stream.what}, whose batches have a size of their own. "
                "Leave batch_size out."
            )
        return len(split)
    if argument:
        return argument
    return otherwise if steps is None else math.ceil(len(split) / steps)


def _share(validation_split: float) -> float:
    try:
        share = float(validation_split or 0.0)
    except (TypeError, ValueError):
        share = math.nan
    if not 0 <= share < 1:
        raise UsageError(f"Cannot use validation_split={validation_split!r}: it must be a share from 0 up to 1.")
    return share


def _weighted(split: Split, class_weight: Any) -> Split:
    """The rows, each with the weight of its class: labels are numbers, or one-hot."""
    if isinstance(class_weight, str) and class_weight == "balanced":
        class_weight = _balanced(split)
    if isinstance(split, Stream):
        first = _weighted(Split(split.x, split.y, split.sample_weight), class_weight)
        look = split.look
        return replace(
            split,
            sample_weight=first.sample_weight,
            look=lambda batch, name: _weighted(look(batch, name), class_weight),
        )
    if not isinstance(class_weight, Mapping) or not all(_is_whole(label) for label in class_weight):
        raise UsageError(
            f"Cannot use class_weight={class_weight!r}: it must be a dict from the number of a class to its "
            "weight, such as {0: 1.0, 1: 5.0}; or 'balanced'."
        )
    if split.y is None or is_nest(split.y) or is_nest(split.sample_weight):
        raise UsageError("Cannot use class_weight= with several outputs, or without labels. Pass sample_weight=.")
    form = split.y
    if form.ndim > 1 and (form.ndim > 2 or form.dtype.kind not in "biuf"):
        raise _no_labels(form)
    if form.ndim == 1 and form.dtype.kind not in "biuf":
        raise _no_labels(form)

    def weights(labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if labels.ndim > 1:
            labels = labels[..., 0] if labels.shape[-1] == 1 else labels.argmax(axis=-1)
        with np.errstate(invalid="ignore"):  # a label that is not a number is refused by name later
            numbers, places = np.unique(np.round(labels).astype(np.int64), return_inverse=True)
        of_classes = np.array([float(class_weight.get(int(number), 1.0)) for number in numbers], np.float32)
        return of_classes[places.reshape(-1)]

    others = split.sample_weight
    if isinstance(form, Column):
        if others is not None:
            raise UsageError("Cannot use class_weight= beside weights of samples that are read when they are needed.")
        return replace(split, sample_weight=form.mapped(weights, np.empty(0, np.float32)))
    found = weights(form)
    if others is not None:
        found = found.reshape(-1, *[1] * (others.ndim - 1)) * others
    return replace(split, sample_weight=found)


def _balanced(split: Split) -> dict[int, float]:
    """Weights with which all classes count alike, and a row 1 in the mean: rows / (classes * rows of the class)."""
    labels = split.y
    if isinstance(split, Stream) or not isinstance(labels, np.ndarray) or labels.dtype.kind not in "biuf":
        raise UsageError(
            "Cannot use class_weight='balanced': the labels are not in memory, to be counted. Pass a dict from the "
            "number of a class to its weight."
        )
    if labels.ndim > 1:
        labels = labels[..., 0] if labels.shape[-1] == 1 else labels.argmax(axis=-1)
    numbers, counts = np.unique(np.round(labels[np.isfinite(labels)]).astype(np.int64), return_counts=True)
    return {int(number): len(labels) / (len(numbers) * count) for number, count in zip(numbers, counts, strict=True)}


def _no_labels(y: Any) -> UsageError:
    return UsageError(
        f"Cannot use class_weight= with labels of shape {y.shape} and type {y.dtype}: it needs one number, or one row "
        "of one-hot numbers, for each sample. Pass sample_weight=."
    )


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
