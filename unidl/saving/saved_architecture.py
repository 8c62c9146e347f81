"""The architecture of a saved model: the call of a unidl builder, or Keras's config of any other model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl import devices, precision, registry
from unidl.data import TableForm
from unidl.data.tokenizer import Tokenizer
from unidl.errors import BackendError, DataError, DeviceError, ModelError, PrecisionError, SavedModelError
from unidl.layer_paths import walk
from unidl.models import build, builders, set_trainable_state, trainable_state
from unidl.models.bases import unstored_head
from unidl.models.budget import at_most
from unidl.models.initial_weights import drawn_later
from unidl.models.rebuilding import size
from unidl.models.records import Architecture, note, record_of
from unidl.notices import notice
from unidl.saving.keras_description import first_line, from_keras_description, keras_description
from unidl.saving.manifest import LARGEST_FILE
from unidl.saving.strict_json import read_json
from unidl.saving.tensor_files import LONGEST_HEADER

if TYPE_CHECKING:
    import keras

ARCHITECTURE = "architecture.json"
WIDEST_NUMBER = 8
"""Maximum bytes per weight: float64, written by earlier versions, is converted to float32."""
LARGEST_VALUE = 3.4028235e38
"""Bytes per weight in float32."""


@dataclass(frozen=True)
class Description:
    """The validated content of `architecture.json`. Exactly one of `architecture` and `keras` is set."""

    class_names: tuple[str, ...]
    vocabulary: tuple[str, ...]
    frozen: tuple[str, ...]
    architecture: Architecture | None
    keras: dict[str, Any] | None
    value_range: tuple[float, float] | None = None
    table: TableForm | None = None
    tokenizer: Tokenizer | None = None
    head_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, "tuple[str, ...]"])


def describe(model: keras.Model) -> bytes:
    """Return the content of `architecture.json`. Raises `SavedModelError` if `load_model` could not read it back."""
    if not model.built:
        raise SavedModelError(
            f"Cannot save the model '{model.name}': it has no weights yet. Train it first, or call it on a batch."
        )
    record = record_of(model)
    description: dict[str, Any] = {
        "class_names": record.class_names,
        "vocabulary": record.vocabulary,
        "frozen": _frozen(model),
    }
    if record.value_range is not None:
        description["value_range"] = record.value_range
    if record.table is not None:
        description["table"] = record.table.to_json()
    if record.tokenizer is not None:
        description["tokenizer"] = record.tokenizer.to_json()
    if record.head_names:
        description["head_names"] = dict(record.head_names)
    if record.architecture is not None:
        description["builder"] = record.architecture.builder
        description["arguments"] = dict(record.architecture.arguments)
    else:
        description["keras"] = keras_description(model)
    return json.dumps(description, indent=1).encode()


def read_description(content: bytes, path: Path) -> Description:
    """Parse what `describe` wrote. Raises `SavedModelError` if it has another form."""
    try:
        found = read_json(content)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    words = ("class_names", "vocabulary", "frozen")
    ours, strange = {*words, "builder", "arguments"}, {*words, "keras"}
    # Only image models have a value range, and models saved by earlier versions have none; only some read tables or
    # texts for a pretrained base, or have several heads.
    some = {"value_range", "table", "tokenizer", "head_names"}
    if not isinstance(found, dict) or set(found) - some not in (ours, strange):
        keys = sorted(found) if isinstance(found, dict) else type(found).__name__
        raise _damaged(path, f"its keys are {keys}, expected {sorted(ours)} or {sorted(strange)}")
    for name in words:
        if not _are_words(found[name]):
            raise _damaged(path, f"{name!r} is not a list of strings")
    heads = found.get("head_names", {})
    if not isinstance(heads, dict) or not all(map(_are_words, heads.values())):
        raise _damaged(path, "'head_names' must be an object of lists of strings")
    value_range = found.get("value_range", ())
    if "value_range" in found and not _is_range(value_range):
        raise _damaged(path, "'value_range' must be two finite numbers, the smaller one first")
    table = None
    if "table" in found:
        try:
            table = TableForm.from_json(found["table"])
        except ValueError as error:
            raise _damaged(path, str(error)) from error
    architecture = None
    if "builder" in found:
        if not isinstance(found["builder"], str) or not isinstance(found["arguments"], dict):
            raise _damaged(path, "'builder' must be a string and 'arguments' an object")
        architecture = Architecture(found["builder"], found["arguments"])
    elif not isinstance(found["keras"], dict):
        raise _damaged(path, "'keras' must be an object")
    return Description(
        class_names=tuple(found["class_names"]),
        vocabulary=tuple(found["vocabulary"]),
        frozen=tuple(found["frozen"]),
        architecture=architecture,
        keras=found.get("keras"),
        value_range=tuple(value_range) or None,
        table=table,
        tokenizer=_tokenizer(found["tokenizer"], path) if "tokenizer" in found else None,
        head_names={name: tuple(words) for name, words in heads.items()},
    )


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _tokenizer(values: Any, path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_json(values)
    except DataError as error:
        raise _damaged(path, str(error)) from error


def _is_range(value: Any) -> bool:
    """Return whether a JSON value is two finite numbers, the smaller one first."""
    if not isinstance(value, list) or len(value) != 2 or not all(type(end) in (int, float) for end in value):
        return False
    return all(abs(end) <= LARGEST_VALUE for end in value) and value[0] < value[1]


def needs_building_to_measure(description: Description) -> bool:
    """Return whether the size of the weight file is unknown until the model is built: a plugin's builder need not
    count its parameters in advance."""
    architecture = description.architecture
    return architecture is not None and (architecture.builder not in builders.OURS or _stands_on_a_base(architecture))


def _stands_on_a_base(architecture: Architecture) -> bool:
    builder = builders.find(architecture.builder)  # `build` reports an unknown builder
    return builder is not None and builder.base is not None


def longest_file(numbers: int) -> int:
    """Return the maximum size in bytes of a file with this many values."""
    return WIDEST_NUMBER * numbers + LONGEST_HEADER


def most_bytes(description: Description, path: Path) -> int:
    """Return the maximum size of the weight file. Raises `SavedModelError` if no builder makes such a model."""
    if description.architecture is None:
        return LARGEST_FILE
    try:
        return longest_file(size(description.architecture))
    except (ModelError, OverflowError) as error:
        raise SavedModelError(f"Cannot load {path}: {error}") from error


def rebuild(description: Description, path: Path, custom_objects: Mapping[str, Any] | None, stored: int) -> keras.Model:
    """Build the model with arbitrary weights. stored: number of values in its weight file, an upper limit for the
    model.

    Raises `SavedModelError` if it cannot be built or would be larger, before its memory is allocated.
    """
    backend, device = registry.current(), devices.resolve().device
    try:
        if description.architecture is not None:
            architecture = _for_this_device(description.architecture, path)
            copies = 3 if _stands_on_a_base(architecture) else 1
            with at_most(stored + unstored_head(architecture), copies=copies):
                model = build(architecture)
        else:
            with at_most(stored), backend.on(device), drawn_later():
                model = from_keras_description(description.keras or {}, path, custom_objects)
        set_trainable_state(model, description.frozen)
    except (DeviceError, PrecisionError, BackendError, SavedModelError):
        raise
    except Exception as error:  # an edited file can ask for any sizes, and Keras may raise anything
        why = str(error) if isinstance(error, ModelError) else first_line(error)
        raise SavedModelError(f"Cannot load {path}: {why}") from error
    note(model, class_names=description.class_names, vocabulary=description.vocabulary, table=description.table)
    if description.tokenizer is not None:
        note(model, tokenizer=description.tokenizer)
    if description.head_names:
        note(model, head_names=description.head_names)
    if description.value_range is not None:
        on_a_base = description.architecture is not None and _stands_on_a_base(description.architecture)
        note(model, value_range=description.value_range, value_range_fixed=on_a_base)
    return model


def _frozen(model: keras.Model) -> list[str]:
    """Return the paths of the frozen layers except input layers: these have no weights, and Keras gives one inside a
    nested model, such as EfficientNet without its preprocessing, a new name each time."""
    import keras

    inputs = {path for path, layer in walk(model) if isinstance(layer, keras.layers.InputLayer)}
    return [path for path in trainable_state(model) if path not in inputs]


def _for_this_device(architecture: Architecture, path: Path) -> Architecture:
    """Return the architecture, in float32 if this device does not support its precision. Weights are float32 anyway."""
    name = architecture.arguments.get("precision")
    if name is None or name == "auto":
        return architecture
    if name not in precision.names():
        raise _damaged(path, f"unknown precision {name!r}; a plugin that defines it may not be installed")
    device = devices.resolve().device
    why_not = precision.why_not_on(precision.named(name), device)
    if why_not is None:
        return architecture
    notice(f"{path} was built in {name!r} and is loaded in 'float32': {why_not}")
    return Architecture(architecture.builder, {**architecture.arguments, "precision": "float32"})


def _damaged(path: Path, why: str) -> SavedModelError:
    return SavedModelError(f"Cannot load {path}: its {ARCHITECTURE} is damaged: {why}.")
