"""A model as files: the call that builds it, its weights, and what its numbers mean; the same on every backend."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl import registry
from unidl.errors import SavedModelError
from unidl.models import build, set_trainable_state, trainable_state
from unidl.models.layer_paths import named_weights
from unidl.models.records import Architecture, note, record_of
from unidl.training.directories import read_directory

if TYPE_CHECKING:
    import keras

ARCHITECTURE = "architecture.json"
WEIGHTS = "weights.safetensors"


def model_files(model: keras.Model) -> dict[str, bytes]:
    """Return the files that hold `model`: name to content.

    Raises `SavedModelError` if Keras cannot describe a stranger's model.
    """
    from safetensors.numpy import save

    weights = {name: _contiguous(variable) for name, variable in named_weights(model).items()}
    return {ARCHITECTURE: _describe(model), WEIGHTS: save(weights)}


def load_model(path: str | Path, *, custom_objects: Mapping[str, Any] | None = None) -> keras.Model:
    """Load the model that `Trainer.save` wrote, on whichever backend runs now. It is not compiled: a `Trainer` does it.

    custom_objects: the classes of a stranger's model by name; such a model is rebuilt from Keras's own description, in
    Keras's safe mode, which runs no code from the file. Raises `SavedModelError` if a file is missing, has changed, or
    does not fit.
    """
    path = Path(path)
    files = read_directory(path)
    try:
        description = json.loads(files[ARCHITECTURE])
        content = files[WEIGHTS]
    except (KeyError, ValueError) as error:
        raise SavedModelError(f"Cannot load {path}: it holds no model ({error}).") from error
    registry.current()
    model = _rebuild(description, path, custom_objects)
    set_trainable_state(model, description["trainable"])
    _load_weights(model, content, path)
    note(
        model,
        class_names=tuple(description["class_names"]),
        vocabulary=tuple(description["vocabulary"]),
    )
    return model


def _describe(model: keras.Model) -> bytes:
    record = record_of(model)
    description: dict[str, Any] = {
        "class_names": record.class_names,
        "vocabulary": record.vocabulary,
        "trainable": trainable_state(model),
    }
    if record.architecture is not None:
        description |= {
            "builder": record.architecture.builder,
            "arguments": dict(record.architecture.arguments),
        }
    else:
        description["keras"] = _keras_description(model)
    return json.dumps(description, indent=1).encode()


def _keras_description(model: keras.Model) -> dict[str, Any]:
    import keras

    try:
        description = keras.saving.serialize_keras_object(model)
        json.dumps(description)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise SavedModelError(
            f"Cannot save the model '{model.name}': Keras cannot describe it: {error}\n"
            "Give its class a get_config method (https://keras.io/guides/serialization_and_saving)."
        ) from error
    description.pop("compile_config", None)
    return description


def _rebuild(description: dict[str, Any], path: Path, custom_objects: Mapping[str, Any] | None) -> keras.Model:
    if "builder" in description:
        return build(Architecture(description["builder"], description["arguments"]))
    import keras

    try:
        return keras.saving.deserialize_keras_object(
            description["keras"], custom_objects=dict(custom_objects or {}), safe_mode=True
        )
    except (TypeError, ValueError) as error:
        raise SavedModelError(
            f"Cannot load {path}: Keras cannot rebuild this model: {error}\n"
            "If its classes are your own, pass load_model(path, custom_objects={'Name': Name})."
        ) from error


def _load_weights(model: keras.Model, content: bytes, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        stored = load(content)
    except SafetensorError as error:
        raise SavedModelError(f"Cannot load {path}: {WEIGHTS} is damaged ({error}).") from error
    wanted = named_weights(model)
    if stored.keys() != wanted.keys():
        different = sorted(stored.keys() ^ wanted.keys())
        raise SavedModelError(
            f"Cannot load {path}: {WEIGHTS} and {ARCHITECTURE} do not belong together; {different[0]!r} is in only "
            f"one of them ({len(different)} such names)."
        )
    for name, variable in wanted.items():
        if tuple(variable.shape) != stored[name].shape:
            raise SavedModelError(
                f"Cannot load {path}: the weight {name!r} has shape {stored[name].shape} in {WEIGHTS}, and the model "
                f"needs {tuple(variable.shape)}."
            )
        variable.assign(stored[name])


def _contiguous(variable: keras.Variable) -> Any:
    import numpy as np
    from keras import ops

    return np.ascontiguousarray(ops.convert_to_numpy(variable.value))
