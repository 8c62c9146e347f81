"""Resuming a run: its progress, and its configuration."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from unidl.errors import SavedModelError, UsageError
from unidl.runs.configuration import RunConfiguration

if TYPE_CHECKING:
    from unidl.training.checkpoint import Position

log = logging.getLogger("unidl")


def checkpoint_folder(run: Path) -> Path:
    """Return the folder of a run's checkpoints, beside the run directory, which is created only when the run is
    complete."""
    if run.name in ("", ".."):  # such as "."
        run = run.resolve()
    if not run.name:
        raise UsageError(f"Cannot save a run to {run}. Choose a separate directory.")
    return run.with_name(f"{run.name}.checkpoints")


def has_begun(run: Path) -> bool:
    """Return whether there is a checkpoint of the run in a directory."""
    from unidl.training.checkpoint import KEEP, Checkpoints
    from unidl.training.stage_folders import StageFolders

    folder = checkpoint_folder(run)
    return Checkpoints(folder).newest() is not None or StageFolders(folder, keep=KEEP).newest() is not None


def begun_configuration(run: Path, epochs: int | None = None) -> RunConfiguration:
    """Return the configuration of the run in a directory. epochs: new total number; None leaves it unchanged.

    Raises `UsageError` for an invalid number of epochs, and `SavedModelError` if there is nothing to resume from.
    """
    from unidl.training.checkpoint import KEEP, Checkpoints
    from unidl.training.stage_folders import StageFolders

    folder = checkpoint_folder(run)
    whole, staged = Checkpoints(folder).newest(), StageFolders(folder, keep=KEEP).newest()
    found = whole[0] if whole is not None else staged[1] if staged is not None else None
    if found is None:
        raise SavedModelError(
            f"Cannot resume {run}: there is no checkpoint in {folder}. To be able to resume a run, start it with "
            "--save-every-steps."
        )
    position = found.position
    if not {"model", "data"} <= position.configuration.keys():
        raise SavedModelError(f"Cannot resume {run}: it was not started by `unidl train`.")
    configuration = RunConfiguration.from_json(position.configuration)
    if epochs is not None and configuration.stages is not None:
        raise UsageError(f"Cannot use --epochs with --resume {run}: its stages say how many epochs each has.")
    if epochs is not None:
        _require_possible(epochs, configuration, position, run)
        configuration = replace(configuration, epochs=epochs)
    _tell_of_changed_file(configuration, run)
    return configuration


def _require_possible(epochs: int, configuration: RunConfiguration, position: Position, run: Path) -> None:
    """Raise `UsageError` if the run cannot end after this many epochs, and report the effect on its learning rate."""
    begun = configuration.epochs
    done = position.epoch + (position.step > 0)
    if epochs < done:
        raise UsageError(
            f"Cannot end the run in {run} after --epochs {epochs}: it is already in epoch {done}."
            if position.step
            else f"Cannot end the run in {run} after --epochs {epochs}: {done} epochs are already done."
        )
    if position.stopped and epochs > done:
        raise UsageError(
            f"Cannot resume {run} with --epochs {epochs}: it stopped early after epoch {done}, because the loss no "
            f"longer improved. Start a new run from its weights: `unidl train {run} --data ... --out ...`."
        )
    if epochs != begun and configuration.schedule == "cosine":
        log.info(
            "the cosine schedule now ends after %d epochs instead of %d: from here on the learning rate is that of "
            "a run started with %d epochs, which differs from the schedule of the epochs so far",
            epochs,
            begun,
            epochs,
        )


def _tell_of_changed_file(configuration: RunConfiguration, run: Path) -> None:
    from unidl.model_function import model_function
    from unidl.runs.own_model import tell_if_changed

    function = model_function(configuration.model)
    if function is not None:
        function.require_there()
        tell_if_changed(function, configuration.to_json(), run)
