"""The curves of runs, one panel a metric, all runs in each."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unidl.training.run_directory import require_plotting

if TYPE_CHECKING:
    from unidl.overview.subjects import ReadRun

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#7f7f7f", "#f0e442")
"""Distinguishable by colour-blind readers (Okabe & Ito 2008, "Color Universal Design")."""
MOST_PANELS = 6


def curves(runs: Sequence[ReadRun]) -> bytes | None:
    """Return a PNG; None if no run has a history. Raises `UsageError` without matplotlib."""
    names = list(dict.fromkeys(name.removeprefix("val_") for run in runs for name in run.history))
    names = sorted(names, key=lambda name: name != "loss")[:MOST_PANELS]
    if not names:
        return None
    require_plotting()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across = min(2, len(names))
    down = -(-len(names) // across)
    figure = Figure(figsize=(4.8 * across, 3.2 * down), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for place, name in enumerate(names, start=1):
        _draw(figure.add_subplot(down, across, place), name, runs)
    picture = io.BytesIO()
    canvas.print_figure(picture, format="png", dpi=110)
    return picture.getvalue()


def _draw(axes: Any, name: str, runs: Sequence[ReadRun]) -> None:
    from matplotlib.ticker import MaxNLocator

    for number, run in enumerate(runs):
        colour = COLOURS[number % len(COLOURS)]
        for key, style in ((name, "-"), (f"val_{name}", "--")):
            values = [float("nan") if value is None else value for value in run.history.get(key, [])]
            if values:
                what = "validation" if key.startswith("val_") else "training"
                label = f"{run.found.path.name}, {what}" if len(runs) > 1 else what
                axes.plot(run.epochs, values, style, marker=".", color=colour, label=label)
    axes.set_xlabel("epoch")
    axes.set_ylabel(name.replace("_", " "), parse_math=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
