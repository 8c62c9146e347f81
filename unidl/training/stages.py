"""Fine-tuning in stages, in one call: first the head, then more and more of the base, each with its learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl.data.batch_stream import Stream
from unidl.data.dataset import Split
from unidl.data.recognising import as_split
from unidl.errors import ModelError, UsageError
from unidl.models.cutting import cut
from unidl.models.freezing import frozen_normalization, require_part, set_free
from unidl.scale.together import by_first, of_first
from unidl.training.arguments import callbacks_in, optional_whole, saving_in
from unidl.training.best_weights import BestWeights, require_no_averages
from unidl.training.checkpoint import KEEP, Checkpoint, Saving
from unidl.training.layer_rates import inner_optimizer
from unidl.training.progress_styles import Style, make_progress
from unidl.training.settings import BATCH_SIZE
from unidl.training.stage import Stage, require_stages
from unidl.training.stage_folders import StageFolders, require_same_stages
from unidl.training.trainer import Trainer

if TYPE_CHECKING:
    import keras

    from unidl.layers.mixing import Mix


def fit_stages(
    model: keras.Model,
    data: Any,
    *,
    stages: Sequence[Stage] | str,
    validation: Any = None,
    batch_size: int | None = None,
    optimizer: Any = None,
    loss: Any = None,
    metrics: Any = None,
    device: str | None = "auto",
    precision: str | None = None,
    seed: int = 0,
    class_weight: Mapping[int, float] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] | None = (),
    restore_best: bool = False,
    precompute_frozen: bool | None = None,
    feature_variants: int | None = None,
    mix: Mix | Sequence[Mix] | None = None,
    checkpoint: str | Path | None = None,
    save_every_steps: int | None = None,
    keep: int = KEEP,
    resume: bool = False,
    configuration: Mapping[str, Any] | None = None,
    progress: Style = "auto",
) -> Trainer:
    """Train a model in stages, and return the Trainer of the last one, whose history holds all of them.

    Each stage sets free the part of the model that it names, and begins with a new optimizer of the same kind, since
    other weights learn. Epochs count on from stage to stage, and so does the order of the data.

    Args:
        model: Any keras.Model; one of `build_transfer` for a stage that unfreezes "head".
        data: Training rows: a Split, (x, y) or (x, y, sample_weight), as in `Trainer.fit`.
        stages: What each stage does, as `Stage` values; or a text such as "head:3,block5:5@1e-4,all:5@1e-5*0.9".
        validation: Rows that each epoch is validated on, like `data`.
        batch_size: Rows a step, where a stage says no other number; 32 if nothing is said.
        optimizer: Any of Keras's, by name or as an object, from which each stage takes a new one with its own learning
            rate. None for the one that the model is compiled with, or Adam. With use_ema=True the model has the
            averaged weights at the end of each stage.
        loss: As in `Trainer`.
        metrics: As in `Trainer`.
        device: As in `Trainer`.
        precision: As in `Trainer`.
        seed: As in `Trainer`.
        class_weight: As in `Trainer.fit`.
        callbacks: As in `Trainer.fit`; they are called in each stage.
        restore_best: Whether the model goes back, at the end of each stage, to the weights with the least validation
            loss (training loss, without validation data) of all epochs so far.
        precompute_frozen: Whether to compute what the frozen front of the model gives once a stage, as in
            `Trainer.fit`: the same weights to some last digits. None for each stage of several epochs in which that is
            possible: with a front that draws nothing at random.
        feature_variants: As in `Trainer.fit`, for each stage of more epochs than that in which it is possible; another
            stage augments its images in each epoch.
        mix: As in `Trainer.fit`; the frozen front is then computed in every epoch.
        checkpoint: A folder for checkpoints, in which each stage has a folder of its own.
        save_every_steps: As in `Trainer.fit`.
        keep: As in `Trainer.fit`.
        resume: Go on from the newest whole checkpoint, in the stage that it is of, with the same bits as if training
            had never stopped. Stages to come may be changed, those that have begun may not.
        configuration: As in `Trainer.fit`.
        progress: As in `Trainer.fit`.

    Returns:
        The Trainer of the last stage that ran. Its `interrupted` is True if Ctrl-C or SIGTERM has ended the training.

    Raises:
        UsageError: If an argument or a stage cannot be used, or is another one than in the training to go on with.
        ModelError: If the model has no such part.
        DataError: As `Trainer.fit` does.
        TrainingError: As `Trainer.fit` does.
        SavedModelError: As `Trainer.fit` does.

    Examples:
        >>> import unidl
        >>> import numpy as np
        >>> base = unidl.build_cnn((8, 8, 1), classes=4, filters=(2, 3), kernel_size=2, dense_units=4)
        >>> model = unidl.build_transfer(base, classes=2)
        >>> rows = np.random.default_rng(0).random((16, 8, 8, 1)), np.arange(16) % 2
        >>> stages = [unidl.Stage(1, "head"), unidl.Stage(1, "all", learning_rate=1e-5, layer_decay=0.9)]
        >>> trainer = unidl.fit_stages(model, rows, stages=stages, progress="quiet")
        >>> len(trainer.history["loss"])
        2
    """
    saving = saving_in(checkpoint, save_every_steps, keep, resume, configuration)
    asked = require_stages(stages)
    size = optional_whole("batch_size", batch_size) or BATCH_SIZE
    for stage in asked:
        if stage.unfreeze is not None:
            require_part(model, stage.unfreeze)  # now, and not when the stages before it are over
    split, told = as_split(data), callbacks_in(callbacks)
    if isinstance(split, Stream):
        raise UsageError(
            f"Cannot train in stages on {split.stream.what}, which may give other batches each time. Pass arrays, or a "
            "data set whose samples have numbers."
        )
    trainer = Trainer(
        model, device=device, precision=precision, optimizer=optimizer, loss=loss, metrics=metrics, seed=seed
    )
    best = BestWeights("loss" if validation is None else "val_loss") if restore_best else None
    if best is not None:
        require_no_averages(model.optimizer, told)
        told.append(best.callback())
    options = {
        "validation": validation,
        "class_weight": class_weight,
        "callbacks": told,
        "progress": progress,
        "mix": mix,
    }
    where = {"device": device, "precision": precision, "seed": seed}
    variants = optional_whole("feature_variants", feature_variants)
    if variants is not None and (precompute_frozen is False or mix is not None):
        other = "mix=" if mix is not None else "precompute_frozen=False"
        raise UsageError(f"Cannot use feature_variants={variants} with {other}. Pass one of them.")
    run = _Run(model, split, asked, trainer, where, size, best, saving, variants)
    return run.all(options, False if precompute_frozen is None and mix is not None else precompute_frozen)


@dataclass
class _Run:
    """The stages of one call. first: the trainer from whose optimizer each stage takes a new one. where: the arguments
    that the trainers of all stages have."""

    model: keras.Model
    data: Split
    stages: list[Stage]
    first: Trainer
    where: dict[str, Any]
    batch_size: int
    best: BestWeights | None
    saving: Saving | None
    variants: int | None = None

    def all(self, options: dict[str, Any], precompute_frozen: bool | None) -> Trainer:
        """Train; go on where an earlier call has stopped, if that is asked for."""
        reporter = make_progress(options["progress"])
        template, trainer = self.model.optimizer, self.first
        folders = None if self.saving is None else StageFolders(self.saving.checkpoints.folder, keep=self._keep)
        begun, start, done, history = self._begun(folders, reporter)
        for number, stage in enumerate(self.stages):
            if stage.unfreeze is not None:
                set_free(self.model, stage.unfreeze)
            if number < begun:
                continue
            if start is not None and number == begun:
                start.assign_weights(self.model)  # before anything is computed with those that are frozen
            size = stage.batch_size or self.batch_size
            steps = math.ceil(len(self.data) / size)
            trainer = self._trainer(stage_optimizer(template, stage, steps), stage)
            reporter.message(self._told(number, stage, done))
            once = precompute_frozen
            if once is None or self.variants is not None:
                once = of_first("precomputed features", self._has_features(stage, reporter))
            found = trainer.fit(
                self.data,
                batch_size=size,
                initial_epoch=done,
                epochs=done + stage.epochs,
                early_stopping=stage.early_stopping,
                precompute_frozen=once,
                feature_variants=self.variants if once else None,
                checkpoint=self._saving(folders, number, done, history),
                **options,
            )
            done += len(found.epoch)
            history = _joined(history, trainer.history)
            if trainer.interrupted:
                break
            self._restore_best(trainer, reporter)
        trainer.history, trainer.stages = history, [stage.to_json() for stage in self.stages]
        return trainer

    @property
    def _keep(self) -> int:
        return KEEP if self.saving is None else self.saving.checkpoints.keep

    def _begun(self, folders: StageFolders | None, reporter: Any) -> tuple[int, Checkpoint | None, int, dict[str, Any]]:
        """The stage to go on in, its checkpoint, the epochs before it, and their history."""
        if folders is None or self.saving is None:
            return 0, None, 0, {}
        if not self.saving.resume:
            folders.require_none()
            return 0, None, 0, {}
        found = folders.newest()
        if found is None:
            return 0, None, 0, {}
        number, checkpoint, passed = found
        for reason in passed:
            reporter.message(f"passed over: {reason}")
        said = require_same_stages(checkpoint, number, self.stages)
        return number, checkpoint, said["epochs_done"], dict(said["history"])

    def _saving(self, folders: StageFolders | None, number: int, done: int, history: dict[str, Any]) -> Saving | None:
        if folders is None or self.saving is None:
            return None
        by_first(lambda: folders.forget_before(number))
        stages = {
            "number": number,
            "of": [stage.to_json() for stage in self.stages],
            "epochs_done": done,
            "history": history,
        }
        return replace(self.saving, checkpoints=folders.of(number), stages=stages)

    def _trainer(self, optimizer: Any, stage: Stage) -> Trainer:
        rates = {"rate_factors": stage.rate_factors, "layer_decay": stage.layer_decay}
        return Trainer(self.model, optimizer=optimizer, **self.where, **rates)

    def _has_features(self, stage: Stage, reporter: Any) -> bool:
        """Whether a stage gains by computing the frozen front once; why not is told, if layers are frozen."""
        if stage.epochs <= (self.variants or 1) or not self.model.non_trainable_weights:
            return False
        try:
            cut(self.model, varied=self.variants is not None)
        except ModelError as error:
            reporter.message(f"each epoch computes all layers. {str(error).splitlines()[0]}")
            return False
        return True

    def _told(self, number: int, stage: Stage, done: int) -> str:
        """What a person reads when a stage begins."""
        learn = sum(math.prod(weight.shape) for weight in self.model.trainable_weights)
        every = sum(math.prod(weight.shape) for weight in self.model.weights)
        part = {None: "the model as it is", "all": "all of it", "head": "the head"}.get(stage.unfreeze)
        words = [
            f"stage {number + 1} of {len(self.stages)}, epochs {done + 1} to {done + stage.epochs}: "
            f"{part or f'{stage.unfreeze} and what is behind it'} learns, {learn:,} of {every:,} weights"
        ]
        if stage.learning_rate is not None:
            words.append(f"learning rate {stage.learning_rate:g}")
        if stage.layer_decay is not None:
            words.append(f"times {stage.layer_decay:g} from layer to layer")
        still = frozen_normalization(self.model)
        if still:
            layers = "1 frozen layer" if len(still) == 1 else f"{len(still)} frozen layers"
            words.append(f"{layers} of batch normalization in inference mode, with the statistics they have")
        return "; ".join(words)

    def _restore_best(self, trainer: Trainer, reporter: Any) -> None:
        if self.best is None:
            return
        with trainer.backend.on(trainer.device):
            said = self.best.restore(self.model)
        if said is not None:
            reporter.message(said)


def stage_optimizer(template: Any, stage: Stage, steps: int) -> Any:
    """Return a new optimizer like another one, with the learning rate of a stage. steps: batches of an epoch."""
    import keras

    inner = inner_optimizer(template)
    settings = inner.get_config()
    if stage.learning_rate is not None:
        settings["learning_rate"] = _schedule(stage, stage.learning_rate, steps)
    made = type(inner).from_config(settings)
    if inner is template:
        return made
    return keras.optimizers.LossScaleOptimizer(
        made, initial_scale=template.initial_scale, dynamic_growth_steps=template.dynamic_growth_steps
    )


def _schedule(stage: Stage, rate: float, steps: int) -> Any:
    import keras

    warmup = round(stage.warmup_epochs * steps)
    if stage.schedule == "constant" and not warmup:
        return rate
    rising = {"warmup_target": rate, "warmup_steps": warmup} if warmup else {}
    return keras.optimizers.schedules.CosineDecay(
        rate / warmup if warmup else rate,
        max(1, stage.epochs * steps - warmup),
        alpha=1.0 if stage.schedule == "constant" else 0.0,
        **rising,
    )


def _joined(before: Mapping[str, list[Any]], now: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    return {name: [*before.get(name, ()), *now.get(name, ())] for name in dict.fromkeys((*before, *now))}
