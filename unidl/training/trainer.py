"""The trainer: any keras.Model, on one device, in one precision, by the adapter's compiled loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl.data.dataset import as_split
from unidl.paths import as_path
from unidl.training.arguments import callbacks_in, optional_whole, saving_in, stoppers, style_of, whole
from unidl.training.busy import using
from unidl.training.checking import checked_for_training
from unidl.training.checkpoint import KEEP, Saving
from unidl.training.compiling import require_trainable
from unidl.training.describing import description, title
from unidl.training.evaluator import Evaluator, Verbose
from unidl.training.given import TrainingData, one_split, training_data
from unidl.training.layer_rates import LayerRates, settle_rates
from unidl.training.order import Shuffle
from unidl.training.progress import Progress
from unidl.training.progress_styles import Style, make_progress
from unidl.training.rate_search import HIGHEST, LOWEST, STEPS, RateSearch, require_range, search_rate
from unidl.training.running_precision import require_training
from unidl.training.runs import build_for, new_run
from unidl.training.settings import FitSettings, fit_arguments
from unidl.training.step_trial import StepTrial, few_rows, timed_steps

if TYPE_CHECKING:
    import keras


class Trainer(Evaluator):
    """Trains, evaluates and saves a Keras model.

    model: any keras.Model. optimizer, loss, metrics: as in `keras.Model.compile`; not needed for a model that is
    compiled already or came from one of our builders (Adam, crossentropy and accuracy). Gradient clipping and
    accumulation and learning-rate schedules are the optimizer's own arguments. device: "auto", "cpu", "gpu", "gpu:1";
    "auto" is UNIDL_DEVICE, else the first GPU, else the CPU. precision: how float32 is computed; a mixed precision is
    chosen when the model is built. seed: keys the order of the data.

    rate_factors: what the learning rate is multiplied by for a layer, by its name, its path ("base/conv1") or the name
    of a block ("block1" for block1_conv1 and its like): {"block1": 0.1}. The closest name counts; 0 leaves the weights
    as they are. layer_decay: the learning rate is multiplied by it at each layer with a kernel on the way from the
    outputs to the inputs, as 0.9: 1, 0.9, 0.81. Both scale the update, with every optimizer of Keras, weight decay
    included, and stay with the optimizer when layers are frozen or unfrozen; `rate_factors={}` takes them away.

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
        rate_factors: Mapping[str, float] | None = None,
        layer_decay: float | None = None,
    ) -> None:
        self.seed = whole("seed", seed, minimum=None)
        self.history: dict[str, list[Any]] = {}
        self.interrupted = False
        self.signal: int | None = None
        self.settings: FitSettings | None = None
        self.stages: list[dict[str, Any]] = []
        rates = LayerRates.of(rate_factors, layer_decay)
        super().__init__(model, device, precision, optimizer, loss, metrics, rates)

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
        checkpoint: str | Path | Saving | None = None,
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
        work. The features stay in memory, or if they take half of it in files of the cache (UNIDL_CACHE_DIR), for the
        next `fit`, until the weights, the layers, the data or the precision under them change. callbacks: Keras's; one
        that looks at single batches gets every batch, at the price of one dispatch a batch. progress: "auto", "bar",
        "lines", "json" or "quiet".

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
            settings = arguments.with_data(given, self.model)
            given = checked_for_training(self.model, given, settings)
            told += stoppers(patience, monitor="loss" if given.validation is None else "val_loss")
            return self._run(given, settings, told, reporter, saving)

    def find_learning_rate(
        self,
        data: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        *,
        lowest: float = LOWEST,
        highest: float = HIGHEST,
        steps: int = STEPS,
    ) -> RateSearch:
        """Return how the loss goes as the learning rate rises step by step, and a rate to train with.

        The model, its optimizer and its metrics are afterwards what they were, to the bit. A schedule of the optimizer
        is left out of account; learning rates of layers stay in proportion.

        Args:
            data, y, batch_size: As in `fit`.
            lowest, highest: The first and the last learning rate.
            steps: Steps to take, at most: the search is over when the smoothed loss is four times its best.

        Returns:
            A `RateSearch` with `suggestion`, the rates and losses, `to_json()` and `plot(path)`.

        Raises:
            UsageError: If an argument cannot be used.
            DataError, ModelError: As `fit` does.
        """
        require_range(lowest, highest, steps)
        arguments = fit_arguments(seed=self.seed, batch_size=batch_size)
        with using(self.model, "find_learning_rate"), self._context():
            given = TrainingData(one_split(data, y, None, None))
            settings = arguments.with_data(given, self.model)
            given = checked_for_training(self.model, given, settings)
            settle_rates(self.model)
            require_trainable(self.model)
            build_for(self.model, given.training, settings.batch_size)
            loop = self._loops.of_single_steps()
            return search_rate(loop, self.model, given.training, settings, lowest=lowest, highest=highest, steps=steps)

    def try_steps(self, data: Any, batch_size: int, steps: int) -> StepTrial:
        """Take a few steps with batches of this size, and return their time and their memory; the model is changed.

        The rows are repeated where there are fewer. Raises whatever the framework does if the memory is not enough.
        """
        with using(self.model, "try_steps"), self._context():
            rows = few_rows(self.model, as_split(data), batch_size)
            build_for(self.model, rows, batch_size)
            return timed_steps(self._loops.of_single_steps(), self.backend, self.device, rows, batch_size, steps)

    def save(self, path: str | Path) -> Path:
        """Write the model, its history and how it was trained to the directory `path`, whole or not at all.

        Raises `SavedModelError` if something else is there, or it cannot be written.
        """
        from unidl.training.run_directory import save_run

        return save_run(self, as_path(path))

    def forget_features(self) -> None:
        """Free the memory, and remove the files, of the features that `fit(precompute_frozen=True)` has kept."""
        self._loops.features.drop()

    def describe(self) -> dict[str, Any]:
        """Return what somebody needs to know to repeat this training, as JSON values."""
        described = description(
            self.backend, self.placement, precision=self.precision.name, seed=self.seed, settings=self.settings
        )
        return described | ({"stages": self.stages} if self.stages else {})

    def _run(
        self,
        data: TrainingData,
        settings: FitSettings,
        callbacks: list[keras.callbacks.Callback],
        reporter: Progress,
        saving: Saving | None,
    ) -> keras.callbacks.History:
        """Train on data that has been checked."""
        self.settings = settings
        run = new_run(
            self.model,
            data,
            settings,
            callbacks,
            reporter,
            saving=saving,
            loops=self._loops,
        )
        require_training(self.model, self.precision)
        try:
            return run.run(title(self.model, self._framework, self.placement, self.precision.name))
        finally:
            self.history = dict(self.model.history.history)
            self.interrupted, self.signal = run.interrupted, run.signal

    @cached_property
    def _framework(self) -> str:
        """Its name and version, which to look up takes as long as some hundred small steps."""
        return " ".join(next(iter(self.backend.versions().items())))
