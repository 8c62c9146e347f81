"""Text of a summary, shared by the table on the terminal and the Markdown report."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from unidl.compare.results import Run
from unidl.compare.summary import FASTEST_NATIVE, Row, Summary
from unidl.machine.environment import machine
from unidl.statistics import ROUNDS_TO_CLAIM, Interval
from unidl.tables import Table

LEGEND = (
    "Training samples per second: median of the rounds with its 95% interval. Bold: significantly faster than all "
    "others. ~ marks ratios not significantly different from 1. 'of peak': share of the best rate measured here, of a "
    "large matrix product or of whole steps. 'ready s': time until training runs at full speed, including "
    "compilation. Latency is for one row; memory is the peak. 'waits for data': share of the time of the training "
    "steps of unidl's loop in which they waited for rows that other threads read and decode; median of the rounds."
)


Column = tuple[str, Callable[[Row], str]]


def title(summary: Summary) -> str:
    """Return a title with the group and its device."""
    group = summary.group
    where = group.device if summary.device.lower().startswith(group.device) else f"{group.device} ({summary.device})"
    return f"{group.subject}, batch {group.batch_size}, {group.precision}, {where}"


def tables(summary: Summary) -> tuple[Table, Table]:
    """Return the columns of training speed, and the other columns."""
    speed: list[Column] = [("samples/s", _rate)]
    speed += [(f"x {name}", _ratio(name)) for name in ("native", "keras", FASTEST_NATIVE) if _has(summary, name)]
    if any(row.waiting_share is not None for row in summary.rows):
        speed.append(("waits for data", _waiting))
    speed += [("GFLOP/s", _flops), ("of peak", _share)]
    rest: list[Column] = [
        ("first step s", lambda row: _seconds(row.measurement.first_step_seconds)),
        ("ready s", lambda row: _seconds(row.measurement.ready_seconds)),
        ("inference samples/s", lambda row: _number(row.measurement.inference_samples_per_second)),
        ("p50 ms", lambda row: _milli(row.measurement.latency_p50_seconds)),
        ("p99 ms", lambda row: _milli(row.measurement.latency_p99_seconds)),
        ("process MiB", lambda row: _mebibytes(row.measurement.process_peak_bytes)),
    ]
    if any(row.measurement.framework_peak_bytes is not None for row in summary.rows):
        rest.append(("device MiB", lambda row: _mebibytes(row.measurement.framework_peak_bytes)))
    if any(row.joules_per_sample is not None for row in summary.rows):
        rest.append(("mJ/sample", lambda row: _milli(row.joules_per_sample)))
    return _table(summary.rows, speed), _table(summary.rows, rest)


def remarks(summary: Summary) -> list[str]:
    """Return remarks on the numbers: reasons of failed rows, and the smallest difference that can be resolved."""
    lines = [f"{row.measurement.cell.title}: failed: {row.measurement.failure}" for row in summary.rows if _failed(row)]
    lines += [f"{row.measurement.cell.title}: {row.why_not_compared}" for row in summary.rows if row.why_not_compared]
    lines += [f"{row.measurement.cell.title}: {why}" for row in summary.rows for why in row.measurement.kernels_off]
    incomplete = [row.measurement for row in summary.rows if row.measurement.why_incomplete]
    lines += [f"{one.cell.title}: incomplete: {one.why_incomplete}" for one in incomplete]
    if summary.twins is None or summary.resolution is None:
        return [*lines, "A/A: the first cell was not measured twice, so no difference is claimed."]
    same = f"A/A: measuring the first cell twice gives {interval(summary.twins)}"
    if summary.rounds < ROUNDS_TO_CLAIM:
        return [*lines, f"{same}; no difference is claimed with fewer than {ROUNDS_TO_CLAIM} rounds."]
    return [*lines, f"{same}; no difference below {summary.resolution - 1:.1%} is claimed."]


def about(run: Run) -> list[str]:
    """Return the machine and the settings of the measurement."""
    lines = [
        machine(run.environment),
        f"unidl {run.unidl_version}, {run.created}, {run.rounds} rounds of {run.seconds:g} s",
    ]
    load = run.environment.get("load_average")
    cores = run.environment["processor"]["usable_cores"] or 1
    if load is not None and load > 0.2 * cores:
        lines.append(f"The machine was busy at the start: load average {load:.1f} on {cores} cores.")
    if run.interrupted:
        lines.append("Interrupted: the results are incomplete.")
    return lines


def interval(found: Interval) -> str:
    """Format a ratio with its interval."""
    return f"{found.median:.2f} ({found.low:.2f}-{found.high:.2f})"


def _table(rows: Sequence[Row], columns: Sequence[Column]) -> Table:
    return Table(
        ("backend", "implementation", *(heading for heading, _ in columns)),
        tuple(
            (row.measurement.cell.backend, row.measurement.cell.implementation, *(text(row) for _, text in columns))
            for row in rows
        ),
        tuple(row.best for row in rows),
    )


def _failed(row: Row) -> bool:
    return row.measurement.failure is not None


def _has(summary: Summary, name: str) -> bool:
    return any(name in row.ratios for row in summary.rows)


def _rate(row: Row) -> str:
    if row.rate is None:
        return "failed" if _failed(row) else "-"
    return f"{_number(row.rate.median)} ({_number(row.rate.low)}-{_number(row.rate.high)})"


def _ratio(name: str) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        found = row.ratios.get(name)
        return "-" if found is None else f"{'' if found.claimed else '~'}{interval(found.interval)}"

    return text


def _flops(row: Row) -> str:
    return "-" if row.flops_per_second is None else f"{row.flops_per_second / 1e9:,.1f}"


def _share(row: Row) -> str:
    return "-" if row.share_of_peak is None else f"{row.share_of_peak:.0%}"


def _waiting(row: Row) -> str:
    return "-" if row.waiting_share is None else f"{row.waiting_share:.0%}"


def _number(value: float | None) -> str:
    """Format a number with at least three digits."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _milli(value: float | None) -> str:
    return "-" if value is None else f"{value * 1000:.3g}"


def _mebibytes(value: int | None) -> str:
    return "-" if value is None else f"{value / 2**20:,.0f}"
