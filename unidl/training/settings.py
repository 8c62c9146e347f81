"""The arguments of one `Trainer.fit`, as a value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from unidl.data.batch_stream import Stream
from unidl.data.dataset import Split
from unidl.errors import UsageError
from unidl.training.arguments import first_epoch, mix_configs, optional_whole, shuffle_of, validation_frequency, whole
from unidl.training.given import TrainingData, size_of_batches
from unidl.training.layer_rates import rates_of
from unidl.training.order import Shuffle

if TYPE_CHECKING:
    import keras

BATCH_SIZE = 32
"""Keras's default."""


@dataclass(frozen=True)
class FitSettings:
    """The arguments of one `Trainer.fit`, recorded with the run. None for those that were not given."""

    epochs: int
    batch_size: int
    seed: int
    shuffle: Shuffle = True
    initial_epoch: int = 0
    precompute_frozen: bool = False
    steps_per_epoch: int | None = None
    validation_steps: int | None = None
    validation_batch_size: int | None = None
    validation_freq: int | list[int] | None = None
    rate_factors: dict[str, float] | None = None
    layer_decay: float | None = None
    mix: list[dict[str, Any]] | None = None
    feature_variants: int | None = None

    def validates(self, epoch: int) -> bool:
        """Return whether the model is validated after this epoch, counted from 0."""
        every = self.validation_freq
        if isinstance(every, list):
            return epoch + 1 in every
        return every is None or (epoch + 1) % every == 0


@dataclass(frozen=True)
class FitArguments:
    """The same before the data is known, on which the batch size may depend: 0 if it was not given."""

    settings: FitSettings

    def with_data(self, given: TrainingData, model: keras.Model) -> FitSettings:
        """Return the settings for this data, with the learning rates of the layers of a compiled model."""
        settings, held_out = self.settings, given.validation
        if settings.epochs - settings.initial_epoch > 1:
            _require_again(given.training, "steps_per_epoch", settings.steps_per_epoch)
            _require_again(held_out, "validation_steps", None)
        size = size_of_batches(settings.batch_size, given.training, settings.steps_per_epoch, BATCH_SIZE)
        of_validation = settings.validation_batch_size
        if held_out is not None and (
            isinstance(held_out, Stream) or (of_validation is None and not settings.batch_size)
        ):
            of_validation = size_of_batches(of_validation, held_out, settings.validation_steps, BATCH_SIZE)
        differs = of_validation != size
        settings = replace(settings, batch_size=size, validation_batch_size=of_validation if differs else None)
        optimizer = getattr(model, "optimizer", None)
        rates = None if optimizer is None else rates_of(optimizer)
        if rates is None:
            return settings
        return replace(settings, rate_factors=dict(rates.factors), layer_decay=rates.decay)


def _require_again(data: Split | None, argument: str, steps: int | None) -> None:
    """Raise `UsageError` for data that ends with the first epoch."""
    if isinstance(data, Stream) and not data.stream.again and steps is None:
        advice = f", or {argument}=, with which each epoch continues after the last" if argument[:5] == "steps" else ""
        raise UsageError(
            f"Cannot train several epochs on {data.stream.what}, which can be read once. Pass data that begins anew "
            f"each time, such as an object with __iter__ that gives batches{advice}."
        )


def fit_arguments(
    *,
    seed: int,
    batch_size: Any,
    epochs: Any = 1,
    shuffle: Any = True,
    initial_epoch: Any = 0,
    precompute_frozen: Any = False,
    steps_per_epoch: Any = None,
    validation_steps: Any = None,
    validation_batch_size: Any = None,
    validation_freq: Any = 1,
    mix: Any = None,
    feature_variants: Any = None,
) -> FitArguments:
    """Validate the arguments. Raises `UsageError` for the first invalid one."""
    variants = optional_whole("feature_variants", feature_variants)
    settings = FitSettings(
        epochs=whole("epochs", epochs),
        batch_size=optional_whole("batch_size", batch_size) or 0,
        seed=seed,
        shuffle=shuffle_of(shuffle),
        initial_epoch=first_epoch(initial_epoch, epochs),
        precompute_frozen=bool(precompute_frozen) or variants is not None,
        steps_per_epoch=optional_whole("steps_per_epoch", steps_per_epoch),
        validation_steps=optional_whole("validation_steps", validation_steps),
        validation_batch_size=optional_whole("validation_batch_size", validation_batch_size),
        validation_freq=validation_frequency(validation_freq),
        mix=mix_configs(mix),
        feature_variants=variants,
    )
    return FitArguments(settings)
