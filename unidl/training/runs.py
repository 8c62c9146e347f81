"""One run made ready: of a model, or of the part of it that learns; and what it is called."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from unidl.backend import TrainLoop, build
from unidl.data.dataset import Split, take
from unidl.training.checkpoint import Saving
from unidl.training.fitting import Fit
from unidl.training.frozen_front import FrozenFront
from unidl.training.given import TrainingData
from unidl.training.progress import Progress
from unidl.training.settings import FitSettings

if TYPE_CHECKING:
    import keras


def new_run(
    model: keras.Model,
    data: TrainingData,
    settings: FitSettings,
    callbacks: list[keras.callbacks.Callback],
    progress: Progress,
    *,
    saving: Saving | None,
    loop: Callable[[], TrainLoop],
    front: Callable[[], FrozenFront],
) -> Fit:
    """Return the run that is asked for: of the model, or of what is behind its frozen front, on what that gives.

    loop, front: give those of the model as it is compiled now.
    """
    train, held_out, trained = data.training, data.validation, model
    if settings.precompute_frozen:
        frozen = front()
        rows = len(train) + len(held_out or ())
        progress.message(f"{model.name}: computes what its frozen layers give for {rows:,} rows, once")
        train = frozen.features(train, settings.batch_size)
        held_out = held_out and frozen.features(held_out, settings.batch_size)
        trained = frozen.rest
        resumes = saving is not None and saving.resume
        callbacks = callbacks + ([frozen.guard()] if callbacks or resumes else [])
    build_for(trained, train, settings.batch_size)
    used = front().loop if settings.precompute_frozen else loop()
    return Fit(model, used, train, held_out, settings, callbacks, progress, saving=saving, trained=trained)


def build_for(model: keras.Model, data: Split, batch_size: int) -> None:
    """Make all variables, before metrics are reset, callbacks are told or a checkpoint is read."""
    build(model, take(data, slice(0, batch_size)).as_keras())


def parameters(model: keras.Model) -> int:
    """The number of values in the weights; Keras counts those of built models only, and a model that has a step of its
    own and no call is never built."""
    return sum(math.prod(weight.shape) for weight in model.weights)
