"""The page: runs side by side, their curves and mistakes, comparisons, certificates by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unidl.agreement import wording as agreement
from unidl.agreement.certificate import Certificate
from unidl.compare import wording as comparing
from unidl.compare.chart import can_draw, chart
from unidl.compare.results import Run
from unidl.compare.summary import summarize
from unidl.deploy.certificate import ExportCertificate
from unidl.machine.environment import machine
from unidl.overview.curves import curves
from unidl.overview.subjects import ReadRun, Subjects
from unidl.report.page import heading, page, paragraph, picture, shaded_table, table
from unidl.tables import Table

HIDDEN = ("versions", "data_origin")
"""Settings that are too long for a table."""
MOST_CLASSES = 60


def html(subjects: Subjects, title: str) -> bytes:
    """Return the page: one file that needs no other, and no script to be read."""
    parts = [*_runs(subjects.runs), *_comparisons(subjects.comparisons)]
    for certificate in subjects.certificates:
        parts += _certificate(certificate)
    for export in subjects.exports:
        parts += _export(export)
    return page(title, parts)


def _runs(runs: Sequence[ReadRun]) -> list[str]:
    if not runs:
        return []
    runs = sorted(runs, key=_rank)
    parts = [heading("Runs" if len(runs) > 1 else "The run"), _side_by_side(runs)]
    drawn = curves(runs)
    if drawn is not None:
        parts += [heading("Curves"), picture(drawn, "the metrics of each run by epoch")]
    for run in runs:
        parts += _figures(run)
    return parts


def _rank(run: ReadRun) -> float:
    """The last validation loss, or the last loss: the best run comes first."""
    metrics = run.found.metrics
    return metrics.get("val_loss", metrics.get("loss", float("inf")))


def _side_by_side(runs: Sequence[ReadRun]) -> str:
    """A row for each setting and metric, a column for each run: settings that are equal are left out beside others."""
    names = list(dict.fromkeys(name for run in runs for name in run.found.settings if name not in HIDDEN))
    if len(runs) > 1:
        names = [name for name in names if len({str(run.found.settings.get(name)) for run in runs}) > 1]
    names = [name for name in names if any(run.found.settings.get(name) is not None for run in runs)]
    metrics = list(dict.fromkeys(name for run in runs for name in run.found.metrics))
    rows = [[name.replace("_", " "), *(_cell(run.found.settings.get(name)) for run in runs)] for name in names]
    rows += [[name.replace("_", " "), *(_cell(run.found.metrics.get(name)) for run in runs)] for name in metrics]
    rows.append(["saved", *(run.found.saved for run in runs)])
    said = "Settings that differ, and the metrics of the last epoch; the lowest loss first." if len(runs) > 1 else ""
    return table(("", *(str(run.found.path) for run in runs)), rows, said)


def _figures(run: ReadRun) -> list[str]:
    """What `unidl train --report` has found on the test rows."""
    if run.figures is None:
        return []
    found = run.figures
    names = [one["name"] for one in found["classes"]]
    parts = [heading(f"Test rows of {run.found.path}")]
    parts.append(paragraph(f"{found['rows']:,} rows, accuracy {found['accuracy']:.2%}."))
    if len(names) <= MOST_CLASSES:
        rows = list(zip(names, found["confusion"], strict=True))
        parts.append(shaded_table("Down: the class of a row. Across: what it was taken for.", names, rows))
    if run.mistakes is not None:
        parts.append(paragraph("The most confident mistakes; below each: class > prediction, and its confidence."))
        parts.append(picture(run.mistakes, "the most confident mistakes"))
    return parts


def _comparisons(runs: Sequence[Run]) -> list[str]:
    if not runs:
        return []
    parts = [heading("Speed")]
    if can_draw():
        parts.append(picture(chart(runs), "samples per second of each backend and implementation, with intervals"))
    for run in runs:
        parts += [paragraph(line) for line in comparing.about(run)]
        for summary in summarize(run):
            speed, rest = comparing.tables(summary)
            parts += [_table(speed, comparing.title(summary)), _table(rest)]
            parts += [paragraph(line) for line in comparing.remarks(summary)]
    return [*parts, paragraph(comparing.LEGEND)]


def _certificate(one: Certificate) -> list[str]:
    parts = [heading(f"Certificate: {agreement.verdict(one)}")]
    parts += [paragraph(line) for line in (*agreement.about(one), machine(dict(one.environment)))]
    parts.append(_table(agreement.trials(one)))
    parts += [paragraph(line.strip()) for line in agreement.remarks(one)]
    parts += [_table(agreement.layers(one, trial), str(trial)) for trial in one.trials if trial.failure is None]
    return [*parts, paragraph(agreement.LEGEND)]


def _export(one: ExportCertificate) -> list[str]:
    return [heading(f"Export: {one.summary()}"), paragraph(f"rows: {one.rows}"), _table(one.table())]


def _table(content: Table, caption: str = "") -> str:
    return table(content.headings, content.rows, caption)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
