"""The training loop, once: epochs, order, callbacks, progress, validation, stopping. The steps are the adapter's."""

from __future__ import annotations

import math
import re
import signal as signals
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from unidl.backend import Batches, Chunk, Logs, TrainLoop, Tree
from unidl.data.dataset import Split, take
from unidl.data.trees import leaves
from unidl.errors import TrainingError
from unidl.saving.saved import as_array
from unidl.training.checkpoint import Checkpoint, Position, Saving, Tracked
from unidl.training.interrupt import Interrupt, UninterruptedLoop
from unidl.training.order import chunks, epoch_order
from unidl.training.pace import Pace
from unidl.training.progress import Metrics, Progress

if TYPE_CHECKING:
    import keras


UNTIMED_STEPS = 16
"""Most batches of a dispatch in evaluation and prediction, which do not look at the time that a step takes."""

OUT_OF_MEMORY = re.compile(r"out of memory|OutOfMemory|RESOURCE_EXHAUSTED|not enough memory", re.IGNORECASE)


@dataclass(frozen=True)
class FitSettings:
    """The arguments of one `Trainer.fit`; they are kept with the run."""

    epochs: int
    batch_size: int
    seed: int
    shuffle: bool = True
    initial_epoch: int = 0
    precompute_frozen: bool = False


