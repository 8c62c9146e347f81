"""Validation of the arguments of `Trainer`: errors name the argument and the allowed values."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.errors import UsageError
from unidl.paths import as_path
from unidl.ranks.environment import is_restarted
from unidl.shortening import shown
from unidl.training.checkpoint import Checkpoints, Saving
from unidl.training.order import Shuffle
from unidl.training.progress_styles import Style

if TYPE_CHECKING:
    import keras


def saving_in(
    checkpoint: str | Path | Saving | None,
    every_steps: int | None,
    keep: int,
    resume: bool,
    configuration: Mapping[str, Any] | None,
) -> Saving | None:
    """Where and when to save a run; None if that was not requested. checkpoint: a folder, or all of it already."""
    if isinstance(checkpoint, Saving):
        return checkpoint
    if checkpoint is None:
        if every_steps is not None or resume:
            raise UsageError("Cannot save or resume without a folder: pass checkpoint='runs/x.checkpoints'.")
        return None
    every_steps = None if every_steps is None else whole("save_every_steps", every_steps)
    checkpoints = Checkpoints(as_path(checkpoint), keep=whole("keep", keep))
    resume = resume or is_restarted()
    if not resume:
        checkpoints.require_none()
    return Saving(checkpoints, every_steps, bool(resume), configuration or {})


def mix_configs(mix: Any) -> list[dict[str, Any]] | None:
    """Return the mixes of a batch as JSON values; None for none. Raises `UsageError` for what is not a mix."""
    if mix is None:
        return None
    from unidl.layers.mixing import mixes_of

    return [one.to_config() for one in mixes_of(mix)]


def callbacks_in(callbacks: Any) -> list[keras.callbacks.Callback]:
    """Return the callbacks as a list; a single one is also accepted, as in Keras."""
    import keras

    given: list[Any] = keras.tree.flatten(callbacks or ())
    for callback in given:
        if not isinstance(callback, keras.callbacks.Callback):
            raise UsageError(f"Cannot use callbacks={shown(callback)}: each must be a keras.callbacks.Callback.")
    return given


def stoppers(patience: int | None, monitor: str) -> list[keras.callbacks.Callback]:
    """Return the early stopping settings."""
    if patience is None:
        return []
    import keras

    patience = whole("early_stopping", patience)
    return [keras.callbacks.EarlyStopping(monitor, patience=patience, restore_best_weights=True)]


def first_epoch(initial_epoch: int, epochs: int) -> int:
    """Return the index of the first epoch, counted from 0."""
    first = whole("initial_epoch", initial_epoch, minimum=0)
    if first >= epochs:
        raise UsageError(
            f"Cannot use initial_epoch={first} with epochs={epochs}: epochs is the index at which training ends, not "
            "the number of epochs to train."
        )
    return first


def optional_whole(argument: str, value: Any) -> int | None:
    """Validate an integer of at least 1, or None."""
    return None if value is None else whole(argument, value)


def shuffle_of(shuffle: Any) -> Shuffle:
    """Whether and how rows are mixed, as in Keras."""
    if isinstance(shuffle, str) and shuffle in ("batch", "balanced"):
        return "batch" if shuffle == "batch" else "balanced"
    if not isinstance(shuffle, bool | int | np.bool_):
        raise UsageError(
            f"Cannot use shuffle={shuffle!r}. Allowed: True, False, 'batch' (shuffle the rows of each batch), "
            "'balanced' (draw the same number of rows of each class)."
        )
    return bool(shuffle)


def validation_frequency(validation_freq: Any) -> int | list[int] | None:
    """Validate `validation_freq`: an interval in epochs, or a list of epochs; None for every epoch."""
    if isinstance(validation_freq, list | tuple | set):
        return sorted(whole("validation_freq", epoch) for epoch in validation_freq)
    every = whole("validation_freq", validation_freq)
    return None if every == 1 else every


def style_of(progress: Style, verbose: Any) -> Style:
    """Return the style of progress, given by unidl's name or Keras's number."""
    if verbose is None:
        return progress
    if progress != "auto":
        raise UsageError(f"Cannot use both verbose={verbose!r} and progress={progress!r}: pass only one of them.")
    styles: dict[Any, Style] = {"auto": "auto", 0: "quiet", 1: "bar", 2: "lines"}
    if not isinstance(verbose, str | int) or verbose not in styles:
        raise UsageError(
            f"Cannot use verbose={verbose!r}. Allowed: 'auto', 0 (quiet), 1 (a bar), 2 (one line per epoch)."
        )
    return styles[verbose]


def whole(argument: str, value: Any, minimum: int | None = 1) -> int:
    """Validate an integer. NumPy integers are allowed; True and 3.0 are not."""
    if isinstance(value, list | tuple) or getattr(value, "shape", ()):
        weights = " Pass weights by name, as sample_weight=." if argument == "batch_size" else ""
        raise UsageError(f"Cannot use an array or a list as {argument}: it must be a whole number.{weights}")
    needed = "a whole number" + ("" if minimum is None else f" of at least {minimum}")
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or (minimum is not None and number < minimum):
        raise UsageError(f"Cannot use {argument}={shown(value)}: it must be {needed}.")
    return number
