"""The trainer: any keras.Model, on one device, in one precision, by the adapter's compiled loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unidl import devices, registry
from unidl.backend import Device, TrainLoop, Trains, Tree
from unidl.data.dataset import Split, as_split
from unidl.errors import BackendError
from unidl.keras_internals import metrics_in_order
from unidl.paths import as_path
from unidl.precision import require_training
from unidl.training.arguments import callbacks_in, optional_whole, saving_in, stoppers, style_of, whole
from unidl.training.busy import using
from unidl.training.checking import checked, checked_for_training
from unidl.training.checkpoint import KEEP, Saving
from unidl.training.compiled_in import CompiledIn
from unidl.training.compiling import ensure_compiled, same, signature
from unidl.training.describing import description, title
from unidl.training.evaluating import evaluated, predicted
from unidl.training.frozen_front import FrozenFront
from unidl.training.given import TrainingData, one_split, size_of_batches, training_data
from unidl.training.host_memory import keep_freed_memory
from unidl.training.non_finite import require_finite_loss, require_finite_outputs
from unidl.training.order import Shuffle, batches_of
from unidl.training.progress import Progress, format_metrics
from unidl.training.progress_styles import Style, make_progress
from unidl.training.running_precision import precision_of
from unidl.training.runs import build_for, new_run
from unidl.training.settings import FitSettings, fit_arguments
from unidl.training.telling import Callbacks

if TYPE_CHECKING:
    import keras

EVALUATED_BATCH_SIZE = 256
"""Of evaluation and prediction, if nobody says."""

Verbose = Literal["auto", 0, 1, 2]
"""Keras's words for how much is printed."""


