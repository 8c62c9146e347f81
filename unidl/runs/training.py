"""A run from its configuration to its directory, as `unidl train` does it."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl.errors import DataError
from unidl.paths import as_path
from unidl.runs.configuration import RunConfiguration
from unidl.runs.variables import environment

if TYPE_CHECKING:
    import keras

    from unidl.data import Dataset, Split
    from unidl.training import Trainer
    from unidl.training.progress_styles import Style

log = logging.getLogger("unidl")


@dataclass(frozen=True)
class FinishedRun:
    """The result of a run. kept: whether its directory contains the current model."""

    configuration: RunConfiguration
    trainer: Trainer
    data: Dataset
    out: Path
    kept: bool


@dataclass(frozen=True)
class ReadyRun:
    """A run that is ready to train, as returned by `prepare`. configuration: includes all determined facts."""

    configuration: RunConfiguration
    trainer: Trainer
    data: Dataset
    train: Split
    validation: Split
    out: Path
    resume: bool

    def fit(self, *, progress: Style = "auto") -> FinishedRun:
        """Train, and keep the run in its directory. Of one that is interrupted, its checkpoints or else its model."""
        from unidl.report import classification_report
        from unidl.runs.resuming import checkpoint_folder
        from unidl.scale.together import by_first
        from unidl.training import fit_stages
        from unidl.training.run_directory import save_run

        asked, out = self.configuration, self.out
        replaced = out.is_dir() and any(out.iterdir())
        if replaced:
            log.info("the run in %s will be replaced", out)
        every = asked.save_every_steps
        if every is not None and not self.resume:
            by_first(lambda: _clear(checkpoint_folder(out)))
        options: dict[str, Any] = {
            "validation": self.validation,
            "batch_size": asked.batch_size,
            "checkpoint": None if every is None else checkpoint_folder(out),
            "save_every_steps": every,
            "resume": self.resume,
            "configuration": asked.to_json(),
            "progress": progress,
            "mix": asked.mixes(),
            "feature_variants": asked.feature_variants,
        }
        stages, trainer = asked.read_stages(), self.trainer
        if stages:
            once = asked.precompute_frozen
            trainer = fit_stages(
                trainer.model, self.train, stages=stages, seed=asked.seed, precompute_frozen=once, **options
            )
        else:
            trainer.fit(
                self.train,
                epochs=asked.epochs,
                early_stopping=asked.early_stopping,
                precompute_frozen=bool(asked.precompute_frozen),
                **options,
            )
        if trainer.interrupted and every is not None:
            log.warning("stopped; resume with: unidl train --resume %s", out)
            return self._finished(trainer, kept=False)
        if trainer.interrupted and replaced and not trainer.history:
            log.warning("interrupted in the first epoch; %s is unchanged", out)
            return self._finished(trainer, kept=False)
        report = None
        if asked.report and not trainer.interrupted:
            report = classification_report(trainer, self.data.test, title=f"{out.name} on {self.data.name}").files
        save_run(trainer, out, configuration=asked.to_json(), plot=asked.plot, extra=report)
        if trainer.interrupted:
            log.warning("interrupted; the model at that point is saved in %s", out)
        return self._finished(trainer, kept=True)

    def _finished(self, trainer: Trainer, *, kept: bool) -> FinishedRun:
        return FinishedRun(self.configuration, trainer, self.data, self.out, kept)


def train(
    configuration: RunConfiguration,
    out: str | Path,
    *,
    trust: bool = False,
    resume: bool = False,
    progress: Style = "auto",
) -> FinishedRun:
    """Train according to `configuration` and save the run to the directory `out`, as `unidl train` does.

    trust: whether models in Keras's own format, such as a .keras file, may be loaded. resume: resume from the newest
    checkpoint; `unidl.runs.resuming.begun_configuration` returns its configuration. progress: as in `Trainer.fit`.
    Raises any `UnidlError`.
    """
    return prepare(configuration, out, trust=trust, resume=resume).fit(progress=progress)


def prepare(configuration: RunConfiguration, out: str | Path, *, trust: bool = False, resume: bool = False) -> ReadyRun:
    """Load the data and build and compile the model, after a look at whether the run can be kept. As in `train`."""
    from unidl.saving.directories import require_writable
    from unidl.training.run_directory import require_plotting

    out = as_path(out)
    if configuration.plot:
        require_plotting()
    require_writable(out)
    return loaded(configuration, out, trust=trust, resume=resume)


def loaded(configuration: RunConfiguration, out: Path, *, trust: bool = False, resume: bool = False) -> ReadyRun:
    """Load the data and build and compile the model; whether `out` can be written is left open."""
    from unidl.report.making import require_classes
    from unidl.runs.model_and_data import model_and_data, training_and_validation

    with environment(UNIDL_PRECISION=configuration.precision):
        model, data, model_arguments = model_and_data(configuration, trust=trust)
        origin = json.loads(json.dumps(dict(data.origin)))
        if configuration.data_origin not in (None, origin):
            raise DataError(
                f"Cannot resume {out}: the data '{configuration.data}' has changed since the run was started."
            )
        if configuration.report:
            require_classes(data.test)
        rows, validation = training_and_validation(
            data, early_stopping=configuration.early_stopping is not None, seed=configuration.seed
        )
        trainer = _trainer(model, data, len(rows), configuration)
    settled = replace(
        configuration, model_arguments=model_arguments, data_origin=origin, precision=trainer.precision.name
    )
    return ReadyRun(settled, trainer, data, rows, validation, out, resume)


def _clear(folder: Path) -> None:
    from unidl.training.checkpoint import KEEP, Checkpoints
    from unidl.training.stage_folders import StageFolders

    Checkpoints(folder).clear()
    StageFolders(folder, keep=KEEP).clear()


def _trainer(model: keras.Model, data: Dataset, rows: int, configuration: RunConfiguration) -> Trainer:
    import keras

    from unidl import Trainer
    from unidl.models.records import record_of
    from unidl.runs.own_model import compiled_by_options

    # Counted in batches, as in Keras, even if several of them form one step.
    batches = configuration.epochs * math.ceil(rows / configuration.batch_size)
    if configuration.builder is None:
        told = compiled_by_options(model, data, configuration, batches)
        return Trainer(model, seed=configuration.seed, **told)
    rate: Any = configuration.learning_rate
    if configuration.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, batches)
    accumulate = configuration.accumulate
    optimizer = keras.optimizers.Adam(
        rate,
        clipnorm=configuration.clip_norm,
        gradient_accumulation_steps=accumulate if accumulate != 1 else None,  # Keras does not accept 1
    )
    told: dict[str, Any] = {}
    if record_of(model).architecture is None:  # also a classifier, on a base that no builder made
        told = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    return Trainer(model, optimizer=optimizer, seed=configuration.seed, **told)
