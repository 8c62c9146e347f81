"""The training loop, once: epochs, order, callbacks, progress, validation, stopping. The steps are the adapter's."""

from __future__ import annotations

import math
import signal as signals
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.backend import Chunk, Logs, TrainLoop
from unidl.data.batch_stream import Stream
from unidl.data.checks import NonFinite
from unidl.data.dataset import Split, tell_of_sources
from unidl.data.streaming import Waiting
from unidl.errors import DataError, RankError, TrainingError
from unidl.keras_internals import first_epoch_of, forget_first_epoch
from unidl.notices import notice
from unidl.out_of_memory import is_out_of_memory
from unidl.scale.together import Together, called_here
from unidl.training.checkpoint import Position, Saving, Tracked
from unidl.training.evaluating import evaluated, loss_first
from unidl.training.fit_sentences import of_short_epochs, of_their_order, out_of_memory
from unidl.training.forgotten import Forgotten
from unidl.training.given import TrainingData
from unidl.training.interrupt import Interrupt, UninterruptedLoop
from unidl.training.non_finite import found_streaming
from unidl.training.order import Epochs, Rows, chunks, epochs_of
from unidl.training.pace import Pace
from unidl.training.progress import Metrics, Progress
from unidl.training.run_saving import RunSaving
from unidl.training.settings import FitSettings
from unidl.training.telling import Callbacks

if TYPE_CHECKING:
    import keras