class Trainer:
    """Trains, evaluates and saves a Keras model.

    model: any keras.Model. optimizer, loss, metrics: as in `keras.Model.compile`; not needed for a model that is
    compiled already or came from one of our builders (Adam, crossentropy and accuracy). Gradient clipping and
    accumulation and learning-rate schedules are the optimizer's own arguments. device: "auto", "cpu", "gpu", "gpu:1";
    "auto" is UNIDL_DEVICE, else the first GPU, else the CPU. precision: how float32 is computed; a mixed precision is
    chosen when the model is built. seed: keys the order of the data.

    It trains as `keras.Model.fit` does, but for a model whose layers alone are in mixed_float16: Keras looks at the
    policy of the model and leaves its loss as it is, and gradients vanish; here its optimizer becomes a
    LossScaleOptimizer, and the weights differ.

    Raises `DeviceError`, `PrecisionError` or `ModelError` if model, device and precision do not go together.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        device: str | None = "auto",
        precision: str | None = None,
        optimizer: Any = None,
        loss: Any = None,
        metrics: Any = None,
        seed: int = 0,
    ) -> None:
        self.backend = registry.current()
        if not isinstance(self.backend, Trains):
            raise BackendError(f"Backend '{self.backend.name}' cannot train: its adapter has no compile_loop.")
        self.model = model
        self.placement = devices.resolve(device)
        self.precision = precision_of(model, precision, self.device)
        self.seed = whole("seed", seed, minimum=None)
        self.history: dict[str, list[Any]] = {}
        self.interrupted = False
        self.signal: int | None = None
        self.settings: FitSettings | None = None
        if self.device.kind == "cpu":
            keep_freed_memory()
        with self._context():
            ensure_compiled(model, optimizer, loss, metrics)
        self._loop: TrainLoop | None = None
        self._front: FrozenFront | None = None
        self._signature: tuple[Any, ...] = ()

    @property
    def device(self) -> Device:
        """The device that computes."""
        return self.placement.device

    @property
    def why_not_compiled(self) -> str | None:
        """Why this model's steps take Keras's plain path, or None if they do not."""
        return self._ready_loop().why_not_compiled

    def fit(
        self,
        data: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Verbose | None = None,
        callbacks: Sequence[keras.callbacks.Callback] | None = (),
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: Shuffle = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
        *,
        x: Any = None,
        validation: Any = None,
        early_stopping: int | None = None,
        precompute_frozen: bool = False,
        checkpoint: str | Path | None = None,
        save_every_steps: int | None = None,
        keep: int = KEEP,
        resume: bool = False,
        configuration: Mapping[str, Any] | None = None,
        progress: Style = "auto",
    ) -> keras.callbacks.History:
        """Train and return Keras's History.

        The first row of arguments is that of `keras.Model.fit`, with its meaning: `fit(x, y, ...)`. data: arrays x
        beside y; or alone a Split, (x, y) or (x, y, sample_weight). validation: the same as validation_data, or a
        Split. verbose: 0, 1 and 2 are progress "quiet", "bar" and "lines". class_weight multiplies the weights of
        rows. steps_per_epoch: batches of an epoch; the next one goes on behind them, and mixes the rows anew at the end
        of the data.

        early_stopping: end after so many epochs without a better validation loss (training loss, without validation
        data) and go back to the best weights. precompute_frozen: compute what the frozen layers at the front of the
        model give once, before the first epoch, and train the rest on that: the same result for a fraction of the
        work, and memory for the features. callbacks: Keras's; one that looks at single batches gets every batch, at the
        price of one dispatch a batch. progress: "auto", "bar", "lines", "json" or "quiet".

        checkpoint: a folder for checkpoints, one after each epoch, and every so many steps; the newest `keep` stay.
        resume: go on from the newest whole one there, if there is one, as if training had never stopped; with more
        epochs than then, a longer run. configuration: JSON values that are kept with each, for the caller.

        Raises `DataError` before the first step if the data does not fit the model, or is not what the run to go on
        with was begun with (of arrays above 16 MiB a sample of rows is compared), `ModelError` if precompute_frozen is
        asked of a model whose front learns or draws at random, `UsageError` if another thread uses the model, and
        `TrainingError` if the loss becomes NaN or infinite, or a callback compiles the model. Ctrl-C ends the run after
        the step under way, with the history so far; then `interrupted` is True. So does SIGTERM, if there is a folder
        for checkpoints and this is the main thread: one is written, and `signal` tells which of them it was.
        """
        saving = saving_in(checkpoint, save_every_steps, keep, resume, configuration)
        reporter = make_progress(style_of(progress, verbose))
        arguments = fit_arguments(
            epochs=epochs,
            batch_size=batch_size,
            seed=self.seed,
            shuffle=shuffle,
            initial_epoch=initial_epoch,
            precompute_frozen=precompute_frozen,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_batch_size=validation_batch_size,
            validation_freq=validation_freq,
        )
        told = callbacks_in(callbacks)
        patience = optional_whole("early_stopping", early_stopping)
        with using(self.model, "fit"), self._context():
            given = training_data(
                one_split(data, y, sample_weight, x),
                validation=validation,
                validation_data=validation_data,
                validation_split=validation_split,
                class_weight=class_weight,
            )
            settings = arguments.with_data(given)
            given = checked_for_training(self.model, given, settings)
            told += stoppers(patience, monitor="loss" if given.validation is None else "val_loss")
            return self._run(given, settings, told, reporter, saving)

    def evaluate(
        self,
        data: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Verbose | None = None,
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Sequence[keras.callbacks.Callback] | None = None,
        return_dict: bool | None = None,
        *,
        x: Any = None,
    ) -> Any:
        """Return loss and metrics on the data by their names; with return_dict=False a list of them in Keras's order,
        or the loss alone if that is all.

        The arguments are those of `keras.Model.evaluate`, `evaluate(x, y, ...)`; or data: a Split, (x, y) or
        (x, y, sample_weight). Nothing is printed unless verbose says so. Batches of 256, if nobody says; steps: the
        most batches.
        """
        steps = optional_whole("steps", steps)
        size = optional_whole("batch_size", batch_size)
        reporter = make_progress("quiet" if verbose is None else style_of("auto", verbose))
        with using(self.model, "evaluate"), self._context():
            split = one_split(data, y, sample_weight, x)
            size = size_of_batches(size, len(split), steps, EVALUATED_BATCH_SIZE)
            split = checked(self.model, split, "test data", step="test_step", batch_size=size)
            build_for(self.model, split, size)
            told = Callbacks(callbacks_in(callbacks), self.model, epochs=1, steps=batches_of(len(split), size, steps))
            told.tell("on_test_begin")
            metrics = evaluated(self._ready_loop(), split, size, told, steps=steps)
            require_finite_loss(metrics, split, "test data")
            told.tell("on_test_end", metrics)
        reporter.message(f"{self.model.name}: {format_metrics(metrics)}")
        return metrics if return_dict is not False else metrics_in_order(self.model, metrics)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Verbose | None = None,
        steps: int | None = None,
        callbacks: Sequence[keras.callbacks.Callback] | None = None,
    ) -> Tree:
        """Return the model's outputs for `x`, an array or a nest of arrays, as NumPy arrays in the order of `x`.

        The arguments are those of `keras.Model.predict`. verbose changes nothing: there is nothing to tell. Batches of
        256, if nobody says; steps: the most batches.
        """
        style_of("auto", verbose)
        steps = optional_whole("steps", steps)
        size = optional_whole("batch_size", batch_size)
        with using(self.model, "predict"), self._context():
            split = Split(as_split(x).x)
            size = size_of_batches(size, len(split), steps, EVALUATED_BATCH_SIZE)
            split = checked(self.model, split, "input", step="predict_step", batch_size=size)
            told = Callbacks(callbacks_in(callbacks), self.model, epochs=1, steps=batches_of(len(split), size, steps))
            told.tell("on_predict_begin")
            outputs = predicted(self._ready_loop(), split, size, told, steps=steps)
            require_finite_outputs(outputs, split, "input")
            told.tell("on_predict_end")
            return outputs

    def save(self, path: str | Path) -> Path:
        """Write the model, its history and how it was trained to the directory `path`, whole or not at all.

        Raises `SavedModelError` if something else is there, or it cannot be written.
        """
        from unidl.training.run_directory import save_run

        return save_run(self, as_path(path))

    def describe(self) -> dict[str, Any]:
        """Return what somebody needs to know to repeat this training, as JSON values."""
        return description(
            self.backend, self.placement, precision=self.precision.name, seed=self.seed, settings=self.settings
        )

    def _run(
        self,
        data: TrainingData,
        settings: FitSettings,
        callbacks: list[keras.callbacks.Callback],
        reporter: Progress,
        saving: Saving | None,
    ) -> keras.callbacks.History:
        """Train on data that has been checked."""
        require_training(self.precision, self.model.optimizer)
        self.settings = settings
        run = new_run(
            self.model,
            data,
            settings,
            callbacks,
            reporter,
            saving=saving,
            loop=self._ready_loop,
            front=self._ready_front,
            look=lambda: self._compiled_in.look(),
        )
        try:
            return run.run(title(self.model, self._framework, self.placement, self.precision.name))
        finally:
            self.history = dict(self.model.history.history)
            self.interrupted, self.signal = run.interrupted, run.signal

    def _context(self) -> ExitStack:
        stack = ExitStack()
        stack.enter_context(self.backend.on(self.device))
        stack.enter_context(self.backend.precision(self.precision))
        return stack

    def _ready_loop(self) -> TrainLoop:
        """The loop for the model as it is compiled now."""
        current = signature(self.model)
        if self._loop is None or not same(current, self._signature):
            self._loop = self._compiled_loop(self.model)
            self._compiled_in = CompiledIn(self.model, self._loop)
            self._front = None
            self._signature = current
        return self._loop

    def _compiled_loop(self, model: keras.Model) -> TrainLoop:
        if not isinstance(self.backend, Trains):
            raise BackendError(f"Backend '{self.backend.name}' cannot train.")
        return self.backend.compile_loop(model, device=self.device)

    def _ready_front(self) -> FrozenFront:
        """The frozen front of the model as it is compiled now."""
        self._ready_loop()
        if self._front is None:
            self._front = FrozenFront(self.model, self._compiled_loop)
        return self._front

    @cached_property
    def _framework(self) -> str:
        """Its name and version, which to look up takes as long as some hundred small steps."""
        return " ".join(next(iter(self.backend.versions().items())))
