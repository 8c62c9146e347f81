"""Models that no unidl builder made, saved as Keras's config if that can rebuild them without running stored code."""

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
"""Maximum characters shown of a Keras error; some contain the whole config."""


def keras_description(model: keras.Model) -> dict[str, Any]:
    """Return the Keras config of a built model, without its compile config: a `Trainer` supplies that.

    Raises `SavedModelError` if there is none, or if the config and the weights could not rebuild the model.
    """
    import keras

    why_not = _why_not_from_weights(model)
    if why_not is not None:
        raise SavedModelError(f"Cannot save the model '{model.name}': {why_not}")
    try:
        with _uncompiled(model), describing():
            description: Any = keras.saving.serialize_keras_object(model)
        text = json.dumps(description)
    except Exception as error:  # a custom get_config may raise anything
        raise SavedModelError(
            f"Cannot save the model '{model.name}': Keras cannot serialize it: {first_line(error)}\n"
            "Add a get_config method to its class (https://keras.io/guides/serialization_and_saving)."
        ) from error
    try:
        refuse_names(json.loads(text))
    except ValueError as error:
        raise SavedModelError(
            f"Cannot save the model '{model.name}': load_model would reject it: {error}.\n"
            "Move it to a layer class of your own with call and get_config, and pass custom_objects to load_model."
        ) from error
    return description


def from_keras_description(
    description: Mapping[str, Any], path: Path, custom_objects: Mapping[str, Any] | None
) -> keras.Model:
    """Rebuild the model in Keras's safe mode, provided that the config names only parts of models.

    path: the file of the config, for error messages. Raises `SavedModelError`.
    """
    import keras

    import unidl.layers  # noqa: F401 - registers unidl's layers, which any model may contain

    try:
        model_only = without_compilation(dict(description))
        refuse_names(model_only)
        with describing():
            model: Any = keras.saving.deserialize_keras_object(
                model_only, custom_objects=dict(custom_objects or {}), safe_mode=True
            )
    except Exception as error:  # constructors may raise anything
        raise SavedModelError(
            f"Cannot load {path}: Keras cannot rebuild this model: {first_line(error)}\n"
            "If it has custom classes, pass load_model(path, trust=True, custom_objects={'Name': Name})."
        ) from error
    if not isinstance(model, keras.Model):
        raise SavedModelError(f"Cannot load {path}: it describes a {type(model).__name__}, not a model.")
    return model


def _why_not_from_weights(model: keras.Model) -> str | None:
    """Return what the config and weights cannot represent, as a sentence; None if they are complete."""
    import keras

    parents: dict[int, keras.layers.Layer] = {}
    for _, layer in walk(model):
        if _keeps_more_than_weights(layer):
            return (
                f"the {type(layer).__name__} '{layer.name}' has state besides weights, such as a vocabulary, which "
                f"would be "
                "lost.\nSave the model with Keras, model.save(path), or remove this layer from it."
            )
        if not isinstance(layer, keras.Model) or not _is_of_keras(layer):
            continue  # a custom class restores its own sharing
        for child in all_layers(layer, include_self=False, recursive=False):
            other = parents.setdefault(id(child), layer)
            if other is not layer and not isinstance(child, keras.layers.InputLayer):
                return (
                    f"its parts '{other.name}' and '{layer.name}' share the layer '{child.name}', of which Keras would "
                    "build two copies.\nBuild both parts as one model that calls the layer twice."
                )
    return None


def _keeps_more_than_weights(layer: keras.layers.Layer) -> bool:
    """Return whether a layer saves state in asset files, or is a custom layer with its own way of saving weights."""
    import keras

    own_way = type(layer).save_own_variables is not keras.layers.Layer.save_own_variables
    return hasattr(layer, "save_assets") or (own_way and not _is_of_keras(layer))


def _is_of_keras(layer: keras.layers.Layer) -> bool:
    return type(layer).__module__.startswith("keras.")


@contextmanager
def _uncompiled(model: keras.Model) -> Iterator[None]:
    """While active, Keras serializes no optimizer, loss or metric; it cannot serialize lambdas."""
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
    """Return the first line of a Keras error; of a nested error, that of the innermost one."""
    text = str(error).rpartition("Exception encountered: ")[2].strip().partition("\n")[0]
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]} [...]"
