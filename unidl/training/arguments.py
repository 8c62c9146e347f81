"""What `Trainer` is given, checked: an error names the argument and says what is allowed."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl.errors import UsageError
from unidl.paths import as_path
from unidl.shortening import shown
from unidl.training.checkpoint import Checkpoints, Saving

if TYPE_CHECKING:
    import keras


def saving_in(
    checkpoint: str | Path | None,
    every_steps: int | None,
    keep: int,
    resume: bool,
    configuration: Mapping[str, Any] | None,
) -> Saving | None:
    """Where and when to save a run; None if nobody asked for it."""
    if checkpoint is None:
        if every_steps is not None or resume:
            raise UsageError("Cannot save or resume without a folder: pass checkpoint='runs/x.checkpoints'.")
        return None
    every_steps = None if every_steps is None else whole("save_every_steps", every_steps)
    checkpoints = Checkpoints(as_path(checkpoint), keep=whole("keep", keep))
    if not resume:
        checkpoints.require_none()
    return Saving(checkpoints, every_steps, bool(resume), configuration or {})


def callbacks_in(callbacks: Any) -> list[keras.callbacks.Callback]:
    """The callbacks as a list; one alone is taken as well, as Keras does."""
    import keras

    given: list[Any] = keras.tree.flatten(callbacks or ())
    for callback in given:
        if not isinstance(callback, keras.callbacks.Callback):
            raise UsageError(f"Cannot use callbacks={shown(callback)}: each must be a keras.callbacks.Callback.")
    return given


def stoppers(patience: int | None, monitor: str) -> list[keras.callbacks.Callback]:
    """What ends a run early."""
    if patience is None:
        return []
    import keras

    patience = whole("early_stopping", patience)
    return [keras.callbacks.EarlyStopping(monitor, patience=patience, restore_best_weights=True)]


def first_epoch(initial_epoch: int, epochs: int) -> int:
    """The number of the first epoch, counted from 0."""
    first = whole("initial_epoch", initial_epoch, minimum=0)
    if first >= epochs:
        raise UsageError(
            f"Cannot use initial_epoch={first} with epochs={epochs}: epochs is where training ends, not how many "
            "more to train."
        )
    return first


def whole(argument: str, value: Any, minimum: int | None = 1) -> int:
    """A whole number; NumPy's integers count, True and 3.0 do not."""
    needed = "a whole number" + ("" if minimum is None else f" of at least {minimum}")
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or (minimum is not None and number < minimum):
        raise UsageError(f"Cannot use {argument}={shown(value)}: it must be {needed}.")
    return number
