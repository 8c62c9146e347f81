"""Windows over series, cut when they are needed: a series of a million steps is not copied for each of them."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from unidl.backend import Batches
from unidl.data.numbers import computed_type
from unidl.data.source import Rows
from unidl.errors import DataError, UsageError
from unidl.shortening import shown

HASHED_BYTES = 2**24
"""A series of no more is hashed whole; of a longer one the beginning and the end."""


class Windows:
    """Windows over a series, as a source: of each so many steps, and what is to be predicted from them.

    Args:
        series: The steps, of shape (time, features) or (time,), which becomes (time, 1); memory-mapped, if it is long.
        length: Steps of a window: x has the shape (windows, length, features).
        targets: What is to be predicted, of shape (time,) or (time, ...), one for each step; None takes the series.
        horizon: How many steps behind the end of a window its target is: 1 is the next step.
        each_step: Whether there is a target for each step of a window, `horizon` steps behind it, and not for the last
            one alone: y then has the shape (windows, length, ...).
        stride: Steps from the beginning of one window to that of the next.

    Raises:
        DataError: If the series is shorter than one window, or there is no target for each of its steps.

    Example:
        trainer.fit(unidl.data.Windows(temperatures, length=48), validation_split=0.2)
    """

    def __init__(
        self,
        series: Any,
        length: int,
        *,
        targets: Any = None,
        horizon: int = 1,
        each_step: bool = False,
        stride: int = 1,
    ) -> None:
        for name, value, least in (("length", length, 1), ("horizon", horizon, 0), ("stride", stride, 1)):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise UsageError(f"{name} must be a whole number of at least {least}, not {shown(value)}.")
        steps = np.asanyarray(series)
        steps = steps[:, np.newaxis] if steps.ndim == 1 else steps
        aims = steps if targets is None else np.asanyarray(targets)
        if steps.ndim != 2 or steps.dtype.kind not in "biuf":
            raise DataError(
                f"A series is numbers of shape (time, features) or (time,), not {steps.dtype} of shape {steps.shape}."
            )
        if len(aims) != len(steps):
            raise DataError(f"There must be a target for each step: the series has {len(steps)}, targets {len(aims)}.")
        last = len(steps) - length - horizon
        if last < 0:
            raise DataError(
                f"The series has {len(steps)} steps, and a window of {length} with a target {horizon} behind it needs "
                f"{length + horizon}. Pass a longer series, or take shorter windows."
            )
        self._steps, self._aims = steps, aims
        self._length, self._horizon, self._each, self._stride = int(length), int(horizon), bool(each_step), int(stride)
        self._count = last // self._stride + 1
        aim = ((self._length,) if each_step else ()) + aims.shape[1:]
        self.form = Batches(
            np.empty((0, self._length, steps.shape[1]), computed_type(steps.dtype)),
            np.empty((0, *aim), computed_type(aims.dtype)),
        )

    def __len__(self) -> int:
        return self._count

    def read(self, rows: Rows) -> Batches:
        """Return windows with their targets."""
        first = np.asarray(rows)[:, np.newaxis] * self._stride
        inside = first + np.arange(self._length)
        aims = inside + self._horizon if self._each else inside[:, -1] + self._horizon
        return Batches(self._steps[inside], self._aims[aims])

    def fingerprint(self) -> str:
        """A hash of the series, its targets and how it is cut."""
        cut = (self._length, self._horizon, self._each, self._stride, self._steps.shape, self._aims.shape)
        found = hashlib.sha256(repr(cut).encode())
        for array in (self._steps, self._aims):
            most = max(1, HASHED_BYTES // max(array.nbytes // len(array), 1))
            parts = [array] if len(array) <= most else [array[: most // 2 + 1], array[-(most // 2 + 1) :]]
            for part in parts:
                found.update(np.ascontiguousarray(part).tobytes())
        return found.hexdigest()

    def where(self, row: int) -> str:
        """Which steps a window has."""
        first = row * self._stride
        return f"the steps {first} to {first + self._length - 1} of the series"
