"""The search for a learning rate: a few steps in which it rises, and where the loss falls for longest.

The rules are those of fastai (Howard & Gugger, "fastai: A Layered API for Deep Learning", 2020; Smith, "Cyclical
Learning Rates for Training Neural Networks", 2017): from 1e-7 to 10 in 100 steps, each the same factor above the one
before; over when the smoothed loss is four times its best; a rate in the valley.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.backend import TrainLoop
from unidl.data.batch_stream import Stream
from unidl.data.dataset import Split
from unidl.errors import ModelError, UsageError
from unidl.keras_internals import rate_of, set_schedule
from unidl.paths import as_path
from unidl.reports import write_bytes
from unidl.shortening import shown
from unidl.training.layer_rates import inner_optimizer
from unidl.training.order import Epochs, Rows, chunks
from unidl.training.run_directory import require_plotting
from unidl.training.settings import FitSettings

if TYPE_CHECKING:
    import keras

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 100
"""As in fastai's `lr_find`."""
MOMENTUM = 0.98
"""Of the smoothed loss, as there."""
DIVERGED = 4.0
"""The search ends when the smoothed loss is this many times its best, as there."""
LEFT_OUT = (0.1, 5)
"""Of the rates that the suggestion comes from: a share of the steps at the start, and steps at the end, as there."""


@dataclass(frozen=True)
class RateSearch:
    """What a search has found. The three lists have one value a step.

    rates: the learning rates. losses: of each batch. smoothed: their running mean. suggestion: a rate to train with;
    None if the loss never fell for long enough. why: the search was over, in words.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggestion: float | None
    why: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values; null for a loss that is not a number."""
        return {
            name: [one if math.isfinite(one) else None for one in value] if isinstance(value, list) else value
            for name, value in asdict(self).items()
        }

    def plot(self, path: str | Path) -> Path:
        """Draw the smoothed loss over the learning rate as a PNG, which needs matplotlib, and return its path."""
        path = as_path(path)
        write_bytes(path, _drawn(self))
        return path


def require_range(lowest: Any, highest: Any, steps: Any) -> None:
    """Raise `UsageError` unless the rates rise, in enough steps to see something."""
    for name, value in (("lowest", lowest), ("highest", highest)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise UsageError(f"Cannot use {name}={shown(value)}: it must be a number above 0.")
    if not lowest < highest:
        raise UsageError(f"Cannot use lowest={lowest:g} with highest={highest:g}: the learning rate is to rise.")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 10:
        raise UsageError(f"Cannot use steps={shown(steps)}: it must be a whole number of at least 10.")


def search_rate(
    loop: TrainLoop,
    model: keras.Model,
    data: Split,
    settings: FitSettings,
    *,
    lowest: float,
    highest: float,
    steps: int,
) -> RateSearch:
    """Take the steps on a model that has all its variables, which are afterwards what they were, to the bit. loop: of
    the model alone, of one step a dispatch: what others have compiled goes on with the rate of before."""
    import keras

    if isinstance(data, Stream):
        raise UsageError(
            f"Cannot search a learning rate on {data.stream.what}, whose batches have an order of their own. Pass "
            "arrays, or a data set whose samples have numbers."
        )
    optimizer = inner_optimizer(model.optimizer)
    if rate_of(optimizer) is None or hasattr(optimizer, "optimizers"):
        raise ModelError(f"Cannot search a learning rate: {type(optimizer).__name__} has none of its own.")
    before, kept = rate_of(optimizer), _Kept(model)
    counted: Any = keras.ops.convert_to_numpy(optimizer.variables[0])  # batches, also where several make one step
    begun = int(counted)
    rates = np.geomspace(lowest, highest, steps).tolist()
    losses: list[float] = []
    smoothed: list[float] = []
    try:
        set_schedule(optimizer, _rising(lowest, highest, steps, begun))
        size = min(settings.batch_size, len(data))
        for chunk in chunks(data, _order(len(data), size, steps, settings), batch_size=size, steps=1):
            loop.reset_metrics()
            losses.append(float(loop.run(chunk).read()["loss"]))
            smoothed.append(_smoothed(losses))
            if not math.isfinite(losses[-1]) or smoothed[-1] > DIVERGED * min(smoothed) > 0:
                break
        loop.commit()
    finally:
        set_schedule(optimizer, before)
        kept.restore()
    tried = rates[: len(losses)]
    why = f"the loss is more than {DIVERGED:g} times its best" if len(losses) < steps else "all rates were tried"
    if losses and not math.isfinite(losses[-1]):
        why = f"the loss became {losses[-1]}"
    return RateSearch(tried, losses, smoothed, suggestion_of(tried, smoothed, steps), why)


def suggestion_of(rates: Sequence[float], smoothed: Sequence[float], steps: int) -> float | None:
    """Return the rate two thirds into the longest run of losses that fall, not counting those in between that do not;
    None if there is none. fastai calls it "valley"."""
    first = math.floor(steps * LEFT_OUT[0])
    found = [loss for loss in smoothed[first : len(smoothed) - LEFT_OUT[1]] if math.isfinite(loss)]
    if len(found) < 3:
        return None
    lengths = [1] * len(found)
    for place in range(1, len(found)):
        shorter = [lengths[other] for other in range(place) if found[place] < found[other]]
        lengths[place] = 1 + max(shorter, default=0)
    longest = max(lengths)
    if longest < 3:
        return None
    end = lengths.index(longest)
    third = longest / 3
    return float(rates[first + end - longest + int(third) + int(third / 2)])


class _Kept:
    """The values of all variables of a model and of its optimizer."""

    def __init__(self, model: keras.Model) -> None:
        import keras

        from unidl.model_state import hidden_variables

        variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables, *hidden_variables(model)]
        self._values = [(variable, keras.ops.copy(variable.value)) for variable in variables]

    def restore(self) -> None:
        for variable, value in self._values:
            variable.assign(value)


def _rising(lowest: float, highest: float, steps: int, begun: int) -> Any:
    """A schedule that rises by the same factor in each step. begun: the steps that the optimizer has taken before."""
    import keras

    class Rising(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> Any:
            operations: Any = keras.ops
            done = operations.cast(step - begun, "float32") / (steps - 1)
            return lowest * operations.power(highest / lowest, done)

        def get_config(self) -> dict[str, Any]:
            return {"lowest": lowest, "highest": highest, "steps": steps, "begun": begun}

    return Rising()


def _order(rows: int, size: int, steps: int, settings: FitSettings) -> Rows:
    """The rows of this many full batches, in the order of training, epoch after epoch."""
    epochs = Epochs(rows, size, settings.seed)
    full = rows - rows % size
    needed = -(-steps * size // full)
    return np.concatenate([epochs.order(epoch)[:full] for epoch in range(needed)])[: steps * size]


def _smoothed(losses: Sequence[float]) -> float:
    """The running mean of losses, without the pull to 0 of its first steps."""
    mean = 0.0
    for loss in losses:
        mean = MOMENTUM * mean + (1 - MOMENTUM) * loss
    return mean / (1 - MOMENTUM ** len(losses))


def _drawn(search: RateSearch) -> bytes:
    require_plotting()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(search.rates, search.smoothed)
    if search.suggestion is not None:
        place = search.rates.index(search.suggestion)
        axes.plot([search.suggestion], [search.smoothed[place]], "o", label=f"suggestion: {search.suggestion:.2g}")
        axes.legend()
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("smoothed loss")
    axes.grid(alpha=0.3)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()