class Fit:
    """One call of `Trainer.fit`."""

    def __init__(
        self,
        model: keras.Model,
        loop: TrainLoop,
        data: TrainingData,
        settings: FitSettings,
        callbacks: Sequence[keras.callbacks.Callback],
        progress: Progress,
        *,
        saving: Saving | None = None,
        trained: keras.Model | None = None,
        unsure: NonFinite | None = None,
        look: Callable[[], None] | None = None,
    ) -> None:
        """saving: when checkpoints are written. trained: what the loop trains, where it is a part of the model. unsure:
        a row with NaN or infinity that is trained on. look: called in each epoch, when the callbacks have been told."""
        self._model = model
        self.trained = trained or model
        self._together = Together(model, callbacks)
        self._interrupt = Interrupt(terminates=saving is not None)
        self._loop = UninterruptedLoop(loop, self._interrupt)
        self._train = data.training
        self._variants = data.variants
        self._validation = data.validation
        self._settings = settings
        self._progress = progress
        self._rows = epochs_of(
            data.training,
            batch_size=settings.batch_size,
            seed=settings.seed,
            shuffle=settings.shuffle,
            steps=settings.steps_per_epoch,
        )
        self._callbacks = Callbacks(
            called_here(callbacks),
            model,
            epochs=settings.epochs,
            steps=settings.steps_per_epoch or self._rows.batches,
            history=True,
            follows_trainable=loop.follows_values and loop.follows_variables,
        )
        self._every_batch = self._callbacks.look_at_batches("train")
        self._pace = Pace(1 if self._every_batch else loop.steps_per_dispatch)
        self._forgotten = Forgotten(list(callbacks))
        self._unsure, self._look = unsure, look
        self._metrics: Metrics = {}
        self._logs: Logs | None = None
        self._waiting = Waiting()
        self._seconds = self._waited_seconds = 0.0
        self._saver: RunSaving | None = None
        if saving is not None:
            self._saver = RunSaving(saving, model, Tracked(self.trained, list(callbacks)), self._must_be_same())

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C has come, or SIGTERM where it is taken."""
        return self._interrupt.requested

    @property
    def signal(self) -> int | None:
        """Which of them came."""
        return self._interrupt.signal

    @property
    def waiting_share(self) -> float:
        """Share of the time of all training steps in which they waited for data."""
        return self._waited_seconds / max(self._seconds, 1e-9)

    def run(self, title: str) -> keras.callbacks.History:
        """Train, and return Keras's History.

        Raises `TrainingError` when the loss becomes NaN or infinite. Ctrl-C ends the run after the step under way, or
        the validation, and sets `interrupted`; the History holds whole epochs.
        """
        data = (self._train, self._validation)
        self._together.begin(self._must_be_same, data, saves=self._saver is not None)
        longest, rows = self._rows.longest, None
        if longest is not None:
            rows = longest * self._settings.batch_size
            rows = rows if isinstance(self._train, Stream) else min(rows, len(self._train))
        self._progress.start(title, epochs=self._settings.epochs, rows=rows)
        self._tell(of_short_epochs(self._settings.steps_per_epoch, self._rows.batches))
        why: str | None = None
        try:
            with self._interrupt:
                try:
                    why = self._epochs()
                finally:
                    self._loop.commit()
        except Exception as error:
            if is_out_of_memory(error) and not isinstance(error, RankError):  # which tells of another process
                told = out_of_memory(self._settings.batch_size, self._saver)
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
        forget_first_epoch(model)
        self._callbacks.tell("on_train_begin")
        why: str | None = None
        # Keras's BackupAndRestore says here where to go on.
        first, stopped = first_epoch_of(model) or self._settings.initial_epoch, False
        if self._saver is not None:
            position = self._together.in_turn(self._resumed, lambda found: found and [found.epoch, found.step])
            if position is not None:
                first, stopped = position.epoch, position.stopped
                self._tell(of_their_order(self._train))
            elif self._saver.saves_start:
                self._save(first, 0)
        if stopped and first < self._settings.epochs:
            self._progress.message(
                f"a callback has stopped this run after epoch {first}, and it stays so; to train on, begin a new run "
                "with the model of the checkpoint, in another folder"
            )
        if not stopped:
            for epoch in range(first, self._settings.epochs):
                why = self._epoch(epoch)
                if why is not None:
                    break
        if model.optimizer is not None:
            # An optimizer that averages weights over the steps (use_ema=True) puts the averages into the model.
            model.optimizer.finalize_variable_values(model.trainable_variables)
        self._callbacks.tell("on_train_end", self._metrics)
        return why

    def _resumed(self) -> Position | None:
        return None if self._saver is None else self._saver.go_on(self._progress)

    def _epoch(self, epoch: int) -> str | None:
        """Train one epoch; return why the run is over, if it is."""
        self._callbacks.tell("on_epoch_begin", epoch)
        self._together.follow()
        if self._look is not None:
            self._look()
        self._progress.epoch_started(epoch)
        self._loop.reset_metrics()
        # What happens at the beginning of an epoch has happened before the run was saved in the middle of it.
        done = self._saver.go_on_within(epoch) if self._saver is not None else 0
        self._waiting = Waiting(self._settle)
        started = time.perf_counter()
        metrics = self._train_epoch(epoch, done)
        seconds = time.perf_counter() - started
        self._seconds += seconds
        self._waited_seconds += self._waiting.seconds
        self._loop.commit()
        if metrics is None:
            return f"stopped by {self._stopped_by()} in epoch {epoch + 1}"
        if self._validation is not None and self._settings.validates(epoch):
            metrics |= self._validated(self._validation)
        self._metrics = metrics
        self._callbacks.tell("on_epoch_end", epoch, metrics)
        self._together.follow()
        self._progress.epoch_ended(metrics, seconds, self._waiting.seconds)
        tell_of_sources(self._progress.message, self._train, self._validation)
        if _is_finite(metrics):  # else a callback such as TerminateOnNaN has stopped the run
            self._save(epoch + 1, 0)
        self._together.decide(self._interrupt)
        if self._together.signal is not None:
            return f"stopped by {self._stopped_by()} after epoch {epoch + 1}"
        if self._model.stop_training and epoch + 1 < self._settings.epochs:
            return f"stopped early after epoch {epoch + 1}"
        return None

    def _validated(self, data: Split) -> Metrics:
        self._callbacks.tell("on_test_begin")
        size = self._settings.validation_batch_size or self._settings.batch_size
        steps = self._settings.validation_steps
        validated = evaluated(self._loop, data, size, self._callbacks, steps=steps)
        unsure = None if _is_finite(validated) else found_streaming(data)
        if unsure is not None:
            raise DataError(unsure.message)
        self._callbacks.tell("on_test_end", validated)
        return {f"val_{name}": value for name, value in validated.items()}

    def _train_epoch(self, epoch: int, step: int) -> Metrics | None:
        """Run the chunks of an epoch from a step on and return its metrics, or None if Ctrl-C has cut it short.

        The metrics of one chunk are read while the next one computes.
        """
        order = self._rows.order(epoch)
        steps = math.inf if order is None else math.ceil(len(order) / self._rows.batch_size)
        rows_done = step * self._settings.batch_size
        previous = self._logs = None
        for chunk in self._chunks(order, epoch, step):
            if self._every_batch:
                self._callbacks.tell("on_train_batch_begin", step)
            logs = self._loop.run(chunk)
            looked = self._checked(previous, epoch, step)
            step += len(chunk.rows)
            rows_done += chunk.rows.size
            previous = self._logs = logs
            if self._every_batch:
                self._loop.commit()
                self._callbacks.tell("on_train_batch_end", step - 1, loss_first(logs.read()))
                looked = self._checked(logs, epoch, step)
            self._progress.advanced(rows_done, looked if self._progress.wants_metrics() else None)
            due = self._saver is not None and self._saver.is_due(len(chunk.rows)) and step < steps
            if due and _is_finite(self._checked(logs, epoch, step)):
                self._save(epoch, step)
            self._together.decide(self._interrupt)
            if self._model.stop_training or (self._together.signal is not None and step < steps):
                break
        metrics = self._checked(previous, epoch, step)
        if isinstance(self._train, Stream):
            self._train.stream.pass_over()
        if self._together.signal is not None and step < steps:
            self._save(epoch, step)
            return None
        return metrics

    def _chunks(self, order: Rows | None, epoch: int, step: int) -> Iterator[Chunk]:
        size = self._settings.batch_size
        self._pace.rest()
        if self._saver is not None:
            self._saver.count_from(self._rows.steps_before(epoch) + step)
        train = self._train
        if self._variants and isinstance(self._rows, Epochs):
            train = self._variants[self._rows.pass_of(epoch) % len(self._variants)]
        return chunks(train, order, batch_size=size, steps=self._next_steps, waiting=self._waiting, first=step)

    def _settle(self) -> None:
        """Wait for the steps that are under way."""
        if self._logs is not None:
            self._logs.read()

    def _next_steps(self) -> int:
        """How many steps come next: at most those until the next checkpoint."""
        pace = self._together.steps(self._pace())
        return pace if self._saver is None else min(pace, self._saver.most_steps)

    def _save(self, epoch: int, step: int) -> None:
        """Write a checkpoint, if the run has any. epoch, step: how many are complete."""
        if self._saver is not None:
            self._interrupt.finish(self._write, self._saver, epoch, step)

    def _write(self, saver: RunSaving, epoch: int, step: int) -> None:
        self._loop.commit()
        if self._together.is_first:
            saver.write(epoch, step)
        self._together.wait()
        for sentence in self._forgotten.newly_found():
            notice(sentence)
            self._progress.message(sentence)

    def _tell(self, sentence: str | None) -> None:
        if sentence is not None:
            self._progress.message(sentence)

    def _stopped_by(self) -> str:
        return "SIGTERM" if self.signal == signals.SIGTERM else "Ctrl-C"

    def _must_be_same(self) -> dict[str, Any]:
        """What another value of would make another run. The number of epochs may grow."""
        settings = {name: value for name, value in asdict(self._settings).items() if name != "epochs"}
        return {"rows": len(self._train)} | settings

    def _checked(self, logs: Logs | None, epoch: int, step: int) -> Metrics:
        """Read metrics, "loss" first. The loss is a mean over the epoch, so one bad step shows from then on."""
        metrics = loss_first(logs.read() if logs is not None else {})
        # A callback that has stopped the run, such as Keras's TerminateOnNaN, has answered already.
        if not _is_finite(metrics) and not self._model.stop_training:
            unsure = self._unsure or found_streaming(self._train)
            if unsure is not None:
                raise DataError(f"The loss became {metrics['loss']} by step {step}. {unsure.message}")
            raise TrainingError(
                f"The loss became {metrics['loss']} in epoch {epoch + 1}, by step {step}; training cannot go on.\n"
                "Lower the learning rate, clip the gradients (clipnorm=1.0 in the optimizer), or train in 'float32' if "
                "the model is in mixed_float16."
            )
        return metrics


def _is_finite(metrics: Metrics) -> bool:
    """Whether the loss is a number."""
    return bool(np.all(np.isfinite(metrics.get("loss", 0.0))))
