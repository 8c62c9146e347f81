"""Summary of the measurements of a group, independent of how it is displayed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from unidl import statistics
from unidl.compare.cells import OURS, Group
from unidl.compare.results import Measurement, Run
from unidl.precision import named
from unidl.statistics import Interval

FASTEST_NATIVE = "fastest native"


@dataclass(frozen=True)
class Ratio:
    """Speed relative to another cell. claimed: whether the difference is significant."""

    interval: Interval
    claimed: bool


@dataclass(frozen=True)
class Row:
    """One cell of a group; unknown values are None."""

    measurement: Measurement
    rate: Interval | None
    """Samples per second."""
    why_not_compared: str | None
    ratios: dict[str, Ratio]
    """Ratios to the same backend's "native" and "keras", and to the "fastest native" of all backends in the group."""
    flops_per_second: float | None
    share_of_peak: float | None
    joules_per_sample: float | None
    waiting_share: float | None
    """Median share of the time of the training steps in which they waited for data from a disk."""
    best: bool = False
    """Whether the cell is significantly faster than every other cell of the group."""


@dataclass(frozen=True)
class Summary:
    """One group. rows: without the twin."""

    group: Group
    device: str
    rounds: int
    rows: tuple[Row, ...]
    twins: Interval | None
    resolution: float | None


def summarize(run: Run) -> list[Summary]:
    """Return a summary of every group of a run."""
    peaks = _peaks(run)
    return [_summary(group, members, peaks[group.device, group.precision]) for group, members in run.groups()]


def why_not_compared(one: Measurement, members: Sequence[Measurement]) -> str | None:
    """Return why a cell does not do the same work as unidl's loop on its backend, or on another if that one failed."""
    ours = [each for each in members if each.cell.implementation == "unidl" and not each.failure and each.losses]
    ours.sort(key=lambda each: each.cell.backend != one.cell.backend)
    if one.failure or not ours:
        return None
    tolerance = named(one.cell.precision).loss_tolerance
    for step, (loss, expected) in enumerate(zip(one.losses, ours[0].losses, strict=True), start=1):
        if not abs(loss - expected) <= tolerance * abs(expected):  # so that NaN fails
            return (
                f"not compared: its loss in step {step} is {loss:.6g}, that of {ours[0].cell.title} {expected:.6g}, "
                f"and {one.cell.precision} allows a difference of {tolerance:g} of it"
            )
    return None


def _peaks(run: Run) -> dict[tuple[str, str], float]:
    """Return the best rate of a run on each device in each precision, in FLOP/s; 0 where unknown. It is that of a
    large matrix product, or of faster training steps if the machine was busy during the product; over all models."""
    found: dict[tuple[str, str], float] = {}
    for group, members in run.groups():
        rates = [*(one.peak_flops_per_second for one in members), *map(_flops_per_second, _comparable(members))]
        setting = group.device, group.precision
        found[setting] = max([found.get(setting, 0.0), *filter(None, rates)])
    return found


def _summary(group: Group, members: Sequence[Measurement], peak: float) -> Summary:
    twins = _twins(members)
    resolved = statistics.resolution(twins) if twins else None
    comparable = _comparable(members)
    best = _best(comparable, resolved)
    rows = [
        _row(one, why_not_compared(one, members), _ratios(one, comparable, resolved), peak, best=one is best)
        for one in members
        if not one.cell.twin
    ]
    device = next((one.device_name or one.device for one in members if one.device), group.device)
    rounds = max(len(one.rounds) for one in members)
    return Summary(group, device, rounds, tuple(rows), twins, resolved)


def _comparable(members: Sequence[Measurement]) -> list[Measurement]:
    """Return the measured cells that do the expected work, without the twin."""
    measured = [one for one in members if not one.cell.twin and not one.failure and one.rounds]
    return [one for one in measured if why_not_compared(one, members) is None]


def _flops_per_second(one: Measurement) -> float | None:
    if one.failure or not one.rounds or not one.flops_per_sample:
        return None
    return median(one.rates) * one.flops_per_sample


def _row(one: Measurement, reason: str | None, ratios: dict[str, Ratio], peak: float, *, best: bool) -> Row:
    rate = statistics.median_interval(one.rates) if one.rounds and not one.failure else None
    flops = _flops_per_second(one)
    shares = [each.waiting_share for each in one.rounds if each.waiting_share is not None]
    joules = [each.joules / each.rows for each in one.rounds if each.joules is not None]
    return Row(
        one,
        rate,
        reason,
        ratios,
        flops,
        flops / peak if flops and peak else None,
        median(joules) if joules else None,
        median(shares) if shares else None,
        best,
    )


def _twins(members: Sequence[Measurement]) -> Interval | None:
    """Return the ratio of the twin to the cell it repeats."""
    for twin in members:
        if twin.cell.twin and not twin.failure:
            for one in members:
                if not one.failure and not one.cell.twin and one.cell.title == twin.cell.title.removesuffix(" (twin)"):
                    return statistics.ratio(twin.rates, one.rates)
    return None


def _ratios(one: Measurement, comparable: Sequence[Measurement], resolved: float | None) -> dict[str, Ratio]:
    if one not in comparable:
        return {}
    bases = {
        each.cell.implementation: each
        for each in comparable
        if each.cell.backend == one.cell.backend and each.cell.implementation not in OURS
    }
    natives = [each for each in comparable if each.cell.implementation == "native"]
    if len({each.cell.backend for each in comparable}) > 1 and natives:
        bases[FASTEST_NATIVE] = max(natives, key=lambda each: median(each.rates))
    found: dict[str, Ratio] = {}
    for name, base in bases.items():
        ratio = _ratio(one, base, resolved)
        if base is not one and ratio is not None:
            found[name] = ratio
    return found


def _ratio(one: Measurement, base: Measurement, resolved: float | None) -> Ratio | None:
    interval = statistics.ratio(one.rates, base.rates)
    if interval is None:
        return None
    return Ratio(interval, statistics.differs(interval, resolved, min(len(one.rounds), len(base.rounds))))


def _best(comparable: Sequence[Measurement], resolved: float | None) -> Measurement | None:
    """Return the fastest cell if it is significantly faster than all others."""
    if len(comparable) < 2:
        return None
    fastest = max(comparable, key=lambda one: median(one.rates))
    ratios = [_ratio(fastest, other, resolved) for other in comparable if other is not fastest]
    return fastest if all(ratio and ratio.claimed and ratio.interval.median > 1 for ratio in ratios) else None
