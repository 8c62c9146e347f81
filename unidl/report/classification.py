"""The figures of a classifier: which classes it takes for which, and how often it is right when it is so sure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unidl.errors import DataError

BINS = 15
"""Of the calibration, as in Guo et al., "On Calibration of Modern Neural Networks", 2017."""
SUM_TOLERANCE = 1e-2
"""How far the probabilities of a row may be from 1 together: those of bfloat16 have three digits."""
MOST_CLASSES = 1000
SMALLEST = 1e-12
"""A probability below it counts as this in the logarithm."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ClassFigures:
    """Those of one class. precision, recall, f1: None where nothing is to be divided by."""

    name: str
    rows: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class ReliabilityBin:
    """The rows whose confidence is above `low` and up to `high`. confidence, accuracy: their means; None without
    rows."""

    low: float
    high: float
    rows: int
    confidence: float | None
    accuracy: float | None


class Classification:
    """What a classifier gives for rows whose classes are known.

    Args:
        labels: The number of the class of each row, or one-hot rows of shape (rows, classes).
        probabilities: Array of shape (rows, classes), whose rows sum to 1; or (rows,) or (rows, 1), the probability of
            class 1 of two.
        class_names: The name of each class; numbers where there are none.

    Raises:
        DataError: If labels and probabilities do not belong to each other, or are none.
    """

    def __init__(self, labels: Any, probabilities: Any, class_names: Sequence[str] = ()) -> None:
        self.probabilities = _probabilities(probabilities)
        rows, classes = self.probabilities.shape
        self.labels = _labels(labels, rows, classes)
        names = [str(name) for name in class_names[:classes]]
        self.class_names = (*names, *(str(number) for number in range(len(names), classes)))
        self.predicted: Array = self.probabilities.argmax(axis=1)
        self.confidence: Array = self.probabilities.max(axis=1)

    @property
    def correct(self) -> Array:
        """Whether each row is right."""
        return self.predicted == self.labels

    @property
    def accuracy(self) -> float:
        """The share of rows that are right."""
        return float(self.correct.mean())

    @property
    def crossentropy(self) -> float:
        """The mean crossentropy, in nats."""
        of_truth = self.probabilities[np.arange(len(self.labels)), self.labels]
        return float(-np.log(np.maximum(of_truth, SMALLEST)).mean())

    def confusion(self) -> Array:
        """Return how many rows of each class, down, are taken for each class, across: (classes, classes)."""
        classes = len(self.class_names)
        return np.bincount(self.labels * classes + self.predicted, minlength=classes**2).reshape(classes, classes)

    def classes(self) -> list[ClassFigures]:
        """Return the figures of each class."""
        confusion = self.confusion()
        found: list[ClassFigures] = []
        for number, name in enumerate(self.class_names):
            right, rows, predicted = (
                int(count) for count in (confusion[number, number], confusion[number].sum(), confusion[:, number].sum())
            )
            f1 = 2 * right / (rows + predicted) if rows + predicted else None
            found.append(ClassFigures(name, rows, predicted, _share(right, predicted), _share(right, rows), f1))
        return found

    def calibration(self, bins: int = BINS) -> list[ReliabilityBin]:
        """Return bins of equal width of the confidence in the predicted class."""
        places = np.clip(np.ceil(self.confidence * bins).astype(np.int64) - 1, 0, bins - 1)
        found: list[ReliabilityBin] = []
        for place in range(bins):
            inside = places == place
            rows = int(inside.sum())
            means = [float(values[inside].mean()) if rows else None for values in (self.confidence, self.correct)]
            found.append(ReliabilityBin(place / bins, (place + 1) / bins, rows, *means))
        return found

    def calibration_error(self, bins: int = BINS) -> float:
        """Return the expected calibration error: the mean distance of accuracy and confidence over all rows."""
        found = self.calibration(bins)
        distances = [one.rows * abs((one.accuracy or 0.0) - (one.confidence or 0.0)) for one in found if one.rows]
        return math.fsum(distances) / len(self.labels)

    def mistakes(self, most: int | None = None) -> Array:
        """Return the numbers of the rows that are wrong, those with the most confidence first."""
        wrong = np.flatnonzero(~self.correct)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")][:most]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _probabilities(given: Any) -> Array:
    found = np.asarray(given, np.float64)
    if found.ndim == 1 or (found.ndim == 2 and found.shape[1] == 1):
        found = found.reshape(-1, 1)
        found = np.concatenate([1 - found, found], axis=1)
    if found.ndim != 2 or not len(found):
        raise DataError(f"Cannot report on outputs of shape {np.shape(given)}: a report needs one row of classes each.")
    if found.shape[1] > MOST_CLASSES:
        raise DataError(
            f"Cannot report on {found.shape[1]:,} classes: a report compares each with each, and at most "
            f"{MOST_CLASSES:,} are possible."
        )
    if (found < -SUM_TOLERANCE).any() or (np.abs(found.sum(axis=1) - 1) > SUM_TOLERANCE).any():
        raise DataError(
            "Cannot report on these outputs: the rows are not probabilities, whose sum is 1. Use a model that ends in "
            "softmax, or in a sigmoid for two classes."
        )
    return found


def _labels(given: Any, rows: int, classes: int) -> Array:
    found = np.asarray(given)
    if found.ndim == 2 and found.shape[1] == classes and classes > 1:
        found = found.argmax(axis=1)
    found = found.reshape(-1) if found.ndim == 2 and found.shape[1] == 1 else found
    if found.shape != (rows,) or found.dtype.kind not in "biuf":
        raise DataError(
            f"Cannot report on labels of shape {np.shape(given)} beside {rows:,} rows of outputs: a report needs one "
            "class for each."
        )
    numbers = found.astype(np.int64)
    if (numbers != found).any() or numbers.min() < 0 or numbers.max() >= classes:
        raise DataError(
            f"Cannot report on these labels: they must be whole numbers from 0 to {classes - 1}, and go from "
            f"{found.min()} to {found.max()}."
        )
    return numbers
