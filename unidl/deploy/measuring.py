"""A file in fewer bits measured beside the one in float32: accuracy, same classes, bytes and speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unidl.deploy.precisions import LEAST_SAME_CLASS, MOST_LOST

BATCH = 256
SINGLE_CALLS = 200
"""Calls with one row, of which the median counts."""
BATCH_CALLS = 10
PERCENT = 100
FASTER = 0.95
"""Share of the time of float32 that a file takes at most to be called faster: repeated measurements differ by less."""

Outputs = Callable[[Sequence[np.ndarray[Any, Any]]], list[np.ndarray[Any, Any]]]


@dataclass(frozen=True)
class Measured:
    """A file in fewer bits beside the one in float32, by the same runtime on the same rows.

    calibrated_on: the rows on which ranges were found, in words; None if there are none. rows: of the test data.
    accuracy: share of the labels found, of this file and of float32; None without classes. same_class: share of rows
    with the same class. milliseconds: the median for one row. rows_per_second: in batches of 256. Pairs are this file,
    then float32.
    """

    calibrated_on: str | None
    rows: int
    accuracy: tuple[float, float] | None
    same_class: float | None
    bytes: tuple[int, int]
    milliseconds: tuple[float, float]
    rows_per_second: tuple[float, float]

    def why_not(self) -> str | None:
        """Return what was lost that may not be; None if nothing was."""
        if self.same_class is not None and self.same_class < LEAST_SAME_CLASS:
            return f"{self.same_class:.1%} of {self.rows} test rows get the same class as in float32"
        if self.accuracy is not None and self.accuracy[1] - self.accuracy[0] > MOST_LOST:
            return f"the accuracy falls from {self.accuracy[1]:.2%} to {self.accuracy[0]:.2%}"
        return None

    def summary(self) -> str:
        """Return it in one line, which calls the file faster only where it was."""
        words = [f"{self.bytes[0] / self.bytes[1]:.0%} of the bytes of float32"]
        if self.accuracy is not None:
            lost = PERCENT * (self.accuracy[1] - self.accuracy[0])
            words.append(f"accuracy {self.accuracy[0]:.2%} ({lost:+.2f} points lost)")
        if self.same_class is not None:
            words.append(f"{self.same_class:.1%} of {self.rows} test rows in the same class")
        single = self.milliseconds[0] / self.milliseconds[1]
        batch = self.rows_per_second[1] / self.rows_per_second[0]
        words += [_speed("one row", single), _speed(f"batches of {BATCH}", batch)]
        return "; ".join(words)


def measured(
    fewer: Outputs,
    full: Outputs,
    inputs: Sequence[np.ndarray[Any, Any]],
    labels: np.ndarray[Any, Any] | None,
    **known: Any,
) -> Measured:
    """Compute the outputs for all rows by both, and measure both in turns.

    labels: of the rows, (rows,), or None. known: the fields of `Measured` that are not measured."""
    rows = len(inputs[0])
    found = [_all(one, inputs) for one in (fewer, full)]
    classes = [values.argmax(-1) for values in found] if found[0].ndim > 1 and found[0].shape[-1] > 1 else None
    accuracy: tuple[float, float] | None = None
    same: float | None = None
    if classes is not None:
        same = float((classes[0] == classes[1]).mean())
        if labels is not None and labels.shape == classes[0].shape:
            accuracy = float((classes[0] == labels).mean()), float((classes[1] == labels).mean())
    single = _seconds(fewer, full, [leaf[:1] for leaf in inputs], SINGLE_CALLS)
    places = np.arange(BATCH) % rows
    batch = _seconds(fewer, full, [leaf[places] for leaf in inputs], BATCH_CALLS)
    return Measured(
        rows=rows,
        accuracy=accuracy,
        same_class=same,
        milliseconds=(1000 * single[0], 1000 * single[1]),
        rows_per_second=(BATCH / batch[0], BATCH / batch[1]),
        **known,
    )


def measured_in(values: Mapping[str, Any]) -> Measured:
    """Return what JSON holds."""
    known: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return Measured(**known)


def _all(outputs: Outputs, inputs: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Return the first output for all rows."""
    starts = range(0, len(inputs[0]), BATCH)
    return np.concatenate([outputs([leaf[first : first + BATCH] for leaf in inputs])[0] for first in starts])


def _seconds(one: Outputs, other: Outputs, batch: Sequence[np.ndarray[Any, Any]], calls: int) -> tuple[float, float]:
    """Return the median time of a call of each, measured in turns."""
    times: tuple[list[float], list[float]] = [], []
    for _ in range(calls):
        for outputs, taken in zip((one, other), times, strict=True):
            start = time.perf_counter()
            outputs(batch)
            taken.append(time.perf_counter() - start)
    return float(np.median(times[0])), float(np.median(times[1]))


def _speed(what: str, share: float) -> str:
    if share <= FASTER:
        return f"{what} {1 / share:.1f} times as fast here"
    return f"{what} not faster here ({share:.1f} times the time)"
