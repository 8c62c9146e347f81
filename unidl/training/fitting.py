"""The training loop, once: epochs, order, callbacks, progress, validation, stopping. The steps are the adapter's."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unidl.backend import Chunk, Logs, TrainLoop
from unidl.data.dataset import Split
from unidl.errors import TrainingError
from unidl.training.interrupt import Interrupt
from unidl.training.order import chunks, epoch_order
from unidl.training.progress import Progress

if TYPE_CHECKING:
    import keras

Metrics = dict[str, float]


@dataclass(frozen=True)
class FitSettings:
    """The arguments of one `Trainer.fit`; they are kept with the run."""

    epochs: int
    batch_size: int
    seed: int
    shuffle: bool = True
    initial_epoch: int = 0


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
        self._loop = loop
        self._train = train
        self._validation = validation
        self._settings = settings
        self._progress = progress
        self._every_batch = any(_looks_at_batches(callback) for callback in callbacks)
        self._steps = 1 if self._every_batch else loop.steps_per_dispatch
        self._callbacks = keras.callbacks.CallbackList(
            list(callbacks),
            add_history=True,
            model=model,
            epochs=settings.epochs,
            steps=math.ceil(len(train) / settings.batch_size),
            verbose=0,
        )
        self.interrupted = False

    def run(self, title: str) -> keras.callbacks.History:
        """Train, and return Keras's History, of whole epochs.

        Raises `TrainingError` when the loss becomes NaN or infinite. Ctrl-C ends the run after the step under way and
        sets `interrupted`.
        """
        model, settings = self._model, self._settings
        model.stop_training = False
        self._progress.start(title, epochs=settings.epochs, rows=len(self._train))
        why: str | None = None
        try:
            with Interrupt() as interrupt:
                self._callbacks.on_train_begin()
                for epoch in range(settings.initial_epoch, settings.epochs):
                    why = self._epoch(epoch, interrupt)
                    if why is not None:
                        break
                self._callbacks.on_train_end()
            self.interrupted = interrupt.requested
        except TrainingError as error:
            why = str(error).splitlines()[0]
            raise
        finally:
            self._loop.commit()
            self._progress.stop(why)
        return model.history

    def _epoch(self, epoch: int, interrupt: Interrupt) -> str | None:
        """Train one epoch; return why the run is over, if it is."""
        self._callbacks.on_epoch_begin(epoch)
        self._progress.epoch_started(epoch)
        self._loop.reset_metrics()
        started = time.perf_counter()
        finished, metrics = self._train_epoch(epoch, interrupt)
        seconds = time.perf_counter() - started
        if not finished:
            return f"stopped by Ctrl-C in epoch {epoch + 1}" if interrupt.requested else "stopped by a callback"
        if self._validation is not None:
            self._callbacks.on_test_begin()
            validated = test_metrics(self._loop, self._validation, self._settings.batch_size)
            self._callbacks.on_test_end(validated)
            metrics |= {f"val_{name}": value for name, value in validated.items()}
        self._loop.commit()
        self._callbacks.on_epoch_end(epoch, metrics)
        self._progress.epoch_ended(metrics, seconds)
        if interrupt.requested:
            return f"stopped by Ctrl-C after epoch {epoch + 1}"
        if self._model.stop_training and epoch + 1 < self._settings.epochs:
            return f"stopped early after epoch {epoch + 1}"
        return None

    def _train_epoch(self, epoch: int, interrupt: Interrupt) -> tuple[bool, Metrics]:
        """Run every chunk of an epoch. The metrics of one chunk are read while the next one computes."""
        rows_done = step = 0
        previous: Logs | None = None
        for chunk in self._chunks(epoch):
            if self._every_batch:
                self._callbacks.on_train_batch_begin(step)
            logs = self._loop.run(chunk)
            step += len(chunk.rows)
            rows_done += chunk.rows.size
            if self._every_batch:
                self._loop.commit()
                self._callbacks.on_train_batch_end(step - 1, self._checked(logs, epoch, step))
            looked = self._checked(previous, epoch, step) if previous is not None else None
            self._progress.advanced(rows_done, looked if self._progress.wants_metrics() else None)
            previous = logs
            if interrupt.requested or (self._every_batch and self._model.stop_training):
                return rows_done == len(self._train), self._checked(logs, epoch, step)
        return True, self._checked(previous, epoch, step)

    def _chunks(self, epoch: int) -> Iterator[Chunk]:
        settings = self._settings
        order = epoch_order(len(self._train), seed=settings.seed, epoch=epoch, shuffle=settings.shuffle)
        return chunks(self._train, order, batch_size=settings.batch_size, steps=self._steps)

    def _checked(self, logs: Logs | None, epoch: int, step: int) -> Metrics:
        """Read metrics, "loss" first. The loss is a mean over the epoch, so one bad step shows from then on."""
        metrics = loss_first(logs.read() if logs is not None else {})
        if not math.isfinite(metrics.get("loss", 0.0)):
            raise TrainingError(
                f"The loss became {metrics['loss']} in epoch {epoch + 1}, by step {step}; training cannot go on.\n"
                "Lower the learning rate, clip the gradients (clipnorm=1.0 in the optimizer), or train in 'float32' if "
                "the model is in mixed_float16."
            )
        return metrics


def test_metrics(loop: TrainLoop, data: Split, batch_size: int) -> Metrics:
    """Return the metrics of the model on `data`, in its own order."""
    loop.reset_metrics()
    logs: Logs | None = None
    order = epoch_order(len(data), seed=0, epoch=0, shuffle=False)
    for chunk in chunks(data, order, batch_size=batch_size, steps=loop.steps_per_dispatch):
        logs = loop.test(chunk)
    metrics = loss_first(logs.read() if logs is not None else {})
    loop.commit()
    return metrics


def loss_first(metrics: Metrics) -> Metrics:
    """Order metrics as people read them."""
    return {name: metrics[name] for name in sorted(metrics, key=lambda name: name != "loss")}


def _looks_at_batches(callback: keras.callbacks.Callback) -> bool:
    """Whether a callback has a hook of its own for single training batches, in its class or on the instance."""
    import keras

    plain: Any = keras.callbacks.Callback
    hooks = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
    return any(getattr(getattr(callback, hook), "__func__", None) is not getattr(plain, hook) for hook in hooks)
