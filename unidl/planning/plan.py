"""The plan of a training or of inference: one row for each GPU, and which is best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unidl.machine.data_sheets import DataSheet
from unidl.planning import arithmetic
from unidl.planning.assumed import PUBLISHED, Efficiency
from unidl.planning.calibration import Calibration
from unidl.planning.costs import ModelCost
from unidl.planning.memory import MemoryNeed, largest_batch, memory_need, usable_bytes
from unidl.planning.roofline import LayerTime, layer_times, shares
from unidl.precision import named
from unidl.precision_row import Precision

AUTO = "auto"


@dataclass(frozen=True)
class Job:
    """What is to be computed. rows, epochs: of a whole run; None if unknown. precision: a name, or "auto"."""

    cost: ModelCost
    batch_size: int
    rows: int | None = None
    epochs: int | None = None
    training: bool = True
    precision: str = AUTO
    calibration: Calibration | None = None

    @property
    def steps(self) -> int | None:
        """Steps of a whole run."""
        if self.rows is None or self.epochs is None:
            return None
        return self.epochs * math.ceil(self.rows / self.batch_size)


@dataclass(frozen=True)
class Row:
    """One GPU. why_not: why it cannot do the job, as a clause; then times are None. price: for an hour."""

    sheet: DataSheet
    precision: Precision
    memory: MemoryNeed | None
    largest_batch: int
    times: tuple[LayerTime, ...]
    batch_size: int
    steps: int | None
    price: float | None
    why_not: str | None = None
    cannot: str | None = None
    """What it lacks: "memory" or "units"."""

    @property
    def step_seconds(self) -> float | None:
        """Seconds of a step."""
        return sum(time.seconds for time in self.times) if self.why_not is None else None

    @property
    def rows_per_second(self) -> float | None:
        """Rows that go through in a second."""
        seconds = self.step_seconds
        return None if seconds is None else self.batch_size / seconds

    @property
    def run_seconds(self) -> float | None:
        """Seconds of the whole run."""
        seconds = self.step_seconds
        return None if seconds is None or self.steps is None else self.steps * seconds

    @property
    def run_kilowatt_hours(self) -> float | None:
        """Energy of the run at the power limit of the board, which is the most that it can be."""
        seconds = self.run_seconds
        return None if seconds is None else seconds * self.sheet.power_watts / 3.6e6

    @property
    def run_cost(self) -> float | None:
        """Price of the run, in the unit of the price for an hour."""
        seconds = self.run_seconds
        return None if seconds is None or self.price is None else seconds / 3600 * self.price

    @property
    def cost_of_million_rows(self) -> float | None:
        """Price of a million rows, likewise."""
        speed = self.rows_per_second
        return None if speed is None or self.price is None else 1e6 / speed / 3600 * self.price

    @property
    def bound(self) -> str | None:
        """What limits it most, as in `unidl.planning.roofline.BOUNDS`."""
        found = shares(self.times)
        return max(found, key=lambda bound: found[bound]) if self.times else None


@dataclass(frozen=True)
class Plan:
    """All rows in the order in which they were asked for; best: the place of the best one, None if none can do it."""

    job: Job
    rows: tuple[Row, ...]
    best: int | None
    reason: str
    efficiency: Efficiency


def plan(
    job: Job,
    sheets: Sequence[DataSheet],
    *,
    prices: Mapping[str, float] | None = None,
    efficiency: Efficiency = PUBLISHED,
) -> Plan:
    """Return the plan. prices: for an hour, by the names of GPUs.

    Raises `PrecisionError` for an unknown precision, or one in which no model can be trained.
    """
    rows = tuple(_row(job, sheet, (prices or {}).get(sheet.name), efficiency) for sheet in sheets)
    best = _best(rows)
    return Plan(job, rows, best, _reason(job, rows, best), efficiency)


def _row(job: Job, sheet: DataSheet, price: float | None, efficiency: Efficiency) -> Row:
    precision = arithmetic.automatic(sheet) if job.precision == AUTO else named(job.precision)
    how: dict[str, Any] = {"training": job.training, "calibration": job.calibration}
    memory = memory_need(job.cost, precision, job.batch_size, **how)
    most = largest_batch(job.cost, precision, sheet.memory_bytes, **how)
    why_not = arithmetic.why_not(precision, sheet)
    cannot = None if why_not is None else "units"
    if why_not is None and memory.total > usable_bytes(sheet.memory_bytes):
        cannot = "memory"
        why_not = f"its {sheet.memory_gb:g} GB hold " + (
            f"batches of up to {most}" if most else "no batch of this model"
        )
    times: tuple[LayerTime, ...] = ()
    if why_not is None:
        times = layer_times(job.cost, sheet, precision, job.batch_size, efficiency, training=job.training)
    return Row(sheet, precision, memory, most, times, job.batch_size, job.steps, price, why_not, cannot)


def _best(rows: Sequence[Row]) -> int | None:
    """Return the place of the cheapest of those with a price, if any has one, else of the fastest."""
    possible = {place: row for place, row in enumerate(rows) if row.why_not is None}
    priced = {place: row for place, row in possible.items() if row.price is not None}
    if priced:
        return min(priced, key=lambda place: priced[place].cost_of_million_rows or 0.0)
    return min(possible, key=lambda place: possible[place].step_seconds or 0.0, default=None)


def _reason(job: Job, rows: Sequence[Row], best: int | None) -> str:
    """Return in words why the best one is it, and what holds the others back."""
    if best is None:
        most = max((row.largest_batch for row in rows), default=0)
        hint = f"Use batches of at most {most}." if most else "Use a smaller model, or another precision."
        return f"None of them can do it with batches of {job.batch_size}. {hint}"
    row = rows[best]
    what = "cheapest" if row.price is not None else "fastest"
    limits = {
        "computing": f"computing limits it: {shares(row.times)['computing']:.0%} of a step is in layers that wait for "
        "the arithmetic",
        "bandwidth": f"bandwidth limits it: {shares(row.times)['bandwidth']:.0%} of a step is in layers that wait for "
        "the memory",
        "launches": f"starting kernels limits it: {shares(row.times)['launches']:.0%} of a step is in layers too small "
        "for a GPU; larger batches cost little more time",
    }
    said = [f"{row.sheet.name} is the {what}: {limits[row.bound or 'computing']}."]
    if row.largest_batch:
        said.append(f"Its {row.sheet.memory_gb:g} GB hold batches of up to {row.largest_batch:,}.")
    kinds = _kinds(row)
    if kinds:
        said.append(f"Most of the time is in {kinds}.")
    without = sum(other.why_not is not None for other in rows)
    if without:
        said.append(f"{without} of {len(rows)} cannot do it; the table says why.")
    return " ".join(said)


def _kinds(row: Row, most: int = 2) -> str:
    """Return the kinds of layers that take most of the step, each with its share."""
    total = sum(time.seconds for time in row.times) or 1.0
    found: dict[str, float] = {}
    for time in row.times:
        found[time.kind] = found.get(time.kind, 0.0) + time.seconds / total
    ordered = sorted(found, key=lambda kind: found[kind], reverse=True)[:most]
    return " and ".join(f"{kind} ({found[kind]:.0%})" for kind in ordered)
