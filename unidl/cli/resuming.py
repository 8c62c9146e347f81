"""`unidl train --resume`: where a run has come to, and what it goes on with."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl.errors import SavedModelError, UsageError

if TYPE_CHECKING:
    from unidl.training.checkpoint import Position

log = logging.getLogger("unidl")

AS_BEGUN = (
    *("model", "data", "batch_size", "learning_rate", "schedule", "clip_norm", "accumulate"),
    *("early_stopping", "dropout", "base", "weights", "precompute_frozen", "image_size", "precision", "plot", "seed"),
    *("save_every_steps", "out"),
)
"""The options that a run goes on with as it was begun."""


def checkpoint_folder(run: Path) -> Path:
    """Where the checkpoints of a run are: beside its directory, which appears only when the run is whole."""
    if run.name in ("", ".."):  # such as "."
        run = run.resolve()
    if not run.name:
        raise UsageError(f"Cannot keep a run in {run}: it is no place for one. Choose a directory of its own.")
    return run.with_name(f"{run.name}.checkpoints")


def begun_configuration(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the run in --resume was begun with, and set the options to that; but --epochs may be more.

    Raises `UsageError` for options that would change the run, and `SavedModelError` if there is nothing to go on from.
    """
    from unidl.training.checkpoint import Checkpoints

    run: Path = arguments.resume
    for name in AS_BEGUN:
        if getattr(arguments, name) != arguments.command_parser.get_default(name):
            option = "a model" if name == "model" else f"--{name.replace('_', '-')}"
            raise UsageError(f"Cannot use {option} with --resume: the run goes on as it was begun. Leave it out.")
    folder = checkpoint_folder(run)
    found = Checkpoints(folder).newest()
    if found is None:
        raise SavedModelError(
            f"Cannot go on with {run}: there is no checkpoint in {folder}. A run that may have to go on is begun with "
            "--save-every-steps."
        )
    position = found[0].position
    configuration = position.configuration
    if not {"model", "data"} <= configuration.keys():
        raise SavedModelError(f"Cannot go on with {run}: `unidl train` has not begun it.")
    if arguments.epochs is not None:
        _lengthen(configuration, arguments.epochs, position, run)
    for name in AS_BEGUN:
        setattr(arguments, name, configuration.get(name))
    _tell_of_changed_file(configuration, run)
    return configuration


def _lengthen(configuration: dict[str, Any], epochs: int, position: Position, run: Path) -> None:
    """Have the run end after another number of epochs."""
    begun = configuration["epochs"]
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
    if epochs != begun and configuration["schedule"] == "cosine":
        log.info(
            "the cosine of the learning rate now ends after %d epochs instead of %d: from here on the rate is that of "
            "a run that was begun with %d, and so another than in the epochs before",
            epochs,
            begun,
            epochs,
        )
    configuration["epochs"] = epochs


def _tell_of_changed_file(configuration: dict[str, Any], run: Path) -> None:
    from unidl.cli.own_model import tell_if_changed
    from unidl.model_function import model_function

    function = model_function(configuration["model"])
    if function is not None:
        function.require_there()
        tell_if_changed(function, configuration, run)
