"""SavedModels run by TensorFlow, without Keras. Imports no module that needs it."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from unidl.errors import SavedModelError

MEMBERS = ("saved_model.pb", "fingerprint.pb", "variables/variables.index")
"""Files of a SavedModel, beside those that hold the values of its variables."""
VALUES = "variables/variables.data-"
LARGEST = 2**33
"""Maximum bytes of all files together."""


def open_saved_model(content: bytes) -> tuple[Callable[[Any], Any], Mapping[str, str]]:
    """Return what computes the outputs of a zipped SavedModel for a batch, and the version of TensorFlow.

    Raises `SavedModelError` for an archive of anything else, before TensorFlow sees it.
    """
    with tempfile.TemporaryDirectory() as folder:
        _unpack(content, Path(folder))
        import tensorflow as tf  # only now: a hostile archive is refused without it

        loaded: Any = tf.saved_model.load(folder)

    def run(arrays: Any) -> list[Any]:
        return [one.numpy() for one in loaded.infer(*map(tf.constant, arrays))]

    return run, {"tensorflow": str(tf.__version__)}


def _unpack(content: bytes, folder: Path) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            for member in members:
                if member.filename not in MEMBERS and not _is_values(member.filename):
                    raise SavedModelError(
                        f"Cannot load the SavedModel: it holds {member.filename!r}, which unidl did not write."
                    )
            if sum(member.file_size for member in members) > LARGEST:
                raise SavedModelError(f"Cannot load the SavedModel: it is larger than {LARGEST // 2**30} GiB.")
            archive.extractall(folder)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise SavedModelError(f"Cannot load the SavedModel: its archive is damaged ({error}).") from error


def _is_values(name: str) -> bool:
    return name.startswith(VALUES) and PurePosixPath(name).parent == PurePosixPath("variables")
