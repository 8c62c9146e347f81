"""What `unidl train` does where the command line says nothing, and with what it says."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unidl.errors import UsageError
from unidl.model_function import model_function


@dataclass(frozen=True)
class Recipe:
    """What a model is trained with, where the command line says nothing; the same on every backend."""

    data: str | None
    epochs: int
    batch_size: int
    learning_rate: float | None
    schedule: str | None


RECIPES = {
    "cnn": Recipe("digits", epochs=10, batch_size=64, learning_rate=3e-3, schedule="cosine"),
    "lstm": Recipe("python-docs", epochs=2, batch_size=128, learning_rate=4e-3, schedule="cosine"),
    "transfer": Recipe("digits", epochs=10, batch_size=32, learning_rate=1e-3, schedule="cosine"),
}

OWN = Recipe(None, epochs=10, batch_size=32, learning_rate=None, schedule=None)
"""For a model of somebody's own: what is None stays as it is compiled."""


def configuration_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was asked for, with the recipe where nothing was."""
    from unidl.data.load import names as data_names

    configuration = {"model": arguments.model, **asdict(RECIPES.get(arguments.model, OWN))}
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
    if arguments.model == "transfer":
        configuration |= {
            "base": _resolved(arguments.base or "VGG16"),
            "weights": _resolved(arguments.weights or "imagenet"),
            "precompute_frozen": bool(arguments.precompute_frozen),
        }
    if arguments.model not in RECIPES:
        configuration |= _own(arguments)
    if configuration["data"] is None:
        raise UsageError(f"On what data? `unidl train {arguments.model}` needs --data: it is no model of unidl.")
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
