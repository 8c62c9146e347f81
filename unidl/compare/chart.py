"""A bar chart of a comparison, drawn with matplotlib."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from typing import Any

from unidl.compare import wording
from unidl.compare.results import Run
from unidl.compare.summary import Row, Summary, summarize

COLOURS = {"unidl": "#0072b2", "unidl-features": "#56b4e9", "keras": "#e69f00", "native": "#7f7f7f"}
"""Distinguishable by colour-blind readers (Okabe & Ito 2008, "Color Universal Design")."""
OTHER_COLOUR = "#cc79a7"
BAR_INCHES = 0.26
GROUP_INCHES = 0.9
WIDTH_INCHES = 8.0
ROOM_FOR_TEXT = 1.35
"""Length of the axis relative to the longest bar: the numbers are drawn next to the bars."""

WHY_NO_CHART = "no chart: matplotlib is not installed (pip install 'unidl[plot]')"


def can_draw() -> bool:
    """Return whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def chart(runs: Sequence[Run]) -> bytes:
    """Return a PNG: one bar per cell with its interval, in groups; the fastest is bold."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    summaries = [summary for run in runs for summary in summarize(run)]
    heights = [GROUP_INCHES + BAR_INCHES * len(summary.rows) for summary in summaries]
    figure = Figure(figsize=(WIDTH_INCHES, sum(heights)), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    all_axes = figure.subplots(len(summaries), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axes, summary in zip(all_axes[:, 0], summaries, strict=True):
        _draw(axes, summary)
    stream = io.BytesIO()
    canvas.print_figure(stream, format="png", dpi=150)
    return stream.getvalue()


def _draw(axes: Any, summary: Summary) -> None:
    rows = summary.rows
    places = range(len(rows))
    medians = [row.rate.median if row.rate else 0.0 for row in rows]
    errors = [[_below(row) for row in rows], [_above(row) for row in rows]]
    colours = [COLOURS.get(row.measurement.cell.implementation, OTHER_COLOUR) for row in rows]
    axes.barh(places, medians, xerr=errors, color=colours, height=0.75, error_kw={"ecolor": "black", "capsize": 2})
    axes.set_yticks(places, [row.measurement.cell.title for row in rows])
    axes.invert_yaxis()
    longest = max((row.rate.high for row in rows if row.rate), default=1.0)
    for place, row in enumerate(rows):
        end = row.rate.high if row.rate else 0.0
        weight = "bold" if row.best else "normal"
        axes.text(end + 0.01 * longest, place, _text(row), va="center", fontsize=8, fontweight=weight)
    axes.set_xlim(0, longest * ROOM_FOR_TEXT)
    axes.set_title(wording.title(summary), loc="left", fontsize=10)
    axes.set_xlabel("training, samples/s", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _text(row: Row) -> str:
    if row.rate is None:
        return "failed" if row.measurement.failure else "not measured"
    text = f"{row.rate.median:,.0f}" if row.rate.median >= 100 else f"{row.rate.median:.3g}"
    if row.why_not_compared:
        return f"{text}, loss differs"
    native = row.ratios.get("native")
    if native is None:
        return text
    return f"{text}, {'' if native.claimed else '~'}{native.interval.median:.2f} x native"


def _below(row: Row) -> float:
    return row.rate.median - row.rate.low if row.rate else 0.0


def _above(row: Row) -> float:
    return row.rate.high - row.rate.median if row.rate else 0.0
