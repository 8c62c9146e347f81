"""What is kept of a training run: the model, its history, and all that is needed to repeat it."""

from __future__ import annotations

import csv
import io
import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from unidl.errors import SavedModelError, UsageError
from unidl.ranks.joining import is_first
from unidl.saving.directories import location, read_directory, write_directory
from unidl.saving.saved import model_files
from unidl.saving.strict_json import LONGEST, read_json
from unidl.training.settings import FitSettings
from unidl.version import __version__

if TYPE_CHECKING:
    import keras

RUN = "run.json"
HISTORY = "history.csv"
CURVES = "curves.png"


class Trained(Protocol):
    """What a run is written from: a `Trainer`, before or after its training."""

    model: keras.Model
    history: dict[str, list[Any]]
    settings: FitSettings | None
    stages: list[dict[str, Any]]

    def describe(self) -> dict[str, Any]:
        """What is needed to repeat the training, as JSON values."""
        ...


def save_run(
    trainer: Trained,
    path: Path,
    *,
    configuration: Mapping[str, Any] | None = None,
    plot: bool = False,
    extra: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a run to the directory `path`, whole or not at all, and return it.

    configuration: what the caller was asked for, such as the command line's arguments. plot: draw the curves as well,
    if there are any, which needs matplotlib. extra: further files, by their names. Raises `SavedModelError` if it
    cannot be written. Of several ranks, only rank 0 writes.
    """
    if not is_first():
        return path
    described = trainer.describe()
    own = {"unidl": __version__, "python": platform.python_version(), "numpy": np.__version__}
    run = {
        "saved": datetime.now(UTC).isoformat(timespec="seconds"),
        "platform": platform.platform(),
        **described,
        "versions": own | described["versions"],
        "configuration": dict(configuration or {}),
    }
    # A history of stages holds all of them, and begins with the first epoch of the first one.
    settings = None if trainer.stages else trainer.settings
    first_epoch = 1 if settings is None else 1 + settings.initial_epoch
    files = model_files(trainer.model)
    files[RUN] = json.dumps(run, indent=2).encode()
    files[HISTORY] = history_csv(trainer.history, first_epoch).encode()
    if plot and trainer.history:
        files[CURVES] = draw_curves(trainer.history, trainer.model.name, first_epoch)
    write_directory(path, files | dict(extra or {}))
    return path


def read_run(path: Path) -> dict[str, Any]:
    """Return what `save_run` noted about the run in `path`, beside its model and its history.

    Raises `SavedModelError` if there is nothing of the kind.
    """
    file = location(path) / RUN
    files = read_directory(path, only=(RUN,), most=LONGEST)
    try:
        run = read_json(files[RUN])
    except KeyError as error:
        raise SavedModelError(f"Cannot read {file}: there is no such file.") from error
    except (ValueError, RecursionError) as error:
        raise SavedModelError(f"Cannot read {file}: {error}") from error
    if not isinstance(run, dict) or not isinstance(run.get("configuration"), dict):
        raise SavedModelError(f"Cannot read {file}: it has no 'configuration'.")
    return run


def history_csv(history: Mapping[str, list[float]], first_epoch: int = 1) -> str:
    """Return one line an epoch with a column a metric: the loss, what else was trained with, then validation.

    A callback may give a metric in some epochs only, and nothing tells in which: its column ends early.
    """
    names = sorted(history, key=lambda name: (name.startswith("val_"), name.removeprefix("val_") != "loss"))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["epoch", *names])
    for epoch, values in enumerate(zip_longest(*(history[name] for name in names), fillvalue=""), first_epoch):
        writer.writerow([epoch, *(np.asarray(value).tolist() for value in values)])
    return text.getvalue()


def require_plotting() -> None:
    """Raise `UsageError` if curves cannot be drawn; asked before training, not after."""
    import importlib.util

    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("Cannot draw curves: matplotlib is not installed. Install it with: pip install 'unidl[plot]'")


def draw_curves(history: Mapping[str, list[float]], title: str, first_epoch: int = 1) -> bytes:
    """Return a PNG with one panel a metric, training and validation together. history: at least one metric."""
    require_plotting()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    names = list(dict.fromkeys(name.removeprefix("val_") for name in history))
    names.sort(key=lambda name: name != "loss")
    figure = Figure(figsize=(5 * len(names), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, parse_math=False)
    for place, name in enumerate(names, start=1):
        axes = figure.add_subplot(1, len(names), place)
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            if key in history:
                epochs = range(first_epoch, first_epoch + len(history[key]))
                axes.plot(epochs, history[key], marker=".", label=label)
        axes.set_xlabel("epoch")
        axes.set_ylabel(name.replace("_", " "), parse_math=False)
        axes.grid(alpha=0.3)
        axes.legend()
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()
