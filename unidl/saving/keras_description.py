"""A stranger's model in Keras's own words, if they are enough to build it again without running code from a file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl.errors import SavedModelError
from unidl.keras_internals import all_layers, describing
from unidl.layer_paths import walk
from unidl.saving.keras_names import refuse_names, without_compilation

if TYPE_CHECKING:
    import keras

LONGEST_REASON = 300
"""Characters of an error of Keras's that are shown: some hold the whole description."""


def keras_description(model: keras.Model) -> dict[str, Any]:
    """Return Keras's description of a built model, without how it was compiled: a `Trainer` does that.

    Raises `SavedModelError` if there is none, or the model could not be built again from it and its weights.
    """
    import keras

    why_not = _why_not_from_weights(model)
    if why_not is not None:
        raise SavedModelError(f"Cannot save the model '{model.name}': {why_not}")
    try:
        with _uncompiled(model), describing():
            description: Any = keras.saving.serialize_keras_object(model)
        text = json.dumps(description)
    except Exception as error:  # whatever the get_config of a class of a stranger raises
        raise SavedModelError(
            f"Cannot save the model '{model.name}': Keras cannot describe it: {first_line(error)}\n"
            "Give its class a get_config method (https://keras.io/guides/serialization_and_saving)."
        ) from error
    try:
        refuse_names(json.loads(text))
    except ValueError as error:
        raise SavedModelError(
            f"Cannot save the model '{model.name}': load_model would refuse it, since {error}.\n"
            "Put it into a layer class of your own, with call and get_config, and pass custom_objects to load_model."
        ) from error
    return description


def from_keras_description(
    description: Mapping[str, Any], path: Path, custom_objects: Mapping[str, Any] | None
) -> keras.Model:
    """Build the model again, in Keras's safe mode, if it names nothing but parts of models.

    path: of the file that says so, for errors. Raises `SavedModelError`.
    """
    import keras

    import unidl.layers  # noqa: F401 - registers the layers of unidl, which a stranger's model may hold

    try:
        model_only = without_compilation(dict(description))
        refuse_names(model_only)
        with describing():
            model: Any = keras.saving.deserialize_keras_object(
                model_only, custom_objects=dict(custom_objects or {}), safe_mode=True
            )
    except Exception as error:  # whatever the constructors of Keras's and a stranger's classes raise
        raise SavedModelError(
            f"Cannot load {path}: Keras cannot rebuild this model: {first_line(error)}\n"
            "If its classes are your own, pass load_model(path, trust=True, custom_objects={'Name': Name})."
        ) from error
    if not isinstance(model, keras.Model):
        raise SavedModelError(f"Cannot load {path}: it describes a {type(model).__name__}, which is no model.")
    return model


def _why_not_from_weights(model: keras.Model) -> str | None:
    """What a description and weights would lose, as a sentence; None if nothing."""
    import keras

    parents: dict[int, keras.layers.Layer] = {}
    for _, layer in walk(model):
        if _keeps_more_than_weights(layer):
            return (
                f"the {type(layer).__name__} '{layer.name}' keeps more than weights, such as words, and that would be "
                "lost.\nSave it with Keras itself, model.save(path), or leave this layer out of the model."
            )
        if not isinstance(layer, keras.Model) or not _is_of_keras(layer):
            continue  # what a class of its own shares, it will share again
        for child in all_layers(layer, include_self=False, recursive=False):
            other = parents.setdefault(id(child), layer)
            if other is not layer and not isinstance(child, keras.layers.InputLayer):
                return (
                    f"its parts '{other.name}' and '{layer.name}' share the layer '{child.name}', and Keras would "
                    "build two of it.\nBuild both parts as one model, in which the layer is called twice."
                )
    return None


def _keeps_more_than_weights(layer: keras.layers.Layer) -> bool:
    """Whether a layer has state in files, or a stranger's layer its own way of saving weights."""
    import keras

    own_way = type(layer).save_own_variables is not keras.layers.Layer.save_own_variables
    return hasattr(layer, "save_assets") or (own_way and not _is_of_keras(layer))


def _is_of_keras(layer: keras.layers.Layer) -> bool:
    return type(layer).__module__.startswith("keras.")


@contextmanager
def _uncompiled(model: keras.Model) -> Iterator[None]:
    """Inside it Keras describes no optimizer, loss or metric: those that are lambdas it could not."""
    import keras

    compiled = [layer for _, layer in walk(model) if isinstance(layer, keras.Model) and layer.compiled]
    for part in compiled:
        part.compiled = False
    try:
        yield
    finally:
        for part in compiled:
            part.compiled = True


def first_line(error: Exception) -> str:
    """Return the first line of what Keras says; of an error inside an error, that of the inner one."""
    text = str(error).rpartition("Exception encountered: ")[2].strip().partition("\n")[0]
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]} [...]"