class Fit:
    """One call of `Trainer.fit`."""

    def __init__(
        self,
        model: keras.Model,
        loop: TrainLoop,
        train: Split,
        validation: Split | None,
        settings: FitSettings,
        callbacks: Sequence[keras.callbacks.Callback],
        progress: Progress,
        *,
        saving: Saving | None = None,
        trained: keras.Model | None = None,
    ) -> None:
        """saving: when checkpoints are written. trained: what the loop trains, where it is a part of the model."""
        import keras

        self._model = model
        self._interrupt = Interrupt(terminates=saving is not None)
        self._loop = UninterruptedLoop(loop, self._interrupt)
        self._train = train
        self._validation = validation
        self._settings = settings
        self._progress = progress
        self._every_batch = any(looks_at_batches(callback, "train") for callback in callbacks)
        self._pace = Pace(1 if self._every_batch else loop.steps_per_dispatch)
        self._callbacks = keras.callbacks.CallbackList(
            list(callbacks),
            add_history=True,
            model=model,
            epochs=settings.epochs,
            steps=math.ceil(len(train) / settings.batch_size),
            verbose=0,
        )
        self._metrics: Metrics = {}
        self._saving = saving
        self._tracked = Tracked(trained or model, list(callbacks))
        self._start: Checkpoint | None = None
        self._until_saved: int | None = None

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C has come, or SIGTERM where it is taken."""
        return self._interrupt.requested

    @property
    def signal(self) -> int | None:
        """Which of them came."""
        return self._interrupt.signal

    def run(self, title: str) -> keras.callbacks.History:
        """Train, and return Keras's History.

        Raises `TrainingError` when the loss becomes NaN or infinite. Ctrl-C ends the run after the step under way, or
        the validation, and sets `interrupted`; the History holds whole epochs.
        """
        self._progress.start(title, epochs=self._settings.epochs, rows=len(self._train))
        why: str | None = None
        try:
            with self._interrupt:
                try:
                    why = self._epochs()
                finally:
                    self._loop.commit()
        except Exception as error:
            if _is_out_of_memory(error):
                told = self._out_of_memory()
                why = str(told).splitlines()[0]
                raise told from error
            why = str(error).splitlines()[0] if isinstance(error, TrainingError) else None
            raise
        finally:
            self._progress.stop(why)
        return self._model.history

    def _epochs(self) -> str | None:
        """Train all epochs; return why the run is over before its end, if it is."""
        model = self._model
        model.stop_training = False
        model._initial_epoch = None
        self._callbacks.on_train_begin()
        why: str | None = None
        # Keras's BackupAndRestore says here where to go on.
        first, stopped = model._initial_epoch or self._settings.initial_epoch, False
        self._start = self._found_start()
        if self._start is not None:
            first, stopped = self._start.position.epoch, self._start.position.stopped
        if not stopped:
            for epoch in range(first, self._settings.epochs):
                why = self._epoch(epoch)
                if why is not None:
                    break
        if model.optimizer is not None:
            # An optimizer that averages weights over the steps (use_ema=True) puts the averages into the model.
            model.optimizer.finalize_variable_values(model.trainable_variables)
        self._callbacks.on_train_end(self._metrics)
        return why

    def _epoch(self, epoch: int) -> str | None:
        """Train one epoch; return why the run is over, if it is."""
        self._callbacks.on_epoch_begin(epoch)
        self._progress.epoch_started(epoch)
        self._loop.reset_metrics()
        done = 0
        if self._start is not None and self._start.position.epoch == epoch and self._start.position.step > 0:
            # What happens at the beginning of an epoch has happened to it before it was saved.
            self._start.restore(self._model, self._tracked)
            done = self._start.position.step
        started = time.perf_counter()
        metrics = self._train_epoch(epoch, done)
        seconds = time.perf_counter() - started
        self._loop.commit()
        if metrics is None:
            return f"stopped by {self._stopped_by()} in epoch {epoch + 1}"
        if self._validation is not None:
            self._callbacks.on_test_begin()
            validated = evaluated(self._loop, self._validation, self._settings.batch_size, self._callbacks)
            self._callbacks.on_test_end(validated)
            metrics |= {f"val_{name}": value for name, value in validated.items()}
        self._metrics = metrics
        self._callbacks.on_epoch_end(epoch, metrics)
        self._progress.epoch_ended(metrics, seconds)
        if _is_finite(metrics):  # else a callback such as TerminateOnNaN has stopped the run
            self._save(epoch + 1, 0)
        if self.interrupted:
            return f"stopped by {self._stopped_by()} after epoch {epoch + 1}"
        if self._model.stop_training and epoch + 1 < self._settings.epochs:
            return f"stopped early after epoch {epoch + 1}"
        return None

    def _train_epoch(self, epoch: int, step: int) -> Metrics | None:
        """Run the chunks of an epoch from a step on and return its metrics, or None if Ctrl-C has cut it short.

        The metrics of one chunk are read while the next one computes.
        """
        rows_done = min(step * self._settings.batch_size, len(self._train))
        previous: Logs | None = None
        for chunk in self._chunks(epoch, step):
            if self._every_batch:
                self._callbacks.on_train_batch_begin(step)
            logs = self._loop.run(chunk)
            looked = self._checked(previous, epoch, step)
            step += len(chunk.rows)
            rows_done += chunk.rows.size
            previous = logs
            if self._every_batch:
                self._loop.commit()
                self._callbacks.on_train_batch_end(step - 1, loss_first(logs.read()))
                looked = self._checked(logs, epoch, step)
            self._progress.advanced(rows_done, looked if self._progress.wants_metrics() else None)
            due = self._is_due(len(chunk.rows)) and rows_done < len(self._train)
            if due and _is_finite(self._checked(logs, epoch, step)):
                self._save(epoch, step)
            if self._model.stop_training or (self.interrupted and rows_done < len(self._train)):
                break
        metrics = self._checked(previous, epoch, step)
        if self.interrupted and rows_done < len(self._train):
            self._save(epoch, step)
            return None
        return metrics

    def _chunks(self, epoch: int, step: int) -> Iterator[Chunk]:
        settings = self._settings
        order = epoch_order(len(self._train), seed=settings.seed, epoch=epoch, shuffle=settings.shuffle)
        self._pace.rest()
        if self._saving is not None and self._saving.every_steps is not None:
            whole = epoch * math.ceil(len(self._train) / settings.batch_size) + step
            self._until_saved = self._saving.every_steps - whole % self._saving.every_steps
        rest = order[step * settings.batch_size :]
        return chunks(self._train, rest, batch_size=settings.batch_size, steps=self._next_steps)

    def _next_steps(self) -> int:
        """How many steps come next: at most those until the next checkpoint."""
        return min(self._pace(), self._until_saved or sys.maxsize)

    def _is_due(self, steps: int) -> bool:
        """Whether a checkpoint is to be written after these steps."""
        if self._saving is None or self._until_saved is None:
            return False
        self._until_saved -= steps
        due = self._until_saved <= 0
        if due:
            self._until_saved += self._saving.every_steps or 0
        return due

    def _save(self, epoch: int, step: int) -> None:
        """Write a checkpoint, if the run has any: so many epochs are done, and steps of the one under way."""
        if self._saving is not None:
            self._interrupt.finish(self._write, self._saving, epoch, step)

    def _write(self, saving: Saving, epoch: int, step: int) -> None:
        self._loop.commit()
        self._require_finite_weights(epoch)
        position = Position(
            epoch,
            step,
            self._must_be_same(),
            dict(self._model.history.history),
            stopped=bool(self._model.stop_training),
            configuration=dict(saving.configuration),
            data=saving.data,
        )
        saving.checkpoints.save(position, self._model, self._tracked)

    def _require_finite_weights(self, epoch: int) -> None:
        """A gradient may be no number where the loss is one: such weights would take the place of sound ones."""
        for weight in self._model.trainable_variables:
            if not np.isfinite(as_array(weight)).all():
                raise TrainingError(
                    f"The weight '{weight.path}' became NaN or infinite by epoch {epoch + 1}; training cannot go on, "
                    "and nothing was saved.\nLower the learning rate, or clip the gradients (clipnorm=1.0 in the "
                    "optimizer)."
                )

    def _found_start(self) -> Checkpoint | None:
        """Go back to the newest checkpoint that is whole, if the run is to go on from there and has one."""
        if self._saving is None or not self._saving.resume:
            return None
        found = self._saving.checkpoints.newest()
        if found is None:
            return None
        start, damaged = found
        position = start.position
        for reason in damaged:
            self._progress.message(f"passed over: {reason}")
        start.require_same_run(self._must_be_same(), self._saving.data)
        # Metrics and the optimizer have variables only once Keras has seen what a batch looks like.
        batch = take(self._train, slice(0, self._settings.batch_size))
        self._tracked.model._symbolic_build(data_batch=batch.parts())
        start.restore(self._model, self._tracked)
        self._model.history.history = dict(position.history)
        self._model.history.epoch = list(range(self._settings.initial_epoch, position.epoch))
        self._progress.message(f"goes on from epoch {position.epoch + 1}, step {position.step + 1}: {start.path}")
        return start

    def _out_of_memory(self) -> TrainingError:
        size = self._settings.batch_size
        whole = self._saving.checkpoints.newest() if self._saving is not None else None
        kept = f"\nThe last checkpoint is whole; load_model reads its weights: {whole[0].path}" if whole else ""
        return TrainingError(
            f"The memory is not enough for training with batches of {size}.\nTry batch_size={max(1, size // 2)}, with "
            f"gradient_accumulation_steps=2 in the optimizer for the same result, or a mixed precision.{kept}"
        )

    def _stopped_by(self) -> str:
        return "SIGTERM" if self.signal == signals.SIGTERM else "Ctrl-C"

    def _must_be_same(self) -> dict[str, Any]:
        """What another value of would make another run. The number of epochs may grow."""
        return {
            "rows": len(self._train),
            **{name: value for name, value in asdict(self._settings).items() if name != "epochs"},
        }

    def _checked(self, logs: Logs | None, epoch: int, step: int) -> Metrics:
        """Read metrics, "loss" first. The loss is a mean over the epoch, so one bad step shows from then on."""
        metrics = loss_first(logs.read() if logs is not None else {})
        # A callback that has stopped the run, such as Keras's TerminateOnNaN, has answered already.
        if not _is_finite(metrics) and not self._model.stop_training:
            raise TrainingError(
                f"The loss became {metrics['loss']} in epoch {epoch + 1}, by step {step}; training cannot go on.\n"
                "Lower the learning rate, clip the gradients (clipnorm=1.0 in the optimizer), or train in 'float32' if "
                "the model is in mixed_float16."
            )
        return metrics


def _is_finite(metrics: Metrics) -> bool:
    """Whether the loss is a number."""
    return bool(np.all(np.isfinite(metrics.get("loss", 0.0))))


def _is_out_of_memory(error: Exception) -> bool:
    """Each framework has errors of its own for it, and says so in words."""
    return isinstance(error, MemoryError) or OUT_OF_MEMORY.search(f"{type(error).__name__}: {error}") is not None


def evaluated(
    loop: TrainLoop,
    data: Split,
    batch_size: int,
    callbacks: keras.callbacks.CallbackList | None = None,
) -> Metrics:
    """Return the metrics of the model on `data`, in its own order. callbacks: told of single batches if one looks."""
    told = callbacks if callbacks is not None and looks_at_batches(callbacks, "test") else None
    order = epoch_order(len(data), seed=0, epoch=0, shuffle=False)
    logs: Logs | None = None
    try:
        loop.reset_metrics()
        steps = 1 if told is not None else min(UNTIMED_STEPS, loop.steps_per_dispatch)
        for step, chunk in enumerate(chunks(data, order, batch_size=batch_size, steps=steps)):
            if told is not None:
                told.on_test_batch_begin(step)
            logs = loop.test(chunk)
            if told is not None:
                loop.commit()
                told.on_test_batch_end(step, loss_first(logs.read()))
        return loss_first(logs.read() if logs is not None else {})
    finally:
        loop.commit()


def predicted(loop: TrainLoop, data: Batches, batch_size: int) -> Tree:
    """Return the outputs of the model for the rows of `data`, in their order, as NumPy arrays."""
    import keras

    order = epoch_order(len(leaves(data.x)[0]), seed=0, epoch=0, shuffle=False)
    steps = min(UNTIMED_STEPS, loop.steps_per_dispatch)
    parts = [loop.predict(chunk) for chunk in chunks(data, order, batch_size=batch_size, steps=steps)]
    return keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)


def loss_first(metrics: Metrics) -> Metrics:
    """Order metrics as people read them."""
    return {name: metrics[name] for name in sorted(metrics, key=lambda name: name != "loss")}


def looks_at_batches(callback: keras.callbacks.Callback, phase: Literal["train", "test"]) -> bool:
    """Whether a callback, or one in a list of them, has a hook of its own for single batches, in its class or on the
    instance. One whose `save_freq` is "epoch", as Keras's ModelCheckpoint has by default, does nothing there."""
    import keras

    if isinstance(callback, keras.callbacks.CallbackList):
        return any(looks_at_batches(member, phase) for member in callback.callbacks)
    if phase == "train" and getattr(callback, "save_freq", None) == "epoch":
        return False
    plain: Any = keras.callbacks.Callback
    hooks = [f"on_{phase}_batch_begin", f"on_{phase}_batch_end"]
    if phase == "train":
        hooks += ["on_batch_begin", "on_batch_end"]
    return any(getattr(getattr(callback, hook), "__func__", None) is not getattr(plain, hook) for hook in hooks)
