"""Going on with a run: where it has come to, and what it goes on with."""

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
    """Where the checkpoints of a run are: beside its directory, which appears only when the run is whole."""
    if run.name in ("", ".."):  # such as "."
        run = run.resolve()
    if not run.name:
        raise UsageError(f"Cannot keep a run in {run}: it is no place for one. Choose a directory of its own.")
    return run.with_name(f"{run.name}.checkpoints")


def begun_configuration(run: Path, epochs: int | None = None) -> RunConfiguration:
    """Return what the run in a directory was begun with. epochs: how many it is to have; None for as many as it has.

    Raises `UsageError` for epochs that it cannot have, and `SavedModelError` if there is nothing to go on from.
    """
    from unidl.training.checkpoint import KEEP, Checkpoints
    from unidl.training.stage_folders import StageFolders

    folder = checkpoint_folder(run)
    whole, staged = Checkpoints(folder).newest(), StageFolders(folder, keep=KEEP).newest()
    found = whole[0] if whole is not None else staged[1] if staged is not None else None
    if found is None:
        raise SavedModelError(
            f"Cannot go on with {run}: there is no checkpoint in {folder}. A run that may have to go on is begun with "
            "--save-every-steps."
        )
    position = found.position
    if not {"model", "data"} <= position.configuration.keys():
        raise SavedModelError(f"Cannot go on with {run}: `unidl train` has not begun it.")
    configuration = RunConfiguration.from_json(position.configuration)
    if epochs is not None and configuration.stages is not None:
        raise UsageError(f"Cannot use --epochs with --resume {run}: its stages say how many epochs each has.")
    if epochs is not None:
        _require_possible(epochs, configuration, position, run)
        configuration = replace(configuration, epochs=epochs)
    _tell_of_changed_file(configuration, run)
    return configuration


def _require_possible(epochs: int, configuration: RunConfiguration, position: Position, run: Path) -> None:
    """Raise `UsageError` if the run cannot end after so many epochs, and say what that does to its learning rate."""
    begun = configuration.epochs
    done = position.epoch + (position.step > 0)
    if epochs < done:
        raise UsageError(
            f"Cannot end the run in {run} after --epochs {epochs}: it is in epoch {done} already."
            if position.step
            else f"Cannot end the run in {run} after --epochs {epochs}: {done} are done already."
        )
    if position.stopped and epochs > done:
        raise UsageError(
            f"Cannot go on with {run} to --epochs {epochs}: it has stopped early after epoch {done}, since the loss no "
            f"longer got better. Begin another with `unidl train {run} --data ... --out ...`, from its weights."
        )
    if epochs != begun and configuration.schedule == "cosine":
        log.info(
            "the cosine of the learning rate now ends after %d epochs instead of %d: from here on the rate is that of "
            "a run that was begun with %d, and so another than in the epochs before",
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
