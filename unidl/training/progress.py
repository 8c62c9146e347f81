"""Progress output of a training run, for people and for programs."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from typing import IO, Any, Protocol

import numpy as np

REFRESH_SECONDS = 0.2
WAITING_SHARE = 0.05
"""Of the time of an epoch: steps that wait longer than this for data are told of."""

Metrics = dict[str, Any]
"""Values by name as in Keras's History: a float, or an array if the metric has several values."""


class Progress(Protocol):
    """Receives events from the trainer; it decides how often metrics are read."""

    def message(self, text: str) -> None:
        """Called for slow work outside of epochs."""
        ...

    def start(self, title: str, *, epochs: int, rows: int | None) -> None:
        """A run begins. rows: training rows an epoch, None if they are not known."""
        ...

    def epoch_started(self, epoch: int) -> None:
        """Called when an epoch, counted from 0, starts."""
        ...

    def wants_metrics(self) -> bool:
        """Return whether the metrics should be read now."""
        ...

    def advanced(self, rows_done: int, metrics: Metrics | None) -> None:
        """Report the number of finished rows of this epoch, and the metrics if they were read."""
        ...

    def epoch_ended(self, metrics: Metrics, seconds: float, waited: float = 0.0) -> None:
        """An epoch is over, validation included; seconds: of training alone; waited: those of them in which the steps
        waited for data."""
        ...

    def stop(self, why: str | None = None) -> None:
        """Called when the run ends; with the reason if it ended before its last epoch."""
        ...


def format_metrics(metrics: Mapping[str, Any]) -> str:
    """Format metrics: accuracies in percent, others with four digits, and for metrics with several
    values the mean."""
    words: list[str] = []
    for name, value in metrics.items():
        mean = float(np.mean(value))
        shown = f"{mean:.2%}" if name.endswith("accuracy") else f"{mean:.4g}"
        words.append(f"{'mean ' if np.ndim(value) else ''}{name.replace('_', ' ')} {shown}")
    return "  ".join(words)


def waiting(seconds: float, waited: float) -> str:
    """Say what share of the time the steps waited for data, if that is worth knowing."""
    share = waited / max(seconds, 1e-9)
    return f"  waited for data {share:.0%} of the time" if share > WAITING_SHARE else ""


def plain(value: Any) -> Any:
    """Return a metric's value for JSON: None for NaN and infinity, which JSON lacks; lists for arrays."""
    if np.ndim(value):
        return [plain(member) for member in value]
    number = float(value)
    return number if math.isfinite(number) else None


class QuietProgress:
    """Prints nothing."""

    def message(self, text: str) -> None: ...

    def start(self, title: str, *, epochs: int, rows: int | None) -> None: ...

    def epoch_started(self, epoch: int) -> None: ...

    def wants_metrics(self) -> bool:
        return False

    def advanced(self, rows_done: int, metrics: Metrics | None) -> None: ...

    def epoch_ended(self, metrics: Metrics, seconds: float, waited: float = 0.0) -> None: ...

    def stop(self, why: str | None = None) -> None: ...


class LineProgress(QuietProgress):
    """Prints one plain line per epoch, for files and pipes."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._epochs = self._epoch = self._rows_done = 0

    def message(self, text: str) -> None:
        self._say(text)

    def start(self, title: str, *, epochs: int, rows: int | None) -> None:
        self._epochs = epochs
        self._say(title)

    def epoch_started(self, epoch: int) -> None:
        self._epoch = epoch

    def advanced(self, rows_done: int, metrics: Metrics | None) -> None:
        self._rows_done = rows_done

    def epoch_ended(self, metrics: Metrics, seconds: float, waited: float = 0.0) -> None:
        speed = self._rows_done / max(seconds, 1e-9)
        epoch = f"epoch {self._epoch + 1:>{len(str(self._epochs))}}/{self._epochs}"
        self._say(
            f"{epoch}  {format_metrics(metrics)}  {speed:,.0f} samples/s  {seconds:.1f} s{waiting(seconds, waited)}"
        )

    def stop(self, why: str | None = None) -> None:
        if why:
            self._say(why)

    def _say(self, line: str) -> None:
        print(line, file=self._out, flush=True)


class JsonProgress(QuietProgress):
    """Prints one JSON object per line: {"event": "message" | "start" | "epoch" | "stop", ...}."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._epoch = self._rows_done = 0

    def message(self, text: str) -> None:
        self._say(event="message", text=text)

    def start(self, title: str, *, epochs: int, rows: int | None) -> None:
        self._say(event="start", title=title, epochs=epochs, rows=rows)

    def epoch_started(self, epoch: int) -> None:
        self._epoch = epoch

    def advanced(self, rows_done: int, metrics: Metrics | None) -> None:
        self._rows_done = rows_done

    def epoch_ended(self, metrics: Metrics, seconds: float, waited: float = 0.0) -> None:
        self._say(
            event="epoch",
            epoch=self._epoch + 1,
            metrics={name: plain(value) for name, value in metrics.items()},
            seconds=round(seconds, 3),
            samples_per_second=round(self._rows_done / max(seconds, 1e-9), 1),
            waiting_share=round(waited / max(seconds, 1e-9), 4),
        )

    def stop(self, why: str | None = None) -> None:
        self._say(event="stop", why=why)

    def _say(self, **event: Any) -> None:
        print(json.dumps(event, allow_nan=False), file=self._out, flush=True)


class Refresh:
    """Determines when a display is due again."""

    def __init__(self, seconds: float = REFRESH_SECONDS) -> None:
        self._seconds = seconds
        self._last = float("-inf")

    def due(self) -> bool:
        now = time.monotonic()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True
