"""What `unidl train` does where the command line says nothing, and with what it says."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """What a model is trained with, where the command line says nothing; the same on every backend."""

    data: str
    epochs: int
    batch_size: int
    learning_rate: float
    schedule: str


RECIPES = {
    "cnn": Recipe("digits", epochs=10, batch_size=64, learning_rate=3e-3, schedule="cosine"),
    "lstm": Recipe("python-docs", epochs=2, batch_size=128, learning_rate=4e-3, schedule="cosine"),
    "transfer": Recipe("digits", epochs=10, batch_size=32, learning_rate=1e-3, schedule="cosine"),
}


def configuration_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was asked for, with the recipe where nothing was."""
    from unidl.data.load import NAMES

    configuration = {"model": arguments.model, **asdict(RECIPES[arguments.model])}
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
    path = Path(configuration["data"])
    if configuration["data"] not in NAMES and path.exists():
        configuration["data"] = str(path.resolve())  # `unidl evaluate` may run in another directory
    return configuration


def _resolved(word: str) -> str:
    """A path that is found from any directory; a name as it is."""
    path = Path(word)
    return str(path.resolve()) if path.exists() else word
