"""The training loop, once: epochs, order, callbacks, progress, validation, stopping. The steps are the adapter's."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from unidl.backend import Batches, Chunk, Logs, TrainLoop, Tree
from unidl.data.dataset import Split
from unidl.data.trees import leaves
from unidl.errors import TrainingError
from unidl.training.interrupt import Interrupt, UninterruptedLoop
from unidl.training.order import chunks, epoch_order
from unidl.training.progress import Metrics, Progress

if TYPE_CHECKING:
    import keras


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
    ) -> None:
        import keras

        self._model = model
        self._interrupt = Interrupt()
        self._loop = UninterruptedLoop(loop, self._interrupt)
        self._train = train
        self._validation = validation
        self._settings = settings
        self._progress = progress
        self._every_batch = any(looks_at_batches(callback, "train") for callback in callbacks)
        self._steps = 1 if self._every_batch else loop.steps_per_dispatch
        self._callbacks = keras.callbacks.CallbackList(
            list(callbacks),
            add_history=True,
            model=model,
            epochs=settings.epochs,
            steps=math.ceil(len(train) / settings.batch_size),
            verbose=0,
        )
        self._metrics: Metrics = {}

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C has come."""
        return self._interrupt.requested

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
        except TrainingError as error:
            why = str(error).splitlines()[0]
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
        for epoch in range(model._initial_epoch or self._settings.initial_epoch, self._settings.epochs):
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
        started = time.perf_counter()
        metrics = self._train_epoch(epoch)
        seconds = time.perf_counter() - started
        self._loop.commit()
        if metrics is None:
            return f"stopped by Ctrl-C in epoch {epoch + 1}"
        if self._validation is not None:
            self._callbacks.on_test_begin()
            validated = evaluated(self._loop, self._validation, self._settings.batch_size, self._callbacks)
            self._callbacks.on_test_end(validated)
            metrics |= {f"val_{name}": value for name, value in validated.items()}
        self._metrics = metrics
        self._callbacks.on_epoch_end(epoch, metrics)
        self._progress.epoch_ended(metrics, seconds)
        if self.interrupted:
            return f"stopped by Ctrl-C after epoch {epoch + 1}"
        if self._model.stop_training and epoch + 1 < self._settings.epochs:
            return f"stopped early after epoch {epoch + 1}"
        return None

    def _train_epoch(self, epoch: int) -> Metrics | None:
        """Run the chunks of an epoch and return its metrics, or None if Ctrl-C has cut it short.

        The metrics of one chunk are read while the next one computes.
        """
        rows_done = step = 0
        previous: Logs | None = None
        for chunk in self._chunks(epoch):
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
            if self._model.stop_training or (self.interrupted and rows_done < len(self._train)):
                break
        if self.interrupted and rows_done < len(self._train):
            return None
        return self._checked(previous, epoch, step)

    def _chunks(self, epoch: int) -> Iterator[Chunk]:
        settings = self._settings
        order = epoch_order(len(self._train), seed=settings.seed, epoch=epoch, shuffle=settings.shuffle)
        return chunks(self._train, order, batch_size=settings.batch_size, steps=self._steps)

    def _checked(self, logs: Logs | None, epoch: int, step: int) -> Metrics:
        """Read metrics, "loss" first. The loss is a mean over the epoch, so one bad step shows from then on."""
        metrics = loss_first(logs.read() if logs is not None else {})
        # A callback that has stopped the run, such as Keras's TerminateOnNaN, has answered already.
        if not np.all(np.isfinite(metrics.get("loss", 0.0))) and not self._model.stop_training:
            raise TrainingError(
                f"The loss became {metrics['loss']} in epoch {epoch + 1}, by step {step}; training cannot go on.\n"
                "Lower the learning rate, clip the gradients (clipnorm=1.0 in the optimizer), or train in 'float32' if "
                "the model is in mixed_float16."
            )
        return metrics


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
        steps = loop.steps_per_dispatch if told is None else 1
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
    parts = [loop.predict(chunk) for chunk in chunks(data, order, batch_size=batch_size, steps=loop.steps_per_dispatch)]
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
