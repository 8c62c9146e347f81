"""The results of a comparison, and the file that stores them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unidl.compare.cells import Cell, Group
from unidl.errors import UsageError
from unidl.reports import write_bytes

FORMAT = "unidl comparison"
SCHEMA = 1


@dataclass(frozen=True)
class Round:
    """One timed training of a few epochs. joules: energy used by the GPU; None where it is not measured. waiting_share:
    share of the time of the training steps in which they waited for data that is read from a disk."""

    rows: int
    seconds: float
    joules: float | None = None
    waiting_share: float | None = None

    @property
    def samples_per_second(self) -> float:
        """Rows trained per second."""
        return self.rows / self.seconds


@dataclass(frozen=True)
class Measurement:
    """The measurements of one cell, and the reason if they are incomplete."""

    cell: Cell
    failure: str | None = None
    why_incomplete: str | None = None
    """Why a measurement other than the rounds is missing."""
    rounds: tuple[Round, ...] = ()
    device: str | None = None
    device_name: str | None = None
    rows: int | None = None
    """Rows per epoch."""
    epochs: int | None = None
    """Epochs per round."""
    losses: tuple[float, ...] = ()
    """Losses before each of the first steps."""
    first_step_seconds: float | None = None
    """Seconds from the built model to the loss of the first step, including tracing and compiling."""
    ready_seconds: float | None = None
    """The same plus the extra time of the first epoch: seconds until training runs at full speed."""
    flops_per_sample: float | None = None
    """FLOPs of a training step per sample."""
    framework_peak_bytes: int | None = None
    process_peak_bytes: int | None = None
    inference_samples_per_second: float | None = None
    latency_p50_seconds: float | None = None
    latency_p99_seconds: float | None = None
    peak_flops_per_second: float | None = None
    """FLOP/s of a large matrix product in this precision."""
    kernels_off: tuple[str, ...] = ()
    """Sentences about unidl's kernels that are disabled with this Keras."""

    @property
    def rates(self) -> list[float]:
        """Samples per second of each round."""
        return [one.samples_per_second for one in self.rounds]


@dataclass(frozen=True)
class Run:
    """One comparison on one machine. Only measurements of the same run and group may be compared."""

    created: str
    """UTC time in ISO 8601 format."""
    unidl_version: str
    rounds: int
    seconds: float
    """Intended duration of a round."""
    environment: dict[str, Any]
    measurements: tuple[Measurement, ...]
    interrupted: bool = False

    def groups(self) -> Iterator[tuple[Group, list[Measurement]]]:
        """Return each group with its measurements, in the order of measurement."""
        found: dict[Group, list[Measurement]] = {}
        for measurement in self.measurements:
            found.setdefault(measurement.cell.group, []).append(measurement)
        yield from found.items()


def to_json(runs: Sequence[Run]) -> dict[str, Any]:
    """Return runs as JSON values."""
    return {"format": FORMAT, "schema": SCHEMA, "runs": [asdict(run) for run in runs]}


def from_json(values: Any) -> tuple[Run, ...]:
    """Return runs from the values of `to_json`. Raises KeyError, TypeError or ValueError for other values."""
    if values["format"] != FORMAT:
        raise ValueError(f"its format is {values['format']!r}")
    if values["schema"] != SCHEMA:
        raise ValueError(f"it has schema {values['schema']!r}, but this version of unidl reads {SCHEMA}")
    return tuple(_run(**run) for run in values["runs"])


def write(path: Path, runs: Sequence[Run]) -> None:
    """Write runs to a file atomically. Raises `UnidlError` if it cannot be written."""
    write_bytes(path, json.dumps(to_json(runs), indent=1, allow_nan=False).encode() + b"\n")


def read(path: Path) -> tuple[Run, ...]:
    """Read a file written by `write`. Raises `UsageError` if it does not exist, is damaged, or has another format."""
    try:
        return from_json(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"Cannot read '{path}': {error.strerror or error}.") from error
    except (KeyError, TypeError, ValueError) as error:
        said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UsageError(f"'{path}' is not a results.json of `unidl compare`: {said}.") from error


def _run(measurements: list[dict[str, Any]], **fields: Any) -> Run:
    return Run(measurements=tuple(_measurement(**row) for row in measurements), **fields)


def _measurement(
    cell: dict[str, Any],
    rounds: list[dict[str, Any]],
    losses: list[float],
    kernels_off: Sequence[str] = (),
    **fields: Any,
) -> Measurement:
    made = tuple(Round(**one) for one in rounds)
    return Measurement(Cell(**cell), rounds=made, losses=tuple(losses), kernels_off=tuple(kernels_off), **fields)
