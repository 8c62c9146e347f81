"""What is kept of a training run: the model, its history, and all that is needed to repeat it."""

from __future__ import annotations

import csv
import io
import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl import __version__
from unidl.errors import UsageError
from unidl.training.directories import write_directory
from unidl.training.saved import model_files

if TYPE_CHECKING:
    from unidl.training.trainer import Trainer

RUN = "run.json"
HISTORY = "history.csv"
CURVES = "curves.png"


def save_run(
    trainer: Trainer, path: Path, *, configuration: Mapping[str, Any] | None = None, plot: bool = False
) -> Path:
    """Write a run to the directory `path`, whole or not at all, and return it.

    configuration: what the caller was asked for, such as the command line's arguments. plot: draw the curves as well,
    which needs matplotlib. Raises `SavedModelError` if it cannot be written.
    """
    run = {
        "saved": datetime.now(UTC).isoformat(timespec="seconds"),
        "unidl": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **trainer.describe(),
        "configuration": dict(configuration or {}),
    }
    files = model_files(trainer.model)
    files[RUN] = json.dumps(run, indent=2).encode()
    files[HISTORY] = history_csv(trainer.history).encode()
    if plot:
        files[CURVES] = draw_curves(trainer.history, title=trainer.model.name)
    write_directory(path, files)
    return path


def history_csv(history: Mapping[str, list[float]]) -> str:
    """Return one line an epoch, counted from 1, with a column a metric."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["epoch", *history])
    for epoch, values in enumerate(zip(*history.values(), strict=True), start=1):
        writer.writerow([epoch, *values])
    return text.getvalue()


def require_plotting() -> None:
    """Raise `UsageError` if curves cannot be drawn; asked before training, not after."""
    import importlib.util

    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("Cannot draw curves: matplotlib is not installed. Install it with: pip install 'unidl[plot]'")


def draw_curves(history: Mapping[str, list[float]], title: str) -> bytes:
    """Return a PNG with one panel a metric, training and validation together."""
    require_plotting()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for name in history if not name.startswith("val_")]
    figure = Figure(figsize=(5 * max(len(names), 1), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    for place, name in enumerate(names, start=1):
        axes = figure.add_subplot(1, len(names), place)
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            if key in history:
                axes.plot(range(1, len(history[key]) + 1), history[key], marker=".", label=label)
        axes.set_xlabel("epoch")
        axes.set_ylabel(name.replace("_", " "))
        axes.grid(alpha=0.3)
        axes.legend()
        axes.xaxis.get_major_locator().set_params(integer=True)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()
