"""What a rank says of itself before training: versions, program, device, model and how it is compiled."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl import registry
from unidl.keras_internals import all_layers, compile_arguments
from unidl.version import __version__

if TYPE_CHECKING:
    import keras

OWN_CONFIGURATION = ("keras.", "unidl.")
"""Modules whose classes describe themselves completely by `get_config`; of others only the class is compared."""


def versions() -> dict[str, str]:
    """Return the versions of what computes."""
    own = {"unidl": __version__, "Python": platform.python_version(), "numpy": np.__version__}
    return own | registry.current().versions()


def program() -> dict[str, str]:
    """Return the name and a digest of the file that Python runs; nothing where there is none, as in a notebook."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    path = None if file is None else Path(file)
    if path is None or not path.is_file():
        return {}
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16]}


def described(model: keras.Model) -> dict[str, Any]:
    """Return weights, layers and the arguments of `compile` of a model, as JSON values."""
    return {
        "weights": [[weight.path, list(weight.shape), str(weight.dtype)] for weight in model.weights],
        "layers": {f"layer {layer.name}": _configuration(layer) for layer in all_layers(model)},
        "compile": {name: _value(value) for name, value in _compiled(model).items()},
    }


def _compiled(model: Any) -> dict[str, Any]:
    given = dict(compile_arguments(model)) if model.compiled else {}
    return given | {"optimizer": model.optimizer, "loss": model.loss}


def _configuration(one: Any) -> Any:
    """The class of an object, and its configuration if that is known to be complete."""
    kind = type(one)
    name = f"{kind.__module__}.{kind.__qualname__}"
    # What a model is made of is among its layers.
    if not kind.__module__.startswith(OWN_CONFIGURATION) or hasattr(one, "train_step"):
        return name
    # Keras numbers names by what was made before, such as "sgd_1"; they change no number.
    return {"class": name} | {key: _value(value) for key, value in one.get_config().items() if key != "name"}


def _value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _value(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_value(part) for part in value]
    if hasattr(value, "get_config"):
        return _configuration(value)
    return getattr(value, "__qualname__", value) if callable(value) else value
