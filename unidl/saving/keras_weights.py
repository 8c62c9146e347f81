"""Keras's `.weights.h5` files. Loading one either succeeds completely or changes nothing."""

from __future__ import annotations

import io
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.errors import SavedModelError
from unidl.keras_internals import read_weights, write_weights
from unidl.layer_paths import walk
from unidl.paths import as_path
from unidl.saving.keras_description import first_line
from unidl.saving.keras_h5 import stored_weights
from unidl.saving.plain_files import read_plain_file
from unidl.saving.settings_kept import settings_kept
from unidl.saving.trust import require_trust

if TYPE_CHECKING:
    import keras

SUFFIX = ".weights.h5"
OVERHEAD = 2**24
"""Bytes of names and tables in a weight file, in addition to the weights."""
COPIES = 5
"""Values per weight: the weight at twice its width, and the state of an optimizer for it."""


def load_weights(model: keras.Model, path: str | Path, *, trust: bool = False) -> None:
    """Give a model the weights of a `.weights.h5` file that Keras wrote of an equal model.

    Optimizer states in the file are left alone.

    Args:
        model: The model, which has its weights already.
        path: A file that ends in `.weights.h5`.
        trust: Whether you know who made the file; HDF5 is a format of many features, read by a library in C.

    Raises:
        SavedModelError: If the file is not to be trusted, is not a plain file of weights, or is of another model:
            names, shapes and types are compared before any weight changes.

    Examples:
        >>> import unidl
        >>> model = unidl.build_cnn((8, 8, 1), classes=4, filters=(2,), dense_units=4, seed=1)
        >>> model.save_weights("cnn.weights.h5")
        >>> other = unidl.build_cnn((8, 8, 1), classes=4, filters=(2,), dense_units=4, seed=2)
        >>> unidl.load_weights(other, "cnn.weights.h5", trust=True)
        >>> bool((other.get_weights()[0] == model.get_weights()[0]).all())
        True
    """
    path = as_path(path)
    if not path.name.endswith(SUFFIX):
        raise SavedModelError(
            f"Cannot load {path}: load_weights takes a file with the suffix {SUFFIX}, as Keras's model.save_weights "
            "writes it. load_model takes a directory of Trainer.save and a .keras file."
        )
    if not model.built:
        raise SavedModelError(
            f"Cannot load {path}: the model '{model.name}' has no weights yet. Call it on a batch, or add a "
            "keras.Input, first."
        )
    require_trust(trust, path, "a file in Keras's format", "load_weights(model, path, trust=True)")
    try:
        content = read_plain_file(path, longest_file(model))
    except FileNotFoundError as error:
        raise SavedModelError(f"Cannot load {path}: the file does not exist.") from error
    with settings_kept():
        assign_keras_weights(model, content, path)


def longest_file(model: keras.Model) -> int:
    """Return the maximum size in bytes of a file with the weights of `model`."""
    return COPIES * 4 * sum(math.prod(variable.shape) for variable in model.variables) + OVERHEAD


def assign_keras_weights(model: keras.Model, content: bytes, path: Path) -> None:
    """Load all weights from a file. If one does not fit, change none and raise `SavedModelError`."""
    try:
        found = {name: array for name, array in stored_weights(content).items() if not _is_of_training(name)}
    except ValueError as error:
        raise SavedModelError(f"Cannot load {path}: its weights are not in Keras's format: {error}.") from error
    try:
        needed = {name: one for name, one in stored_weights(keras_weights(model)).items() if not _is_of_training(name)}
    except ValueError as error:
        raise SavedModelError(
            f"Cannot load {path}: Keras writes '{model.name}' in a layout that unidl does not read: {error}."
        ) from error
    if found.keys() != needed.keys():
        different = sorted(found.keys() ^ needed.keys())
        raise SavedModelError(
            f"Cannot load {path}: it holds the weights of a different model; {different[0]!r} is in only one of the "
            f"two "
            f"({len(different)} such names in total)."
        )
    for name, array in needed.items():
        if found[name] != array and not (
            found[name].shape == array.shape and {found[name].kind, array.kind} <= {*"fV"}
        ):
            raise SavedModelError(
                f"Cannot load {path}: {name!r} holds {found[name]}, but the model '{model.name}' needs {array}."
            )
    _assign(model, content, path)


def keras_weights(model: keras.Model) -> bytes:
    """Return the content of a `.weights.h5` file of the model, without optimizer state."""
    file = io.BytesIO()
    write_weights(model, file, _of_training(model))
    return file.getvalue()


def _assign(model: keras.Model, content: bytes, path: Path) -> None:
    before = [np.array(_numpy(variable)) for variable in model.variables]
    try:
        _read_state(model, content)
    except Exception as error:  # a custom layer may raise anything
        for variable, value in zip(model.variables, before, strict=True):
            variable.assign(value)
        raise SavedModelError(f"Cannot load {path}: Keras cannot read its weights: {first_line(error)}") from error


def _read_state(model: keras.Model, content: bytes) -> None:
    """Let Keras read a file as `Model.load_weights` does. Raises the first error raised by a layer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about missing names, which have already been compared
        errors = read_weights(model, io.BytesIO(content), _of_training(model))
    for error in errors:
        raise error


def _numpy(variable: Any) -> Any:
    from keras import ops

    return ops.convert_to_numpy(variable.value)


def _of_training(model: keras.Model) -> set[int]:
    """Return the ids of the optimizers inside the model, as Keras tracks objects."""
    import keras

    parts = [model, *(layer for _, layer in walk(model))]
    return {
        id(part) for layer in parts for part in vars(layer).values() if isinstance(part, keras.optimizers.Optimizer)
    }


def _is_of_training(name: str) -> bool:
    return name.startswith("optimizer/")
