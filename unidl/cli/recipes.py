"""What `unidl train` does where the command line says nothing, and with what it says."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unidl.errors import UsageError
from unidl.model_function import model_function
from unidl.models import builders


def configuration_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was asked for, with the recipe where nothing was."""
    from unidl.data.load import names as data_names
    from unidl.models.builder import OWN

    builder = builders.find(arguments.model)
    configuration = {"model": arguments.model, **asdict(OWN if builder is None else builder.recipe)}
    for name in ("data", "epochs", "batch_size", "learning_rate", "schedule"):
        given = getattr(arguments, name)
        if given is not None:
            configuration[name] = given
    for name in (
        "clip_norm",
        "accumulate",
        "early_stopping",
        "dropout",
        "image_size",
        "seed",
        "plot",
        "save_every_steps",
    ):
        configuration[name] = getattr(arguments, name)
    if builder is not None and builder.base is not None:
        configuration |= {
            "base": _resolved(arguments.base or builder.base),
            "weights": _resolved(arguments.weights or "imagenet"),
            "precompute_frozen": bool(arguments.precompute_frozen),
        }
    if builder is None:
        configuration |= _own(arguments)
    if configuration["data"] is None:
        raise UsageError(f"On what data? `unidl train {arguments.model}` needs --data: it has no recipe that says it.")
    path = Path(configuration["data"])
    if configuration["data"] not in data_names() and path.exists():
        configuration["data"] = str(path.resolve())  # `unidl evaluate` may run in another directory
    return configuration


def _own(arguments: argparse.Namespace) -> dict[str, Any]:
    """What finds a model of somebody's own again, from any directory."""
    found: dict[str, Any] = {"precompute_frozen": bool(arguments.precompute_frozen)}
    function = model_function(arguments.model)
    if function is None:
        return found | {"model": _resolved(arguments.model)}
    function.require_there()
    return found | {"model": f"{function.file.resolve()}:{function.name}", "model_sha256": function.sha256()}


def _resolved(word: str) -> str:
    """A path that is found from any directory; a name as it is."""
    path = Path(word)
    return str(path.resolve()) if path.exists() else word
