"""The checkpoints of one run: where it resumes, when the next one is due, and its content."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.errors import TrainingError
from unidl.saving.saved import as_array
from unidl.training.checkpoint import Checkpoint, Position, Saving, Tracked
from unidl.training.progress import Progress

if TYPE_CHECKING:
    import keras


class RunSaving:
    """Saves one call of `Trainer.fit`, and locates where an earlier one stopped."""

    def __init__(self, saving: Saving, model: keras.Model, tracked: Tracked, must_be_same: dict[str, Any]) -> None:
        """must_be_same: settings that must be equal when the run is resumed."""
        self._saving = saving
        self._model = model
        self._tracked = tracked
        self._must_be_same = must_be_same
        self._start: Checkpoint | None = None
        self._until_saved: int | None = None

    def go_on(self, progress: Progress) -> Position | None:
        """Restore the newest complete checkpoint, if the run is to be resumed and has one."""
        found = self._saving.checkpoints.newest() if self._saving.resume else None
        if found is None:
            return None
        self._start, damaged = found
        position = self._start.position
        for reason in damaged:
            progress.message(f"skipped: {reason}")
        self._start.require_same_run(self._must_be_same, self._saving.data)
        self._start.restore(self._model, self._tracked)
        self._model.history.history = dict(position.history)
        self._model.history.epoch = list(range(self._must_be_same["initial_epoch"], position.epoch))
        progress.message(f"resuming from epoch {position.epoch + 1}, step {position.step + 1}: {self._start.path}")
        return position

    @property
    def saves_start(self) -> bool:
        """Whether a checkpoint is to be written before the first step: of a stage, which begins where others ended."""
        return self._saving.stages is not None

    def go_on_within(self, epoch: int) -> int:
        """Restore the checkpoint again if it is in the middle of this epoch; return the number of finished steps of the
        epoch."""
        if self._start is None or self._start.position.epoch != epoch or self._start.position.step == 0:
            return 0
        self._start.restore(self._model, self._tracked)
        return self._start.position.step

    def count_from(self, steps: int) -> None:
        """Set the number of steps that the run has taken."""
        if self._saving.every_steps is not None:
            self._until_saved = self._saving.every_steps - steps % self._saving.every_steps

    @property
    def most_steps(self) -> int:
        """Return the number of steps until a checkpoint is due."""
        return self._until_saved or sys.maxsize

    def is_due(self, steps: int) -> bool:
        """Count these steps, and return whether a checkpoint is due after them."""
        if self._until_saved is None:
            return False
        self._until_saved -= steps
        due = self._until_saved <= 0
        if due:
            self._until_saved += self._saving.every_steps or 0
        return due

    def write(self, epoch: int, step: int) -> None:
        """Write a checkpoint after so many epochs and steps of the current one. Raises `TrainingError`, and
        writes nothing, if a weight is not finite."""
        self._require_finite_weights(epoch)
        position = Position(
            epoch,
            step,
            self._must_be_same,
            dict(self._model.history.history),
            stopped=bool(self._model.stop_training),
            configuration=dict(self._saving.configuration),
            data=self._saving.data,
            stages=None if self._saving.stages is None else dict(self._saving.stages),
        )
        self._saving.checkpoints.save(position, self._model, self._tracked)

    def newest(self) -> Path | None:
        """Return the newest complete checkpoint, if there is one."""
        found = self._saving.checkpoints.newest()
        return found[0].path if found is not None else None

    def _require_finite_weights(self, epoch: int) -> None:
        """Raise for non-finite weights, which a finite loss does not exclude, before they replace valid ones."""
        for weight in self._model.trainable_variables:
            if not np.isfinite(as_array(weight)).all():
                raise TrainingError(
                    f"The weight '{weight.path}' became NaN or infinite by epoch {epoch + 1}; training cannot go on, "
                    "and nothing was saved.\nLower the learning rate, or clip the gradients (clipnorm=1.0 in the "
                    "optimizer)."
                )
