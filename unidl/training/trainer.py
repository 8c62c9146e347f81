"""The trainer: any keras.Model, on one device, in one precision, by the adapter's compiled loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unidl.paths import as_path
from unidl.training.arguments import callbacks_in, optional_whole, saving_in, stoppers, style_of, whole
from unidl.training.busy import using
from unidl.training.checking import checked_for_training
from unidl.training.checkpoint import KEEP, Saving
from unidl.training.describing import description, title
from unidl.training.evaluator import Verbose
from unidl.training.given import TrainingData, one_split, training_data
from unidl.training.image_bytes import bytes_scaled
from unidl.training.layer_rates import LayerRates
from unidl.training.order import Shuffle
from unidl.training.progress import Progress
from unidl.training.progress_styles import Style, make_progress
from unidl.training.running_precision import require_training
from unidl.training.runs import new_run
from unidl.training.settings import FitSettings, fit_arguments
from unidl.training.tuner import Tuner

if TYPE_CHECKING:
    import keras

    from unidl.layers.mixing import Mix


class Trainer(Tuner):
    """Trains, evaluates and saves a Keras model.

    It trains as `keras.Model.fit` does, with one exception: a model of which only the layers are in mixed_float16.
    Keras reads the policy of the model, does not scale its loss, and gradients vanish; here its optimizer is wrapped in
    a LossScaleOptimizer, and the weights differ.

    Args:
        model: Any keras.Model.
        device: "auto", "cpu", "gpu" or one by number such as "gpu:1". "auto" is UNIDL_DEVICE, else the first GPU, else
            the CPU.
        precision: How float32 is computed, "float32" or "tf32"; a mixed precision is chosen when the model is built.
            "auto" is what its layers were built in; None is that as well, and where they are float32, the precision its
            builder was given, then UNIDL_PRECISION, says whether TF32 may be used.
        optimizer: As in `keras.Model.compile`. Gradient clipping and accumulation and learning-rate schedules are the
            optimizer's own arguments. Not needed for a model that is compiled already or came from one of our builders
            (Adam).
        loss: As in `keras.Model.compile`; not needed for the same models (crossentropy).
        metrics: As in `keras.Model.compile`; not needed for the same models (accuracy).
        seed: Determines the order of the data.
        rate_factors: Factor of the learning rate of a layer, by its name, its path such as "base/conv1", or the name of
            a block, such as "block1" for block1_conv1: {"block1": 0.1}. The closest name counts; 0 leaves the weights
            unchanged. It scales the update, with every optimizer of Keras, weight decay included, and stays with the
            optimizer when layers are frozen or unfrozen; {} removes it.
        layer_decay: Factor of the learning rate at each layer with a kernel, from the outputs to the inputs: with 0.9,
            1, 0.9, 0.81 and so on.

    Attributes:
        model (keras.Model): The model.
        backend (Backend): The backend in use.
        placement (Placement): The device that computes, and why it was selected.
        precision (Precision): The precision of the computation.
        seed (int): The seed of the order of the data.
        history (dict): Values of each metric of the last `fit`, one per epoch, by the name of the metric.
        settings (FitSettings): The arguments of the last `fit`; None before the first.
        interrupted (bool): Whether the last `fit` was ended by Ctrl-C, or by SIGTERM where that is taken.
        signal (int): Which of the two signals it was; None if neither.
        waiting_share (float): Share of the time of the training steps of the last `fit` in which they waited for data
            that is read when it is needed.

    Raises:
        DeviceError: If the device does not exist.
        PrecisionError: If the device cannot compute in this precision, or the model was built in another one.
        ModelError: If the model cannot be trained with these arguments.
        BackendError: If the backend in use cannot train.

    Examples:
        >>> import numpy as np
        >>> import unidl
        >>> x = np.random.default_rng(0).random((32, 8, 8, 1))
        >>> y = np.arange(32) % 4
        >>> model = unidl.build_cnn((8, 8, 1), classes=4, filters=(2,), dense_units=4)
        >>> trainer = unidl.Trainer(model)
        >>> history = trainer.fit(x, y, epochs=2, progress="quiet")
        >>> len(history.history["loss"])
        2
        >>> sorted(trainer.evaluate(x, y))
        ['accuracy', 'loss']
        >>> trainer.predict(x).shape
        (32, 4)
        >>> trainer.save("runs/cnn").name
        'cnn'
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
        self.waiting_share = 0.0
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
        class_weight: Mapping[int, float] | Literal["balanced"] | None = None,
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
        feature_variants: int | None = None,
        mix: Mix | Sequence[Mix] | None = None,
        checkpoint: str | Path | Saving | None = None,
        save_every_steps: int | None = None,
        keep: int = KEEP,
        resume: bool = False,
        configuration: Mapping[str, Any] | None = None,
        progress: Style = "auto",
    ) -> keras.callbacks.History:
        """Train the model, and return Keras's History.

        The positional arguments are those of `keras.Model.fit`, with their meaning: `fit(x, y, ...)`. Ctrl-C ends the
        run after the step under way, with the history so far; then `interrupted` is True. So does SIGTERM, if there is
        a folder for checkpoints and this is the main thread: one is written, and `signal` tells which of them it was.

        Data of other libraries is accepted as it is: what has `len` and `[number]` and gives samples (x, y) or dicts,
        such as a PyTorch `Dataset`; and what gives batches, such as a `keras.utils.PyDataset`, a `tf.data.Dataset`, a
        `DataLoader` or a generator. The order of the batches is then their own, except for a `PyDataset`.

        Args:
            data: The inputs x, an array (rows, ...) or a nest of such, beside `y`; or alone a `Split`, (x, y) or (x, y,
                sample_weight).
            y: The targets, an array (rows, ...) or a nest of such.
            batch_size: Rows per batch. If None, 32; with `steps_per_epoch`, the size at which that many steps cover all
                rows.
            epochs: The number of the epoch at whose end training is over, counted from 1.
            verbose: 0, 1 and 2 are progress "quiet", "bar" and "lines"; "auto" is progress "auto".
            callbacks: Keras's callbacks. One that uses single batches is called for every batch, at the price of one
                dispatch per batch.
            validation_split: Fraction of the rows to validate on, taken from the end; at least 0 and below 1.
            validation_data: Rows to validate on after each epoch: (x, y) or (x, y, sample_weight), or a `Split`. It is
                used in place of `validation_split`.
            shuffle: Whether to shuffle all rows in each epoch; "batch" shuffles only the rows of each batch. With
                "balanced" each epoch has as many rows as the data, equally many of each class: rows of small classes
                are drawn several times.
            class_weight: Weight of each class, by class index; multiplies the weights of rows. With "balanced" all
                classes have the same total weight.
            sample_weight: Weight of each row, (rows,) or (rows, steps), or a nest of such.
            initial_epoch: The first epoch, counted from 0.
            steps_per_epoch: Batches per epoch; the next epoch continues after them, and the rows are shuffled again at
                the end of the data. If None, all batches of the data.
            validation_steps: Maximum number of batches of each validation. If None, all.
            validation_batch_size: Rows per batch of the validation. If None, `batch_size`; where that is None, 32, or
                with `validation_steps` the size at which that many steps cover all rows.
            validation_freq: Validate every this many epochs, or after the epochs of a list, counted from 1.
            x: The inputs, as another name for `data`; a tuple is then several inputs.
            validation: Another name for `validation_data`.
            early_stopping: Stop after this many epochs without a better validation loss (training loss, without
                validation data), and restore the best weights. If None, train all epochs.
            precompute_frozen: Whether to compute the outputs of the frozen layers at the front of the model once,
                before the first epoch, and to train the rest on them: the same result for a fraction of the work. The
                features stay in memory, or if they take half of it in files of the cache (UNIDL_CACHE_DIR), for the
                next `fit`, until the weights, the layers, the data or the precision under them change.
            feature_variants: For a model with a `unidl.layers.Augmentation` before its frozen layers: how many
                augmented variants of each image are computed once, as with `precompute_frozen`. Epoch e trains on
                variant e modulo this number, so that fewer variants than epochs save work. A row's variants follow from
                the seed of the Augmentation, the same on every backend. If None, the front must not be random.
            mix: How to mix the images of a batch, and their labels, with one another: `unidl.layers.Mixup(0.2)`,
                `unidl.layers.CutMix(1.0)`, or a list of both, of which each batch gets one at random. They are mixed
                after the augmentation that the model begins with. The label with the larger share of an image counts
                for metrics, so that the accuracy in training is that of a harder task; the validation is not mixed. If
                None, nothing is mixed.
            checkpoint: A folder for checkpoints, one after each epoch and every `save_every_steps` steps.
            save_every_steps: Steps between the checkpoints within an epoch. If None, only after each epoch.
            keep: Number of checkpoints to keep, the newest ones; at least 2.
            resume: Whether to continue from the newest intact checkpoint in the folder, if there is one, as if training
                had never stopped; with more epochs than before, the run is extended.
            configuration: JSON values that are stored with each checkpoint, for the caller.
            progress: "auto" (bars on a terminal, lines elsewhere), "bar", "lines", "json" or "quiet".

        Returns:
            Keras's History: `history.history` holds the values of each metric by its name, one per epoch.

        Raises:
            DataError: Before the first step, if the data does not fit the model, or differs from the data with which
                the run to continue was started (of arrays above 16 MiB a sample of rows is compared).
            ModelError: If `precompute_frozen` is requested for a model whose front learns or draws random numbers,
                `feature_variants` for one without an Augmentation there, or `mix` for one with several inputs or
                outputs, or with a step of its own.
            UsageError: If an argument cannot be used, or another thread uses the model.
            SavedModelError: If a checkpoint cannot be written, or all those to continue from are damaged.
            TrainingError: If the loss becomes NaN or infinite, or a callback compiles the model.

        Examples:
            >>> import unidl
            >>> import keras
            >>> import numpy as np
            >>> x = np.random.default_rng(0).random((32, 3))
            >>> y = x.sum(axis=1)
            >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
            >>> trainer = unidl.Trainer(model, optimizer="sgd", loss="mean_squared_error")
            >>> kept = {"checkpoint": "runs/sum", "progress": "quiet"}
            >>> history = trainer.fit(x, y, epochs=2, validation_split=0.25, **kept)
            >>> sorted(history.history)
            ['loss', 'val_loss']
            >>> longer = trainer.fit(x, y, epochs=3, validation_split=0.25, resume=True, **kept)
            >>> len(longer.history["loss"])
            3
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
            feature_variants=feature_variants,
            mix=mix,
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
            with bytes_scaled(self.model, given.training, given.validation):
                return self._run(given, settings, told, reporter, saving)

    def save(self, path: str | Path) -> Path:
        """Write the model, its history and how it was trained to a directory, whole or not at all.

        Args:
            path: The directory, which is new or was written by this method before.

        Returns:
            The path of the directory.

        Raises:
            SavedModelError: If something else is there, or it cannot be written.

        Examples:
            >>> import unidl
            >>> model = unidl.build_cnn((8, 8, 1), classes=4, filters=(2,), dense_units=4)
            >>> folder = unidl.Trainer(model).save("runs/untrained")
            >>> sorted(file.name for file in folder.iterdir() if file.suffix == ".safetensors")
            ['weights.safetensors']
        """
        from unidl.training.run_directory import save_run

        return save_run(self, as_path(path))

    def forget_features(self) -> None:
        """Free the memory, and remove the files, of the features that `fit(precompute_frozen=True)` has kept.

        Examples:
            >>> import unidl
            >>> trainer = unidl.Trainer(unidl.build_cnn((8, 8, 1), classes=2, filters=(2,), dense_units=2))
            >>> trainer.forget_features()
        """
        self._loops.features.drop()

    def describe(self) -> dict[str, Any]:
        """Return everything needed to repeat this training, as JSON values.

        Returns:
            The backend, versions, device, precision, seed, disabled kernels, and the arguments of the last `fit`, by
                name.

        Examples:
            >>> import unidl
            >>> model = unidl.build_cnn((8, 8, 1), classes=4, filters=(2,), dense_units=4)
            >>> described = unidl.Trainer(model, device="cpu", seed=3).describe()
            >>> described["device"]["kind"], described["precision"], described["seed"], described["fit"]
            ('cpu', 'float32', 3, None)
        """
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
            with bytes_scaled(run.trained, data.training, data.validation):
                return run.run(title(self.model, self._framework, self.placement, self.precision.name))
        finally:
            self.history = dict(self.model.history.history)
            self.interrupted, self.signal = run.interrupted, run.signal
            self.waiting_share = run.waiting_share

    @cached_property
    def _framework(self) -> str:
        """Its name and version; to look them up takes as long as some hundred small steps."""
        return " ".join(next(iter(self.backend.versions().items())))
