"""Export to Keras: `.keras` and `.weights.h5` files, written atomically."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unidl.errors import SavedModelError
from unidl.paths import as_path
from unidl.saving.directories import cannot_save
from unidl.saving.keras_description import first_line
from unidl.saving.keras_weights import SUFFIX
from unidl.whole_files import replacing

if TYPE_CHECKING:
    import keras


def save_keras(model: keras.Model, path: str | Path) -> Path:
    """Write a file that Keras reads without unidl.

    Keras itself overwrites in place, and so leaves no model at all if it is killed or the disk is full; here the file
    that was there stays until the new one is whole. A model of our builders with dropout has a layer of ours: a plain
    Keras process runs `import unidl.layers` before it loads the `.keras` file. What unidl knows beside the model, the
    names of classes and the vocabulary, is in no file of Keras's.

    Args:
        model: The model, which has its weights already.
        path: Where to write: a file that ends in `.keras`, or in `.weights.h5` for weights only.

    Returns:
        The path of the file.

    Raises:
        SavedModelError: If the path ends in something else, is not a file, or cannot be written.

    Examples:
        >>> import unidl
        >>> model = unidl.build_cnn((8, 8, 1), classes=4, filters=(2,), dense_units=4)
        >>> unidl.save_keras(model, "cnn.keras").name
        'cnn.keras'
    """
    path = as_path(path)
    suffix = next((suffix for suffix in (".keras", SUFFIX) if path.name.endswith(suffix)), None)
    if suffix is None:
        raise SavedModelError(
            f"Cannot save to {path}: the suffix must be .keras for a model, or {SUFFIX} for its weights only. For "
            "a directory, use Trainer.save."
        )
    if not model.built:
        raise SavedModelError(
            f"Cannot save the model '{model.name}': it has no weights yet. Train it first, or call it on a batch."
        )
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise SavedModelError(f"Cannot save to {path}: it exists and is not a regular file. Choose another path.")
    try:
        with replacing(target) as temporary:
            _write(model, temporary, suffix)
    except OSError as error:
        raise cannot_save(path, error) from error
    return path


def _write(model: keras.Model, path: Path, suffix: str) -> None:
    try:
        if suffix == SUFFIX:
            model.save_weights(path)
        else:
            model.save(path)
    except OSError:
        raise
    except Exception as error:  # a custom get_config may raise anything
        raise SavedModelError(f"Cannot save the model '{model.name}': Keras raised: {first_line(error)}") from error
