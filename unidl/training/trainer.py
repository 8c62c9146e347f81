"""The trainer: any keras.Model, on one device, in one precision, by the adapter's compiled loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl import devices, registry
from unidl.backend import Device, TrainLoop, Trains, Tree
from unidl.data.checks import check_fits
from unidl.data.dataset import Split, as_split
from unidl.data.fingerprint import fingerprint
from unidl.data.numbers import computed
from unidl.data.trees import map_leaves
from unidl.data.whole_numbers import held_whole_numbers
from unidl.errors import BackendError, ModelError
from unidl.models.records import note
from unidl.notices import notice, uncoloured
from unidl.paths import as_path
from unidl.training.arguments import callbacks_in, first_epoch, saving_in, stoppers, whole
from unidl.training.checkpoint import KEEP, Saving
from unidl.training.compiling import ensure_compiled, require_trainable, same, signature
from unidl.training.evaluating import evaluated, predicted
from unidl.training.fitting import Fit, FitSettings
from unidl.training.frozen_front import FrozenFront
from unidl.training.host_memory import keep_freed_memory
from unidl.training.progress import Metrics, Progress, Style, make_progress
from unidl.training.running_precision import precision_of
from unidl.training.value_range import hold_range, learn_range

if TYPE_CHECKING:
    import keras


class Trainer:
    """Trains, evaluates and saves a Keras model.

    model: any keras.Model. optimizer, loss, metrics: as in `keras.Model.compile`; not needed for a model that is
    compiled already or came from one of our builders (Adam, crossentropy and accuracy). Gradient clipping and
    accumulation and learning-rate schedules are the optimizer's own arguments. device: "auto", "cpu", "gpu", "gpu:1";
    "auto" is UNIDL_DEVICE, else the first GPU, else the CPU. precision: how float32 is computed; a mixed precision is
    chosen when the model is built. seed: keys the order of the data.

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
        data: Any,
        *,
        validation: Any = None,
        epochs: int = 1,
        batch_size: int = 32,
        shuffle: bool = True,
        initial_epoch: int = 0,
        early_stopping: int | None = None,
        precompute_frozen: bool = False,
        checkpoint: str | Path | None = None,
        save_every_steps: int | None = None,
        keep: int = KEEP,
        resume: bool = False,
        configuration: Mapping[str, Any] | None = None,
        callbacks: Sequence[keras.callbacks.Callback] | None = (),
        progress: Style = "auto",
    ) -> keras.callbacks.History:
        """Train on `data` and return Keras's History.

        data, validation: a Split, (x, y) or (x, y, sample_weight). early_stopping: end after so many epochs without a
        better validation loss (training loss, without validation data) and go back to the best weights.
        precompute_frozen: compute what the frozen layers at the front of the model give once, before the first epoch,
        and train the rest on that: the same result for a fraction of the work, and memory for the features. callbacks:
        Keras's; one that looks at single batches gets every batch, at the price of one dispatch a batch. progress:
        "auto", "bar", "lines", "json" or "quiet".

        checkpoint: a folder for checkpoints, one after each epoch, and every so many steps; the newest `keep` stay.
        resume: go on from the newest whole one there, if there is one, as if training had never stopped. configuration:
        JSON values that are kept with each, for the caller.

        Raises `DataError` before the first step if the data does not fit the model, or is not what the run to go on
        with was begun with (of arrays above 16 MiB a sample of rows is compared), `ModelError` if precompute_frozen is
        asked of a model whose front learns or draws at random, and `TrainingError` if the loss becomes NaN or infinite.
        Ctrl-C ends the run after the step under way, with the history so far; then `interrupted` is True. So does
        SIGTERM, if there is a folder for checkpoints and this is the main thread: one is written, and `signal` tells
        which of them it was.
        """
        settings = FitSettings(
            epochs=whole("epochs", epochs),
            batch_size=whole("batch_size", batch_size),
            seed=self.seed,
            shuffle=bool(shuffle),
            initial_epoch=first_epoch(initial_epoch, epochs),
            precompute_frozen=bool(precompute_frozen),
        )
        saving = saving_in(checkpoint, save_every_steps, keep, resume, configuration)
        reporter = make_progress(progress)
        with self._context():
            train = self._fitting(data, "training data")
            held_out = self._fitting(validation, "validation data") if validation is not None else None
            if saving is not None:
                saving = replace(saving, data=fingerprint(training=train, validation=held_out))
            require_trainable(self.model)
            told = callbacks_in(callbacks)
            told += stoppers(early_stopping, monitor="val_loss" if held_out is not None else "loss")
            if train.class_names or train.vocabulary:
                note(self.model, class_names=train.class_names, vocabulary=train.vocabulary)
            learn_range(self.model, train.x, "training data")
            if held_out is not None:
                hold_range(self.model, held_out.x, "validation data")
            self._tell_of_foreign_draws()
            self.settings = settings
            run = self._new_run(train, held_out, settings, told, reporter, saving)
            try:
                return run.run(self._title())
            finally:
                self.history = dict(self.model.history.history)
                self.interrupted, self.signal = run.interrupted, run.signal

    def evaluate(self, data: Any, *, batch_size: int = 256) -> Metrics:
        """Return loss and metrics on `data`: a Split, (x, y) or (x, y, sample_weight)."""
        batch_size = whole("batch_size", batch_size)
        with self._context():
            checked = self._fitting(data, "test data")
            hold_range(self.model, checked.x, "test data")
            return evaluated(self._ready_loop(), checked, batch_size)

    def predict(self, x: Any, *, batch_size: int = 256) -> Tree:
        """Return the model's outputs for `x`, an array or a nest of arrays, as NumPy arrays in the order of `x`."""
        batch_size = whole("batch_size", batch_size)
        with self._context():
            data = self._fitting(Split(as_split(x).x), "input", for_training=False)
            hold_range(self.model, data.x, "input")
            return predicted(self._ready_loop(), data, batch_size)

    def save(self, path: str | Path) -> Path:
        """Write the model, its history and how it was trained to the directory `path`, whole or not at all.

        Raises `SavedModelError` if something else is there, or it cannot be written.
        """
        from unidl.training.run_directory import save_run

        return save_run(self, as_path(path))

    def describe(self) -> dict[str, Any]:
        """Return what somebody needs to know to repeat this training, as JSON values."""
        from dataclasses import asdict

        return {
            "backend": self.backend.name,
            "versions": self.backend.versions(),
            "device": asdict(self.device),
            "device_reason": self.placement.reason,
            "precision": self.precision.name,
            "seed": self.seed,
            "fit": asdict(self.settings) if self.settings is not None else None,
        }

    def _new_run(
        self,
        train: Split,
        held_out: Split | None,
        settings: FitSettings,
        callbacks: list[keras.callbacks.Callback],
        reporter: Progress,
        saving: Saving | None,
    ) -> Fit:
        """The run that is asked for: of the model, or of the part that learns, on what the frozen front gives."""
        loop, trained = self._ready_loop(), self.model
        if settings.precompute_frozen:
            front = self._ready_front()
            rows = len(train) + len(held_out or ())
            reporter.message(f"{self.model.name}: computes what its frozen layers give for {rows:,} rows, once")
            loop, train = front.loop, front.features(train, settings.batch_size)
            held_out = held_out and front.features(held_out, settings.batch_size)
            trained = front.rest
            resumes = saving is not None and saving.resume
            callbacks = callbacks + ([front.guard()] if callbacks or resumes else [])
        return Fit(self.model, loop, train, held_out, settings, callbacks, reporter, saving=saving, trained=trained)

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

    def _fitting(self, data: Any, name: str, *, for_training: bool = True) -> Split:
        """The data as a Split that the model takes; a model that has no weights yet gets them here."""
        # A new value for each call: an adapter keeps its rows on the device, and the arrays may change between calls.
        split = copy(as_split(data))
        check_fits(self.model, split, for_training=for_training, name=name)
        if not all(layer.built for layer in self.model._flatten_layers()):
            row = map_leaves(lambda array: computed(array[:1]), split.x)
            try:
                self.model(row, training=False)
            except (ValueError, TypeError) as error:
                raise ModelError(
                    f"The model '{self.model.name}' has no weights yet, and calling it on the first row of the {name} "
                    f"to make them failed: {uncoloured(str(error))}"
                ) from error
            check_fits(self.model, split, for_training=for_training, name=name)
        return held_whole_numbers(self.model, split, name)

    def _tell_of_foreign_draws(self) -> None:
        from unidl.layers import foreign_draws

        paths = foreign_draws(self.model)
        if paths:
            names = ", ".join(f"'{path}'" for path in paths)
            notice(
                f"{self.model.name}: {names} draw from Keras's own stream, which is another one on each backend; those "
                "of unidl.layers, as in unidl's builders, draw the same on all of them"
            )

    @cached_property
    def _framework(self) -> str:
        """Its name and version, which to look up takes as long as some hundred small steps."""
        return " ".join(next(iter(self.backend.versions().items())))

    def _title(self) -> str:
        device = self.device.name if self.device.kind == "gpu" else self.device.id
        return (
            f"{self.model.name}: {self.model.count_params():,} parameters, {self._framework} on "
            f"{device} ({self.placement.reason}), {self.precision.name}"
        )
