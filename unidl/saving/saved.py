"""A model as files: the call that builds it, its weights, class names and vocabulary; equal on every backend."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.errors import SavedModelError
from unidl.layer_paths import named_weights, uncounted, walk
from unidl.paths import as_path
from unidl.saving.directories import read_directory, read_start
from unidl.saving.saved_architecture import (
    ARCHITECTURE,
    describe,
    longest_file,
    most_bytes,
    needs_building_to_measure,
    read_description,
    rebuild,
)
from unidl.saving.settings_kept import settings_kept
from unidl.saving.strict_json import LONGEST
from unidl.saving.tensor_files import LONGEST_START, count_numbers, read_tensors
from unidl.saving.trust import require_trust

if TYPE_CHECKING:
    import keras

WEIGHTS = "weights.safetensors"


def model_files(model: keras.Model) -> dict[str, bytes]:
    """Return the files that represent `model`, a mapping of name to content.

    Raises `SavedModelError` if `load_model` could not rebuild the model from them.
    """
    from safetensors.numpy import save

    architecture = describe(model)
    return {
        ARCHITECTURE: architecture,
        WEIGHTS: save({name: as_array(variable) for name, variable in named_weights(model).items()}),
    }


def load_model(
    path: str | Path, *, custom_objects: Mapping[str, Any] | None = None, trust: bool = False
) -> keras.Model:
    """Load a model that `Trainer.save` or Keras wrote, on whichever backend runs now.

    The model is not compiled: a `Trainer` does that. A model of a builder needs no trust: its file holds the name of a
    builder, numbers, and weights.

    Args:
        path: A directory that `Trainer.save` wrote, or a `.keras` file of Keras's.
        custom_objects: Classes of your own by name, which a model in Keras's own words needs.
        trust: Whether you know who made the model. This is needed for a model in Keras's own words: a `.keras` file, or
            a directory with a model that no builder of unidl made. Keras does what they say; its safe mode stops Python
            lambdas, but not every call of a function, nor sizes that fill the memory.

    Returns:
        The model, with its weights.

    Raises:
        SavedModelError: If a file is missing, has changed, is not to be trusted, or does not fit. Nothing in this
            process has changed then, and no more memory was taken than the weights need.

    Examples:
        >>> import unidl
        >>> model = unidl.build_cnn((8, 8, 1), classes=4, filters=(2,), dense_units=4)
        >>> folder = unidl.Trainer(model).save("runs/cnn")
        >>> unidl.load_model("runs/cnn").output_shape
        (None, 4)
    """
    path = as_path(path)
    with settings_kept():
        if path.suffix == ".keras" and not path.is_dir():
            from unidl.saving.keras_archive import load_archive

            require_trust(trust, path, "a file in Keras's format", "load_model(path, trust=True)")
            return load_archive(path, custom_objects)
        return _load_directory(path, custom_objects, trust)


def _load_directory(path: Path, custom_objects: Mapping[str, Any] | None, trust: bool) -> keras.Model:
    description = read_description(_read(path, ARCHITECTURE, LONGEST), path)
    if description.keras is not None:
        what = "a model in Keras's own format, not made by a unidl builder"
        require_trust(trust, path, what, "load_model(path, trust=True)")
    if needs_building_to_measure(description):
        # Build first: otherwise up to 16 GB, the size of the largest such model, would be read of a file that fits
        # none.
        model = rebuild(description, path, custom_objects, _numbers(path))
        most = longest_file(sum(math.prod(variable.shape) for variable in named_weights(model).values()))
        stored = read_arrays(_read(path, WEIGHTS, most), WEIGHTS, path)
    else:
        stored = read_arrays(_read(path, WEIGHTS, most_bytes(description, path)), WEIGHTS, path)
        model = rebuild(description, path, custom_objects, sum(array.size for array in stored.values()))
    assign_weights(model, stored, path)
    return model


def _numbers(path: Path) -> int:
    """Return how many values the weight file holds, from its header alone."""
    found = read_start(path, WEIGHTS, LONGEST_START)
    if found is None:
        raise _no_model(path, WEIGHTS)
    try:
        return count_numbers(*found)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, WEIGHTS, error) from error


def _read(path: Path, name: str, most: int) -> bytes:
    files = read_directory(path, only=(name,), most=most)
    if name not in files:
        raise _no_model(path, name)
    return files[name]


def _no_model(path: Path, name: str) -> SavedModelError:
    return SavedModelError(f"Cannot load {path}: it is not a saved model: {name} is missing.")


def read_arrays(content: bytes, name: str, path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of the safetensors file `name` in the directory `path`."""
    try:
        return read_tensors(content)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, name, error) from error


def _damaged(path: Path, name: str, error: Exception) -> SavedModelError:
    return SavedModelError(f"Cannot load {path}: {name} is damaged ({error}).")


def assign_weights(model: keras.Model, stored: Mapping[str, np.ndarray], path: Path) -> None:
    """Assign all weights, after checking that every one of them fits."""
    wanted = named_weights(model)
    if stored.keys() != wanted.keys():
        alike = {uncounted(name): name for name in wanted}
        renamed = {alike.get(uncounted(name), name): array for name, array in stored.items()}
        stored = renamed if len(renamed) == len(stored) else stored
    if stored.keys() != wanted.keys():
        different = sorted(stored.keys() ^ wanted.keys())
        raise SavedModelError(
            f"Cannot load {path}: {WEIGHTS} and {ARCHITECTURE} do not match: {different[0]!r} is in only "
            f"one of them ({len(different)} such names in total)."
        )
    for name, variable in wanted.items():
        found = stored[name]
        if not fits(found, variable):
            raise SavedModelError(
                f"Cannot load {path}: the weight {name!r} holds {found.dtype} of shape {found.shape} in {WEIGHTS}, and "
                f"the model needs {variable.dtype} of shape {tuple(variable.shape)}."
            )
    for name, variable in wanted.items():
        variable.assign(stored[name])
    for _, layer in walk(model):
        # Keras's Normalization, also inside EfficientNet, computes with constants that finalize_state derives from
        # weights.
        finalize_state = getattr(layer, "finalize_state", None)
        if finalize_state is not None:
            finalize_state()


def fits(found: np.ndarray, variable: keras.Variable) -> bool:
    """Return whether an array fits a variable: equal shape, and a dtype that converts to the variable's."""
    return found.shape == tuple(variable.shape) and found.dtype.kind in _kinds(variable.dtype)


def _kinds(dtype: str) -> str:
    """Return NumPy's kind letters of the dtypes that convert to `dtype`: of any width, since JAX may use only 32
    bits."""
    return "f" if "float" in dtype else "iu" if "int" in dtype else np.dtype(dtype).kind


def as_array(variable: Any) -> np.ndarray:
    """Return the value of a variable or array for safetensors: dtypes that NumPy lacks, such as bfloat16, become
    float32."""
    from keras import ops

    given = getattr(variable, "value", variable)
    values: np.ndarray = np.asarray(ops.convert_to_numpy(given), order="C")
    return values.astype(np.float32) if values.dtype.kind == "V" else values
