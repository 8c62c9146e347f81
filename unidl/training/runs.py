"""Preparation of a run of a model, or of its trainable part."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.backend import Batches, TrainLoop
from unidl.data.batch_stream import Stream
from unidl.data.checks import NonFinite
from unidl.data.dataset import Split, take
from unidl.data.fingerprint import fingerprint
from unidl.data.numbers import computed
from unidl.data.source import Column
from unidl.data.trees import is_nest, map_leaves
from unidl.errors import UsageError
from unidl.models.records import note
from unidl.random import derived_seed
from unidl.training.checkpoint import Saving
from unidl.training.compiling import require_trainable, tell_of_foreign_draws
from unidl.training.fitting import Fit
from unidl.training.frozen_front import FrozenFront
from unidl.training.given import TrainingData
from unidl.training.layer_rates import settle_rates
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
    """Return the requested run: of the model, or of the layers after its frozen front on the outputs of that front."""
    if saving is not None:
        saving = replace(saving, data=fingerprint(training=data.training, validation=data.validation))
    settle_rates(model)
    require_trainable(model)
    if data.training.class_names or data.training.vocabulary:
        note(model, class_names=data.training.class_names, vocabulary=data.training.vocabulary)
    if data.training.table is not None:
        note(model, class_names=data.training.class_names, table=data.training.table)
    if data.training.head_names:
        note(model, head_names=data.training.head_names)
    if data.training.tokenizer is not None:
        note(model, tokenizer=data.training.tokenizer)
    tell_of_foreign_draws(model)
    if settings.mix is not None:
        _require_mixable(data, settings)
    unsure, trained = _tried(model, data, settings, loops), model
    if settings.precompute_frozen:
        frozen = loops.of_front(varied=settings.feature_variants is not None)
        data, trained = _features(frozen, data, settings, progress, loops, model.name), frozen.rest
        resumes = saving is not None and saving.resume
        callbacks = callbacks + ([frozen.guard()] if callbacks or resumes else [])
        loop = frozen.loop
    else:
        loop = loops.of_model()
    if settings.mix is not None:
        trained, loop = _mixed(settings, loops)
    build_for(trained, data.training, settings.batch_size)
    return Fit(
        model,
        loop,
        data,
        settings,
        callbacks,
        progress,
        saving=saving,
        trained=trained,
        unsure=unsure,
        look=loops.look,
    )


def _require_mixable(data: TrainingData, settings: FitSettings) -> None:
    if settings.precompute_frozen:
        raise UsageError("Cannot use mix= with precompute_frozen=True, which computes each image once. Pass one.")
    if data.training.y is None or is_nest(data.training.y):
        raise UsageError("Cannot use mix= without labels, or with several: pass y as one array.")


def _mixed(settings: FitSettings, loops: Loops) -> tuple[keras.Model, TrainLoop]:
    """The model that mixes batches, and its loop."""
    from unidl.layers.mixing import mixes_of

    # A training in parts, such as in stages, draws other numbers in each.
    seed = derived_seed(settings.seed, "mixing", settings.initial_epoch)
    return loops.of_mixed(mixes_of(settings.mix or ()), seed)


def _features(
    frozen: FrozenFront, data: TrainingData, settings: FitSettings, progress: Progress, loops: Loops, name: str
) -> TrainingData:
    """What the frozen layers of a model of this name give for the rows of both halves."""
    streams = [one.stream.what for one in (data.training, data.validation) if isinstance(one, Stream)]
    if streams:
        raise UsageError(
            f"Cannot use precompute_frozen=True with {streams[0]}, which may give other batches in each epoch. Pass "
            "arrays, or a data set whose samples have numbers."
        )

    def of(split: Split, role: str, variants: int | None = None) -> tuple[Split, ...]:
        return frozen.features(
            split,
            settings.batch_size,
            loops.features,
            role=role,
            computed_by=loops.computed_by,
            tell=lambda said: progress.message(f"{name}: {said}"),
            variants=variants,
        )

    training = of(data.training, "training", settings.feature_variants)
    return TrainingData(training[0], data.validation and of(data.validation, "validation")[0], variants=training)


def _tried(model: keras.Model, data: TrainingData, settings: FitSettings, loops: Loops) -> NonFinite | None:
    """Return a non-finite row of the training data, if there is one that the model can learn from."""

    def ready() -> TrainLoop:
        build_for(model, data.training, settings.batch_size)
        return loops.of_model()

    size, held_out = settings.batch_size, data.validation
    if held_out is not None:
        tried(model, ready, held_out, data.validation_not_finite, settings.validation_batch_size or size)
    return tried(model, ready, data.training, data.not_finite, size)


def build_for(model: keras.Model, data: Split, batch_size: int) -> None:
    """Create all variables before metrics are reset, callbacks are called or a checkpoint is read."""
    from unidl.model_state import build

    rows = take(data, slice(0, batch_size))
    build(model, Batches(*(map_leaves(_first, part) for part in rows.parts())).as_keras())


def _first(leaf: Any) -> np.ndarray[Any, Any]:
    """The rows of an array. Those of a column are not read: only shapes and types count here."""
    return np.zeros(leaf.shape, leaf.dtype) if isinstance(leaf, Column) else computed(leaf)
