"""One run made ready: of a model, or of the part of it that learns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from unidl.backend import TrainLoop
from unidl.data.checks import NonFinite
from unidl.data.dataset import Split, take
from unidl.data.fingerprint import fingerprint
from unidl.data.numbers import computed
from unidl.data.trees import map_leaves
from unidl.models.records import note
from unidl.training.checkpoint import Saving
from unidl.training.compiling import require_trainable, tell_of_foreign_draws
from unidl.training.fitting import Fit
from unidl.training.given import TrainingData
from unidl.training.loops import Loops
from unidl.training.non_finite import tried
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
    loops: Loops,
) -> Fit:
    """Return the run that is asked for: of the model, or of what is behind its frozen front, on what that gives."""
    train, held_out, trained = data.training, data.validation, model
    if saving is not None:
        saving = replace(saving, data=fingerprint(training=train, validation=held_out))
    require_trainable(model)
    if train.class_names or train.vocabulary:
        note(model, class_names=train.class_names, vocabulary=train.vocabulary)
    tell_of_foreign_draws(model)
    unsure = _tried(model, data, settings, loops)
    if settings.precompute_frozen:
        frozen = loops.of_front()
        rows = len(train) + len(held_out or ())
        progress.message(f"{model.name}: computes what its frozen layers give for {rows:,} rows, once")
        train = frozen.features(train, settings.batch_size)
        held_out = held_out and frozen.features(held_out, settings.batch_size)
        trained = frozen.rest
        resumes = saving is not None and saving.resume
        callbacks = callbacks + ([frozen.guard()] if callbacks or resumes else [])
    build_for(trained, train, settings.batch_size)
    used = loops.of_front().loop if settings.precompute_frozen else loops.of_model()
    return Fit(
        model,
        used,
        train,
        held_out,
        settings,
        callbacks,
        progress,
        saving=saving,
        trained=trained,
        unsure=unsure,
        look=loops.look,
    )


def _tried(model: keras.Model, data: TrainingData, settings: FitSettings, loops: Loops) -> NonFinite | None:
    """A row of the training data that is not finite, if there is one that the model can learn from."""

    def ready() -> TrainLoop:
        build_for(model, data.training, settings.batch_size)
        return loops.of_model()

    size, held_out = settings.batch_size, data.validation
    if held_out is not None:
        tried(model, ready, held_out, data.validation_not_finite, settings.validation_batch_size or size)
    return tried(model, ready, data.training, data.not_finite, size)


def build_for(model: keras.Model, data: Split, batch_size: int) -> None:
    """Make all variables, before metrics are reset, callbacks are told or a checkpoint is read."""
    from unidl.model_state import build

    build(model, map_leaves(computed, take(data, slice(0, batch_size)).as_keras()))
